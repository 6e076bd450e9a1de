"""A failing service is left alone for a while, then probed by a single call.

```mermaid
flowchart LR
    n0["Ask"]
```

After three failures in a row the circuit is open: calls fail at once and do not reach the service.
When ``reset_after`` seconds have passed one probe goes through, and its result decides.
"""

from collections import Counter
from collections.abc import Iterable

from examples.patterns.world import World
from kaygraph import CircuitBreaker, Graph, Outcome
from kaygraph.nodes import ParallelHTTPNode


def build(world: World) -> Graph:
    ask = ParallelHTTPNode(
        world.url,
        name="Ask",
        reads="calls",
        writes="answers",
        max_workers=1,
        max_retries=1,
        raise_for_status=True,
        on_error="collect",
        breaker=CircuitBreaker(failures=3, reset_after=60),
    )
    return Graph(ask)


async def run(world: World) -> Iterable[str]:
    before = world.calls["/broken"]
    shared: dict[str, list[object]] = {"calls": ["broken"] * 10}
    await build(world).run_async(shared)
    errors = Counter(
        type(answer.error).__name__ for answer in shared["answers"] if isinstance(answer, Outcome)
    )
    return [
        f"{sum(errors.values())} calls failed: {dict(errors)}",
        f"the service received {world.calls['/broken'] - before} of them",
    ]
