"""What a hook can ask that depends only on where in a run it is called.

The modules of the standard library are imported where needed: few programs need them.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID


class Here:
    """A place in a run. In a recorded run it is the same in every process that resumes it.

    Args:
        key: Identifies the place among all others, in all runs: 32 hexadecimal digits.
        seed: The seed of random numbers; None: no seed.
    """

    __slots__ = ("_attempt", "_made", "_random", "key", "seed")

    def __init__(self, key: str, seed: bytes | None) -> None:
        self.key, self.seed = key, seed
        self._random: Random | None = None
        self._attempt = self._made = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Here, (self.key, self.seed)

    def random(self, attempt: int) -> "Random":
        """Return a generator, a different one for each attempt."""
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


# Where the context of a run is not available: a node, and its place.
SENT_HERE: ContextVar[tuple[Any, Here]] = ContextVar("kaygraph_sent_here")
