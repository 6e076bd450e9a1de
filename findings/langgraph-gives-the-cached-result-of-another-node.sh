#!/usr/bin/env bash
# In LangGraph 1.2.24 two nodes made by one function share their cached results.
# 
# Expected: with CachePolicy() a node's result is kept for the node and its input. A node of another
# graph, with another function, has results of its own.
# Seen: a node is known by its name and the qualified name of its function. Closures of one factory
# have the same, whatever they close over: the second graph gets the first one's result, and its
# node is never called. A cache that is shared by the graphs of a program, or a file of them, is
# enough. On the other side, equal inputs count as different ones when two of their strings are one
# object in the first call and two in the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    langgraph==1.2.24 langgraph-checkpoint==4.3.2

cat > "$folder/look.py" << 'PYTHON'
from typing import Any, TypedDict

from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy


class State(TypedDict, total=False):
    text: Any
    answer: str


called = []


def translator(language):
    def translate(state: State) -> State:
        called.append(language)
        return {"answer": f"{state['text']} in {language}"}

    return translate


def run(language, text, cache):
    graph = StateGraph(State)
    graph.add_node("translate", translator(language), cache_policy=CachePolicy())
    graph.add_edge(START, "translate")
    return graph.compile(cache=cache).invoke({"text": text})["answer"]


cache = InMemoryCache()
answers = [run(language, "hello", cache) for language in ("French", "German")]
print(answers, "from", called)
assert answers == ["hello in French"] * 2 and called == ["French"], "LangGraph has changed"

called.clear()
one, two = "".join(["hel", "lo"]), "".join(["hel", "lo"])
assert [one, one] == [one, two]
run("French", [one, one], cache)
run("French", [one, one], cache)
assert called == ["French"]
run("French", [one, two], cache)
print("equal inputs:", len(called), "calls")
assert called == ["French"] * 2, "LangGraph has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
