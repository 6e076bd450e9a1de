"""Which keys of the shared store a ready-made node reads and writes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ..errors import KayGraphError, closest
from ..node.keywords import BatchSettings, NodeSettings, ParallelSettings
from ..node.settings import Checks
from ..streams.stage import StageReport

Keys = str | Sequence[str] | None


class StoreSettings(NodeSettings, total=False):
    """What a ready-made node takes beside its own arguments."""

    max_retries: int
    wait: float
    reads: Keys
    writes: Keys


class StoreBatchSettings(BatchSettings, total=False):
    """What a ready-made node takes that works on items, one after another."""

    max_retries: int
    wait: float
    reads: Keys
    writes: Keys


class StoreParallelSettings(ParallelSettings, total=False):
    """What a ready-made node takes that works on many items at once."""

    max_retries: int
    wait: float
    reads: Keys
    writes: Keys


class MissingInputError(KayGraphError, KeyError):
    """A node reads a key of the shared store that nobody has written.

    Attributes:
        node: The name of the node.
        key: The key that is missing.
        known: The keys that are there, in the order in which they were written.
    """

    def __init__(self, node: str, key: str, known: Iterable[str]) -> None:
        self.node, self.key, self.known = node, key, tuple(known)
        super().__init__(node, key, self.known)

    def __str__(self) -> str:
        listed = ", ".join(repr(name) for name in self.known) or "none"
        return (
            f"Node {self.node!r} reads shared[{self.key!r}], which nobody has written. "
            f"Keys that are there: {listed}.{closest(self.key, self.known)}"
        )


def check_keys(name: str, value: Any) -> Any:
    """Return ``value`` when it names a key of the shared store, or several, or is None."""
    keys = (value,) if isinstance(value, str) else value
    if keys is not None and not (
        isinstance(keys, list | tuple) and keys and all(isinstance(k, str) and k for k in keys)
    ):
        raise ValueError(
            f"{name} must be a key of the shared store or a tuple of them, as in {name}='rows'; "
            f"got {value!r}"
        )
    return tuple(value) if isinstance(value, list) else value


def check_on_loop(name: str, value: Any) -> Any:
    """Return where ``exec`` runs, of a node that holds open what belongs to the run's loop."""
    if value not in (None, "loop"):
        raise ValueError(
            f"{name} must be 'loop': what this node holds open belongs to the event loop of the "
            f"run; got {value!r}"
        )
    return value


class Stored:
    """Reads from the shared store in ``prep`` and writes to it in ``post``, by the keys it is told.

    It stands before Node or BatchNode in the bases of a ready-made node.

    Attributes:
        reads: A key: ``prep`` returns its value. Several: a tuple of their values, in that order.
            None: ``prep`` returns None.
        writes: A key: ``post`` writes the result there. Several: the result is a tuple (or list)
            of as many values. None: nothing is written. In a pipeline it is the results of the
            last stage that are written, of any other its StageReport.
    """

    name: str
    reads: Keys = None
    writes: Keys = None
    _checks: ClassVar[Checks] = {"reads": check_keys, "writes": check_keys}

    def prep(self, shared: Any, /) -> Any:
        """Return what is read from the shared store.

        Raises:
            MissingInputError: A key is not there.
        """
        return None if self.reads is None else values_of(shared, self.reads, self.name)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the result to the shared store."""
        if isinstance(exec_res, StageReport) and exec_res.results is not None:
            exec_res = exec_res.results
        if self.writes is not None:
            store(shared, self.writes, exec_res, self.name)


def values_of(shared: Mapping[str, Any], keys: str | Sequence[str], node: str) -> Any:
    """Return the value of a key, or the tuple of the values of several."""
    for key in (keys,) if isinstance(keys, str) else keys:
        if key not in shared:
            raise MissingInputError(node, key, shared)
    return shared[keys] if isinstance(keys, str) else tuple(shared[key] for key in keys)


def store(shared: Any, keys: str | Sequence[str], value: Any, node: str) -> None:
    """Write a result under a key, or a tuple of results under as many keys."""
    if isinstance(keys, str):
        shared[keys] = value
        return
    if not isinstance(value, tuple | list) or len(value) != len(keys):
        number = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise ValueError(
            f"Node {node!r} writes {len(keys)} keys ({', '.join(keys)}), so its result must be a "
            f"tuple of {len(keys)} values; got a {type(value).__name__}{number}"
        )
    shared.update(zip(keys, value, strict=True))


def configure(node: Any, own: Mapping[str, Any], settings: Any) -> None:
    """Set what a constructor was given; None of a node's own arguments means: not told."""
    told = {name: value for name, value in own.items() if value is not None}
    told |= settings
    node._configure(told.pop("max_retries", None), told.pop("wait", None), told)
