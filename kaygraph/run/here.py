"""What a hook may ask that follows from where in a run it is called, and from nothing else."""

import random
from contextvars import ContextVar
from hashlib import blake2b
from random import Random
from typing import Any
from uuid import UUID, uuid4

# That of the functions of the module: seeded as the program does it, and anew in each process.
SHARED_RANDOM: Random = random.random.__self__  # type: ignore[attr-defined]


class Here:
    """A place in a run. In a recorded run it is the same in every process that resumes it.

    Args:
        key: What tells the place from all others, in all runs: 32 hexadecimal digits.
        seed: What random numbers follow from; None: from nothing.
    """

    __slots__ = ("_attempt", "_made", "_random", "key", "seed")

    def __init__(self, key: str, seed: bytes | None) -> None:
        self.key, self.seed = key, seed
        self._random: Random | None = None
        self._attempt = self._made = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Here, (self.key, self.seed)

    def random(self, attempt: int) -> Random:
        """Return a generator, which is another one for each attempt."""
        if self.seed is None:
            return SHARED_RANDOM
        self._begin(attempt)
        if self._random is None:
            self._random = Random(_hash(self.seed, f"random {attempt}"))
        return self._random

    def uuid(self, attempt: int) -> UUID:
        """Return the next UUID; each attempt gets the same ones."""
        if self.seed is None:
            return uuid4()
        self._begin(attempt)
        self._made += 1
        return UUID(bytes=_hash(self.seed, f"uuid {self._made}"), version=4)

    def _begin(self, attempt: int) -> None:
        if attempt != self._attempt:
            self._attempt, self._made, self._random = attempt, 0, None


def _hash(seed: bytes, what: str) -> bytes:
    return blake2b(what.encode(), digest_size=16, key=seed).digest()


# Where the context of a run does not reach: a node, and its place as it was there.
SENT_HERE: ContextVar[tuple[Any, Here]] = ContextVar("kaygraph_sent_here")
