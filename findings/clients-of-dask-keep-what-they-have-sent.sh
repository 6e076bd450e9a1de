#!/usr/bin/env bash
# A client of Dask (distributed 2026.8.0) keeps the arguments of tasks that were released long ago.
#
# Expected: once a result was fetched and its future released, the client has nothing of the task;
# its memory does not grow with what was sent.
# Seen: its connection to the scheduler keeps the last 1,000 messages, unless they are 1 MB or
# larger. 600 arguments of 100 kB, one after the other, are still there at the end: 60 MB. The
# setting distributed.admin.low-level-log-length is the number of messages; its description mentions
# logs for developers and no data of tasks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    distributed==2026.8.0 dask==2026.8.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio
import os

from distributed import Client, LocalCluster


async def main():
    async with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1",
            dashboard_address="127.0.0.1:0", silence_logs=60, asynchronous=True,
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        for _ in range(600):
            future = client.submit(len, os.urandom(100_000), pure=False)
            assert await future == 100_000
            future.release()
        while client.futures or cluster.scheduler.tasks:
            await asyncio.sleep(0.05)
        kept = large_bytes(client.scheduler_comm.recent_message_log)
        print("tasks known:", len(cluster.scheduler.tasks), "bytes kept:", kept)
        assert kept > 60_000_000, "distributed has changed"


def large_bytes(value):
    """Return how many bytes of arguments some messages hold."""
    if isinstance(value, bytes):
        return len(value) if len(value) > 10_000 else 0
    parts = value.values() if isinstance(value, dict) else getattr(value, "frames", value)
    is_container = not isinstance(parts, str) and hasattr(parts, "__iter__")
    return sum(map(large_bytes, parts)) if is_container else 0


if __name__ == "__main__":
    asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
