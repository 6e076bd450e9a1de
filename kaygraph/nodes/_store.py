"""The keys of the shared store that a ready-made node reads and writes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from .._stores import as_mapping
from ..errors import KayGraphError, add_note, closest
from ..node.keywords import BatchSettings, NodeSettings, ParallelSettings
from ..node.settings import Checks
from ..streams.report import StageReport

Keys = str | Sequence[str] | None


class StoreSettings(NodeSettings, total=False):
    """The settings of a ready-made node, besides its own arguments."""

    max_retries: int
    wait: float
    reads: Keys
    writes: Keys


class StoreBatchSettings(BatchSettings, total=False):
    """The settings of a ready-made node that works on items, one after another."""

    max_retries: int
    wait: float
    reads: Keys
    writes: Keys


class StoreParallelSettings(ParallelSettings, total=False):
    """The settings of a ready-made node that works on many items at once."""

    max_retries: int
    wait: float
    reads: Keys
    writes: Keys


class MissingInputError(KayGraphError, KeyError):
    """A node reads a key of the shared store that has not been written.

    Attributes:
        node: The name of the node.
        key: The missing key.
        known: The keys that exist, in the order in which they were written.
    """

    def __init__(self, node: str, key: str, known: Iterable[str]) -> None:
        self.node, self.key, self.known = node, key, tuple(known)
        super().__init__(node, key, self.known)

    def __str__(self) -> str:
        listed = ", ".join(repr(name) for name in self.known) or "none"
        return (
            f"Node {self.node!r} reads shared[{self.key!r}], which has not been written. "
            f"Known keys: {listed}.{closest(self.key, self.known)}"
        )


def check_keys(name: str, value: Any) -> Any:
    """Return ``value`` if it is a key of the shared store, several keys, or None."""
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
    """Return ``value`` if it is "loop" or None: the node keeps resources of the loop open."""
    if value not in (None, "loop"):
        raise ValueError(
            f"{name} must be 'loop': what this node holds open belongs to the event loop of the "
            f"run; got {value!r}"
        )
    return value


class Stored:
    """A mixin that reads keys of the shared store in ``prep`` and writes keys in ``post``.

    The store is a mapping, or an object whose public attributes are the keys.

    It precedes Node or BatchNode in the bases of a ready-made node.

    Attributes:
        reads: For one key, ``prep`` returns its value. For several, it returns a tuple of their
            values, in the same order. For None, it returns None.
        writes: For one key, ``post`` writes the result there. For several, the result must be a
            tuple or list with one value per key. For None, nothing is written. In a pipeline, the
            last stage writes its results, and any other stage its StageReport.
    """

    name: str
    reads: Keys = None
    writes: Keys = None
    _checks: ClassVar[Checks] = {"reads": check_keys, "writes": check_keys}

    def prep(self, shared: Any, /) -> Any:
        """Return the values of the keys in ``reads``.

        Raises:
            MissingInputError: A key is missing.
        """
        reads = self.reads
        if reads is None:
            return None
        if type(shared) is dict and type(reads) is str and reads in shared:  # the common case
            return shared[reads]
        return values_of(shared, reads, self.name)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write the result to the shared store."""
        writes = self.writes
        if writes is None:
            return
        if isinstance(exec_res, StageReport) and exec_res.results is not None:
            exec_res = exec_res.results
        if type(shared) is dict and type(writes) is str:
            shared[writes] = exec_res
        else:
            store(shared, writes, exec_res, self.name)


def values_of(shared: Any, keys: str | Sequence[str], node: str) -> Any:
    """Return the value of one key, or a tuple of the values of several keys."""
    stored = as_mapping(shared)
    for key in (keys,) if isinstance(keys, str) else keys:
        if key not in stored:
            raise MissingInputError(node, key, stored)
    return stored[keys] if isinstance(keys, str) else tuple(stored[key] for key in keys)


def store(shared: Any, keys: str | Sequence[str], value: Any, node: str) -> None:
    """Write a result under one key, or a tuple of results under as many keys."""
    if isinstance(keys, str):
        _write(shared, keys, value, node)
        return
    if not isinstance(value, tuple | list) or len(value) != len(keys):
        number = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise ValueError(
            f"Node {node!r} writes {len(keys)} keys ({', '.join(keys)}), so its result must be a "
            f"tuple of {len(keys)} values; got a {type(value).__name__}{number}"
        )
    for key, one in zip(keys, value, strict=True):
        _write(shared, key, one, node)


def _write(shared: Any, key: str, value: Any, node: str) -> None:
    stored: Any = as_mapping(shared)
    try:
        stored[key] = value
    except Exception as error:  # a model that validates, a frozen or read-only store
        kind, known = type(shared).__name__, ", ".join(map(repr, stored)) or "none"
        hint = "" if key in stored else closest(key, stored)
        add_note(error, f"node {node!r} writes {key!r} to a {kind}, which has: {known}.{hint}")
        raise


def configure(node: Any, own: Mapping[str, Any], settings: Any) -> None:
    """Apply the arguments of a constructor; None in ``own`` means that an argument is not set."""
    given = {name: value for name, value in own.items() if value is not None}
    given |= settings
    node._configure(given.pop("max_retries", None), given.pop("wait", None), given)
