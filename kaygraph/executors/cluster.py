"""What ``run_in=`` takes that opens something of its own for a run: a cluster of workers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

WIDEST = 8192  # items in flight at most, if no number is given


class Leaves(Protocol):
    """What keeps values on a worker. It is sent there."""

    def size_of(self, value: Any) -> int:
        """Return how many bytes a value has, as far as that is known."""

    def leave(self, bundles: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        """Keep these here, for whom they are wanted by; called in a thread of the worker."""


class Values(Protocol):
    """The values that workers keep for a run, each known by a name.

    Attributes:
        leaves: What keeps them there.
    """

    @property
    def leaves(self) -> Leaves: ...

    def hold(self, bundle: str) -> Any:
        """Return a handle for what a worker has left. When it is gone, what was left is freed."""

    async def fetch(self, handle: Any) -> Any:
        """Return what was left, or None if no worker has it any more.

        Raises:
            Exception: The cluster cannot be reached any more.
        """

    async def lost(self, handles: Collection[Any]) -> Collection[str]:
        """Return the names of those that no worker has any more."""

    def release(self, bundles: Collection[str]) -> None:
        """Free what was left and never claimed."""


class Workers(Protocol):
    """The workers of a cluster, as a run has them open. Each is known by its address.

    Attributes:
        name: The cluster's, for errors.
        values: What they keep for the run.
    """

    @property
    def name(self) -> str: ...

    @property
    def values(self) -> Values: ...

    async def known(self) -> Mapping[str, int]:
        """Return all that there are, and how many items each of them works on at once.

        Raises:
            Exception: The cluster cannot be reached any more.
        """

    async def ready(self) -> Collection[str]:
        """Return those that take more work: one that is about to leave does not."""

    async def submit(
        self, address: str, function: Callable[..., T], *args: Any, needs: Sequence[Any] = ()
    ) -> T:
        """Let this worker, and no other, call a function once, when its turn comes.

        What it ``needs`` of the values of workers, by their handles, is there then: a list of them
        is the last argument, unless there are none.

        It may never return where the worker is gone.
        """

    async def ask(self, address: str, function: Callable[..., Any], *args: Any) -> Any:
        """Have a worker call a function now, whatever it works on, or await it."""

    async def kill(self, address: str, pid: int) -> None:
        """End the process of a worker; the cluster may start another one."""

    async def wanted(self, threads: int) -> None:
        """Tell a cluster that there is work for more threads than it has, until cancelled.

        There are none, or all have been busy for a while; it may be one that does not grow.
        """

    async def close(self) -> None:
        """Let go of the cluster, and end what was started for the run."""


class Cluster(ABC):
    """Where ``exec`` can run besides this machine: the base of what ``run_in=`` takes for it.

    Attributes:
        no_workers_after: After so many seconds without a worker, items fail.
        restart_workers: Whether a worker is killed that does not end work that was cancelled.
    """

    no_workers_after: float = 10.0
    restart_workers: bool = False

    @abstractmethod
    async def open(self) -> Workers:
        """Return its workers, for one run.

        Raises:
            Exception: It cannot be reached, or not be started.
        """
