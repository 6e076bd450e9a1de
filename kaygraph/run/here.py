"""What a hook may ask that follows from where in a run it is called, and from nothing else.

What it takes from the standard library loads where it is used: few programs ask.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID


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

    def random(self, attempt: int) -> "Random":
        """Return a generator, which is another one for each attempt."""
        if self.seed is None:
            return shared_random()
        self._begin(attempt)
        if self._random is None:
            from random import Random

            self._random = Random(_hash(self.seed, f"random {attempt}"))
        return self._random

    def uuid(self, attempt: int) -> "UUID":
        """Return the next UUID; each attempt gets the same ones."""
        from uuid import UUID, uuid4

        if self.seed is None:
            return uuid4()
        self._begin(attempt)
        self._made += 1
        return UUID(bytes=_hash(self.seed, f"uuid {self._made}"), version=4)

    def _begin(self, attempt: int) -> None:
        if attempt != self._attempt:
            self._attempt, self._made, self._random = attempt, 0, None


def shared_random() -> "Random":
    """Return the generator of ``random``'s functions, which a program may have seeded."""
    import random

    generator: random.Random = random.random.__self__  # type: ignore[attr-defined]
    return generator


def _hash(seed: bytes, what: str) -> bytes:
    from hashlib import blake2b

    return blake2b(what.encode(), digest_size=16, key=seed).digest()


# Where the context of a run does not reach: a node, and its place as it was there.
SENT_HERE: ContextVar[tuple[Any, Here]] = ContextVar("kaygraph_sent_here")
