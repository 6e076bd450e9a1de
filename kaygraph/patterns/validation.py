"""Many checks at once on one record, and what they have found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any, ClassVar, Generic, Unpack, overload

from ..errors import Drop, KayGraphError
from ..node.keywords import Item
from ..node.node import Node
from ..nodes._store import configure
from ..outcome import Outcome
from ..streams.stage import StageReport
from ._compound import Called, CompoundNode, CompoundSettings, Part
from ._marks import F, PartSettings, mark

CHECK = "check"


class ValidationFailure(KayGraphError):  # noqa: N818 - it is a verdict, not a mishap
    """A check raises it when the record does not pass, with one problem or several.

    It is a verdict: it is not retried, and no breaker counts it.

    Attributes:
        problems: What is wrong with the record, in the order given.
    """

    def __init__(self, *problems: Any) -> None:
        self.problems = problems or ("does not pass",)
        super().__init__(*self.problems)


@dataclass(frozen=True, slots=True)
class ValidationSummary(Generic[Item]):
    """What became of each check of one record. A check stands in exactly one of the first four.

    Attributes:
        passed: The checks that the record passes, in the order written.
        failed: Those that it does not pass, each with its problems.
        errors: Those that could not be carried out, each with what it raised.
        skipped: Those that say, by ``raise Drop``, that they are not for this record, with why.
        attempts: How many times each check was begun.
        seconds: The time that each took, over all attempts, in seconds.
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
        """Whether no check has failed, and none could not be carried out."""
        return not self.failed and not self.errors

    @property
    def problems(self) -> list[tuple[str, Any]]:
        """All problems as ``(check, problem)``, in the order in which the checks are written."""
        return [(check, problem) for check, found in self.failed.items() for problem in found]


@overload
def check(function: F, /, **settings: Unpack[PartSettings]) -> F: ...
@overload
def check(**settings: Unpack[PartSettings]) -> Callable[[F], F]: ...
def check(function: Any = None, /, **settings: Any) -> Any:
    """Mark a method (or a function that is given as ``checks=``) as a check.

    ``@check`` or ``@check(timeout=2, max_retries=3)``: it takes the settings of a Node, which stand
    above those of the node that it is a check of. The check takes the record. The record passes
    when it returns None, True, or an empty list (tuple, set). It does not pass when it returns
    False, a problem or a list (tuple, set, generator) of problems, yields problems, or raises
    ValidationFailure. A problem is whatever tells what is wrong: a text, a mapping, an object. A
    number, an empty text or an empty mapping could mean both: it is an error of the check.
    """
    return mark(CHECK, function, settings, Node._accepts, Node._checks)


class ParallelValidationNode(CompoundNode[Item, ValidationSummary[Item]]):
    """Carry out all checks on a record at once.

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

    ``exec`` takes a record and returns its ValidationSummary; ``post`` writes that where ``writes``
    says, and returns "valid" or "invalid". All checks come to their end, whatever the others find.
    A check that could not be carried out (it raised something else, or its time was over) has not
    passed: the record is "invalid", and ``errors`` tells.

    Args:
        checks: Callables or Nodes by name, beside the methods that are marked with ``@check``.

    For the other settings see CompoundNode: ``timeout`` and attempts are each check's.
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
        """Carry out the checks and return their summary."""
        return summary_of(record, await self._settle(record))

    def post(self, shared: Any, record: Any, summary: Any, /) -> Any:
        """Write the summary; return "valid" or "invalid"."""
        super().post(shared, record, summary)
        if isinstance(summary, StageReport):  # the end of a stream, which is no record
            return None
        return "valid" if summary.valid else "invalid"


class _Check(Part):
    """A check as a node, in which a verdict that is raised is one that is returned."""

    def now(self, record: Any) -> Any:
        try:
            return super().now(record)
        except ValidationFailure as failure:
            return failure.problems

    async def later(self, record: Any) -> Any:
        try:
            return await super().later(record)
        except ValidationFailure as failure:
            return failure.problems


def summary_of(record: Any, outcomes: Sequence[Outcome[Any]]) -> ValidationSummary[Any]:
    """Return what the outcomes of all checks come to."""
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
    # What is nearly a bool, and what is nearly nothing, must not let a record pass by mistake.
    if isinstance(found, Number) or not found:
        raise TypeError(
            f"check {check!r} returned {found!r:.100}: return None or True when the record passes; "
            "False, a problem or a list of problems when it does not"
        )
    return (found,)
