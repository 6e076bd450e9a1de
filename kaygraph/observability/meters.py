"""OpenTelemetry's metrics of runs: counted here, and read on collection.

A counter of the SDK takes five microseconds, longer than most items. So only durations are recorded
as they come; everything else is a whole number that is reported on collection.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .._extras import extra
from ..run.spans import Attribute
from .figures import STATUSES
from .labels import Labels

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter, MeterProvider, Observation

# Seconds. The SDK's defaults are for milliseconds.
BOUNDARIES = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip

# The attributes of requests to language models.
GEN_AI = (
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model",
    "gen_ai.response.model", "server.address", "server.port", "error.type",
)  # fmt: skip

NODE, STATUS = "kaygraph.node.name", "kaygraph.status"


class Counts:
    """What was counted of a node, now or in total.

    Attributes:
        ended: How many items have ended, by status.
        retries: Attempts beyond the first.
        in_flight: Items whose ``exec`` runs.
    """

    __slots__ = ("ended", "in_flight", "labels", "retries")

    def __init__(self, label: str) -> None:
        self.labels = {NODE: label}
        self.ended = dict.fromkeys(STATUSES, 0)
        self.retries = self.in_flight = 0

    def add(self, other: "Counts") -> None:
        for status, number in other.ended.items():
            self.ended[status] += number
        self.retries += other.retries
        self.in_flight += other.in_flight


class Tally:
    """What is counted for one meter provider, by all observers that use it."""

    def __init__(self, meter: "Meter") -> None:
        self._lock = Lock()  # runs may be in several threads, and the collector in another
        self._labels = Labels()
        self._total: dict[str, Counts] = {}
        self._open: set[Counts] = set()
        self.items: Histogram = _durations(meter, "item", "Time in exec of an item.")
        self.nodes: Histogram = _durations(meter, "node", "Time from prep to post of a node.")
        self.runs: Histogram = _durations(meter, "run", "Time of a run.")
        self._requests = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="Time of a request to a language model.",
            explicit_bucket_boundaries_advisory=[0.01 * 2**power for power in range(14)],
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a request to a language model.",
            explicit_bucket_boundaries_advisory=[4**power for power in range(14)],
        )
        make = extra("opentelemetry.metrics", "otel").Observation
        for name, create, read, unit, what in (
            ("kaygraph.items.ended", meter.create_observable_counter, _ended, "{item}",
             "Items that have ended."),
            ("kaygraph.items.retries", meter.create_observable_counter, _retries, "{attempt}",
             "Attempts beyond the first."),
            ("kaygraph.items.in_flight", meter.create_observable_up_down_counter, _in_flight,
             "{item}", "Items whose exec runs."),
        ):  # fmt: skip
            create(name, callbacks=[self._reader(read, make)], unit=unit, description=what)

    def open(self, name: str) -> Counts:
        """Return a counter of a node's items, to be closed."""
        counts = Counts(self._labels.of(name))
        with self._lock:
            self._open.add(counts)
        return counts

    def close(self, counts: Counts) -> None:
        """Keep what was counted."""
        with self._lock:
            if counts in self._open:
                self._open.remove(counts)
                counts.in_flight = 0
                self._add(self._total, counts)

    def asked(self, attributes: Mapping[str, Attribute], seconds: float) -> None:
        """Record a request to a language model, by the names of the conventions."""
        if "gen_ai.operation.name" not in attributes:
            return
        labels = {name: attributes[name] for name in GEN_AI if name in attributes}
        self._requests.record(seconds, labels)
        for kind in "input", "output":
            number = attributes.get(f"gen_ai.usage.{kind}_tokens")
            if isinstance(number, int | float):
                self._tokens.record(number, {**labels, "gen_ai.token.type": kind})

    @staticmethod
    def _add(total: dict[str, Counts], counts: Counts) -> None:
        label = counts.labels[NODE]
        if label not in total:
            total[label] = Counts(label)
        total[label].add(counts)

    def _reader(
        self, read: Callable[[Counts], Iterator[tuple[int, dict[str, str]]]], make: Any
    ) -> "Callable[[object], Iterable[Observation]]":
        def observed(_: object) -> "Iterable[Observation]":
            with self._lock:
                counted: dict[str, Counts] = {}
                for counts in (*self._total.values(), *self._open):
                    self._add(counted, counts)
            return [make(*one) for counts in counted.values() for one in read(counts)]

        return observed


def _durations(meter: "Meter", what: str, description: str) -> "Histogram":
    return meter.create_histogram(
        f"kaygraph.{what}.duration",
        unit="s",
        description=description,
        explicit_bucket_boundaries_advisory=BOUNDARIES,
    )


def _ended(counts: Counts) -> Iterator[tuple[int, dict[str, str]]]:
    for status, number in counts.ended.items():
        if number:
            yield number, {**counts.labels, STATUS: status}


def _retries(counts: Counts) -> Iterator[tuple[int, dict[str, str]]]:
    yield counts.retries, counts.labels


def _in_flight(counts: Counts) -> Iterator[tuple[int, dict[str, str]]]:
    yield counts.in_flight, counts.labels


# A second instrument of the same name would not be read: one for each provider.
_tallies: "WeakKeyDictionary[object, Tally]" = WeakKeyDictionary()
_global: list[Tally] = []
_making = Lock()


def tally_of(provider: "MeterProvider | None") -> Tally:
    """Return the Tally of a meter provider; None: the global one, even if it is set later."""
    metrics = extra("opentelemetry.metrics", "otel")
    with _making:
        if provider is None or provider is metrics.get_meter_provider():
            if not _global:
                _global.append(Tally(metrics.get_meter("kaygraph")))
            return _global[0]
        if provider not in _tallies:
            _tallies[provider] = Tally(provider.get_meter("kaygraph"))
        return _tallies[provider]
