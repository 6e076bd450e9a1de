"""Map, shuffle and reduce at once: the words that these programs use most.

```mermaid
flowchart LR
    n0["Words"]
```

``map`` takes a file and yields pairs, ``combine`` reduces their number where they arise, ``reduce``
gets all values of one key. Mapping, combining and shuffling overlap.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from examples.patterns.world import World
from kaygraph import Graph, MapReduceNode


class Words(MapReduceNode):
    """Counts how often each word occurs in the files."""

    def prep(self, shared: dict[str, Any], /) -> Iterable[Path]:
        return sorted(Path(__file__).parent.glob("*.py"))

    def map(self, path: Path, /) -> Iterator[tuple[str, int]]:
        return ((word, 1) for word in re.findall(r"[A-Za-z]{5,}", path.read_text("utf-8")))

    def combine(self, word: str, counts: Iterable[int], /) -> int:
        return sum(counts)

    def reduce(self, word: str, counts: Iterable[int], /) -> int:
        return sum(counts)

    def post(self, shared: dict[str, Any], prep_res: Any, totals: dict[str, int], /) -> None:
        shared["words"] = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))


def build(world: World) -> Graph:
    return Graph(Words(map_workers=4, reduce_workers=2))


async def run(world: World) -> Iterable[str]:
    shared: dict[str, Any] = {}
    await build(world).run_async(shared)
    return [
        f"{len(shared['words']):,} different words; the most common, and how often:",
        ", ".join(f"{word} {count}" for word, count in shared["words"][:6]),
    ]
