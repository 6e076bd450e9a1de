"""Code in the shape of the ancestors' runs with only names changed.

In these programs a class is called ``Node`` where an ancestor has Node, ``Graph`` where it has
Flow, ``BatchGraph`` for BatchFlow, and so on; bodies are as their users write them.
"""

from typing import Any

import pytest

from kaygraph import AsyncNode, BatchGraph, BatchNode, Graph, Node, ParallelBatchNode

# --- a question that is answered, looked at and answered again ---------------------------


class GetQuestion(Node):
    def prep(self, shared):
        return shared["inbox"].pop(0)

    def exec(self, question):
        return question.strip()

    def post(self, shared, prep_res, exec_res):
        shared["question"] = exec_res
        return "default"


class Answer(Node):
    def prep(self, shared):
        return shared["question"], shared.get("remarks", [])

    def exec(self, inputs):
        question, remarks = inputs
        return f"{question} -> answer {len(remarks) + 1}"

    def post(self, shared, prep_res, exec_res):
        shared["answer"] = exec_res
        return "review"


class Review(Node):
    def prep(self, shared):
        return shared["answer"]

    def exec(self, answer):
        return answer.endswith("3")

    def post(self, shared, prep_res, exec_res):
        if exec_res:
            shared.setdefault("accepted", []).append(prep_res)
            return "next" if shared["inbox"] else "done"
        shared.setdefault("remarks", []).append(f"not good: {prep_res}")
        return "again"


def test_loop_of_answer_and_review_runs_until_it_is_accepted():
    """Named actions lead back and on, and run() returns the last of them."""
    question, answer, review = GetQuestion(), Answer(), Review()
    question >> answer
    answer - "review" >> review
    review - "again" >> answer
    review - "next" >> question
    flow = Graph(start=question)
    shared = {"inbox": [" one ", "two"]}
    with pytest.raises(Exception, match="returned action 'done'"):
        flow.run(shared)  # as strict as KayGraph: an action that nobody listens to is a mistake
    review - "done" >> Node()
    shared = {"inbox": [" one "]}
    flow.run(shared)
    assert shared["accepted"] == ["one -> answer 3"]
    assert len(shared["remarks"]) == 2


# --- retries and a fallback ---------------------------------------------------------------


class CallModel(Node):
    def prep(self, shared):
        self.calls = shared["calls"]
        return shared["fails"]

    def exec(self, fails):
        self.calls.append(self.attempt)
        if self.attempt <= fails:
            raise ConnectionError("busy")
        return "spoken"

    def exec_fallback(self, prep_res, exc):
        return f"sorry: {exc} ({prep_res})"

    def post(self, shared, prep_res, exec_res):
        shared["said"] = exec_res


@pytest.mark.parametrize(
    ("fails", "calls", "expected"), [(0, 1, "spoken"), (2, 3, "spoken"), (9, 3, "sorry: busy (9)")]
)
def test_retries_end_in_the_fallback(fails, calls, expected):
    """max_retries is the number of attempts, and the fallback replaces exec."""
    shared = {"fails": fails, "calls": []}
    Graph(start=CallModel(max_retries=3, wait=0)).run(shared)
    assert shared["said"] == expected
    assert shared["calls"] == list(range(1, calls + 1))


def test_node_without_a_fallback_raises_what_exec_raised():
    """The default fallback is to raise."""

    class Breaks(Node):
        def exec(self, prep_res):
            raise ConnectionError("down")

    with pytest.raises(ConnectionError, match="down"):
        Breaks(max_retries=2).run({})


# --- nested flows -------------------------------------------------------------------------


class Add(Node):
    def __init__(self, number, **settings):
        super().__init__(**settings)
        self.number = number

    def prep(self, shared):
        return shared["total"]

    def exec(self, total):
        return total + self.number

    def post(self, shared, prep_res, exec_res):
        shared["total"] = exec_res
        return "big" if exec_res > 10 else "small"


class Payment(Graph):
    def prep(self, shared):
        shared["log"] = ["payment begins"]

    def post(self, shared, prep_res, exec_res):
        shared["log"].append(f"payment ends: {exec_res}")
        return exec_res


class Say(Node):
    def __init__(self, word):
        super().__init__(name=word)
        self.word = word

    def post(self, shared, prep_res, exec_res):
        shared["log"].append(self.word)


@pytest.mark.parametrize(("total", "expected"), [(1, "little"), (7, "much")])
def test_flow_within_a_flow_is_a_node(total, expected):
    """An inner flow has prep and post of its own and routes the outer one by its last action."""
    first = Add(2, name="first")
    first - "small" >> Add(3, name="second")
    first - "big" >> Add(4, name="third")
    payment = Payment(start=first)
    payment - "small" >> Say("little")
    payment - "big" >> Say("much")
    shared = {"total": total}
    Graph(start=payment).run(shared)
    assert shared["log"][0] == "payment begins"
    assert shared["log"][-1] == expected


