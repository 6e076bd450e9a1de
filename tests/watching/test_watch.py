"""``watch=``: when the page is there, and what is left of it."""

import asyncio
import json
import re
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import aiohttp
import pytest

import kaygraph
from kaygraph import Graph, Node, ParallelBatchNode, Watch
from tests.watching.pages import Held, Items, watched

pytestmark = pytest.mark.anyio


class Asks(Node):
    """Asks the page of its own run."""

    def __init__(self, path: str = "state") -> None:
        self.path = path
        self.text = ""

    async def exec(self, address: str) -> None:
        async with aiohttp.ClientSession() as client, client.get(address + self.path) as answer:
            self.text = await answer.text()

    def prep(self, shared: Any) -> Any:
        return shared["address"]()


def page_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "kaygraph-page"]


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.findall(r"^kaygraph: watch at (\S+)$", capsys.readouterr().err, re.MULTILINE)


def test_true_opens_a_page_for_as_long_as_the_run_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line on standard error says where."""
    node = Asks()
    node.run({"address": lambda: printed(capsys)[0]}, watch=True)
    assert json.loads(node.text)["state"]["state"] == "running"
    assert page_threads() == []


def test_a_port_can_be_given_and_is_free_again(capsys: pytest.CaptureFixture[str]) -> None:
    """One run after the other has its page there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):
        Items().run({"items": 1}, watch=port)
        assert printed(capsys) == [f"http://127.0.0.1:{port}/"]


