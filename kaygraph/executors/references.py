"""Values that stay on the worker that made them: a ``Remote`` stands for one, wherever it goes.

Pickling decides. On its way from a worker, the value of a ``Remote`` is left there; on its way to
one, only its name goes, and the worker has the value when ``exec`` begins. Anywhere else, a
``Remote`` that has its value takes it along, like any other object.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from ..errors import NodeDefinitionError, RemoteLostError
from .cluster import Leaves, Values

T = TypeVar("T")

BUNDLE_BYTES = 1 << 20  # small values that are left together, so that each costs less

Needs = dict[str, "Remote[Any]"]  # what an item refers to, by bundle


class Name:
    """What a value is called that a worker has left: its bundle, and its place in there."""

    __slots__ = ("bundle", "place")

    def __init__(self, bundle: str, place: int) -> None:
        self.bundle, self.place = bundle, place


class Held:
    """A bundle of values on a worker, which are kept there as long as this is."""

    __slots__ = ("__weakref__", "address", "bundle", "handle", "size", "store")

    def __init__(self, store: "Store", bundle: str, address: str, size: int) -> None:
        self.store, self.bundle, self.address, self.size = store, bundle, address, size
        self.handle: Any = store.values.hold(bundle)


class Remote(Generic[T]):
    """A value that stays where it was made: ``return Remote(frame)`` in ``exec``.

    With ``run_in=Dask(...)``, that is the worker. The results have the ``Remote``, which is small
    and may stand anywhere in them. A node with the same ``run_in`` gets it as an item or within
    one, and its ``exec`` reads ``value``: the item goes to the worker that has most of what it
    needs, and what others have comes from them. In ``prep`` and ``post``, ``await remote.fetch()``
    brings the value to your program. Elsewhere (on the loop, in threads, processes and other
    executors), a ``Remote`` just has its value, so that the same nodes run anywhere.

    The value is kept until the run is over, or until your program has let go of all that refers to
    it. It is shared: do not change it. When the worker that has it dies, it is lost, and what needs
    it fails with a RemoteLostError.

    Args:
        value: What can be pickled, as another worker may need it.
    """

    __slots__ = ("__weakref__", "_held", "_made_by", "_name", "_value")

    def __init__(self, value: T) -> None:
        self._value: Any = value
        self._held: Held | None = None  # where the value is, if it is not here
        self._name: Name | None = None  # what it is called, if a worker has left it
        self._made_by = ""

    @property
    def value(self) -> T:
        """The value, where it is: in ``exec``.

        Raises:
            NodeDefinitionError: It is on a worker, and this is not.
        """
        if self._held is not None:
            raise NodeDefinitionError(f"{self._text} {ADVICE}")
        value: T = self._value
        return value

    async def fetch(self) -> T:
        """Return the value; each call brings it anew from its worker.

        Raises:
            RemoteLostError: Its worker has died, or the run is over.
        """
        if self._held is None:
            return self.value
        assert self._name is not None
        value: T = await self._held.store.fetch(self, self._held, self._name.place)
        return value

    @property
    def handle(self) -> Any:
        """What its cluster knows the value by; None, where it is here."""
        return None if self._held is None else self._held.handle

    @property
    def _text(self) -> str:
        assert self._held is not None
        return f"the value of a Remote, made by {self._made_by}, is on {self._held.address}:"

    def __repr__(self) -> str:
        if self._held is None:
            return f"<Remote: {type(self._value).__name__}>"
        return f"<Remote: on {self._held.address}, of {self._made_by}>"

    # It is one value, and no copy of it is made: not by copies of what refers to it either.
    def __copy__(self) -> "Remote[T]":
        return self

    def __deepcopy__(self, _: Any) -> "Remote[T]":
        return self

    def __reduce__(self) -> Any:
        leaving, sending = _LEAVING.get(), _SENDING.get()
        if leaving is not None:
            name = self._name or leaving.leave(self)
            return _left, (name.bundle, name.place)
        if self._held is None:
            return Remote, (self._value,)
        if sending is None or sending[0] is not self._held.store:
            raise NodeDefinitionError(f"{self._text} {ADVICE}")
        assert self._name is not None
        sending[1].setdefault(self._held.bundle, self)
        return _arrived, (self._name.bundle, self._name.place)


ADVICE = "await its fetch() in prep or post, or give the node that reads it the same run_in"

# What goes on where something is pickled or unpickled.
_LEAVING: ContextVar["LeftBehind | None"] = ContextVar("kaygraph_leaving", default=None)
_SENDING: ContextVar["tuple[Store, Needs] | None"] = ContextVar("kaygraph_sending", default=None)
_ARRIVED: ContextVar[Mapping[str, Sequence[Any]]] = ContextVar("kaygraph_arrived")
_RECEIVING: ContextVar["tuple[Store, str]"] = ContextVar("kaygraph_receiving")


def _arrived(bundle: str, place: int) -> Remote[Any]:
    """Return what was sent to a worker, which has the value."""
    remote = Remote(_ARRIVED.get()[bundle][place])
    remote._name = Name(bundle, place)
    return remote


def _left(bundle: str, place: int) -> Remote[Any]:
    """Return what has come from a worker, where the value was left."""
    store, made_by = _RECEIVING.get()
    remote: Remote[Any] = Remote(None)
    remote._held, remote._name, remote._made_by = store.held[bundle], Name(bundle, place), made_by
    return remote


# --- on the worker --------------------------------------------------------------------------------


@contextmanager
def arrived(values: Mapping[str, Sequence[Any]]) -> Iterator[None]:
    """Let items be unpickled that refer to these bundles."""
    token = _ARRIVED.set(values)
    try:
        yield
    finally:
        _ARRIVED.reset(token)


class LeftBehind:
    """What the items of a chunk leave on their worker, in bundles.

    Args:
        chunk: Its name, from which the bundles have theirs.
        values: What knows the size of a value, in bytes.

    Attributes:
        bundles: The values.
        sizes: How many bytes the values of each bundle have.
        is_new: Whether the latest item refers to what the chunk has left.
    """

    def __init__(self, chunk: str, values: Leaves) -> None:
        self._chunk, self._values = chunk, values
        self.bundles: dict[str, list[Any]] = {}
        self.sizes: dict[str, int] = {}
        self.is_new = False
        self._names: dict[int, tuple[Name, Remote[Any]]] = {}  # the same Remote is left once

    @contextmanager
    def of_item(self) -> Iterator[None]:
        """Let the result of an item be pickled without the values of what is in it."""
        self.is_new = False
        token = _LEAVING.set(self)
        try:
            yield
        finally:
            _LEAVING.reset(token)

    def leave(self, remote: Remote[Any]) -> Name:
        """Put a value into a bundle, and return what it is called."""
        self.is_new = True
        if id(remote) in self._names:  # values may be pickled twice, see ``dumps``
            return self._names[id(remote)][0]
        size = self._values.size_of(remote._value)
        bundle = next(reversed(self.bundles), None)
        if bundle is None or self.sizes[bundle] + size > BUNDLE_BYTES:
            bundle = f"kaygraph-{self._chunk}-{len(self.bundles)}"
            self.bundles[bundle], self.sizes[bundle] = [], 0
        name = Name(bundle, len(self.bundles[bundle]))
        self.bundles[bundle].append(remote._value)
        self.sizes[bundle] += size
        self._names[id(remote)] = name, remote
        return name


# --- in the program -------------------------------------------------------------------------------


class Store:
    """What the workers of a cluster keep for a run.

    Attributes:
        values: How they do; set when the cluster is open.
        held: The bundles that are referred to.
    """

    values: Values

    def __init__(self) -> None:
        self.held: WeakValueDictionary[str, Held] = WeakValueDictionary()
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    def claim(self, sizes: Mapping[str, int], address: str) -> list[Held]:
        """Return bundles that a worker has left; those without references are freed there."""
        claimed = [Held(self, bundle, address, size) for bundle, size in sizes.items()]
        self.held.update({one.bundle: one for one in claimed})
        return claimed

    @contextmanager
    def sending(self) -> Iterator[Needs]:
        """Let an item be pickled for a worker; what it refers to is noted."""
        needs: Needs = {}
        token = _SENDING.set((self, needs))
        try:
            yield needs
        finally:
            _SENDING.reset(token)

    @contextmanager
    def receiving(self, made_by: str) -> Iterator[None]:
        """Let a result be unpickled, which names what was left."""
        token = _RECEIVING.set((self, made_by))
        try:
            yield
        finally:
            _RECEIVING.reset(token)

    async def fetch(self, remote: Remote[Any], held: Held, place: int) -> Any:
        """Return a value."""
        if not self._is_open:
            raise RemoteLostError(
                f"{remote._text} its run is over, and so it is gone. Fetch it in post, or in the "
                "prep of another node"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise NodeDefinitionError(f"{remote._text} {ADVICE}")
        values = await self.values.fetch(held.handle)
        if values is None:
            raise lost(remote)
        return values[place]

    async def lost_of(self, needs: Needs) -> set[str]:
        """Return which of these bundles no worker has any more."""
        handles = [remote._held.handle for remote in needs.values() if remote._held is not None]
        return set(await self.values.lost(handles)) if handles else set()

    def close(self) -> None:
        """Let go of all that there is; what refers to it has lost it."""
        self._is_open = False
        for held in list(self.held.values()):
            held.handle = None


def lost(remote: Remote[Any]) -> RemoteLostError:
    """Return the error for what needs a value that is gone."""
    return RemoteLostError(
        f"{remote._text} that worker has ended, and so it is lost. Only {remote._made_by} can make "
        "it again: more attempts at what needs it do not help"
    )


def home_of(remote: Remote[Any]) -> str:
    """Return the address of the worker that has left a value; "", where it is here."""
    return "" if remote._held is None else remote._held.address


async def lost_among(remotes: Sequence[Remote[Any]]) -> list[bool]:
    """Return of each of the values of one cluster whether no worker has it any more."""
    needs = {one._held.bundle: one for one in remotes if one._held is not None}
    stores = {remote._held.store for remote in needs.values() if remote._held is not None}
    gone = {bundle for store in stores for bundle in await store.lost_of(needs)}
    return [one._held is not None and one._held.bundle in gone for one in remotes]


def nearest(needs: Needs) -> str | None:
    """Return the address of the worker that had most of what an item needs, when it was made."""
    of: dict[str, int] = {}
    for remote in needs.values():
        if remote._held is not None:
            of[remote._held.address] = of.get(remote._held.address, 0) + remote._held.size
    return max(of, key=of.__getitem__, default=None)


def bytes_from_others(needs: Needs, address: str) -> int:
    """Return how many bytes a worker does not have of what an item needs."""
    held = [remote._held for remote in needs.values()]
    return sum(one.size for one in held if one is not None and one.address != address)