def test_flows_nest_three_deep_and_follow_each_other():
    """`inner >> inner` between flows works as between nodes."""

    class Count(Node):
        def post(self, shared, prep_res, exec_res):
            shared["count"] = shared.get("count", 0) + 1

    def flow():
        return Graph(start=Count() >> Count())

    shared: dict[str, Any] = {}
    Graph(start=Graph(start=flow() >> flow()) >> flow() >> Count()).run(shared)
    assert shared["count"] == 7


# --- batches ------------------------------------------------------------------------------


class Chunks(BatchNode):
    def prep(self, shared):
        text = shared["text"]
        return [text[at : at + 4] for at in range(0, len(text), 4)]

    def exec(self, chunk):
        return len(chunk)

    def post(self, shared, prep_res, exec_res_list):
        shared["length"] = sum(exec_res_list)
        shared["chunks"] = list(prep_res)
        return "default"


def test_batch_node_maps_and_reduces():
    """prep gives the chunks, exec runs on each, post sees all results and what prep returned."""
    shared = {"text": "abcdefghij"}
    Chunks().run(shared)
    assert shared["length"] == 10
    assert shared["chunks"] == ["abcd", "efgh", "ij"]


class Load(Node):
    def prep(self, shared):
        return shared["files"][self.params["filename"]]

    def exec(self, text):
        return text.split()

    def post(self, shared, prep_res, exec_res):
        shared.setdefault("words", {})[self.params["filename"]] = exec_res


class Grade(Node):
    def prep(self, shared):
        return shared["words"][self.params["filename"]]

    def exec(self, words):
        return len(words) * self.params.get("weight", 1)

    def post(self, shared, prep_res, exec_res):
        shared.setdefault("grades", {})[self.params["filename"]] = exec_res


class AllFiles(BatchGraph):
    def prep(self, shared):
        return [{"filename": name} for name in shared["files"]]

    def post(self, shared, prep_res, exec_res):
        shared["rounds"] = len(prep_res)


@pytest.mark.parametrize("max_workers", [1, 3])
def test_batch_flow_runs_its_flow_once_for_each_params(max_workers):
    """Nodes read the params of their round, one after another or several at once."""
    shared = {"files": {"a.txt": "one two", "b.txt": "three", "c.txt": ""}}
    AllFiles(start=Load() >> Grade(), max_workers=max_workers).run(shared)
    assert shared["grades"] == {"a.txt": 2, "b.txt": 1, "c.txt": 0}
    assert shared["rounds"] == 3


def test_batch_flows_nest_and_their_params_are_laid_over_each_other():
    """An inner batch flow sees the params of the outer one."""

    class Folders(BatchGraph):
        def prep(self, shared):
            return [{"folder": name} for name in shared["tree"]]

    class Files(BatchGraph):
        def prep(self, shared):
            return [{"file": name} for name in shared["tree"][self.params["folder"]]]

    class Path(Node):
        def post(self, shared, prep_res, exec_res):
            shared["paths"].append(f"{self.params['folder']}/{self.params['file']}")

    shared = {"tree": {"docs": ["a", "b"], "src": ["c"]}, "paths": []}
    Graph(start=Folders(start=Files(start=Path()))).run(shared)
    assert shared["paths"] == ["docs/a", "docs/b", "src/c"]


# --- asynchronous code --------------------------------------------------------------------


class Fetch(AsyncNode):
    async def prep(self, shared):
        return shared["url"]

    async def exec(self, url):
        return f"page of {url}"

    async def post(self, shared, prep_res, exec_res):
        shared["page"] = exec_res
        return "summarize"


class Summaries(ParallelBatchNode):
    async def prep(self, shared):
        return shared["page"].split()

    async def exec(self, word):
        return word.upper()

    async def exec_fallback(self, word, exc):
        return word

    async def post(self, shared, prep_res, exec_res_list):
        shared["summary"] = " ".join(exec_res_list)


@pytest.mark.anyio
async def test_asynchronous_flow_runs_with_the_suffixes_dropped():
    """`async def` hooks under the plain names, sync and async nodes in one flow."""
    fetch = Fetch(max_retries=2)
    fetch - "summarize" >> Summaries() >> Chunks()
    shared = {"url": "x.org", "text": "abc"}
    await Graph(start=fetch).run_async(shared)
    assert shared["summary"] == "PAGE OF X.ORG"
    assert shared["length"] == 3
