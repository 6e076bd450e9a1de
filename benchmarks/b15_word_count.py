"""Counting the words of 51 MB of text, in one process and in two."""

import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import Any

from benchmarks.harness import Case
from kaygraph import MapReduceNode

PIECES, WORDS = 51, 143_000  # of 1 MB
VOCABULARY = 100_000


def cases(size: int) -> Iterator[Case]:
    yield counting("B15", "word count of 51 MB", PIECES // size, 1.4)
    yield in_processes("B15-processes", "the same in two processes", PIECES // size, 1.1)


@cache
def text(pieces: int) -> list[str]:
    """Return pieces of 1 MB, of words that are as unequal in number as those of a language."""
    chance = random.Random(15)
    known = [
        "".join(chance.choices("etaoinshrdlu", k=chance.randint(3, 9))) for _ in range(VOCABULARY)
    ]
    often = list(accumulate(1 / (rank + 10) for rank in range(VOCABULARY)))
    return [" ".join(chance.choices(known, cum_weights=often, k=WORDS)) for _ in range(pieces)]


class CountWords(MapReduceNode):
    """Counts the words of pieces of text."""

    def prep(self, shared: Any) -> Any:
        return shared["pieces"]

    def map(self, piece: str) -> Any:
        return Counter(piece.split()).items()

    def combine(self, word: str, counts: list[int]) -> int:
        return sum(counts)

    def reduce(self, word: str, counts: list[int]) -> int:
        return sum(counts)

    def post(self, shared: Any, prep_res: Any, counts: dict[str, int]) -> None:
        assert sum(counts.values()) == WORDS * len(prep_res)


def counted(piece: str) -> Counter[str]:
    return Counter(piece.split())


def counting(name: str, what: str, pieces: int, target: float) -> Case:
    """One operation is one word."""

    def floor() -> None:
        counts = Counter[str]()
        for piece in text(pieces):
            counts.update(piece.split())
        assert sum(counts.values()) == WORDS * pieces

    def ours() -> None:
        CountWords().run({"pieces": text(pieces)})

    words = WORDS * pieces
    return Case(name=name, what=what, operations=words, floor=floor, ours=ours, target=target)


def in_processes(name: str, what: str, pieces: int, target: float) -> Case:
    """The start of the processes is included."""

    def floor() -> None:
        counts = Counter[str]()
        with multiprocessing.Pool(2) as pool:
            for some in pool.imap_unordered(counted, text(pieces)):
                counts.update(some)
        assert sum(counts.values()) == WORDS * pieces

    def ours() -> None:
        CountWords(map_workers=2, run_in="process").run({"pieces": text(pieces)})

    words = WORDS * pieces
    return Case(
        name=name, what=what, operations=words, floor=floor, ours=ours, target=target, clock="wall"
    )
