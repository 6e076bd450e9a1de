"""A node that merges the results of branches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Unpack, get_args

from .._formatting import redacted
from .._stores import as_mapping
from .._validation import check_choice, check_count, check_flag
from ..errors import KayGraphError, NodeDefinitionError, closest
from ..node.facts import outcomes_of
from ..node.keywords import NodeSettings
from ..node.node import Node
from ..node.settings import Checks
from ..outcome import Outcome
from ._joins import How, KeyConflictError, Prefer, join
from ._store import Keys, Stored, configure

Strategy = Literal[
    "combine_dict", "collect_all", "collect_available", "concat", "zip", "join", "first"
]  # fmt: skip


class Available(NamedTuple):
    """The available inputs of a merge, and the reasons why others are missing.

    Attributes:
        found: Values by name, in the order of the inputs.
        missing: For each missing input, by name, why it is missing; secrets are hidden.
    """

    found: dict[str, Any]
    missing: dict[str, str]


class MissingInputsError(KayGraphError, LookupError):
    """A merge has fewer inputs than it needs.

    Attributes:
        required: How many inputs the merge needs.
        found: The names of the available inputs.
        missing: For each missing input, by name, why it is missing.
    """

    def __init__(self, required: int, found: Iterable[str], missing: Mapping[str, str]) -> None:
        self.required, self.found, self.missing = required, tuple(found), dict(missing)
        super().__init__(required, self.found, self.missing)

    def __str__(self) -> str:
        inputs = len(self.found) + len(self.missing)
        there = ", ".join(map(repr, self.found)) or "none"
        reasons = "; ".join(f"{name!r} ({reason})" for name, reason in self.missing.items())
        reasons = reasons or "none"
        return (
            f"{self.required} of {inputs} inputs are needed, {len(self.found)} are there: {there}. "
            f"Missing: {reasons}. Set required_inputs= to the number that is enough, or use the "
            "strategy 'collect_available', which reports the missing ones"
        )


def check_inputs(name: str, value: Any) -> dict[str, str]:
    """Return a mapping of input names to keys of the shared store."""
    names = value if isinstance(value, Mapping) else None
    if names is None and isinstance(value, list | tuple):
        names = {key: key for key in value if isinstance(key, str)}
    if (
        not names
        or len(names) < len(value)
        or not all(isinstance(text, str) and text for pair in names.items() for text in pair)
    ):
        raise ValueError(
            f"{name} must be keys of the shared store, each once, as in {name}=('eu', 'us'), or a "
            f"mapping of names to keys; got {value!r}"
        )
    return dict(names)


def check_key(name: str, value: Any) -> tuple[str, ...]:
    """Return the fields of a join key."""
    fields = (value,) if isinstance(value, str) else value
    if (
        not isinstance(fields, tuple | list)
        or not fields
        or not all(isinstance(field, str) and field for field in fields)
    ):
        raise ValueError(f"{name} must be a field of the records, or several, got {value!r}")
    return tuple(dict.fromkeys(fields))


class MergeSettings(NodeSettings, total=False):
    """The settings of a MergeNode, besides its own arguments."""

    max_retries: int
    wait: float
    writes: Keys


MAX_REASON = 500  # characters of the error of a branch

# The strategies that use each of these settings.
USED_BY = {
    "key": ("join",),
    "how": ("join",),
    "prefer": ("combine_dict", "join"),
    "required_inputs": ("collect_available", "combine_dict", "concat", "zip", "join", "first"),
}


class MergeNode(Stored, Node[Any, Any]):
    """Merges the values that several nodes have written, or the results of the branches before it.

    - ``collect_all`` (the default): a dict of all inputs by name.
    - ``collect_available``: the available inputs and, by name, why others are missing, as an
      ``Available(found, missing)``; ``writes=("found", "missing")`` unpacks it.
    - ``combine_dict``: one dict with the keys of all inputs, which must be mappings.
    - ``concat``: one list of the elements of all inputs, one input after another.
    - ``zip``: a list of tuples with the first elements of all inputs, the second elements, and so
      on; inputs of different lengths are an error.
    - ``join``: a list of combined records; records with equal values in ``key`` are combined.
    - ``first``: the first available input, in the order of the inputs.

    An input is missing when its key has not been written, when its branch has not succeeded, or
    when its node has led elsewhere.
    By default, all inputs are required; ``collect_available`` and ``first`` require one.
    ``required_inputs`` changes that. A merge without any input is an error.

    A join takes time linear in the number of input and output records. The result keeps the order
    of the first input; records of other inputs without a partner come last. A key may occur
    several times on one side: each of these records is combined with the record of the other side.
    A key that occurs several times on both sides is an error, since the records would multiply.
    None never matches. A record without a partner keeps only its own fields. More than two inputs
    are joined one after another.

    Args:
        strategy: One of the above.
        inputs: Keys of the shared store, or a mapping of names to keys. By default, what ``exec``
            of each node that leads here returned (``[eu, us] >> MergeNode(…)``), or of each branch
            of a group (``settle(eu, us) >> MergeNode(…)``), by the names of nodes or branches.
        writes: A key for the result.
        required_inputs: How many inputs are enough.
        skip_none: Whether to leave out inputs that are None; they are then not required.
        prefer: Whose value to take when two inputs have the same key (or, in a join, the same
            field outside of ``key``): that of the ``"first"`` or the ``"last"`` input. By default,
            such a conflict is an error.
        key: The field, or several fields, of the records to join by.
        how: ``"inner"`` (the default) keeps records with partners in all inputs, ``"left"`` all
            records of the first input, ``"outer"`` all records.

    The other settings are those of Node. If you override ``prep``, return a mapping of names to
    values.

    Raises:
        MissingInputsError: From a run, when there are not enough inputs.
        KeyConflictError: From a run, when two inputs have the same key and ``prefer`` is not set.
        TypeError, ValueError: From a run, when an input does not fit the strategy.
    """

    strategy: Strategy = "collect_all"
    inputs: Mapping[str, str] | None = None
    required_inputs: int | None = None
    skip_none: bool = False
    prefer: Prefer | None = None
    key: tuple[str, ...] | None = None
    how: How | None = None

    _accepts: ClassVar[frozenset[str]] = Node._accepts | {
        "strategy", "inputs", "writes", "required_inputs", "skip_none", "prefer", "key", "how",
    }  # fmt: skip
    _checks: ClassVar[Checks] = {
        "strategy": check_choice(*get_args(Strategy)),
        "inputs": check_inputs,
        "required_inputs": check_count,
        "skip_none": check_flag,
        "prefer": check_choice(*get_args(Prefer)),
        "key": check_key,
        "how": check_choice(*get_args(How)),
    }

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        inputs: Mapping[str, str] | Sequence[str] | None = None,
        required_inputs: int | None = None,
        skip_none: bool | None = None,
        prefer: Prefer | None = None,
        key: str | Sequence[str] | None = None,
        how: How | None = None,
        **settings: Unpack[MergeSettings],
    ) -> None:
        own = {
            "strategy": strategy, "inputs": inputs, "required_inputs": required_inputs,
            "skip_none": skip_none, "prefer": prefer, "key": key, "how": how,
        }  # fmt: skip
        configure(self, own, settings)
        for name, strategies in USED_BY.items():
            if getattr(self, name) is not None and self.strategy not in strategies:
                raise ValueError(
                    f"{name} has no effect with strategy={self.strategy!r}; it is for "
                    f"{', '.join(map(repr, strategies))}"
                )
        if self.strategy == "join" and self.key is None:
            raise ValueError("strategy='join' needs key=, a field of the records, as in key='id'")
        if self.inputs is not None and (self.required_inputs or 0) > len(self.inputs):
            raise ValueError(
                f"required_inputs={self.required_inputs}, but there are only "
                f"{len(self.inputs)} inputs"
            )

    @property
    def merges_branches(self) -> bool:
        return self.inputs is None

    def prep(self, shared: Any, /) -> Available | Mapping[str, Any]:
        """Return the available inputs, and why others are missing."""
        if self.inputs is not None:
            return _written(shared, self.inputs)
        outcomes = outcomes_of(self)
        if not outcomes:
            raise NodeDefinitionError(
                f"{self.name!r} has nothing to merge: pass inputs=('eu', 'us'), or put it after "
                "the branches, as in [eu, us] >> MergeNode(…) or settle(eu, us) >> MergeNode(…)"
            )
        return _succeeded(outcomes)

    def exec(self, inputs: Available | Mapping[str, Any], /) -> Any:
        """Return the merged inputs. It runs in a thread, since a large merge takes time."""
        if not isinstance(inputs, Available | Mapping):
            raise TypeError(
                f"{self.name!r} merges values by name: prep must return a mapping of names to "
                f"values, got a {type(inputs).__name__}"
            )
        given = inputs if isinstance(inputs, Available) else Available(dict(inputs), {})
        available = self._enough(given)
        if self.strategy == "collect_available":
            return available
        return MERGES[self.strategy](self, available.found)

    def _enough(self, given: Available) -> Available:
        """Return the inputs if there are enough; an input that is skipped counts as missing."""
        skipped: dict[str, str] = {}
        if self.skip_none:
            skipped = {name: "is None" for name, value in given.found.items() if value is None}
        found = {name: value for name, value in given.found.items() if name not in skipped}
        if self.required_inputs is not None:
            required = self.required_inputs
        elif self.strategy in ("collect_available", "first"):
            required = 1
        else:
            required = max(1, len(found) + len(given.missing))
        missing = given.missing | skipped
        if len(found) < required:
            raise MissingInputsError(required, found, missing)
        return Available(found, missing)


def _written(shared: Any, inputs: Mapping[str, str]) -> Available:
    stored = as_mapping(shared)
    found = {name: stored[key] for name, key in inputs.items() if key in stored}
    missing = {
        name: f"shared[{key!r}] has not been written.{closest(key, stored)}".rstrip(".")
        for name, key in inputs.items()
        if key not in stored
    }
    return Available(found, missing)


def _succeeded(outcomes: Iterable[Outcome[Any]]) -> Available:
    found, missing = {}, {}
    for outcome in outcomes:
        if outcome.ok:
            found[outcome.name] = outcome.value
        else:
            error = outcome.error
            why = "" if error is None else f": {type(error).__name__}: {error}"
            missing[outcome.name] = redacted(outcome.status + why)[:MAX_REASON]
    return Available(found, missing)


def _collected(node: MergeNode, found: dict[str, Any]) -> dict[str, Any]:
    return found


def _first(node: MergeNode, found: dict[str, Any]) -> Any:
    return next(iter(found.values()))


def _combined(node: MergeNode, found: dict[str, Any]) -> dict[str, Any]:
    combined: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for name, value in found.items():
        if not isinstance(value, Mapping):
            raise _unfit(node, name, value, "mappings")
        for key in value:
            if key in owners and node.prefer is None:
                raise KeyConflictError(key, (owners[key], name))
            if key not in owners or node.prefer == "last":
                combined[key], owners[key] = value[key], name
    return combined


def _concatenated(node: MergeNode, found: dict[str, Any]) -> list[Any]:
    return [element for elements in _lists(node, found).values() for element in elements]


def _zipped(node: MergeNode, found: dict[str, Any]) -> list[tuple[Any, ...]]:
    lists = _lists(node, found)
    if len({len(elements) for elements in lists.values()}) > 1:
        lengths = ", ".join(f"{name!r} has {len(elements)}" for name, elements in lists.items())
        raise ValueError(f"zip needs inputs of the same length: {lengths}")
    return list(zip(*lists.values(), strict=True))


def _joined(node: MergeNode, found: dict[str, Any]) -> list[dict[str, Any]]:
    lists = _lists(node, found)
    for name, records in lists.items():
        if not all(issubclass(kind, Mapping) for kind in {*map(type, records)}):
            for record in records:
                if not isinstance(record, Mapping):
                    raise _unfit(node, name, record, "lists of mappings")
    assert node.key is not None
    return join(lists, node.key, node.how or "inner", node.prefer)


MERGES: Mapping[Strategy, Callable[[MergeNode, dict[str, Any]], Any]] = {
    "collect_all": _collected,
    "combine_dict": _combined,
    "concat": _concatenated,
    "zip": _zipped,
    "join": _joined,
    "first": _first,
}


def _lists(node: MergeNode, found: dict[str, Any]) -> dict[str, list[Any]]:
    for name, value in found.items():
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise _unfit(node, name, value, "lists")
    return {name: value if type(value) is list else list(value) for name, value in found.items()}


def _unfit(node: MergeNode, name: str, value: Any, kind: str) -> TypeError:
    hint = "; skip_none=True leaves it out" if value is None else ""
    return TypeError(
        f"{node.strategy} merges {kind}, and input {name!r} has a {type(value).__name__}{hint}"
    )
