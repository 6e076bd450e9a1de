"""Many sources for one record at once: their answers, and why some are missing."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Unpack, overload

from .._formatting import redacted
from .._validation import check_count
from ..errors import Drop, KayGraphError, closest
from ..node.keywords import Item
from ..node.node import Node
from ..node.settings import Checks
from ..nodes._store import configure
from ..outcome import Outcome
from ._compound import Called, CompoundNode, CompoundSettings
from ._marks import F, PartSettings, mark, marked, settings_of

SOURCE = "source"


def check_confidence(name: str, value: Any) -> float:
    """Return ``value`` if it is a confidence from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")
    return float(value)


def check_confidences(name: str, value: Any) -> Mapping[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, as in {name}={{'crm': 0.8}}; got {value!r}")
    return {source: check_confidence(f"{name} of {source!r}", one) for source, one in value.items()}


def check_required(name: str, value: Any) -> Any:
    """Return ``value`` if it is a number of sources, or their names."""
    if isinstance(value, int) and not isinstance(value, bool):
        return check_count(name, value)
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Collection) or not all(isinstance(one, str) for one in names):
        raise ValueError(
            f"{name} must be the names of sources or how many have to answer, as in "
            f"{name}=('crm',) or {name}=2; got {value!r}"
        )
    return tuple(names)


class SourceSettings(PartSettings, total=False):
    """The settings of a source."""

    confidence: float


@dataclass(frozen=True, slots=True)
class Enrichment(Generic[Item]):
    """The answers of all sources for one record. Each source is in ``found`` or in ``missing``.

    Attributes:
        found: The answers by source, in the order in which the sources are defined.
        missing: Why there is no answer, as text, by source.
        errors: The errors of the sources that failed, by source.
        confidence: The confidence in all answers together, from 0 to 1; see ``confidence_of``.
        attempts: The number of attempts of each source.
        seconds: The time of each source over all attempts, in seconds.
        record: The record.
    """

    found: Mapping[str, Any]
    missing: Mapping[str, str]
    errors: Mapping[str, BaseException]
    confidence: float
    attempts: Mapping[str, int]
    seconds: Mapping[str, float]
    record: Item

    @property
    def complete(self) -> bool:
        """Whether every source has an answer."""
        return not self.missing


class MissingSourcesError(KayGraphError):
    """Required sources have no answer.

    ``__cause__`` is the error of the source that failed, or a group of several errors.

    Attributes:
        enrichment: The answers of the other sources, and why the rest is missing.
    """

    def __init__(self, message: str, enrichment: Enrichment[Any]) -> None:
        self.enrichment = enrichment
        super().__init__(message, enrichment)

    def __str__(self) -> str:
        return str(self.args[0])


@overload
def source(function: F, /, **settings: Unpack[SourceSettings]) -> F: ...
@overload
def source(**settings: Unpack[SourceSettings]) -> Callable[[F], F]: ...
def source(function: Any = None, /, **settings: Any) -> Any:
    """Mark a method, or a function in ``sources=``, as a source.

    Use ``@source`` or ``@source(timeout=2, max_retries=3, confidence=0.8)``. The settings are those
    of a Node, and override those of the node that owns the source. ``confidence`` is how far the
    answers can be trusted, from 0 to 1 (1 by default).

    The source gets the record and returns its answer, or None if it has none.
    ``raise Drop("why")`` means that the source does not apply to the record.
    """
    return mark(SOURCE, function, settings, ACCEPTED, SOURCE_CHECKS)


ACCEPTED = Node._accepts | {"confidence"}
SOURCE_CHECKS = {**Node._checks, "confidence": check_confidence}


