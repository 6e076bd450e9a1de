"""The idea of kaygraph in one file: nodes with three steps, wired into graphs that run in parallel.

It does not import kaygraph: a batch is ``asyncio.gather`` behind an ``asyncio.Semaphore``, a
graph is a walk in a ``TaskGroup``. ``docs/concepts/small.md`` shows what goes wrong with so little,
and what the engine does about it. ``python -m examples.small`` runs the program at the end.
"""

import asyncio
import inspect
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from graphlib import TopologicalSorter
from typing import Any


class Chain:
    """A line of nodes: where it begins, where it ends, and the action that leads on from there."""

    def __init__(
        self, heads: "Sequence[Node]", tails: "Sequence[Node]", action: str = "default"
    ) -> None:
        self.heads, self.tails, self.action = heads, tails, action

    def __rshift__(self, other: "Chain | Sequence[Any]") -> "Chain":
        following = chained(other)
        for tail in self.tails:
            targets = tail.successors.setdefault(self.action, [])
            targets += [head for head in following.heads if head not in targets]
        return Chain(self.heads, following.tails, following.action)

    def __rrshift__(self, other: Sequence[Any]) -> "Chain":
        return chained(other) >> self

    def __sub__(self, action: str) -> "Chain":
        return Chain(self.heads, self.tails, action)


def chained(nodes: Chain | Sequence[Any]) -> Chain:
    """Return a node, a chain, or a list of these as one chain."""
    if isinstance(nodes, Chain):
        return nodes
    chains = [chained(each) for each in nodes]
    heads = [head for chain in chains for head in chain.heads]
    return Chain(heads, [tail for chain in chains for tail in chain.tails])


async def call(hook: Callable[..., Any], *arguments: Any) -> Any:
    """Call a hook that is written ``def`` or ``async def``."""
    result = hook(*arguments)
    return await result if inspect.isawaitable(result) else result


