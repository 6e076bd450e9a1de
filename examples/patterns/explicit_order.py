"""Order where order matters, and nowhere else.

```mermaid
flowchart LR
    n0["write"]
    n1["digest"]
    n2["count"]
    n3{{"publish"}}
    n0 --> n1
    n0 --> n2
    n1 --> n3
    n2 --> n3
```

``>>`` is the only order there is. Nothing is published before it has been written and checked. The
two checks do not need each other: they run at once, and ``publish`` runs when both are done.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from examples.patterns.world import World
from kaygraph import Graph, NodeFinished
from kaygraph.nodes import node


@node(reads=("folder", "text"), writes="draft")
def write(folder: Path, text: str) -> Path:
    path = folder / "report.draft"
    path.write_text(text, "utf-8")
    return path


@node(reads="draft", writes="digest")
def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@node(reads="draft", writes="words")
def count(path: Path) -> int:
    return len(path.read_text("utf-8").split())


@node(reads=("draft", "digest"), writes="published")
def publish(path: Path, digest: str) -> Path:
    return path.rename(path.with_name(f"report-{digest}.txt"))


def build(world: World) -> Graph:
    return Graph(write >> [digest, count] >> publish)


async def run(world: World) -> Iterable[str]:
    ended: list[str] = []
    shared: dict[str, Any] = {"folder": world.folder, "text": "all is well that ends well"}
    await build(world).run_async(
        shared, observers=[lambda e: ended.append(e.node) if isinstance(e, NodeFinished) else None]
    )
    return [
        f"first {ended[0]}, then {' and '.join(sorted(ended[1:-1]))} at once, last {ended[-1]}",
        f"{shared['published'].name}: {shared['words']} words",
    ]