class ParallelEnrichmentNode(CompoundNode[Item, Enrichment[Item]]):
    """Ask all sources about a record at once, and use the answers that there are.

    ::

        class Person(ParallelEnrichmentNode):
            required = ("profile",)

            @source(timeout=2, max_retries=3)
            async def profile(self, person):
                return await self.resource.profile(person["email"])

            @source(timeout=0.5, confidence=0.6)
            async def place(self, person):
                if "city" not in person:
                    raise Drop("no city is known")
                return await self.resource.place(person["city"])

        Graph(Person(reads="person", writes="enriched"))

    ``exec`` takes a record and returns its Enrichment. ``post`` writes it under ``writes``. When a
    source fails, times out or has no answer, ``missing`` has the reason, and the other answers are
    kept.

    Args:
        sources: Callables or Nodes by name, in addition to the methods marked with ``@source``.
        required: The names of sources that must have an answer, or how many sources must have one.
            No source is required by default.
        confidence: The confidence by source; it overrides that of ``@source``.

    For the other settings see CompoundNode; ``timeout`` and attempts apply to each source.

    Raises:
        MissingSourcesError: from ``exec``, after all sources have ended, when a ``required`` answer
            is missing.
    """

    sources: Mapping[str, Called] = {}
    required: str | Collection[str] | int = ()
    confidence: Mapping[str, float] = {}
    _trust: Mapping[str, float]  # the confidence of every source, set when the parts are made

    _accepts: ClassVar[frozenset[str]] = CompoundNode._accepts | {
        "sources",
        "required",
        "confidence",
    }
    _checks: ClassVar[Checks] = {
        "required": check_required,
        "confidence": check_confidences,
    }

    def __init__(
        self,
        sources: Mapping[str, Called] | None = None,
        required: str | Collection[str] | int | None = None,
        confidence: Mapping[str, float] | None = None,
        **settings: Unpack[CompoundSettings],
    ) -> None:
        own = {"sources": sources, "required": required, "confidence": confidence}
        configure(self, own, settings)
        known = self._parts
        if not known:
            raise TypeError(
                f"{type(self).__name__} has no source: mark methods with @source, or give "
                "sources={'name': function}"
            )
        if isinstance(self.required, int) and self.required > len(known):
            raise ValueError(f"required={self.required}, but there are {len(known)} sources")
        named = () if isinstance(self.required, int) else self.required
        for name in (*named, *self.confidence):
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__} has no source {name!r}; it has: {', '.join(known)}."
                    + closest(name, known)
                )

    def _make(self) -> Mapping[str, Node[Any, Any]]:
        marks = {name: settings for name, (_, settings) in marked(self, SOURCE).items()}
        marks |= {name: settings_of(SOURCE, thing) for name, thing in self.sources.items()}
        self._trust = {
            name: self.confidence.get(name, settings.get("confidence", 1.0))
            for name, settings in marks.items()
        }
        return self._named_parts(SOURCE, self.sources)

    async def exec(self, record: Item, /) -> Enrichment[Item]:
        """Ask the sources and return their answers."""
        outcomes = await self._settle(record)
        found = {one.name: one.value for one in outcomes if one.ok and one.value is not None}
        enrichment = Enrichment(
            found,
            {one.name: self.reason(one) for one in outcomes if one.name not in found},
            {one.name: one.error for one in outcomes if one.error and one.status != "skipped"},
            self.confidence_of(record, found),
            {one.name: one.attempts for one in outcomes},
            {one.name: one.seconds for one in outcomes},
            record,
        )
        self._require(enrichment)
        return enrichment

    def reason(self, outcome: Outcome[Any], /) -> str:
        """Return as text why a source has no answer; an error raised here fails the record."""
        error = outcome.error
        if error is None:
            return "knows nothing about it"
        if isinstance(error, Drop):
            return str(error) or "was not asked"
        tried = "1 attempt" if outcome.attempts == 1 else f"{outcome.attempts} attempts"
        return redacted(f"{type(error).__name__}: {error} ({tried})")

    def confidence_of(self, record: Item, found: Mapping[str, Any], /) -> float:
        """Return the confidence in all answers together, from 0 to 1.

        It is the mean confidence over all sources; a source without an answer counts as 0. It is 1
        when every source has answered with a confidence of 1.
        """
        return sum(self._trust[name] for name in found) / len(self._trust)

    def _require(self, enrichment: Enrichment[Item]) -> None:
        missing, required = enrichment.missing, self.required
        if isinstance(required, int):
            lacking = dict(missing) if len(enrichment.found) < required else {}
            asked = f"{required} of {len(enrichment.attempts)} sources"
        else:
            lacking = {name: missing[name] for name in required if name in missing}
            asked = ", ".join(required)
        if not lacking:
            return
        reasons = "; ".join(f"{name}: {why}" for name, why in lacking.items())
        errors = [enrichment.errors[name] for name in lacking if name in enrichment.errors]
        error = MissingSourcesError(
            f"{self.name!r} requires {asked}, and has no answer from {reasons}", enrichment
        )
        if len(errors) > 1:
            raise error from BaseExceptionGroup("sources failed", errors)
        raise error from (errors[0] if errors else None)
