"""A chat with oneself: a node that loops, and ends when the user says so."""

import warnings

from pocketflow import Flow, Node

SAID = iter(["hello", "how are you?", "exit"])


class Chat(Node):
    def prep(self, shared):
        shared.setdefault("messages", [])
        text = next(SAID, None)
        if text == "exit":
            return None
        shared["messages"].append({"role": "user", "content": text})
        return shared["messages"]

    def exec(self, messages):
        if messages is None:
            return None
        return f"{len(messages)}: you said {messages[-1]['content']!r}"

    def post(self, shared, prep_res, exec_res):
        if exec_res is None:
            print("goodbye")
            return None
        print(exec_res)
        shared["messages"].append({"role": "assistant", "content": exec_res})
        return "continue"


chat = Chat()
chat - "continue" >> chat
flow = Flow(start=chat)
shared = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    flow.run(shared)
print(len(shared["messages"]), "messages;", str(caught[0].message)[:43])
