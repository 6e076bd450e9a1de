"""Many checks on one record at once, and their results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any, ClassVar, Generic, Unpack, overload

from ..errors import Drop, KayGraphError
from ..node.keywords import Item
from ..node.node import Node
from ..nodes._store import configure
from ..outcome import Outcome
from ..streams.report import StageReport
from ._compound import Called, CompoundNode, CompoundSettings, Part
from ._marks import F, PartSettings, mark

CHECK = "check"


class ValidationFailure(KayGraphError):  # noqa: N818 - it is a verdict, not a fault
    """A check raises this when the record does not pass, with one or more problems.

    It is a verdict: it is not retried, and no breaker counts it.

    Attributes:
        problems: What is wrong with the record, in the given order.
    """

    def __init__(self, *problems: Any) -> None:
        self.problems = problems or ("does not pass",)
        super().__init__(*self.problems)


@dataclass(frozen=True, slots=True)
class ValidationSummary(Generic[Item]):
    """The results of all checks of one record. Each check is in one of the first four attributes.

    Attributes:
        passed: The checks that the record passes, in the order of their definition.
        failed: The checks that it does not pass, each with its problems.
        errors: The checks that could not be completed, each with its error.
        skipped: The checks that do not apply to the record (``raise Drop``), each with its reason.
        attempts: The number of attempts of each check.
        seconds: The time of each check over all attempts, in seconds.
        record: The record.
    """

    passed: tuple[str, ...]
    failed: Mapping[str, tuple[Any, ...]]
    errors: Mapping[str, BaseException]
    skipped: Mapping[str, str]
    attempts: Mapping[str, int]
    seconds: Mapping[str, float]
    record: Item

    @property
    def valid(self) -> bool:
        """Whether no check has failed and every check could be completed."""
        return not self.failed and not self.errors

    @property
    def problems(self) -> list[tuple[str, Any]]:
        """All problems as ``(check, problem)``, in the order in which the checks are defined."""
        return [(check, problem) for check, found in self.failed.items() for problem in found]


@overload
def check(function: F, /, **settings: Unpack[PartSettings]) -> F: ...
@overload
def check(**settings: Unpack[PartSettings]) -> Callable[[F], F]: ...
def check(function: Any = None, /, **settings: Any) -> Any:
    """Mark a method, or a function in ``checks=``, as a check.

    Use ``@check`` or ``@check(timeout=2, max_retries=3)``. The settings are those of a Node, and
    override those of the node that owns the check.

    The check gets the record. The record passes when the check returns None, True, or an empty
    list (tuple, set). It does not pass when the check returns False, a problem or a list (tuple,
    set, generator) of problems, yields problems, or raises ValidationFailure. A problem is any
    object that says what is wrong, such as a string or a mapping. A number, an empty string and an
    empty mapping are ambiguous, and count as an error of the check.
    """
    return mark(CHECK, function, settings, Node._accepts, Node._checks)


class ParallelValidationNode(CompoundNode[Item, ValidationSummary[Item]]):
    """Run all checks on a record at once.

    ::

        class Order(ParallelValidationNode):
            @check
            async def amount(self, order):
                return order["amount"] > 0 or "the amount must be above 0"

            @check(timeout=2, max_retries=3)
            async def address(self, order):
                return await self.resource.problems_of(order["address"])

        order = Order(reads="order", writes="summary")
        order - "valid" >> Ship()
        order - "invalid" >> Refuse()

    ``exec`` takes a record and returns its ValidationSummary. ``post`` writes the summary under
    ``writes`` and returns "valid" or "invalid". Every check runs to its end, whatever the others
    find. When a check could not be completed (it raised another error or timed out), the record is
    "invalid", and ``errors`` has the error.

    Args:
        checks: Callables or Nodes by name, in addition to the methods marked with ``@check``.

    For the other settings see CompoundNode; ``timeout`` and attempts apply to each check.
    """

    checks: Mapping[str, Called] = {}

    _accepts: ClassVar[frozenset[str]] = CompoundNode._accepts | {"checks"}

    def __init__(
        self,
        checks: Mapping[str, Called] | None = None,
        **settings: Unpack[CompoundSettings],
    ) -> None:
        configure(self, {"checks": checks}, settings)
        if not self._parts:
            raise TypeError(
                f"{type(self).__name__} has no check: mark methods with @check, or give "
                "checks={'name': function}"
            )

    def _make(self) -> Mapping[str, Node[Any, Any]]:
        return self._named_parts(CHECK, self.checks, _Check)

    async def exec(self, record: Item, /) -> ValidationSummary[Item]:
        """Run the checks and return their summary."""
        return summary_of(record, await self._settle(record))

    def post(self, shared: Any, record: Any, summary: Any, /) -> Any:
        """Write the summary; return "valid" or "invalid"."""
        super().post(shared, record, summary)
        if isinstance(summary, StageReport):  # the end of a stream, which is not a record
            return None
        return "valid" if summary.valid else "invalid"


class _Check(Part):
    """A check as a node; it returns the problems of a ValidationFailure that the check raises."""

    def at_once(self, record: Any) -> Any:
        try:
            return super().at_once(record)
        except ValidationFailure as failure:
            return failure.problems

    async def later(self, record: Any) -> Any:
        try:
            return await super().later(record)
        except ValidationFailure as failure:
            return failure.problems


def summary_of(record: Any, outcomes: Sequence[Outcome[Any]]) -> ValidationSummary[Any]:
    """Return the summary of the outcomes of all checks."""
    passed: list[str] = []
    failed: dict[str, tuple[Any, ...]] = {}
    errors: dict[str, BaseException] = {}
    skipped: dict[str, str] = {}
    for outcome in outcomes:
        check, error = outcome.name, outcome.error
        try:
            if isinstance(error, ValidationFailure):  # raised by a Node
                problems = error.problems
            elif error is not None:
                raise error
            else:
                problems = problems_in(check, outcome.value)
        except Drop as reason:
            skipped[check] = str(reason)
        except Exception as failure:
            errors[check] = failure
        else:
            if problems:
                failed[check] = problems
            else:
                passed.append(check)
    attempts = {outcome.name: outcome.attempts for outcome in outcomes}
    seconds = {outcome.name: outcome.seconds for outcome in outcomes}
    return ValidationSummary(tuple(passed), failed, errors, skipped, attempts, seconds, record)


def problems_in(check: str, found: Any) -> tuple[Any, ...]:
    """Return the problems that a check has returned; none when the record passes."""
    if found is None or found is True:
        return ()
    if found is False:
        return ("does not pass",)
    if type(found) in (list, tuple, set, frozenset):
        return tuple(found)
    # A record must not pass by mistake because of 0, 1 or an empty value.
    if isinstance(found, Number) or not found:
        raise TypeError(
            f"check {check!r} returned {found!r:.100}: return None or True when the record passes; "
            "False, a problem or a list of problems when it does not"
        )
    return (found,)
