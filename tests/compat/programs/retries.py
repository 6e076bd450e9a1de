"""Output that is checked, tried again, and replaced when nothing helps."""

from pocketflow import Flow, Node

DRAFTS = {"good": ["age: old", "age: 36"], "bad": ["?", "?", "?", "?"]}


class Extract(Node):
    def prep(self, shared):
        self.drafts = iter(DRAFTS[shared["which"]])
        return shared["which"]

    def exec(self, which):
        text = next(self.drafts)
        print("attempt", self.cur_retry, repr(text))
        age = text.partition(": ")[2]
        assert age.isdigit(), f"no age in {text!r}"
        return int(age)

    def exec_fallback(self, which, exc):
        print("gave up:", exc)
        return -1

    def post(self, shared, prep_res, exec_res):
        shared["age"] = exec_res
        print("after retry", self.cur_retry)


for which in DRAFTS:
    shared = {"which": which}
    Flow(start=Extract(max_retries=3)).run(shared)
    print(which, shared["age"])
