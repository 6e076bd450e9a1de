"""A node that selects the next action by a value of the shared store."""

import operator as operators
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as data_field
from inspect import isawaitable
from itertools import islice
from typing import Any, ClassVar, Literal, Unpack

from ..errors import KayGraphError, NodeDefinitionError, closest
from ..executors.kinds import kind_of
from ..node.node import Node
from ..node.settings import Checks
from ._fields import found_at
from ._references import check_function
from ._store import Stored, StoreSettings, configure

Operator = Literal[
    "==", "!=", ">", "<", ">=", "<=", "in", "contains", "is_null", "is_not_null"
]  # fmt: skip

Predicate = Callable[[Any], bool | Awaitable[bool]]

LOOKED_AT = 100  # elements of a container to check for one that can be compared


class ComparisonError(KayGraphError, TypeError):
    """A case compares values that cannot be compared. The error shows their types, not the values.

    Attributes:
        action: The action of the case.
        field: The field, or None when the case compares the whole value that was read.
        operator: The operator of the case.
        types: The names of the two types.
    """

    def __init__(self, action: str, field: str | None, operator: str, types: tuple[str, str]):
        self.action, self.field, self.operator, self.types = action, field, operator, types
        super().__init__(action, field, operator, types)

    def __str__(self) -> str:
        what = "the value" if self.field is None else repr(self.field)
        return (
            f"Case {self.action!r} cannot compare {what} of type {self.types[0]} with a value of "
            f"type {self.types[1]} by {self.operator!r}. Convert one of them first, or put a case "
            "for such values before this one, as with is_null"
        )