def test_a_port_that_is_taken_is_said_before_anything_runs() -> None:
    """It is the run's error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="is in use: choose another, or watch=True"):
            Items().run({}, watch=taken.getsockname()[1])
    assert page_threads() == []


@pytest.mark.parametrize("wrong", ["8765", Watch, object(), 1.5])
def test_what_cannot_watch_is_refused(wrong: Any) -> None:
    """With what to write instead."""
    with pytest.raises(TypeError, match=r"watch is True, a port or a Watch, as in run"):
        Items().run({"items": 1}, watch=wrong)


@pytest.mark.parametrize("settings", [{"port": 70_000}, {"port": "x"}, {"save": "no/such/x.html"}])
def test_settings_that_cannot_be_are_refused(settings: Any) -> None:
    """When the Watch is made."""
    with pytest.raises(ValueError, match=r"a port is a number|there is no folder"):
        Watch(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": ""}, {"host": 3}, {"names": [3]}, {"token": 12345678}, {"journal": "runs.db"},
        {"save": "/"},
    ],
)  # fmt: skip
def test_settings_of_another_type_are_refused(settings: Any) -> None:
    """An empty host would listen on all addresses; a token is not shown."""
    with pytest.raises((TypeError, ValueError), match=next(iter(settings))) as caught:
        Watch(**settings)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize("off", [False, None])
def test_a_run_without_a_page_loads_nothing_of_it(off: Any) -> None:
    """It has no observer either."""
    node = Items()
    node.run({"items": 1}, watch=off)
    assert page_threads() == []


async def test_every_way_to_run_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    """``run_async``, ``launch`` and ``stream``, each with one of its own."""
    graph = Graph(Items(name="A"))
    await graph.run_async({"items": 3}, watch=True)
    await graph.launch({"items": 3}, watch=True)
    outcomes = [outcome async for outcome in Items().stream({"items": 3}, watch=True)]
    assert len(outcomes) == 3
    assert len(printed(capsys)) == 3
    assert page_threads() == []


async def test_a_run_that_fails_or_is_cancelled_leaves_no_page() -> None:
    """Whatever it ends with is raised to the awaiting code."""

    class Fails(Node):
        def exec(self, _: Any) -> None:
            raise LookupError("it is not there")

    with pytest.raises(LookupError):
        await Fails().run_async({}, watch=True)
    node = Held()
    run = node.launch({}, watch=True)
    await node.begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert page_threads() == []


async def test_in_a_with_the_page_is_there_for_several_runs() -> None:
    """Those that are over are shown as they have ended."""
    graph = Graph(Items(name="Count"))
    with Watch() as page:
        address = page.address
        await graph.run_async({"items": 3}, watch=page)
        await graph.run_async({"items": 5}, watch=page)
        assert page.address == address
        async with aiohttp.ClientSession() as client:
            facts = await (await client.get(f"{address}state")).json()
            assert [run["over"] for run in facts["runs"]] == [True, True]
            assert facts["state"]["state"] == "finished"
            first = facts["runs"][0]["run"]
            other = await (await client.get(f"{address}state?run={first}")).json()
            assert other["state"]["run"] == first != facts["state"]["run"]
            assert (await client.get(f"{address}events/{first}")).status == 204
    assert page.address is None
    assert page_threads() == []


async def test_two_runs_at_once_share_a_page() -> None:
    """It is there until the last one ends."""
    first, second = Held("First"), Held("Second")
    watch = Watch()
    runs = [node.launch({}, watch=watch) for node in (first, second)]
    await first.begun.wait()
    await second.begun.wait()
    first.go_on.set()
    await runs[0]
    async with aiohttp.ClientSession() as client:
        facts = await (await client.get(f"{watch.address}state")).json()
    assert [(run["name"], run["over"]) for run in facts["runs"]] == [
        ("First", True), ("Second", False),
    ]  # fmt: skip
    second.go_on.set()
    await runs[1]
    assert watch.address is None


async def test_a_page_can_stay_open_until_it_is_closed() -> None:
    """``wait()`` returns when somebody closes it."""
    watch = Watch(keep_open=True)
    await Items().run_async({"items": 2}, watch=watch)
    async with aiohttp.ClientSession() as client:
        assert (await client.get(f"{watch.address}explain")).status == 200
    waiting = asyncio.create_task(asyncio.to_thread(watch.wait))
    watch.close()
    await waiting
    watch.close()
    assert page_threads() == []


async def test_a_long_list_of_runs_is_kept_short() -> None:
    """The oldest ones that are over go."""
    with Watch() as page:
        for _ in range(25):
            await Items().run_async({"items": 1}, watch=page)
        assert len(page.hubs()) <= 21


async def test_the_page_shows_how_the_run_ends_before_it_goes() -> None:
    """The last event says that there will be no other."""
    node = Held()
    async with watched(Graph(node)) as page, page.stream() as stream:
        await stream.until(lambda shown: "Held" in shown["nodes"])
        node.go_on.set()
        shown = await stream.until(lambda shown: shown["state"] == "finished")
        assert shown["nodes"]["Held"]["state"] == "finished"
        assert (await stream.next())[0] == "end"
        assert (await stream.next())[0] == "closed"
        await page.run


async def test_stages_of_a_pipeline_have_their_times() -> None:
    """As nodes have."""
    line = Items(name="Read") | Held("Keep")
    async with watched(Graph(line), {"items": 1}) as page, page.stream() as stream:
        await stream.until(lambda shown: "Pipeline/Keep" in shown["nodes"])
        line.stages[1].go_on.set()
        await stream.until(lambda shown: shown["state"] == "finished")
        run = await page.run
        assert run is None
        (shown,) = page.watch.hubs()
        spans = (await shown.state())["spans"]
        assert [len(spans[name]) for name in ("Pipeline/Read", "Pipeline/Keep")] == [1, 1]
        assert all(span[1] is not None for (span,) in spans.values())


async def test_a_failure_is_shown_with_its_notes() -> None:
    """Secrets in it are hidden; each error is shown once, however far it goes."""

    class Fails(Held):
        async def exec(self, item: Any) -> None:
            await super().exec(item)
            error = ValueError("no page with token=abcdef")
            error.add_note("as of password=hunter2")
            raise error

    node = Fails()
    async with watched(Graph(Graph(node, name="Inner"))) as page, page.stream() as stream:
        await stream.until(lambda shown: "Inner/Held" in shown["nodes"])
        node.go_on.set()
        shown = await stream.until(lambda shown: shown["state"] == "failed")
        assert shown["error"] == "ValueError: no page with token=***"
        (error,) = [one for one in shown["errors"] if one["error"].startswith("ValueError")]
        assert error["node"] == "Inner/Held"
        assert "as of password=***" in error["notes"]
        with pytest.raises(ValueError, match="no page"):
            await page.run


def test_a_run_can_be_saved_without_a_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``port=None`` listens nowhere."""
    path = tmp_path / "run.html"
    Graph(Items(name="Count")).run({"items": 7}, watch=Watch(None, save=path))
    text = path.read_text(encoding="utf-8")
    kept = json.loads(re.findall(r'id="saved">(.*?)</script>', text)[0])
    assert kept["state"]["state"] == "finished"
    assert kept["state"]["nodes"]["Count"]["state"] == "finished"
    assert 'data-node="Count"' in kept["drawing"]
    assert capsys.readouterr().err == ""


