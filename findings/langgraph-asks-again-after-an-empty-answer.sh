#!/usr/bin/env bash
# LangGraph 1.2.24 drops the answer {} to interrupt(), and answers by MD5, and asks again.
# 
# Expected: Command(resume=value) makes interrupt() return the value, as it does for False, 0, ""
# and [], which are kept.
# Seen: a dict whose keys all look like the ids of questions (32 hexadecimal digits) is taken for
# answers by id. That is true of a dict without keys, a form in which nothing was filled in, and of
# one by MD5 or by the hex of a UUID. There is no such question; nothing is said, and the node is
# run from its top and asks again, each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    langgraph==1.2.24 langgraph-checkpoint==4.3.2

cat > "$folder/look.py" << 'PYTHON'
import hashlib
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    documents: int
    answer: Any


asked = 0


def ask(state: State) -> State:
    global asked
    asked += 1
    return {"answer": interrupt("Which of them are approved?")}


def answered(answer):
    global asked
    asked = 0
    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    app = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    app.invoke({"documents": 1}, config)
    for _ in range(3):
        state = app.invoke(Command(resume=answer), config)
        if "__interrupt__" not in state:
            break
    is_answered = "answer" in state
    print(f"{answer!r}: run {asked - 1} times more, answered: {is_answered}")
    return is_answered and state["answer"] == answer and asked == 2


by_md5 = {hashlib.md5(b"invoice").hexdigest(): True}
for answer in (False, 0, "", [], {"invoice": True}, by_md5 | {"note": ""}):
    assert answered(answer)
assert not answered({}), "LangGraph has changed"
assert not answered(by_md5), "LangGraph has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
