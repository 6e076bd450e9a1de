"""Read, work on each, reduce: batches in a line."""

from pocketflow import BatchNode, Flow, Node

RESUMES = {"a.txt": "python sql", "b.txt": "cobol", "c.txt": "python asyncio"}


class Read(Node):
    def exec(self, _):
        return dict(RESUMES)

    def post(self, shared, prep_res, files):
        shared["files"] = files
        return "default"


class Judge(BatchNode):
    def prep(self, shared):
        return list(shared["files"].items())

    def exec(self, item):
        name, text = item
        return name, "python" in text

    def post(self, shared, items, results):
        shared["verdicts"] = dict(results)
        print(len(items), "judged")


class Reduce(Node):
    def prep(self, shared):
        return shared["verdicts"]

    def exec(self, verdicts):
        return sorted(name for name, good in verdicts.items() if good)

    def post(self, shared, prep_res, names):
        print("good:", ", ".join(names))


read, judge, reduce = Read(), Judge(), Reduce()
read >> judge >> reduce
print(Flow(read).run({}))