def test_a_run_can_be_saved_later(tmp_path: Path) -> None:
    """By the holder of the Watch."""
    watch = Watch(None)
    with pytest.raises(ValueError, match="there is no run to save"):
        watch.save(tmp_path / "run.html")
    Items().run({"items": 7}, watch=watch)
    watch.save(tmp_path / "run.html")
    assert "finished" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_saved_fails_no_run(tmp_path: Path) -> None:
    """It warns: the run has done its work."""
    path = tmp_path / "run.html"
    watch = Watch(None, save=path)
    path.mkdir()
    with pytest.warns(UserWarning, match="the page of the run was not saved"):
        Items().run({"items": 7}, watch=watch)


async def test_a_hook_that_holds_the_loop_does_not_hold_the_page() -> None:
    """The page says which hook that is."""
    asked, answered = threading.Event(), threading.Event()
    text: list[Any] = []

    class Holds(Node):
        async def exec(self, _: Any) -> None:
            asked.set()
            answered.wait(30)

    def ask(address: str) -> None:
        asked.wait(30)
        with urlopen(address + "explain", timeout=20) as answer:
            text.append(answer.read().decode())
        answered.set()

    with Watch() as page:
        assert page.address is not None
        asking = threading.Thread(target=ask, args=(page.address,))
        asking.start()
        await Holds().run_async({}, watch=page)
        asking.join()
    assert "the event loop is blocked by a hook" in text[0]


async def test_drain_ends_the_run_from_the_page() -> None:
    """What is in flight comes to its end; nothing else begins."""
    first, second = Held("First"), Held("Second")
    first >> second
    async with watched(Graph(first), control=True) as page:
        await first.begun.wait()
        answer = await page.ask(f"drain/{await page.id()}", "POST")
        assert answer.status == 200
        first.go_on.set()
        await page.run
        assert page.run.draining
        assert not second.begun.is_set()


async def test_drain_is_received_while_a_hook_holds_the_loop() -> None:
    """Nothing else begins when it lets go."""
    asked, answered = threading.Event(), threading.Event()
    drained: list[bool] = []

    class Holds(Node):
        async def exec(self, _: Any) -> None:
            asked.set()
            answered.wait(30)
            drained.append(run.draining)

    def ask(watch: Watch) -> None:
        asked.wait(30)
        headers = {"Authorization": f"Bearer {watch.token}"}
        path = f"{watch.address}drain/{watch.hubs()[-1].shown.id}"
        with urlopen(Request(path, method="POST", headers=headers), timeout=20):
            answered.set()

    first, second = Holds(), Held("Second")
    first >> second
    with Watch(control=True) as page:
        asking = threading.Thread(target=ask, args=(page,))
        asking.start()
        run = Graph(first).launch({}, watch=page)
        await run
        asking.join()
    assert drained == [True]
    assert not second.begun.is_set()


def test_watch_shows_itself() -> None:
    """It says where it is, and no token."""
    watch = Watch(control=True)
    assert repr(watch) == "<Watch not open>"
    with watch:
        assert repr(watch) == f"<Watch {watch.address}>"
    assert kaygraph.Watch is Watch


async def test_items_and_keys_that_are_not_to_be_shown_are_on_no_page() -> None:
    """As ``show_items=False`` says: neither in errors, nor in limits, nor in why it waits."""
    held = asyncio.Event()

    class Mail(ParallelBatchNode):
        max_workers = 4
        max_per_key = 1
        on_error = "collect"
        limit_by = staticmethod(lambda item: item.partition("#")[0])

        def prep(self, shared: Any) -> Any:
            return [f"{name}#{number}" for number in range(3) for name in ("mira", "noor")]

        async def exec(self, item: str) -> None:
            if item == "noor#0":
                raise ValueError("it cannot be sent")
            await held.wait()

    graph = Graph(Mail(name="Mail"), show_items=False)
    async with watched(graph) as page, page.stream() as stream:
        await stream.until(lambda shown: shown.get("errors") and shown["waits"])
        texts = [(await page.ask(path)).text for path in ("state", "snapshot", "explain")]
        assert "it cannot be sent" in texts[0]
        for text in texts:
            assert "mira" not in text
            assert "noor" not in text
        held.set()
        await page.run
