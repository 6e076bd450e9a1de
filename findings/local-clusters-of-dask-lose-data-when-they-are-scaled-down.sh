#!/usr/bin/env bash
# A LocalCluster of Dask (distributed 2026.8.0) loses scattered data when it is scaled down.
#
# Expected: cluster.scale(1) retires the other worker, as client.retire_workers() and an adaptive
# cluster do: what only that worker has in memory goes to one that stays.
# Seen: retire_workers() moves all data. scale() ends the worker with its data: scattered values
# are gone for good, and their futures may still say "finished". The cluster asks the scheduler to
# retire workers by their names, where it takes addresses, and so none is retired.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    distributed==2026.8.0 dask==2026.8.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio

from distributed import Client, LocalCluster


async def kept_after(shrink):
    """Scatter three values to each of two workers; return how many are left on one."""
    async with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1",
            dashboard_address="127.0.0.1:0", silence_logs=60, asynchronous=True,
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        futures = []
        for address in await client.scheduler.ncores():
            values = [f"{address}, {number}" for number in range(3)]
            futures += await client.scatter(values, workers=[address], hash=False)
        await shrink(cluster, client)
        while len(await client.scheduler.ncores()) > 1:
            await asyncio.sleep(0.05)
        has_what = await client.scheduler.has_what()
        return len(set().union(*has_what.values()) & {future.key for future in futures})


async def retire(cluster, client):
    await client.retire_workers([min(await client.scheduler.ncores())])


async def scale(cluster, client):
    cluster.scale(1)


async def main():
    kept = {shrink.__name__: await kept_after(shrink) for shrink in (retire, scale)}
    print("of six scattered values, one worker has afterwards:", kept)
    assert kept == {"retire": 6, "scale": 3}, "distributed has changed"


if __name__ == "__main__":
    asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
