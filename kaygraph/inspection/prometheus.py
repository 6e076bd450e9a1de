"""The state of runs for Prometheus: inspected when it scrapes, and not before."""

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from .._extras import extra
from ..events import Event, RunFinished, RunStarted
from ..observability.labels import Labels
from ..run.frame import FRAME
from ..run.run import Run
from ..snapshot import CapSnapshot, NodeSnapshot, RunSnapshot
from .inspector import Inspector

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

Labelled = tuple[str, ...]  # the values of a metric's labels
Sample = tuple[str, Labelled, float]  # the name of a metric, its labels, a number

COUNTERS = {
    "kaygraph_runs": ("Runs that have ended.", ("graph", "result")),
    "kaygraph_node_runs": ("How often nodes have ended.", ("node", "result")),
    "kaygraph_node_seconds": ("Seconds from prep to post of nodes.", ("node",)),
    "kaygraph_items": ("Items that have ended.", ("node", "status")),
    "kaygraph_items_retried": ("Attempts that were followed by another one.", ("node",)),
    "kaygraph_stage_seconds": ("Seconds of a stage's workers.", ("node", "state")),
}
GAUGES = {
    "kaygraph_runs_running": ("Runs in progress.", ("graph",)),
    "kaygraph_nodes_running": ("In how many places a node runs.", ("node",)),
    "kaygraph_items_in_flight": ("Items whose exec runs.", ("node",)),
    "kaygraph_items_waiting": ("Items that wait for an attempt or a key.", ("node",)),
    "kaygraph_workers_limit": ("The limit found by max_workers='auto'.", ("node",)),
    "kaygraph_cap_size": ("Permits.", ("owner",)),
    "kaygraph_cap_held": ("Permits that are held.", ("owner",)),
    "kaygraph_cap_waiting": ("How many wait for a permit.", ("owner",)),
    "kaygraph_rate_used_ratio": ("The share of a rate's window that is in use.", ("node",)),
    "kaygraph_rate_waiting": ("How many wait for a rate.", ("node",)),
    "kaygraph_breaker_open": ("1: open, 0.5: half open, 0: closed.", ("node",)),
    "kaygraph_buffer_items": ("Items between two stages.", ("before", "after")),
    "kaygraph_buffer_size": ("Room between two stages.", ("before", "after")),
    "kaygraph_executor_calls": ("Calls of exec in threads and processes.", ("node", "kind")),
    "kaygraph_waits": ("What waits, and what it waits for.", ("node", "kind")),
}
OPEN = {"open": 1.0, "half_open": 0.5, "closed": 0.0}


class Prometheus:
    """An observer that shows the state of runs to Prometheus.

    .. code-block:: python

        prometheus_client.start_http_server(9000)
        graph.run(shared, observers=[Prometheus()])

    At each scrape, it takes a snapshot of each run: items by node and status, what is in flight,
    retries, permits, rates, breakers, buffers, and what waits for what. In between it does nothing:
    items cost as much as without it. Counters go on from run to run. Several observers of the
    same registry show all of their runs together. Needs the extra ``prometheus``.

    Args:
        registry: Where the metrics are; ``prometheus_client.REGISTRY`` by default.

    Raises:
        TypeError: ``registry`` is not a registry.
    """

    items = False

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        client = extra("prometheus_client", "prometheus")
        if registry is None:
            registry = client.REGISTRY
        if not isinstance(registry, client.CollectorRegistry):
            raise TypeError(
                "registry must be a prometheus_client.CollectorRegistry, as in "
                f"Prometheus(prometheus_client.REGISTRY); got {registry!r}"
            )
        self._collector = _collector_of(registry)

    def __call__(self, event: Event, /) -> None:
        frame = FRAME.get(None)
        if frame is not None:
            self._collector.observe(self, frame.run, event)


class _Watched(NamedTuple):
    """A run in progress: which observer reports it, and what inspects it."""

    observer: object
    inspector: Inspector


