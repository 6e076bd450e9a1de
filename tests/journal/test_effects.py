"""External effects: requests of a resumed run have the same keys as before (G11)."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kaygraph import BatchGraph, Graph, MapReduceNode, Node, ParallelBatchNode, settle
from kaygraph.journal import Journal
from kaygraph.nodes import (
    ChatNode,
    HTTPConnectionError,
    HTTPNode,
    Message,
    NotifyNode,
    ParallelHTTPNode,
    RESTNode,
    Webhook,
)
from kaygraph.testing import kill_everywhere
from tests.chat_server import ChatServer, Fails, Says
from tests.children import child
from tests.receiving import Receiver, receiver
from tests.servers import reply, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def run(graph: Any, db: Path, shared: Any, run_id: str = "r") -> Any:
    await graph.run_async(shared, journal=Journal(db, run=run_id))
    return shared


async def keys_of_two_runs(make: Any, db: Path, shared: Any) -> list[Any]:
    """Return the keys of a request that is lost and, when the run is resumed, answered."""
    async with receiver() as receiving:
        receiving.faults, receiving.answers = ["reset"], {}
        node = make(receiving.url)
        with pytest.raises(HTTPConnectionError):
            await run(Graph(node), db, dict(shared))
        await run(Graph(node), db, dict(shared))
    return [request.headers.get("Idempotency-Key") for request in receiving.received]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("kind", [HTTPNode, RESTNode])
async def test_a_resumed_request_has_the_same_key(db: Path, kind: Any, method: str) -> None:
    """For a method whose effect may happen twice."""

    def make(url: str) -> Any:
        return kind(url, method=method, reads="item")

    item = {"json": {"a": 1}} if kind is HTTPNode else {"a": 1}
    first, second = await keys_of_two_runs(make, db, {"item": item})
    assert first == second
    assert len(bytes.fromhex(first)) == 16


async def test_other_methods_need_no_key(db: Path) -> None:
    """They may be made twice."""

    def make(url: str) -> Any:
        return HTTPNode(url, method="PUT", reads="item", max_retries=1)

    assert await keys_of_two_runs(make, db, {"item": {"json": 1}}) == [None, None]


async def test_a_key_of_its_own_stays(db: Path) -> None:
    """Of the request, or a header that the program has set."""
    async with serving(reply({})) as site:
        posts = ParallelHTTPNode(site.url, method="POST", reads="items", max_workers=1)
        own = [{"idempotency_key": "mine"}, {"headers": {"Idempotency-Key": "set"}}]
        await run(posts, db, {"items": own})
    assert [request.headers["Idempotency-Key"] for request in site.asked] == ["mine", "set"]


async def test_without_a_journal_there_is_none() -> None:
    """A key that is new in each process is useless to a server."""
    async with serving(reply({})) as site:
        await HTTPNode(site.url, method="POST", reads="item").run_async({"item": {"json": 1}})
    assert "Idempotency-Key" not in site.asked[0].headers


async def test_the_key_alone_does_not_make_a_request_repeatable(db: Path) -> None:
    """Not every server looks at it: a POST that may have arrived is not repeated."""
    async with serving(reply({}, 500)) as site:
        await run(HTTPNode(site.url, method="POST", reads="item"), db, {"item": {"json": 1}})
    assert len(site.asked) == 1


async def test_a_question_to_a_model_has_the_same_key(db: Path) -> None:
    """In all of its attempts, and in the process that resumes the run."""
    async with ChatServer(Fails(500, "later"), Fails(400, "no"), Says("Hello")) as server:
        chat = ChatNode(server.url, "phi", reads="q", writes="a", wait=0)
        with pytest.raises(Exception, match="no"):
            await run(Graph(chat), db, {"q": "Hi"})
        shared = await run(Graph(chat), db, {"q": "Hi"})
    assert shared["a"] == "Hello"
    assert len(server.headers) == 3
    assert len({headers["idempotency-key"] for headers in server.headers}) == 1


@pytest.mark.parametrize("message", ["Disk full", {"text": "Disk full", "subject": "Alert"}])
async def test_a_message_is_delivered_once_over_a_resumed_run(db: Path, message: Any) -> None:
    """A lost request, which is sent again."""
    async with receiver() as receiving:
        receiving.faults = ["lost", None]
        notify = NotifyNode(Webhook(receiving.url, idempotent=False, max_retries=1))
        with pytest.raises(Exception):  # noqa: B017,PT011
            await run(Graph(notify), db, {"message": message})
        await run(Graph(notify >> Node()), db, {"message": message})
    assert len(receiving.received) == 2
    assert len(receiving.done) == 1


async def test_a_message_that_post_makes_is_the_same_again(db: Path) -> None:
    """A Message without its own key gets one that follows from where it is made."""

    class Writes(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            shared["message"] = Message("Disk full")

    async with receiver() as receiving:
        receiving.faults = ["reset", None]
        graph = Graph(Writes() >> NotifyNode(Webhook(receiving.url, max_retries=1)))
        with pytest.raises(Exception):  # noqa: B017,PT011
            await run(graph, db, {})
        await run(graph, db, {})
    assert len(receiving.keys) == 2
    assert len(set(receiving.keys)) == 1


# --- kills ----------------------------------------------------------------------------------------

PROGRAM = """
import sys
from kaygraph import Graph, Journal
from kaygraph.nodes import ParallelHTTPNode

