"""A call with a fallback: one result in every case."""

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Unpack

from .._validation import check_limit
from ..errors import KayGraphError, NodeDefinitionError
from ..node.keywords import Result
from ..node.node import Node
from ..node.settings import Checks
from ..node.wiring import successors_of
from ..nodes._store import Keys, configure
from ..run.frame import Frame
from ..streams.report import StageReport
from ._compound import OWN, Called, CompoundNode, Part, is_async
from ._marks import PartSettings

WAYS = frozenset({"success", "fallback", "failed"})


def as_given(name: str, value: Any) -> Any:
    """Return ``value`` unchecked; it is checked when the parts are made."""
    return value


class ResilientSettings(PartSettings, total=False):
    """The settings of a ResilientBranch, besides its own arguments."""

    reads: Keys
    writes: Keys
    max_workers: int
    ordered: bool


class RefusedAnswerError(KayGraphError):
    """``check`` refused an answer."""


@dataclass(frozen=True, slots=True)
class ResilientResult(Generic[Result]):
    """The result of one call.

    Attributes:
        status: "success", "fallback" or "failed".
        value: The answer, or what the fallback returned; None when both failed.
        source: Where the value comes from: "primary" or "fallback"; None when both failed.
        error: The error of the call; None when it succeeded. When the fallback failed too, an
            ExceptionGroup of both errors, that of the call first.
        attempts: The number of attempts of the call.
        seconds: The total time, waits and fallback included, in seconds.
    """

    status: Literal["success", "fallback", "failed"]
    value: Result | None
    source: Literal["primary", "fallback"] | None
    error: BaseException | None
    attempts: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there is a value, from the call or from the fallback."""
        return self.source is not None


class ResilientBranch(CompoundNode[Any, ResilientResult[Result]]):
    """Make a call, check the answer, and fall back on failure: always exactly one ResilientResult.

    ::

        class Quote(ResilientBranch):
            timeout, max_retries = 2, 3
            breaker = CircuitBreaker(failures=5)

            async def call(self, symbol):
                return await self.resource.quote(symbol)

            def check(self, quote):
                return quote["price"] > 0

            def fallback(self, symbol):
                return LAST_KNOWN[symbol]

        quote = Quote(reads="symbol", writes="quote")

    ``exec`` takes a request and returns a ResilientResult; it does not raise. ``post`` writes the
    result under ``writes``. It returns "success", "fallback" or "failed" if one of these actions
    is wired; with only ``>>``, the next node runs in every case.

    The settings of a Node (``timeout``, ``retry``, ``deadline``, ``breaker``, ``rate``, …) apply to
    the call. A refused answer is a failed attempt: it is retried, and a breaker counts it.

    Args:
        call: A method, a callable or a Node that takes the request and returns the answer. A Node
            keeps its own settings, and is not called again after a refused answer.
        check: Takes the answer; returns None or True to accept it, False or a reason (a string) to
            refuse it. If it raises, the answer is refused too. It runs where ``call`` runs, and
            may be ``async def`` if ``call`` is. Without it, every answer is accepted.
        fallback: A method, a callable or a Node that takes the request and returns a substitute
            for the answer. In it, ``self.error`` is the error of the call. Without it, a failed
            call has the status "failed".
        fallback_timeout: The time limit of the fallback in seconds.

    ``max_workers`` and ``ordered`` apply to a stage of a pipeline; see CompoundNode.
    """

    call: Any = None
    check: Any = None
    fallback: Any = None
    fallback_timeout: float | None = None

    _accepts: ClassVar[frozenset[str]] = (
        Node._accepts | (OWN - {"on_error"}) | {"call", "check", "fallback", "fallback_timeout"}
    )
    _checks: ClassVar[Checks] = {
        "call": as_given,
        "check": as_given,
        "fallback": as_given,
        "fallback_timeout": check_limit,
    }
    _inherited: ClassVar[frozenset[str]] = Node._accepts - {"name"}

    def __init__(
        self,
        call: Called | None = None,
        *,
        check: Any = None,
        fallback: Called | None = None,
        fallback_timeout: float | None = None,
        **settings: Unpack[ResilientSettings],
    ) -> None:
        hooks = {"call": call, "check": check, "fallback": fallback}
        configure(self, {**hooks, "fallback_timeout": fallback_timeout}, settings)
        if self.call is None:
            raise TypeError(
                f"{type(self).__name__} has nothing to call: define call(self, request), or give "
                "call=function"
            )
        self._all()

    def _make(self) -> Mapping[str, Node[Any, Any]]:
        if self.check is not None and not callable(self.check):
            raise TypeError(f"check of {self!r} must be a callable, got {self.check!r}")
        primary = self._part(self.call, "call", make=_Call)
        parts = {"call": primary}
        if not isinstance(primary, _Call):
            for name in sorted(self._inherited):
                if getattr(self, name) != getattr(Node, name):
                    raise ValueError(
                        f"{name} is for a callable: the Node {primary!r} has settings of its own"
                    )
        else:
            primary.check = self.check
            if is_async(self.check) and not is_async(primary.function):
                raise NodeDefinitionError(
                    f"check of {type(self).__name__} is written 'async def' and call is not: write "
                    "both alike"
                )
        if self.fallback is not None:
            # It is for when the call is slow or refused: none of the call's limits apply to it.
            alone = dict.fromkeys(self._inherited - {"max_retries", "wait", "max_per_key"})
            settings = {**alone, "timeout": self.fallback_timeout}
            parts["fallback"] = self._part(self.fallback, "fallback", settings)
            if isinstance(self.fallback, Node) and self.fallback_timeout is not None:
                raise ValueError("fallback_timeout is for a callable: a Node has its own timeout")
        return parts

    @property
    def _limit(self) -> None:
        return None  # the deadline is the call's: the fallback comes after it

    async def exec(self, request: Any, /) -> ResilientResult[Result]:
        """Call, check, and fall back on failure."""
        return await self._in_place(lambda frame: self._answered(request, frame))

    async def _answered(self, request: Any, frame: Frame) -> ResilientResult[Result]:
        clock = asyncio.get_running_loop().time
        began = clock()
        primary = await self._ask("call", request, frame)
        error = primary.error
        if error is None and isinstance(self.call, Node):
            error = await self._refusal(primary.value)
        tries = primary.attempts
        if error is None:
            seconds = clock() - began
            return ResilientResult("success", primary.value, "primary", None, tries, seconds)
        if self.fallback is None:
            return ResilientResult("failed", None, None, error, tries, clock() - began)
        second = await self._ask("fallback", request, frame.derive(error=error))
        seconds = clock() - began
        if second.error is None:
            return ResilientResult("fallback", second.value, "fallback", error, tries, seconds)
        both = BaseExceptionGroup(
            f"the call of {self.name!r} and its fallback failed", [error, second.error]
        )
        return ResilientResult("failed", None, None, both, tries, seconds)

    async def _refusal(self, answer: Any) -> Exception | None:
        """Return why the answer of a Node is refused, or None."""
        try:
            await _accept_later(self.name, self.check, answer)
        except Exception as error:
            return error
        return None

    def post(self, shared: Any, request: Any, result: Any, /) -> Any:
        """Write the result; return its status, unless only the plain edge is wired."""
        super().post(shared, request, result)
        wired = successors_of(self)
        if isinstance(result, StageReport) or ("default" in wired and not wired.keys() & WAYS):
            return None
        return result.status


class _Call(Part):
    """A call as a node, in which a refused answer is a failure."""

    check: Any = None

    def at_once(self, request: Any) -> Any:
        answer = super().at_once(request)
        if self.check is not None:
            _accept(self.name, self.check(answer))
        return answer

    async def later(self, request: Any) -> Any:
        answer = await super().later(request)
        await _accept_later(self.name, self.check, answer)
        return answer


async def _accept_later(name: str, check: Any, answer: Any) -> None:
    if check is not None:
        verdict = check(answer)
        _accept(name, await verdict if inspect.isawaitable(verdict) else verdict)


def _accept(name: str, verdict: Any) -> None:
    """Raise unless a verdict is an acceptance; the answer itself may contain secrets."""
    if verdict is None or verdict is True:
        return
    if verdict is False:
        raise RefusedAnswerError(f"check of {name!r} refused the answer")
    if isinstance(verdict, str) and verdict:
        raise RefusedAnswerError(f"check of {name!r} refused the answer: {verdict}")
    raise TypeError(
        f"check of {name!r} returned {verdict!r:.100}: return None or True to accept an answer; "
        "False or a reason (a text) to refuse it"
    )