class Node(Chain):
    """Three steps: ``prep`` reads, ``exec`` works, ``post`` writes and returns the next action.

    An ``exec`` written ``async def`` runs on the event loop, one written ``def`` in a thread.

    Args:
        max_retries: How often ``exec`` is tried in total.
        wait: Seconds between two attempts.
        timeout: Seconds that one attempt may take.
        name: By default, the class's name.
    """

    def __init__(
        self, max_retries: int = 1, wait: float = 0, timeout: float | None = None, name: str = ""
    ) -> None:
        super().__init__([self], [self])
        self.successors: dict[str, list[Node]] = {}
        self.max_retries, self.wait, self.timeout = max_retries, wait, timeout
        self.name = name or type(self).__name__
        self.attempt = 1  # the number of the current attempt
        self.error: Exception | None = None  # raised by the node before an - "error" >> edge

    def prep(self, shared: Any) -> Any:
        """Read from the shared store what ``exec`` needs."""

    def exec(self, prep_res: Any) -> Any:
        """Work, without the shared store."""

    def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
        """Return a result when every attempt has failed; by default, raise."""
        raise exc

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Write to the shared store; return the next action."""

    def run(self, shared: Any = None) -> Any:
        """Run on a new event loop; return the action."""
        return asyncio.run(self.run_async({} if shared is None else shared))

    async def run_async(self, shared: Any) -> Any:
        """Run the three steps; return the action."""
        prep_res = await call(self.prep, shared)
        exec_res = await self.work(prep_res, shared)
        return await call(self.post, shared, prep_res, exec_res)

    async def work(self, prep_res: Any, shared: Any) -> Any:
        """The work between ``prep`` and ``post``."""
        return await self.attempts(prep_res)

    async def attempts(self, item: Any) -> Any:
        """Call ``exec`` until an attempt succeeds."""
        attempt = 0
        while True:
            self.attempt = attempt = attempt + 1
            try:
                async with asyncio.timeout(self.timeout):
                    if inspect.iscoroutinefunction(self.exec):
                        return await self.exec(item)
                    return await asyncio.to_thread(self.exec, item)
            except Exception as error:
                if attempt >= self.max_retries:
                    return await call(self.exec_fallback, item, error)
            await asyncio.sleep(self.wait)


class AsyncNode(Node):
    """A Node whose hooks are written ``async def``."""


class ParallelBatchNode(Node):
    """Calls ``exec`` for each item that ``prep`` returns, ``max_workers`` at once.

    ``post`` gets the list of results, in the order of the items.
    """

    def __init__(self, *settings: Any, max_workers: int = 10, **more: Any) -> None:
        super().__init__(*settings, **more)
        self.max_workers = max_workers

    async def work(self, prep_res: Iterable[Any] | None, shared: Any) -> list[Any]:
        semaphore = asyncio.Semaphore(self.max_workers)

        async def bounded(item: Any) -> Any:
            async with semaphore:
                return await self.attempts(item)

        return await asyncio.gather(*[bounded(item) for item in prep_res or ()])


class Graph(Node):
    """A node that walks nodes, from its start along the actions that they return.

    ``post`` gets the last action and returns it by default, so that graphs nest.

    start: A node, a chain, or a list of these that start at once.
        start: A node, a chain, or a list of these that begin at once.
        max_workers: How many of its nodes may run at once.
        name: By default, the class's name.
    """

    def __init__(
        self, start: Chain | Sequence[Any], max_workers: int = sys.maxsize, name: str = ""
    ) -> None:
        super().__init__(name=name)
        self.starts, self.max_workers = chained(start).heads, max_workers

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return exec_res

    async def work(self, prep_res: Any, shared: Any) -> Any:
        """Walk: a finished node starts those that follow; a join waits for what can reach it."""
        plan = Plan(self.starts)
        semaphore = asyncio.Semaphore(self.max_workers)
        running: list[Node] = []
        waiting: list[Node] = []
        last_action = None

        async def step(node: Node) -> None:
            nonlocal last_action
            try:
                async with semaphore:
                    action = await node.run_async(shared)
            except Exception as error:
                if "error" not in node.successors:
                    raise
                action = "error"
                for handler in node.successors["error"]:
                    handler.error = error
            running.remove(node)
            following = node.successors.get(action or "default", [])
            if not following:
                last_action = action
            begin(following)

        def begin(nodes: Sequence[Node]) -> None:
            waiting.extend(node for node in nodes if node in plan.joins and node not in waiting)
            ready = [node for node in nodes if node not in plan.joins]
            while ready or (ready := plan.ready(running, waiting)):
                node = ready.pop(0)
                if node in waiting:
                    waiting.remove(node)
                running.append(node)
                tasks.create_task(step(node))

        try:
            async with asyncio.TaskGroup() as tasks:
                begin(self.starts)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        return last_action


Edge = tuple[Node, Node]


class Plan:
    """What is known about a graph before it runs.

    Edges are taken breadth-first, those of the default action before others. One that closes a
    cycle with those taken before leads *back*, any other leads *forward*. A *join* has more than
    one predecessor over forward edges.

    Attributes:
        joins: The joins in topological order, each with the nodes that it waits for.
    """

    def __init__(self, starts: Sequence[Node]) -> None:
        origin = Node()  # as if it came before the starts
        self.forward: list[Edge] = []
        self.back: list[Edge] = []
        before: dict[Node, set[Node]] = {}
        order = TopologicalSorter[Node]()
        default, named = deque((origin, start) for start in starts), deque[Edge]()
        while default or named:
            source, target = (default or named).popleft()
            if target not in before:
                before[target] = set()
                for action, nodes in target.successors.items():
                    queue = default if action == "default" else named
                    queue.extend((target, node) for node in nodes)
            elif source in {target} | reached([target], self.forward):
                self.back.append((source, target))
                continue
            self.forward.append((source, target))
            before[target].add(source)
            order.add(target, source)
        loops = {edge: self._loop(*edge) for edge in self.back}
        self.joins: dict[Node, set[Node]] = {}
        for node in order.static_order():
            if len(before.get(node, ())) > 1:
                # Going back within a loop begins a new round, for which its joins do not wait.
                edges = [edge for edge in self.back if node not in loops[edge]] + self.forward
                self.joins[node] = reached([node], [edge[::-1] for edge in edges])

    def _loop(self, last: Node, first: Node) -> set[Node]:
        """Return the nodes of the loop closed by the edge back from last to first."""
        within = {first} | reached([first], self.forward)
        edges = [edge[::-1] for edge in self.forward + self.back if edge[1] is not first]
        return within & ({first, last} | reached([last], edges))

    def ready(self, running: Sequence[Node], waiting: Sequence[Node]) -> list[Node]:
        """Return the first waiting join that nothing running or waiting can reach; or none."""
        free = [n for n in self.joins if n in waiting and self.joins[n].isdisjoint(running)]
        for join in free:
            if self.joins[join].isdisjoint({*waiting} - {join}):
                return [join]
        # Joins of two loops may wait for each other: then forward edges decide.
        return [join for join in free if join not in reached(waiting, self.forward)][:1]


def reached(starts: Collection[Node], edges: Collection[Edge]) -> set[Node]:
    """Return what can be reached over one edge or more."""
    found: set[Node] = set()
    while new := {target for s, target in edges if s in starts or s in found} - found:
        found |= new
    return found


class Measure(ParallelBatchNode):
    """A part of the program below: the length of each word."""

    def prep(self, shared: Any) -> Any:
        return shared["words"]

    async def exec(self, prep_res: str) -> int:
        await asyncio.sleep(0.01)
        return len(prep_res)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["lengths"] = exec_res


class Say(Node):
    """A part of the program below: prints its name, and returns the action that is named for it."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        print(self.name, shared["lengths"])
        return shared["actions"].pop(self.name, None)


if __name__ == "__main__":
    measure, review = Measure(max_workers=2), Say(name="review")
    measure >> [Say(name="spelling"), Say(name="facts")] >> review - "again" >> measure
    Graph(measure).run({"words": ["one", "small", "idea"], "actions": {"review": "again"}})