class Collector:
    """The collector that a registry asks for the metrics of the runs."""

    def __init__(self) -> None:
        core = extra("prometheus_client.core", "prometheus")
        self._counter, self._gauge = core.CounterMetricFamily, core.GaugeMetricFamily
        self._lock = Lock()  # for reports of runs in other threads
        self._labels = Labels()
        self._running: dict[Run, _Watched] = {}
        self._total: dict[tuple[str, Labelled], float] = {}  # of finished runs
        self._shown: dict[tuple[str, Labelled], float] = {}  # what counters have shown

    def observe(self, observer: object, run: Run, event: Event) -> None:
        """Process an event of a run, or of one inside it."""
        watched = self._watched(run)
        if watched is None:
            if not isinstance(event, RunStarted):
                return
            watched = _Watched(observer, Inspector())
            with self._lock:
                self._running[run] = watched
        if watched.observer is not observer:  # of an inner run, which the outer one reports
            return
        inspector = watched.inspector
        inspector(event)
        if isinstance(event, RunFinished) and inspector.run is None:
            last = inspector.snapshot()
            result = "ok" if event.error is None else "failed"
            with self._lock:
                del self._running[run]
                self._add(self._total, self._counted(last))
                ended = "kaygraph_runs", (self._labels.of(last.name), result), 1.0
                self._add(self._total, [ended])

    def _watched(self, run: Run | None) -> "_Watched | None":
        while run is not None and run not in self._running:
            run = run.around
        return None if run is None else self._running[run]

    def describe(self) -> "Iterable[Metric]":
        """Return the metrics without figures: a registry asks for their names."""
        return self._families({}, {})

    def collect(self) -> "Iterable[Metric]":
        """Return the metrics of all runs."""
        with self._lock:
            running = [watched.inspector for watched in self._running.values()]
        taken = [snapshot for one in running if (snapshot := _snapshot(one)) is not None]
        gauges: dict[tuple[str, Labelled], float] = {}
        with self._lock:
            counters = dict(self._total)
            for snapshot in taken:
                if snapshot.state in (
                    "finished",
                    "failed",
                ):  # in the meantime, and it is in the total
                    continue
                self._add(counters, self._counted(snapshot))
                self._add(gauges, self._measured(snapshot))
            for (
                key,
                value,
            ) in counters.items():  # a counter that decreases would look like a restart
                counters[key] = self._shown[key] = max(value, self._shown.get(key, 0.0))
        return self._families(counters, gauges)

    def _families(
        self,
        counters: dict[tuple[str, Labelled], float],
        gauges: dict[tuple[str, Labelled], float],
    ) -> "list[Metric]":
        families: dict[str, Any] = {}
        for make, known in (self._counter, COUNTERS), (self._gauge, GAUGES):
            for name, (text, labels) in known.items():
                families[name] = make(name, text, labels=labels)
        for (name, labels), value in (*counters.items(), *gauges.items()):
            families[name].add_metric(labels, value)
        return list(families.values())

    @staticmethod
    def _add(sums: dict[tuple[str, Labelled], float], samples: Iterable[Sample]) -> None:
        for name, labels, value in samples:
            sums[name, labels] = sums.get((name, labels), 0.0) + value

    def _counted(self, snapshot: RunSnapshot) -> Iterator[Sample]:
        """Yield the counters."""
        for node in snapshot.nodes:
            label = self._labels.of(node.name)
            yield "kaygraph_node_runs", (label, "ok"), node.runs - node.failed_runs
            yield "kaygraph_node_runs", (label, "failed"), node.failed_runs
            yield "kaygraph_node_seconds", (label,), node.seconds
            for status in ("ok", "failed", "skipped", "cancelled"):
                if node.items:
                    yield "kaygraph_items", (label, status), getattr(node, status)
            yield "kaygraph_items_retried", (label,), node.retried
            if node.stage is not None:
                for state in ("busy", "starved", "blocked"):
                    seconds = getattr(node.stage, f"{state}_s")
                    yield "kaygraph_stage_seconds", (label, state), seconds

    def _measured(self, snapshot: RunSnapshot) -> Iterator[Sample]:
        """Yield the gauges."""
        of = self._labels.of
        yield "kaygraph_runs_running", (of(snapshot.name),), 1.0
        for node in snapshot.nodes:
            yield from self._node(of(node.name), node)
        for cap in snapshot.caps:
            yield from self._cap(cap)
        for rate in snapshot.rates:
            yield "kaygraph_rate_used_ratio", (of(rate.node),), rate.used
            yield "kaygraph_rate_waiting", (of(rate.node),), rate.waiting
        for breaker in snapshot.breakers:
            yield "kaygraph_breaker_open", (of(breaker.node),), OPEN[breaker.state]
        for buffer in snapshot.buffers:
            between = of(buffer.before or ""), of(buffer.after)
            yield "kaygraph_buffer_items", between, buffer.items
            yield "kaygraph_buffer_size", between, buffer.size
        for executor in snapshot.executors:
            for name, number in executor.calls.items():
                yield "kaygraph_executor_calls", (of(name), executor.kind), number
        for wait in snapshot.waits:
            yield "kaygraph_waits", (of(wait.node), wait.kind), wait.count

    def _node(self, label: str, node: NodeSnapshot) -> Iterator[Sample]:
        yield "kaygraph_nodes_running", (label,), node.running
        yield "kaygraph_items_in_flight", (label,), node.in_flight
        yield "kaygraph_items_waiting", (label,), node.waiting
        if node.limit is not None:
            yield "kaygraph_workers_limit", (label,), node.limit

    def _cap(self, cap: CapSnapshot) -> Iterator[Sample]:
        owner = cap.owner.strip("'") if cap.owner.startswith("'") else cap.owner
        if cap.key is not None:  # there may be as many as items: they are summed
            owner = f"{owner} by key"
        owner = self._labels.of(owner)
        yield "kaygraph_cap_size", (owner,), cap.size
        yield "kaygraph_cap_held", (owner,), cap.held
        yield "kaygraph_cap_waiting", (owner,), cap.waiting


def _snapshot(inspector: Inspector) -> RunSnapshot | None:
    """Return what a run is doing; None if it cannot be inspected right now."""
    try:
        return inspector.snapshot()
    except Exception:  # one run must not hide the others, or the rest of the registry
        return None


_collectors: "WeakKeyDictionary[Any, Collector]" = WeakKeyDictionary()
_making = Lock()


def _collector_of(registry: Any) -> Collector:
    """Return the collector of a registry; there is one, for any number of observers."""
    with _making:
        if registry not in _collectors:
            collector = Collector()
            registry.register(collector)
            _collectors[registry] = collector
        return _collectors[registry]
