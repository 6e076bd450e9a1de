"""The spans of a run: their start, their parents and their end."""

from asyncio import CancelledError
from collections.abc import Mapping
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from ..errors import Drop
from ..events import Usage
from ..outcome import Status
from ..run.spans import TRACED, Attribute
from .labels import clean, cleaned, exception, label_of, message_of
from .meters import STATUS, Tally
from .sampling import Sampling

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer

ITEM, ATTEMPT, ATTEMPTS = "kaygraph.item.index", "kaygraph.attempt", "kaygraph.attempts"
CANCELLED = "cancelled"


class Api:
    """The parts of OpenTelemetry's API in use; imported only when needed."""

    def __init__(self) -> None:
        from opentelemetry import context, trace

        self.current, self.attach = context.get_current, context.attach
        self.within = trace.set_span_in_context
        self.error, self.client = trace.StatusCode.ERROR, trace.SpanKind.CLIENT
        self.link = trace.Link


class Owner(Protocol):
    """The observer whose spans they are; ``items``: whether it receives each item."""

    @property
    def items(self) -> bool: ...

    @property
    def api(self) -> Api: ...

    def failed(self, error: Exception) -> None:
        """Report that the tracing of an item failed."""


class Around:
    """A span that contains others: of a run, a node, a stage, or an item that consists of parts.

    Args:
        owner: The observer.
        tracer: Creates the spans.
        tally: Where it is counted.
        outer: The enclosing one.
        name: The name of the node.
        run: The id of the run.
        item_spans: How many items of a node have a span each.
        attaches: Whether its spans become the current ones: only one observer's do.

    Attributes:
        before_it: What was traced here before, perhaps by another observer.
        inside: The nodes and stages inside, by name. The workers of a stage are in the context of
            their pipeline, and so are the events of their items.
        span: Its span.
        context: The context that is current inside it.
    """

    span: "Span"
    context: "Context"
    before: "Context"
    before_it: Any = None
    is_item = False  # it is an item that consists of parts

    def __init__(
        self,
        owner: Owner,
        tracer: "Tracer",
        tally: Tally,
        outer: "Around | None",
        name: str,
        run: str,
        item_spans: int | None,
        attaches: bool,
    ) -> None:
        self.owner, self.tracer, self.tally, self.outer = owner, tracer, tally, outer
        self.name, self.run, self.api, self.item_spans = name, run, owner.api, item_spans
        self.label, self.attaches = label_of(name), attaches
        self.inside: dict[str, Around] = {}
        self._items: dict[str, Items] = {}
        self._arrived: WeakKeyDictionary[Any, dict[Any, list[SpanContext]]] | None = None
        self._reported = 0  # the id of the last error that an inner span has recorded

    def begin(
        self,
        kind: str,
        parent: "Context",
        links: "list[SpanContext]",
        attributes: Mapping[str, Attribute],
    ) -> None:
        """Start its span, as a child of what is in ``parent``."""
        own = {"kaygraph.node.name": self.label, "kaygraph.run.id": self.run}
        self.span = self.tracer.start_span(
            f"{kind} {self.label}",
            parent,
            attributes={**own, **attributes},
            links=[self.api.link(link) for link in links],
        )
        self.context = self.api.within(self.span, parent)

    def enter(self) -> None:
        """Make its span the current one."""
        self.before_it = TRACED.get()
        TRACED.set(self)
        if self.attaches:
            self.before = self.api.current()
            self.api.attach(self.context)

    def leave(self) -> None:
        """Restore what was current before, and close the counters."""
        if self._unlink() and self.attaches:
            # Not with a token: that is valid only in the context in which it was created.
            self.api.attach(self.before)
        for items in self._items.values():
            self.tally.close(items.counts)
        self._items, self.before_it = {}, None  # which know it: avoid a reference cycle

    def _unlink(self) -> bool:
        """Take it out of what is traced here; return whether it was there."""
        after = TRACED.get()
        if after is self:
            TRACED.set(self.before_it)
            return True
        while isinstance(after, Around):  # of other observers
            if after.before_it is self:
                after.before_it = self.before_it
                return True
            after = after.before_it
        return False

    def end(self, error: BaseException | None, attributes: Mapping[str, Attribute]) -> None:
        """End its span, and those of stages that were cut short."""
        for part in tuple(self.inside.values()):
            is_cause = error is not None and part._reported == id(error)
            part.end(error if is_cause else CancelledError(), {})
        self.leave()
        self.span.set_attributes(attributes)
        if error is not None:
            self.fail(self.span, error, CANCELLED if isinstance(error, CancelledError) else "")
        self.span.end()
        if self.outer is not None and self.outer.inside.get(self.name) is self:
            del self.outer.inside[self.name]

    def of(self, name: str) -> "Around":
        """Return the innermost one here that an event of ``name`` is about."""
        around = self
        if around.is_item and name == around.name and around.outer is not None:
            around = around.outer
        while around.inside and name != around.name:
            part = name
            while part and part not in around.inside and part != around.name:
                part = part.rpartition("/")[0]
            if part not in around.inside:
                break
            around = around.inside[part]
        return around

    def items_of(self, name: str, whole: bool = False) -> "Items":
        """Return the items of a node; ``whole``: they consist of parts."""
        items = self._items.get(name)
        if items is None:
            items = self._items[name] = Items(self, name, whole)
        return items

    # --- failures, joins, calls -------------------------------------------------------------------

    def fail(self, span: "Span", error: BaseException, status: str) -> None:
        """Record in a span how it failed; the error itself once, where it came from."""
        span.set_attribute("error.type", clean(type(error).__qualname__))
        if status == CANCELLED:
            span.set_status(self.api.error, CANCELLED)
        else:
            span.set_status(self.api.error, message_of(error))
            if self._reported != id(error):
                span.add_event("exception", exception(error))
        around: Around | None = self
        while around is not None:
            around._reported = id(error)
            around = around.outer

    def arrives(self, walk: Any, following: Any, span: "SpanContext") -> None:
        """Record the span of a node that led to a join of this graph."""
        for step in following if isinstance(following, tuple) else (following,):
            if step is not None and step.bit:
                if self._arrived is None:
                    self._arrived = WeakKeyDictionary()
                self._arrived.setdefault(walk, {}).setdefault(step, []).append(span)

    def arrived(self, walk: Any, step: Any) -> "list[SpanContext]":
        """Return the spans that led to a join that starts."""
        if self._arrived is None or walk not in self._arrived:
            return []
        return self._arrived[walk].pop(step, [])

    def call(self, name: str, attributes: Mapping[str, Attribute]) -> "Call":
        """Trace a call of another program; see ``kaygraph.run.spans``."""
        around: Any = self
        while not around.attaches and around.before_it is not None:
            around = around.before_it
        return Call(around, name, attributes)


