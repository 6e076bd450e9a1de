#!/usr/bin/env bash
# A future that a task of Dask (distributed 2026.8.0) returns cannot be read by who gets it.
#
# Expected: a task scatters a value with get_client() and returns the future, so that the value
# stays on the worker; the client that has submitted the task can await it.
# Seen: the future that arrives belongs to no client, although there is a default one: its status
# is None, and result() raises RuntimeError ("not properly initialized"). Given the client by
# bind_client(), it knows of no value either: it waits for ever.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    distributed==2026.8.0 dask==2026.8.0

cat > "$folder/look.py" << 'PYTHON'
from distributed import Client, LocalCluster, get_client


def leaves(size):
    return get_client().scatter(bytes(size), hash=False)


def outcome_of(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def main():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1",
            dashboard_address="127.0.0.1:0", silence_logs=60,
        ) as cluster,
        Client(cluster) as client,
    ):
        future = client.submit(leaves, 1000, pure=False).result()
        seen = future.status, outcome_of(lambda: len(future.result(timeout=5)))
        future.bind_client(client)
        bound = future.status, outcome_of(lambda: len(future.result(timeout=5)))
    print("status and size of the value:", seen, "with bind_client():", bound)
    assert seen == (None, "RuntimeError"), "distributed has changed"
    assert bound == ("pending", "TimeoutError"), "distributed has changed"


if __name__ == "__main__":
    main()
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
