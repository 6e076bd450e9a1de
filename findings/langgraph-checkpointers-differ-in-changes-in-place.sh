#!/usr/bin/env bash
# What a node of LangGraph 1.2.24 changes in place is kept by SqliteSaver and lost by InMemorySaver.
# 
# Expected: what comes back after a failure does not depend on where checkpoints are kept; either
# way, a node that was given a list and appends to it has changed the state or has not.
# Seen: the next node sees the change in both. SqliteSaver 3.1.2 writes the whole state after each
# step, the change with it. InMemorySaver keeps a channel's value of when it was last written to:
# the resumed run goes on without the change, from a state that no node has seen. A program that
# resumes well with one of them loses data with the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    langgraph==1.2.24 langgraph-checkpoint==4.3.2 langgraph-checkpoint-sqlite==3.1.2

cat > "$folder/look.py" << 'PYTHON'
import sqlite3
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    files: list
    count: int


def run(checkpointer):
    seen = []

    def find(state: State) -> State:
        state["files"].append("b.csv")
        return {"count": 2}

    def load(state: State) -> State:
        seen.append(list(state["files"]))
        if len(seen) == 1:
            raise ConnectionError("not now")
        return {}

    graph = StateGraph(State)
    graph.add_node("find", find)
    graph.add_node("load", load)
    graph.add_edge(START, "find")
    graph.add_edge("find", "load")
    app = graph.compile(checkpointer=checkpointer)
    config = {"configurable": {"thread_id": "1"}}
    try:
        app.invoke({"files": ["a.csv"]}, config)
    except ConnectionError:
        app.invoke(None, config)
    print(f"{type(checkpointer).__name__}: before the failure {seen[0]}, resumed {seen[1]}")
    return seen


in_memory = run(InMemorySaver())
in_sqlite = run(SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False)))
assert in_memory == [["a.csv", "b.csv"], ["a.csv"]], "InMemorySaver has changed"
assert in_sqlite == [["a.csv", "b.csv"]] * 2, "SqliteSaver has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
