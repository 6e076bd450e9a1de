#!/usr/bin/env bash
# In LangGraph 1.2.22 max_concurrency is a limit of each graph, and subgraphs multiply it.
#
# Expected: ainvoke(..., {"max_concurrency": 4}) lets at most 4 nodes work at once, also where a
# node is a compiled subgraph, which gets its configuration from the graph around it.
# Seen: 4 subgraphs at once, each with 4 nodes at once: 16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langgraph==1.2.22

cat > "$folder/look.py" << 'PYTHON'
import asyncio
import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class Result(TypedDict):
    done: Annotated[list, operator.add]


class State(Result, total=False):
    number: int


at_once = most = 0


async def work(state: State) -> Result:
    global at_once, most
    at_once += 1
    most = max(most, at_once)
    await asyncio.sleep(0.05)
    at_once -= 1
    return {"done": [state["number"]]}


def fan_out(node):
    graph = StateGraph(State, output_schema=Result)
    graph.add_node("node", node)
    graph.add_conditional_edges(
        START, lambda _: [Send("node", {"number": n}) for n in range(8)], ["node"]
    )
    graph.add_edge("node", END)
    return graph.compile()


def run(graph) -> int:
    global most
    most = 0
    asyncio.run(graph.ainvoke({}, {"max_concurrency": 4}))
    return most


alone, nested = run(fan_out(work)), run(fan_out(fan_out(work)))
print(f"max_concurrency=4: {alone} at once in a graph, {nested} at once in its subgraphs")
assert (alone, nested) == (4, 16), "LangGraph has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
