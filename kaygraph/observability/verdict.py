"""One sentence about a run: what kept it from being faster, and what would help.

It uses only what was measured. Time in ``exec`` alone says little: threads that take turns at the
interpreter are all "in ``exec``", and so is a call that waits for a service.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import NamedTuple

from .figures import NodeFigures, RoundFigures

BUSY = 0.7  # of the time: above it, a run is waiting for a processor
MOST_CONTENTION = 4.0  # a short run does not say more
FULL = 0.8  # of the workers: above it, all of them had work to do
FEW_TURNS = 5  # with fewer items per worker, some have none at the end
COMPUTES = 0.3  # of the time in exec: above it, a processor is used, or would be if it were free
IN_LINE = 0.3  # of a worker's time: above it, the queue is what it waits for
ALONE = 0.6  # of the time that one item takes
SHORTEST_S = 0.05  # a shorter run is too short for a verdict
SMALL_S = 0.001  # an item that takes less gains nothing from another process
SHORT_S = 3.0  # about this long until processes have started and paid off
OVERHEAD_S = 0.0005  # of the loop's time per item: with less, most of it is the cost of any item


class Measured(NamedTuple):
    """The input of a verdict: seconds, the number of cores, and the figures of the nodes.

    ``ready_s`` is how long the loop's thread waited for a processor that others used.
    """

    wall_s: float
    cpu_s: float
    loop_cpu_s: float
    ready_s: float
    cores: int
    nodes: Sequence[NodeFigures]
    rounds: Sequence[RoundFigures] = ()

    @property
    def contention(self) -> float:
        """How many times longer this process takes to compute than alone; 1 on an idle machine."""
        if not self.loop_cpu_s:
            return 1.0
        return min(1 + self.ready_s / self.loop_cpu_s, MOST_CONTENTION)


def slowest_stages(nodes: Iterable[NodeFigures]) -> list[NodeFigures]:
    """Return the stages of pipelines, the one with the most busy time per worker first."""
    return sorted((n for n in nodes if n.stage_workers), key=lambda n: n.load_s, reverse=True)


def verdict_on(run: Measured) -> str:
    """Return the sentence; empty if there is nothing to say, as for a very short run."""
    if run.wall_s < SHORTEST_S or not any(node.ended or node.stage_workers for node in run.nodes):
        return ""
    for look in (_starts, _all_cores, _interpreter, _line, _stages, _rounds, _workers):
        if said := look(run):
            return said
    return _one_after_another(run)


def _starts(run: Measured) -> str:
    """Worker processes that take longer to start than to work."""
    node = max(run.nodes, key=lambda node: node.start_s)
    if node.start_s <= node.work_s or node.start_s < run.wall_s / 2:
        return ""
    return (
        f"Starting the worker processes of {node.name} takes longer than their work: a run as "
        "short as this gains nothing from processes"
    )


def _all_cores(run: Measured) -> str:
    in_workers = sum(node.cpu_s for node in run.nodes if node.in_processes)
    used = run.cpu_s + in_workers
    if run.cpu_s + in_workers * run.contention < BUSY * run.cores * run.wall_s:
        return ""
    which = "the core is" if run.cores == 1 else f"all {run.cores} cores are"
    return (
        f"CPU-bound: {used:.1f} s of processor time in {run.wall_s:.1f} s, {which} busy: more "
        "workers will not help"
    )


def _interpreter(run: Measured) -> str:
    """One interpreter runs one thread at a time: a busy one is as fast as possible."""
    if run.cpu_s * run.contention < BUSY * run.wall_s:
        return ""
    threaded = [node for node in run.nodes if node.cpu_s and not node.in_processes]
    in_threads = sum(node.cpu_s for node in threaded)
    head = f"CPU-bound: {run.cpu_s:.1f} s of processor time in {run.wall_s:.1f} s"
    if in_threads >= run.cpu_s / 2:
        node = max(threaded, key=lambda node: node.cpu_s)
        head += ", and threads take turns at the interpreter"
        if node.cpu_s / max(1, node.ended) < SMALL_S:
            return (
                f"{head}: the items of {node.name} are small, put many into one and then set "
                "run_in='process'"
            )
        if run.cpu_s < SHORT_S:
            return f"{head}: a run as short as this gains nothing from processes"
        return f"{head}: run_in='process' for {node.name} uses all {run.cores} cores"
    if run.loop_cpu_s < run.cpu_s / 2:
        return f"{head}: threads outside of exec are computing"
    items = sum(node.ended for node in run.nodes) or 1
    if run.loop_cpu_s / items < OVERHEAD_S:
        return f"{head} for {items} items: they are so small that putting many into one will help"
    head = (
        f"The event loop computes for {run.loop_cpu_s:.1f} s of {run.wall_s:.1f} s, in prep, post "
        "or an async exec, and holds up everything else"
    )
    if run.cpu_s < SHORT_S:
        return head
    return f"{head}: put that into a 'def exec' with run_in='process'"


def _line(run: Measured) -> str:
    """Workers that mostly wait: for a rate, for keys, for the permits of a graph."""
    node = max(run.nodes, key=lambda node: node.queued_s)
    queued_s = node.queued_s
    if queued_s < run.wall_s / 2 or queued_s < IN_LINE * (queued_s + node.work_s):
        return ""
    setting = max(node.queued_for, key=node.queued_for.__getitem__)
    raised = {
        "rate": "its rate: only a higher rate= makes it faster",
        "run_in": "the workers of its cluster: more of them will help",
        "limit_by": "its keys: only a higher max_per_key= makes it faster",
    }.get(setting, "the permits of a graph around it: a higher max_workers= there will help")
    return f"{node.name} mostly waits for {raised}"


def _stages(run: Measured) -> str:
    stages = slowest_stages(run.nodes)
    if not stages or stages[0].share_of(stages[0].busy_s) < BUSY:
        return ""
    slowest = stages[0]
    head = f"{slowest.name} is busy {slowest.share_of(slowest.busy_s):.0%} of the time"
    if not slowest.ended:
        return f"{head} with giving items: more workers after it will not help"
    if len(stages) == 1 or not stages[1].load_s:
        return f"{head}: more workers for it will help"
    workers = max(ceil(slowest.busy_s / stages[1].load_s), slowest.stage_workers + 1)
    return f"{head}: max_workers={workers} for it will help, then {stages[1].name} is the slowest"


def _rounds(run: Measured) -> str:
    """A graph that runs many times at once: whether it may run more often at once."""
    several = [one for one in run.rounds if one.peak > 1 and one.runs > one.peak]
    if not several:
        return ""
    rounds = max(several, key=lambda one: one.wall_s)
    mean = rounds.wall_s / run.wall_s
    name = rounds.name or "the graph"
    if mean >= FULL * rounds.peak:
        return (
            f"All {rounds.peak} rounds of {name} that may run at once do: a higher max_workers= "
            "for it will help, as far as what they wait for allows"
        )
    if rounds.runs < FEW_TURNS * rounds.peak:
        return _turns(f"{rounds.runs} rounds of {name}", rounds.runs, rounds.peak)
    return (
        f"More than {min(ceil(mean * 1.1), rounds.peak)} rounds of {name} at once will not help: "
        f"on average {mean:.1f} were running"
    )


def _workers(run: Measured) -> str:
    """A batch: whether its workers had something to do."""
    node = max(run.nodes, key=lambda node: node.work_s)
    if node.ended <= max(1, node.runs):
        return ""
    wall_s = node.wall_s or run.wall_s  # a node that runs alone, in no graph
    mean = node.work_s / wall_s
    workers = node.workers_at_once
    if node.ended <= node.peak:
        return (
            f"All {node.ended} items of {node.name} run at once: more workers will not help, the "
            f"longest takes {node.longest_s:.1f} s"
        )
    if mean >= FULL * workers:
        if node.in_processes and node.peak >= run.cores and node.cpu_s >= COMPUTES * node.work_s:
            return (
                f"{node.name} computes, and has a process for each of the {run.cores} cores, which "
                "others use too: more workers will not help"
            )
        return (
            f"{node.name} waits in exec, and all of its {workers} workers do: more will help, "
            f"such as max_workers={2 * workers}, as far as what they wait for allows"
        )
    if node.longest_s >= ALONE * wall_s:
        return (
            f"One item of {node.name} takes {node.longest_s:.1f} s of {wall_s:.1f} s: more "
            "workers will not help, a smaller item will"
        )
    if node.ended < FEW_TURNS * node.peak and node.peak >= FULL * workers:
        return _turns(f"{node.ended} items of {node.name}", node.ended, node.peak)
    enough = min(ceil(mean * 1.1), workers)
    return (
        f"More than {enough} workers for {node.name} will not help: on average {mean:.1f} of "
        f"{workers} had an item"
    )


def _turns(what: str, number: int, peak: int) -> str:
    return (
        f"The {what} take {ceil(number / peak)} turns, at most {peak} at once: a higher "
        "max_workers= will help, as far as what they wait for allows"
    )


def _one_after_another(run: Measured) -> str:
    node = max(run.nodes, key=lambda node: node.work_s)
    if not node.work_s:
        return ""
    return (
        f"Most of the time goes into {node.name}: {node.work_s:.1f} s in exec of {run.wall_s:.1f} s"
    )
