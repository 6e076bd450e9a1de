"""Four APIs are called at once, and their answers become one record.

```mermaid
flowchart LR
    subgraph n0["apis"]
        n0_0["people"]
        n0_1["places"]
        n0_2["social"]
        n0_3["companies"]
    end
    n1["MergeNode"]
    n0 --> n1
```

``all_of`` needs every answer: when one API fails for good, the others are cancelled and the run
raises its error. A 503 is retried. Two answers may have a field of the same name (a
person and a company both have a ``name``): that is an error, unless ``prefer`` says who wins.
"""

from collections.abc import Iterable
from typing import Any

from examples.patterns.world import World
from kaygraph import Graph, RunReport, all_of
from kaygraph.nodes import MergeNode, RESTNode

ASKED = {
    "email": "kaito.obrien@granitefox.example",
    "city": "Helsinki",
    "handle": "kaito_obrien1",
    "domain": "granitefox.example",
}


def build(world: World) -> Graph:
    def api(name: str, path: str, reads: str) -> RESTNode:
        return RESTNode(world.services, path, reads=reads, name=name, result="data")

    apis = all_of(
        api("people", "people/{email}", "email"),
        api("places", "places/{city}", "city"),
        api("social", "social/{handle}", "handle"),
        api("companies", "companies/{domain}", "domain"),
        name="apis",
    )
    return Graph(apis >> MergeNode("combine_dict", prefer="first", writes="profile"))


async def run(world: World) -> Iterable[str]:
    shared: dict[str, Any] = dict(ASKED)
    await build(world).run_async(shared, observers=[report := RunReport()])
    profile = shared["profile"]
    return [
        "{name}: {city}, {country}; {followers:,} followers".format_map(profile),
        "works in {industry}, with {employees:,} people".format_map(profile),
        f"{len(profile)} fields of 4 APIs, {report.peak_in_flight} asked at the same time",
    ]
