"""An agent that decides, searches and answers, until it knows enough."""

from pocketflow import Flow, Node

FACTS = {"capital of France": "Paris", "river of Paris": "the Seine"}


class Decide(Node):
    def prep(self, shared):
        return shared["question"], shared.get("context", [])

    def exec(self, inputs):
        _question, context = inputs
        open_topics = [topic for topic in FACTS if topic not in " ".join(context)]
        if open_topics and len(context) < 2:
            return {"action": "search", "topic": open_topics[0]}
        return {"action": "answer"}

    def post(self, shared, prep_res, exec_res):
        if exec_res["action"] == "search":
            shared["topic"] = exec_res["topic"]
        print("decided:", exec_res["action"])
        return exec_res["action"]


class Search(Node):
    def prep(self, shared):
        return shared["topic"]

    def exec(self, topic):
        return f"{topic}: {FACTS[topic]}"

    def post(self, shared, topic, found):
        shared["context"] = [*shared.get("context", []), found]
        print("found:", found)
        return "decide"


class Answer(Node):
    def exec(self, _):
        return None

    def post(self, shared, prep_res, exec_res):
        shared["answer"] = "; ".join(shared["context"])
        return "done"


decide, search, answer = Decide(), Search(), Answer()
decide - "search" >> search
decide - "answer" >> answer
search - "decide" >> decide
shared = {"question": "Which river flows through the capital of France?"}
print("last action:", Flow(start=decide).run(shared))
print(shared["answer"])
