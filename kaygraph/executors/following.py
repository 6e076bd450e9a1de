"""What items of a chunk come to, and what they say, while the rest of it still runs.

A chunk comes back as a whole, which is soon. Where an item takes longer than expected, its worker
is asked now and then for what has ended before it.
"""

import asyncio
import pickle
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ..aio.tasks import outlast
from .at_worker import news
from .cluster import Workers
from .spool import LEFT, Record
from .waiting import Entry

T = TypeVar("T")

FOLLOW_S = 0.5  # until a worker is asked for the first time, and from then on
EACH_S = 0.002  # and more for each worker, as the scheduler passes on all questions


class Followed(Protocol):
    """A chunk that a worker has."""

    name: str
    entries: list[Entry]


async def followed(
    chunk: Followed, answer: Coroutine[Any, Any, T], workers: Workers, address: str, number: int
) -> T:
    """Await what the worker answers at the end, and follow the chunk meanwhile."""
    if len(chunk.entries) == 1 and chunk.entries[0].receive is None:  # there is nothing before it
        return await answer
    following = asyncio.get_running_loop().create_task(_follow(chunk, workers, address, number))
    try:
        return await answer
    finally:
        following.cancel()
        await outlast([following])


async def _follow(chunk: Followed, workers: Workers, address: str, number: int) -> None:
    """End items of a chunk, and pass on what they say, until this is cancelled.

    ``number`` is how many workers there are. What the worker is asked next says which records have
    come, so that it does not send them again with the rest.
    """
    seen = 0
    while seen < len(chunk.entries):
        await asyncio.sleep(FOLLOW_S + EACH_S * number)
        received = chunk.entries[seen].received
        with suppress(Exception):  # the chunk itself will say what is wrong
            answer: Any = await workers.ask(address, news, chunk.name, seen, received)
            records, said = pickle.loads(answer)
            for record in records:
                if record[0] != LEFT:  # nothing waits for it
                    chunk.entries[seen].end(Record(*record))
                seen += 1
            if said and seen < len(chunk.entries):
                chunk.entries[seen].deliver(said)