class Item:
    """An item that has started and not ended."""

    __slots__ = ("before", "context", "span")

    def __init__(self, span: "Span", context: "Context", before: "Context | None") -> None:
        self.span, self.context, self.before = span, context, before


class Items:
    """The items of a node: all are counted, some have spans."""

    def __init__(self, around: Around, name: str, whole: bool) -> None:
        self._around, self._api, self._tracer = around, around.api, around.tracer
        self._span_name = f"item {around.label if name == around.name else label_of(name)}"
        self.name, self._whole, self._observes = name, whole, around.owner.items
        self.sampling = Sampling(around.item_spans)
        self.counts = around.tally.open(name)
        self._durations = around.tally.items
        # For each item that has started and not ended: its span, or when it started.
        self._open: dict[int, Item | int] = {}
        self._inner: dict[int, Around] = {}

    def began(self, index: int, at: float) -> None:
        """Start an item, in the task that will call ``exec``."""
        try:
            self.counts.in_flight += 1
            sampled = self.sampling.takes_next()
            if sampled:
                self._begin(index)
            else:
                self._open[index] = time_ns()
            if self._whole:
                self._enter(index, sampled)
        except Exception as error:
            self._around.owner.failed(error)

    def _begin(self, index: int, start: int | None = None) -> Item:
        around, api = self._around, self._api
        span = self._tracer.start_span(
            self._span_name, around.context, attributes={ITEM: index}, start_time=start
        )
        if around.attaches:
            before = api.current()
            context = api.within(span, before)
            api.attach(context)
        else:
            before, context = None, api.within(span, around.context)
        item = self._open[index] = Item(span, context, before)
        return item

    def _enter(self, index: int, sampled: bool) -> None:
        """Put the parts of an item inside it."""
        around, item = self._around, self._open[index]
        inner = self._inner[index] = Around(
            around.owner, around.tracer, around.tally, around, self.name, around.run,
            around.item_spans if sampled else 0, around.attaches,
        )  # fmt: skip
        inner.is_item = True
        inner.context = around.context if isinstance(item, int) else item.context
        inner.span = around.span if isinstance(item, int) else item.span
        inner.enter()

    def ended(
        self,
        index: int,
        worker: int,
        attempts: int,
        seconds: float,
        usage: Usage,
        waiting: bool,
        at: float,
    ) -> None:
        """End an item that succeeded."""
        try:
            item = self._closed(index, "ok", attempts, seconds, waiting)
            if type(item) is Item:
                if item.before is not None:
                    self._api.attach(item.before)
                if attempts > 1:
                    item.span.set_attribute(ATTEMPTS, attempts)
                item.span.end()
        except Exception as error:
            self._around.owner.failed(error)

    def _closed(
        self, index: int, status: Status, attempts: int, seconds: float, waiting: bool
    ) -> Item | int | None:
        counts = self.counts
        counts.ended[status] += 1
        if attempts and self._observes:
            if not waiting:
                counts.in_flight -= 1
            self._durations.record(seconds, counts.labels)
        if self._whole and index in self._inner:
            self._inner.pop(index).leave()
        return self._open.pop(index, None)

    def failed(
        self,
        index: int,
        attempts: int,
        seconds: float,
        status: Status,
        error: BaseException,
        waiting: bool,
    ) -> None:
        """End an item that did not succeed; it has a span unless it was cancelled or dropped."""
        item = self._closed(index, status, attempts, seconds, waiting)
        dropped = isinstance(error, Drop)
        if not isinstance(item, Item):
            if dropped or status == CANCELLED:
                return
            began = time_ns() - int(seconds * 1e9) if item is None else item
            item = self._begin(index, began)
            del self._open[index]
        if item.before is not None:
            self._api.attach(item.before)
        item.span.set_attributes({ATTEMPTS: attempts, STATUS: status})
        if not dropped:
            self._around.fail(item.span, error, status)
        item.span.end()

    def retried(self, index: int, attempt: int, error: BaseException, wait_s: float) -> None:
        """Record that an attempt failed and another follows."""
        self.counts.retries += 1
        if not self._observes:  # nor would it of the end of the item
            return
        self.counts.in_flight -= 1
        item = self._open.get(index)
        if not isinstance(item, Item):
            item = self._begin(index, item)
        attempts = {ATTEMPT: attempt, "kaygraph.wait_s": wait_s}
        item.span.add_event("kaygraph.retry", {**attempts, **exception(error)})

    def worked(self, number: int) -> None:
        """Count items that succeeded, if not each was received."""
        if not self._observes:
            self.counts.ended["ok"] += number

    def goes_on(self, index: int) -> None:
        """Continue an item, in the context of its next attempt."""
        self.counts.in_flight += 1
        item = self._open.get(index)
        if isinstance(item, Item) and item.before is not None:
            self._api.attach(item.context)


class Call:
    """The span of a call of another program, and its figures if it asks a language model."""

    def __init__(self, around: Around, name: str, attributes: Mapping[str, Attribute]) -> None:
        self._around, self._name = around, label_of(name)
        self._attributes = cleaned(attributes)

    def __enter__(self) -> "Call":
        around, api = self._around, self._around.api
        self._before = api.current()
        self._span = around.tracer.start_span(
            self._name, kind=api.client, attributes=self._attributes
        )
        api.attach(api.within(self._span, self._before))
        self._began = perf_counter()
        return self

    def set_attributes(self, attributes: Mapping[str, Attribute]) -> None:
        """Set attributes."""
        added = cleaned(attributes)
        self._attributes |= added
        self._span.set_attributes(added)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            seconds = perf_counter() - self._began
            self._around.api.attach(self._before)
            if error is not None:
                status = CANCELLED if isinstance(error, CancelledError) else ""
                self._around.fail(self._span, error, status)
                self._attributes["error.type"] = clean(type(error).__qualname__)
            self._around.tally.asked(self._attributes, seconds)
            self._span.end()
        finally:
            del error  # it holds this frame: avoid a reference cycle
