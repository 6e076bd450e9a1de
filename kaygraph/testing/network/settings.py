"""``Network``: how fast, and how reliable, the network of a simulation is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """The network of a simulation; nothing of it leaves the process.

    Everything is decided by the seed. With seed 0, every segment takes the shortest latency and
    none is split. With every other seed, what is sent on one connection arrives in order, and what
    is sent on several arrives in any order.

    Args:
        latency: The shortest and the longest time that a segment takes, in seconds.
        split: The chance that what is sent at once arrives in several segments, so that ``read``
            returns a part of it.
        refuse: The chance that a connection is refused although a server listens.
        lose: The chance that an established connection is lost: both sides get a
            ConnectionResetError, after some of the segments have arrived.

    Raises:
        ValueError: A time is negative or not finite, or a chance is not between 0 and 1.
    """

    latency: tuple[float, float] = (0.0001, 0.005)
    split: float = 0.25
    refuse: float = 0.0
    lose: float = 0.0

    def __post_init__(self) -> None:
        shortest, longest = self.latency
        if not 0 <= shortest <= longest < math.inf:
            raise ValueError(
                "latency must be the shortest and the longest time of a segment in seconds, "
                f"got {self.latency!r}"
            )
        for name in ("split", "refuse", "lose"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)!r}")


_CURRENT = ContextVar("network", default=Network())  # noqa: B039 - it is frozen


def current_network() -> Network:
    """Return the settings for a simulation that makes its first socket now."""
    return _CURRENT.get()


@contextmanager
def using_network(settings: Network | None) -> Iterator[None]:
    """Run simulations with a network; with that of the surroundings where there is None."""
    if settings is not None and not isinstance(settings, Network):
        raise TypeError(f"network must be a Network(…), got {settings!r}")
    token = _CURRENT.set(settings or _CURRENT.get())
    try:
        yield
    finally:
        _CURRENT.reset(token)
