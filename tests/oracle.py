"""What the tests of the walk share: nodes that write down what they do, and an oracle.

The oracle is the three rules of the walk, written as slowly and as plainly as they read. It knows
nothing of masks, forks or tasks.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaygraph import AsyncNode


@dataclass
class Trace:
    """The shared store of a run that is watched.

    Attributes:
        began: The names of the nodes in the order in which they began.
        ended: The same, in the order in which they ended.
        log: Both together: "+a" when a began, "-a" when it ended.
        tasks: The task that ran each of ``began``.
        errors: What each of ``began`` saw at ``self.error``.
        gates: Events, by name, for which a node's ``exec`` waits.
    """

    began: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    tasks: list[Any] = field(default_factory=list)
    errors: list[BaseException | None] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def task_of(self, name: str) -> Any:
        return self.tasks[self.began.index(name)]

    def error_of(self, name: str) -> BaseException | None:
        return self.errors[self.began.index(name)]


class Visit(AsyncNode):
    """A node that returns its actions one visit after another, and None from then on.

    An exception in the place of an action is raised by ``exec``.
    """

    def __init__(self, name: str, *actions: str | Exception | None) -> None:
        super().__init__(name=name)
        self.actions = actions

    def prep(self, trace: Trace) -> Any:
        visit = trace.began.count(self.name)
        trace.began.append(self.name)
        trace.log.append(f"+{self.name}")
        trace.tasks.append(asyncio.current_task())
        trace.errors.append(self.error)
        action = self.actions[visit] if visit < len(self.actions) else None
        return trace.gates.get(self.name), action

    async def exec(self, asked: Any) -> str | None:
        gate, action = asked
        if gate is not None:
            await gate.wait()
        if isinstance(action, Exception):
            raise action
        return action

    def post(self, trace: Trace, asked: Any, action: str | None) -> str | None:
        trace.ended.append(self.name)
        trace.log.append(f"-{self.name}")
        return action


def visits(names: str) -> list[Visit]:
    """Return a node without actions for each letter."""
    return [Visit(letter) for letter in names]


async def settle() -> None:
    """Let everything run that waits for nothing but its turn."""
    for _ in range(50):
        await asyncio.sleep(0)


# --- the oracle --------------------------------------------------------------------------------

Successors = Mapping[str, Mapping[str, Sequence[str]]]  # node -> action -> targets


class Oracle:
    """Says which nodes begin, from the starts and from each node that ends.

    Args:
        successors: Node, then action, then targets.
        starts: Where tokens stand when the run begins.
        back_edges: The pairs that close a cycle; see ``assert_back_edges``.
        order: The nodes in a topological order of the forward edges.

    Attributes:
        running: The nodes on which a token stands, each as often as it runs.
        waiting: The joins that wait.
    """

    def __init__(
        self,
        successors: Successors,
        starts: Sequence[str],
        back_edges: set[tuple[str, str]],
        order: Sequence[str],
    ) -> None:
        self.successors, self.starts, self.back_edges = successors, starts, back_edges
        self.order = order
        self.running: list[str] = []
        self.waiting: set[str] = set()

    def forward(self, node: str) -> Iterator[str]:
        """Yield where forward edges lead from a node."""
        for targets in self.successors[node].values():
            for target in targets:
                if (node, target) not in self.back_edges:
                    yield target

    def can_reach(self, source: str, target: str) -> bool:
        """Whether a way of at least one forward edge leads from source to target."""
        return any(
            following == target or self.can_reach(following, target)
            for following in self.forward(source)
        )

    def is_join(self, node: str) -> bool:
        """Whether more than one predecessor leads here; several starts have one before them."""
        before = {source for source in self.successors if node in set(self.forward(source))}
        return len(before) + (len(self.starts) > 1 and node in self.starts) > 1

    def begin(self) -> list[str]:
        """Return the nodes with which the run begins."""
        if len(self.starts) == 1:
            self.running.append(self.starts[0])
            return list(self.starts)
        return self._follow(self.starts)

    def end(self, node: str, action: str | None) -> list[str]:
        """Return the nodes that begin because a node has ended with an action."""
        self.running.remove(node)
        return self._follow(self.successors[node].get(action or "default", ()))

    def _follow(self, targets: Sequence[str]) -> list[str]:
        # Rule 3: a node that is not a join starts at once.
        begun = [target for target in targets if not self.is_join(target)]
        self.running += begun
        self.waiting |= {target for target in targets if self.is_join(target)}
        # Rule 2: a join runs when nothing that is still running or waiting holds it up.
        while (join := self._first_ready()) is not None:
            self.waiting.remove(join)
            self.running.append(join)
            begun.append(join)
        return begun

    def _first_ready(self) -> str | None:
        free = [
            join
            for join in sorted(self.waiting, key=self.order.index)
            if not any(self.holds_up(node, join) for node in self.running)
        ]
        for join in free:
            if not any(self.holds_up(node, join) for node in self.waiting - {join}):
                return join
        for join in free:  # joins of two loops that hold each other up: forward edges decide
            if not any(self.can_reach(node, join) for node in self.waiting):
                return join
        return None

    def holds_up(self, source: str, join: str) -> bool:
        """Whether the join can be reached, forward or back into loops that it stands outside of."""
        reached, looking = set[str](), [source]
        while looking:
            node = looking.pop()
            for target in self._targets(node):
                back = (node, target) in self.back_edges
                if target not in reached and not (back and join in self.loop(node, target)):
                    reached.add(target)
                    looking.append(target)
        return join in reached

    def loop(self, last: str, first: str) -> set[str]:
        """Return the nodes on a way from ``first``, by forward edges, that leads to ``last``."""
        ahead = {first} | {node for node in self.successors if self.can_reach(first, node)}
        return {node for node in ahead if node == first or self._leads(node, last, first)}

    def _leads(self, source: str, last: str, first: str) -> bool:
        """Whether any edges lead from source to last without passing ``first``."""
        reached, looking = {source}, [source]
        while looking:
            for target in self._targets(looking.pop()):
                if target != first and target not in reached:
                    reached.add(target)
                    looking.append(target)
        return last in reached

    def _targets(self, node: str) -> list[str]:
        return [target for targets in self.successors[node].values() for target in targets]

    def assert_back_edges(self) -> None:
        """Check that the forward edges have no cycle, and that each back edge closes one.

        Where loops can be entered at several nodes, the order of the search decides which of
        their edges is the back edge: every answer with these two properties is a right one.
        """
        for node in self.successors:
            self._assert_no_cycle(node, ())
        for source, target in self.back_edges:
            assert source == target or self.can_reach(target, source)

    def _assert_no_cycle(self, node: str, path: tuple[str, ...]) -> None:
        assert node not in path, f"forward edges go in a circle: {path}"
        for following in self.forward(node):
            self._assert_no_cycle(following, (*path, node))