@dataclass(frozen=True)
class Case:
    """A condition and its action: a field, an operator and a value, or a predicate.

    ``Case("adult", "user.age", ">=", 18)``, ``Case("new", "user.name", "is_null")``,
    ``Case("late", when=is_late)``.

    Attributes:
        action: What the switch returns when this case matches.
        field: A key of the mapping that was read, or an attribute of the object; a dotted path
            reaches nested values. None stands for the whole value that was read.
        operator: ``==``, ``!=``, ``>``, ``<``, ``>=``, ``<=``, ``in`` (the field is an element of
            ``value``), ``contains`` (``value`` is an element of the field), ``is_null``,
            ``is_not_null``.
        value: The value to compare with.
        when: A predicate ``(value that was read) -> bool``, sync or async, or
            ``"module:function"``, instead of a field, an operator and a value.

    Raises:
        ValueError: The operator is unknown, or the arguments do not fit together.
        FunctionReferenceError: ``"module:function"`` does not name a function.
    """

    action: str
    field: str | None = None
    operator: Operator | None = None
    value: Any = ...
    when: Predicate | str | None = data_field(default=None, kw_only=True)

    _compare: ClassVar[Any]  # what follows from the fields, for each read
    _path: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        if not isinstance(self.action, str) or not self.action:
            raise ValueError(f"action must be a non-empty string, got {self.action!r}")
        if self.action == "default":
            raise ValueError(
                "'default' is what a switch returns when no case matches: leave it out"
            )
        if self.when is not None:
            if (self.field, self.operator, self.value) != (None, None, ...):
                raise ValueError(
                    f"Case {self.action!r} takes when=, or a field with an operator; not both"
                )
            function = check_function("when", self.when)
            if kind_of(function) not in ("sync", "async"):
                raise ValueError(f"when must return, not yield: {function!r} would always match")
            object.__setattr__(self, "when", function)
        else:
            self._check_comparison()

    def _check_comparison(self) -> None:
        if self.operator not in OPERATORS:
            known = ", ".join(repr(name) for name in OPERATORS)
            meant = ELSEWHERE.get(str(self.operator), self.operator)
            raise ValueError(
                f"Case {self.action!r} needs when= or an operator, one of {known}; got "
                f"{self.operator!r}.{closest(meant, OPERATORS)}"
            )
        if self.field is not None and not (
            isinstance(self.field, str) and all(self.field.split("."))
        ):
            raise ValueError(f"field must be a name, as in 'user.age', got {self.field!r}")
        if (self.value is ...) != (self.operator in TESTS):
            wants = "takes no value" if self.operator in TESTS else "needs a value"
            raise ValueError(f"Case {self.action!r}: {self.operator!r} {wants}")
        if self.operator == "in" and not isinstance(self.value, Container):
            raise ValueError(
                f"Case {self.action!r}: 'in' needs a container, got a {type(self.value).__name__}"
            )
        object.__setattr__(self, "_compare", {**COMPARISONS, **TESTS}[self.operator])
        object.__setattr__(self, "_path", tuple((self.field or "").split(".")))

    async def matches(self, read: Any) -> bool:
        """Return whether this case matches the value that was read.

        Raises:
            MissingFieldError: The value has no such field.
            ComparisonError: The field and the value cannot be compared.
        """
        answer = self._answer(read)
        return bool(await answer if isawaitable(answer) else answer)

    def _answer(self, read: Any) -> Any:
        """Return the same, or what a predicate gives, which may have to be awaited."""
        if callable(self.when):
            return self.when(read)
        found = read if self.field is None else found_at(read, self._path, self.field)
        try:
            return bool(self._compare(found, self.value))
        except (TypeError, ValueError) as error:
            types = (type(found).__name__, type(self.value).__name__)
            assert self.operator is not None
            raise ComparisonError(self.action, self.field, self.operator, types) from error


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal; None equals nothing but itself.

    Raises:
        TypeError: Neither type can compare with the other. Python's ``==`` would return False.
    """
    if one is None or other is None:
        return one is other
    for left, right in ((one, other), (other, one)):
        answer = operators.attrgetter("__eq__")(type(left))(left, right)
        if answer is not NotImplemented:
            return bool(answer)
    if type(one) is type(other):
        return one is other
    raise TypeError("these types cannot be compared")


def _is_in(element: Any, container: Any) -> bool:
    """Return whether an element is in a container.

    Raises:
        TypeError: It is not a container, or has no element that can be compared with this one.
    """
    if element in container:
        return True
    some = list(islice(container, LOOKED_AT)) if isinstance(container, Iterable) else []
    if some and not any(_comparable(element, other) for other in some):
        raise TypeError("it holds nothing that can be compared with that")
    return False


def _comparable(one: Any, other: Any) -> bool:
    try:
        _equal(one, other)
    except TypeError:
        return False
    return True


def _is_null(found: Any, _: Any) -> bool:
    return found is None


def _is_not_null(found: Any, _: Any) -> bool:
    return found is not None


def _differ(found: Any, value: Any) -> bool:
    return not _equal(found, value)


def _contains(found: Any, value: Any) -> bool:
    return _is_in(value, found)


# Each is called with the field and the value of the case.
TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "is_null": _is_null,
    "is_not_null": _is_not_null,
}
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": _equal,
    "!=": _differ,
    ">": operators.gt,
    "<": operators.lt,
    ">=": operators.ge,
    "<=": operators.le,
    "in": _is_in,
    "contains": _contains,
}
OPERATORS = (*COMPARISONS, *TESTS)
# Operators of other languages; the closest name by spelling would be a wrong suggestion.
ELSEWHERE: Mapping[str, str] = {"=": "==", "===": "==", "<>": "!=", "=>": ">=", "=<": "<="}


def check_cases(name: str, value: Any) -> tuple[Case, ...]:
    if not isinstance(value, tuple | list) or not all(isinstance(case, Case) for case in value):
        raise ValueError(
            f"{name} must be Cases, as in Case('adult', 'user.age', '>=', 18); got {value!r}"
        )
    return tuple(value)


class SwitchNode(Stored, Node[Any, str]):
    """Returns the action of the first case that matches, or "default" when none does.

    .. code-block:: python

        switch = SwitchNode(
            Case("new", "age", "is_null"), Case("adult", "age", ">=", 18), reads="user"
        )
        switch - "new" >> ask
        switch - "adult" >> admit
        switch >> refuse

    Cases are checked in order, on the event loop. A missing field and types that cannot be
    compared are errors, never a mismatch.

    Args:
        cases: One or more cases.
        reads: The key of the shared store with the value to check; for several keys, the cases
            check the tuple of their values.
        writes: A key under which to store the action.

    The other settings are those of Node.

    Raises:
        MissingFieldError: From a run, when a field is missing.
        ComparisonError: From a run, when a field cannot be compared with the case's value.
    """

    cases: tuple[Case, ...] = ()

    _accepts: ClassVar[frozenset[str]] = Node._accepts | {"reads", "writes", "cases"}
    _checks: ClassVar[Checks] = {"cases": check_cases}

    def __init__(self, *cases: Case, **settings: Unpack[StoreSettings]) -> None:
        configure(self, {"cases": cases or None}, settings)
        if not self.cases:
            raise NodeDefinitionError(
                f"{type(self).__name__} needs at least one Case, as in "
                "Case('adult', 'user.age', '>=', 18)"
            )
        if self.reads is None and type(self).prep is Stored.prep:
            raise NodeDefinitionError(
                f"{type(self).__name__} has nothing to look at: reads= names a key of the shared "
                "store, as in reads='user'"
            )

    async def exec(self, read: Any, /) -> str:
        """Return the action of the first case that matches, or "default"."""
        for case in self.cases:
            answer = case._answer(read)
            if type(answer) is not bool and isawaitable(answer):
                answer = await answer
            if answer:
                return case.action
        return "default"

    def post(self, shared: Any, prep_res: Any, action: str, /) -> str:
        """Return the action that ``exec`` found."""
        if self.writes is not None:
            super().post(shared, prep_res, action)
        return action
