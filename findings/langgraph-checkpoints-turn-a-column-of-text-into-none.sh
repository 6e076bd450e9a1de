#!/usr/bin/env bash
# A checkpoint of LangGraph 1.2.24 gives None for an array of text, and unmasks a masked one.
# 
# Expected: what a checkpoint cannot hold is refused when it is written, as numpy.int64, Fraction
# and a DataFrame are; what it takes comes back equal.
# Seen: an array of dtype object, such as the column of text of a DataFrame, is written without a
# word and comes back as None. A masked array loses its mask, so that values that were ruled out
# count again. The run works with the real ones until it is resumed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    langgraph==1.2.24 langgraph-checkpoint==4.3.2 numpy==2.4.6 pandas==3.1.1

cat > "$folder/look.py" << 'PYTHON'
from typing import Any, TypedDict

import numpy
import pandas
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    value: Any
    done: bool


def resumed(value):
    seen = []

    def make(state: State) -> State:
        return {"value": value}

    def use(state: State) -> State:
        seen.append(state["value"])
        if len(seen) == 1:
            raise ConnectionError("not now")
        return {"done": True}

    graph = StateGraph(State)
    graph.add_node("make", make)
    graph.add_node("use", use)
    graph.add_edge(START, "make")
    graph.add_edge("make", "use")
    app = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    try:
        app.invoke({"done": False}, config)
    except ConnectionError:
        app.invoke(None, config)
    print(f"{seen[0]!r}\n  resumed: {seen[1]!r}")
    assert seen[0] is value
    return seen[1]


numbers = numpy.array([1.5, 2.5])
assert (resumed(numbers) == numbers).all()
names = pandas.DataFrame({"name": ["Ada", "Bob"]})["name"].to_numpy()
assert names.dtype == object
assert resumed(names) is None, "LangGraph has changed"
measured = numpy.ma.array([1.5, -999.0], mask=[False, True])
again = resumed(measured)
assert not numpy.ma.isMaskedArray(again), "LangGraph has changed"
assert measured.mean() == 1.5 and again.mean() == -498.75, "LangGraph has changed"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/look.py"