posts = ParallelHTTPNode(
    sys.argv[2], method="POST", reads="orders", writes="answers", raise_for_status=True,
    max_workers=4, max_retries=50, wait=0.001,  # three requests of seven fail
)
# Three of each, which are orders of their own.
orders = [{"json": number // 3, "repeatable": True} for number in range(int(sys.argv[3]))]
shared = {"orders": orders}
Graph(posts).run(shared, journal=Journal(sys.argv[1], run="orders"))
print(len(shared["answers"]))
"""


class Shop(Receiver):
    """Does each order once, over a bad connection: the answers to some requests are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 0
        self.enough = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        number = len(self.received)
        self.faults = [{0: "lost", 3: web.Response(status=503), 5: "reset"}.get(number % 7)]
        answer = await super().answer(request)
        if len(self.received) >= self.wanted:
            self.enough.set()
        return answer


@pytest.mark.parametrize(
    ("orders", "kills"),
    [(60, 3), pytest.param(300, 25, marks=pytest.mark.proofs)],
)
async def test_each_effect_happens_once_over_kills_and_retries(
    tmp_path: Path, orders: int, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does each key once does as much as there are orders."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    shop = Shop()
    monkeypatch.setattr("tests.receiving.Receiver", lambda: shop)
    async with receiver():
        for number in range(kills + 1):
            shop.enough.clear()
            shop.wanted = len(shop.received) + 5 + number % 9 if number < kills else sys.maxsize
            command = program, tmp_path / "runs.db", shop.url, str(orders)
            with child(sys.executable, *command) as process:
                ended = asyncio.get_running_loop().run_in_executor(None, process.wait)
                came = asyncio.ensure_future(shop.enough.wait())
                await asyncio.wait([ended, came], return_when=asyncio.FIRST_COMPLETED)
                came.cancel()
                if not ended.done():
                    process.kill()
                await ended
                printed, wrong = await asyncio.to_thread(process.communicate)
    assert (printed, wrong) == (f"{orders}\n", "")
    assert len(shop.done) == orders


# --- at every write of the journal ----------------------------------------------------------------


class Effects:
    """A service that does each key once, and notes what for."""

    def __init__(self) -> None:
        self.done: dict[str, Any] = {}
        self.requests = 0

    async def ask(self, key: str, what: Any) -> None:
        await asyncio.sleep(0.5)
        self.requests += 1
        assert self.done.setdefault(key, what) == what
        await asyncio.sleep(0.5)  # it is done, and the answer is on its way


def asking(base: Any, effects: Effects, **settings: Any) -> Any:
    """Return a node that asks for an effect of each item, and of every second one twice."""

    class Asks(base):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return [1, 2, 1] if base is not Node else self.params.get("n", 0)

        async def exec(self, item: Any) -> Any:
            await effects.ask(self.idempotency_key, (self.name, item))
            if self.attempt == 1 and effects.requests % 2 and self.max_retries > 1:
                raise OSError("the answer was lost")
            return item

    return Asks(max_retries=2, wait=0.1, **settings)


def looping(effects: Effects) -> Graph:
    class Counts(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> str | None:
            shared["n"] = shared.get("n", 0) + 1
            return "again" if shared["n"] < 3 else None

    counts = Counts()
    counts - "again" >> asking(Node, effects, name="step") >> counts
    return Graph(counts)


def in_rounds(effects: Effects) -> Graph:
    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": 1}, {"n": 2}, {"n": 1}]

    return Graph(Rounds(asking(Node, effects), max_workers=2))


def mapped(effects: Effects) -> Graph:
    class Words(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return ["a", "b", "a"]

        async def map(self, item: Any) -> Any:
            await effects.ask(self.idempotency_key, ("map", item))
            return [(item, 1)]

        async def reduce(self, key: Any, values: Any) -> Any:
            await effects.ask(self.idempotency_key, ("reduce", key))
            return sum(values)

    return Graph(Words(partitions=2))


def piped(effects: Effects) -> Graph:
    return Graph(
        asking(ParallelBatchNode, effects, name="first")
        | asking(ParallelBatchNode, effects, name="second")
    )


def forked(effects: Effects) -> Graph:
    one, two = (asking(Node, effects, name=name) for name in ("one", "two"))
    return Graph(settle(one, two) >> [asking(Node, effects, name=name) for name in ("x", "y")])


SHAPES: dict[str, tuple[Any, int]] = {
    "batch": (lambda effects: Graph(asking(ParallelBatchNode, effects)), 3),
    "loop": (looping, 2),
    "rounds": (in_rounds, 3),
    "map-reduce": (mapped, 5),
    "pipeline": (piped, 6),
    "fork": (forked, 4),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_key_is_that_of_one_effect_wherever_the_run_is_killed(shape: str) -> None:
    """Over all kills and retries there are as many keys as items, each for one of them."""
    make, count = SHAPES[shape]
    effects = Effects()
    kills = kill_everywhere(make(effects), {}, seeds=2, check=lambda _: True)
    assert kills > count
    assert effects.requests > kills
    assert len(effects.done) == count
