"""An inner flow that works, and a supervisor that sends it back until the answer will do."""

import warnings

from pocketflow import Flow, Node


class Draft(Node):
    def prep(self, shared):
        return shared.get("tries", 0)

    def exec(self, tries):
        return "answer " + "!" * tries

    def post(self, shared, tries, answer):
        shared["tries"], shared["answer"] = tries + 1, answer
        return "polish"


class Polish(Node):
    def post(self, shared, prep_res, exec_res):
        shared["answer"] = shared["answer"].title()
        return "done"


class Supervise(Node):
    def prep(self, shared):
        return shared["answer"]

    def exec(self, answer):
        return answer.count("!") >= 2

    def post(self, shared, answer, good):
        print(repr(answer), "accepted" if good else "rejected")
        return None if good else "retry"


draft, polish = Draft(), Polish()
draft - "polish" >> polish
inner = Flow(start=draft)
supervise = Supervise()
inner - "done" >> supervise
supervise - "retry" >> inner
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    print(Flow(start=inner).run({}))
