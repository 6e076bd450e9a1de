"""Print one digest of the traces of programs without a graph: ``python … FIRST COUNT LITTER``.

Run as a program, so that tests can compare processes.
"""

import asyncio
import hashlib
import sys
import time

import anyio
import anyio.to_thread

from kaygraph.testing.simulation import play


async def program() -> list[str]:
    """Locks, queues, timeouts, timers close to each other, and threads of both kinds."""
    noted: list[str] = []
    lock, queue = asyncio.Lock(), asyncio.Queue[str](2)

    async def work(name: str, seconds: float) -> None:
        for turn in range(3):
            await asyncio.sleep(seconds)
            async with lock:
                await queue.put(f"{name}{turn}")
            await asyncio.to_thread(noted.append, f"thread {name}")
            await anyio.to_thread.run_sync(time.sleep, seconds)

    async def read() -> None:
        while True:
            try:
                async with asyncio.timeout(0.002):
                    noted.append(await queue.get())
            except TimeoutError:
                noted.append(f"late at {time.monotonic():.4f}")

    reading = asyncio.create_task(read())
    await asyncio.gather(*(work(name, 0.001 + number / 4000) for number, name in enumerate("abc")))
    reading.cancel()
    await asyncio.wait([reading])
    return noted


def digest_of(first: int, count: int) -> str:
    """Return a digest of what the seeds do, step by step."""
    digest = hashlib.sha256()
    for seed in range(first, first + count):
        run = play(program, None, seed)
        digest.update("\n".join([*run.trace, *run.action, repr(run.schedule)]).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    litter = {str(number): object() for number in range(int(sys.argv[3]))}  # other addresses
    print(digest_of(int(sys.argv[1]), int(sys.argv[2])))
    del litter
