"""The runs of a journal on the page, and answers that are given there."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from kaygraph import Graph, Journal, Node, Watch
from kaygraph.nodes import WaitFor
from tests.watching.pages import watched

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}


class Noted(Node):
    def prep(self, shared: Any) -> None:
        shared["done"].append(self.name)


def approval(done: list[str]) -> tuple[Graph, dict[str, Any]]:
    ask = {"text": "May it be sent?", "api_key": "sk-abcdef"}
    first = WaitFor(name="approval", ask=ask, schema=SCHEMA)
    first >> Noted(name="Send")
    return Graph(first, name="Orders"), {"done": done}


async def asked(page: Any, run: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            answer = await page.ask(f"journal/{run}")
            if answer.status == 200 and '"id"' in answer.text:
                return await page.json(f"journal/{run}")
            await asyncio.sleep(0.01)


async def test_a_run_is_answered_on_the_page(tmp_path: Path) -> None:
    """It goes on at once; secrets of the question are hidden."""
    done: list[str] = []
    graph, shared = approval(done)
    journal = Journal(tmp_path / "runs.db", run="order 7/ü?", on_wait="stay")
    async with watched(graph, shared, {"journal": journal}, control=True) as page:
        path = quote("order 7/ü?", safe="")
        record = await asked(page, path)
        (wait,) = record["waits"]
        assert wait["schema"] == SCHEMA
        assert "May it be sent?" in wait["ask"]
        assert "abcdef" not in wait["ask"]
        listed = await page.json("journal")
        assert [one["run"] for one in listed["runs"]] == ["order 7/ü?"]
        wrong = await page.ask(
            f"journal/{path}/answer", "POST", json={"name": wait["id"], "value": {"yes": 3}}
        )
        assert wrong.status == 400
        right = {"name": wait["id"], "value": {"yes": True}}
        assert (await page.ask(f"journal/{path}/answer", "POST", json=right)).status == 200
        again = await page.ask(f"journal/{path}/answer", "POST", json=right)
        assert again.status == 409
        await page.run
    assert done == ["Send"]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"name": 1, "value": 2}', '{"name": "x"}'])
async def test_what_is_not_an_answer_is_refused(tmp_path: Path, body: str) -> None:
    """With what one looks like."""
    await Noted(name="N").run_async({"done": []}, journal=Journal(tmp_path / "runs.db", run="1"))
    with Watch(control=True, journal=Journal(tmp_path / "runs.db")) as watch:
        answer = await post(watch, "journal/1/answer", body)
        assert answer == (
            400,
            'an answer is JSON: {"name": the id of the wait, "value": the answer}',
        )


@pytest.mark.parametrize(("run", "status"), [("1", 200), ("2", 404)])
async def test_recorded_runs_are_shown_without_a_run_of_its_own(
    tmp_path: Path, run: str, status: int
) -> None:
    """As ``kaygraph watch`` does; there is nothing to explain."""
    await Noted(name="N").run_async({"done": []}, journal=Journal(tmp_path / "runs.db", run="1"))
    with Watch(journal=Journal(tmp_path / "runs.db")) as watch:
        async with aiohttp.ClientSession() as client:
            assert (await client.get(f"{watch.address}journal/{run}")).status == status
            facts = await (await client.get(f"{watch.address}state")).json()
            assert facts == {"control": False, "journal": True, "runs": []}
            assert (await client.get(f"{watch.address}explain")).status == 404
            assert (await client.get(f"{watch.address}snapshot")).status == 404
            assert (await client.post(f"{watch.address}journal/1/answer")).status in (403, 404, 405)


async def test_many_tabs_are_one_look_at_the_journal(tmp_path: Path) -> None:
    """It may be large, and each of them asks again and again."""
    await Noted(name="N").run_async({"done": []}, journal=Journal(tmp_path / "runs.db", run="1"))

    class Counted(Journal):
        looks = 0

        def runs(self) -> Any:
            self.looks += 1
            return super().runs()

    journal = Counted(tmp_path / "runs.db")
    with Watch(journal=journal) as watch:
        async with aiohttp.ClientSession() as client:
            asked = [client.get(f"{watch.address}journal") for _ in range(20)]
            answers = await asyncio.gather(*asked)
            assert all(answer.status == 200 for answer in answers)
    assert journal.looks <= 2


async def test_a_journal_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """With the journal's own words."""
    with Watch(journal=Journal(tmp_path / "none.db")) as watch:
        async with aiohttp.ClientSession() as client:
            answer = await client.get(f"{watch.address}journal")
            assert answer.status == 503
            assert "none.db" in await answer.text()


async def post(watch: Watch, path: str, body: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {watch.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.post(f"{watch.address}{path}", data=body) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_page_that_was_there_before_shows_the_journal_of_its_run(tmp_path: Path) -> None:
    """In a ``with`` it is opened before any run says which journal it has."""
    graph, shared = approval([])
    with Watch(control=True) as watch:
        headers = {"Authorization": f"Bearer {watch.token}"}
        async with aiohttp.ClientSession(watch.address, headers=headers) as client:
            async with client.get("/journal") as answer:
                assert answer.status == 404
            journal = Journal(tmp_path / "runs.db", run="order")
            assert await graph.run_async(shared, journal=journal, watch=watch) == "waits"
            async with client.get("/journal") as answer:
                assert [one["run"] for one in (await answer.json())["runs"]] == ["order"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {"Content-Type": "application/json; charset=nonsense"}),
        (b'{"name": "approval", "value": ' + b"[" * 100_000, {}),
        (b"no gzip", {"Content-Encoding": "gzip"}),
        (b'{"name": 3, "value": 1}', {}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_refused(
    tmp_path: Path, body: bytes, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """By what is wrong with it, and not as a fault of the server."""
    graph, shared = approval([])
    journal = Journal(tmp_path / "runs.db", run="order", on_wait="stay")
    async with watched(graph, shared, {"journal": journal}, control=True) as page:
        await asked(page, "order")
        answer = await page.ask("journal/order/answer", "POST", data=body, headers=headers)
        assert (answer.status, answer.text[:20]) == (400, "an answer is JSON: {")
        page.run.cancel()
    assert caplog.records == []
