"""The page in a real browser, where Debian's Chromium is installed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from benchmarks.v1_drawing import graph_of
from kaygraph import BatchNode, Graph, Journal, Node, ParallelBatchNode, Watch
from kaygraph.nodes import WaitFor
from tests.watching.browser import PROGRAM, Tab, browser
from tests.watching.pages import Held, Page, watched

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.proofs,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here"),
]

HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@asynccontextmanager
async def seen(
    folder: Path, node: Any, shared: Any = None, run_with: Any = None, /, **settings: Any
) -> AsyncIterator[tuple[Page, Tab]]:
    """Run something, and open its page; nothing may be said on the browser's console."""
    async with watched(node, shared, run_with, **settings) as page, browser(folder) as chromium:
        tab = await chromium.tab()
        token = "" if page.watch.token is None else f"?token={page.watch.token}"
        await tab.open(page.address + token)
        async with asyncio.timeout(60):  # a page that reads gets the end too
            while not (  # noqa: ASYNC110
                page.run.done() or any(hub.readers for hub in page.watch.hubs())
            ):
                await asyncio.sleep(0.02)
        yield page, tab
        assert [one for one in tab.complaints if "ERR_CONNECTION_REFUSED" not in one] == []


def text_of(place: str) -> str:
    return f"document.querySelector({json.dumps(place)}).innerText"


async def test_a_run_is_drawn_coloured_and_followed_to_its_end(tmp_path: Path) -> None:
    """Nested graphs are unfolded; the page has the end although the server is gone."""
    first, second = Held("First"), Held("Second")
    first >> Graph(second, name="Inner")
    async with seen(tmp_path, Graph(first, name="Story")) as (page, tab):
        await tab.until("document.querySelector('[data-node=\"First\"].is-running')")
        assert await tab.js("document.querySelectorAll('.kaygraph-node').length") == 2
        first.go_on.set()
        await tab.until("document.querySelector('[data-node=\"Inner/Second\"].is-running')")
        await tab.until("document.querySelector('[data-node=\"First\"].is-done')")
        rows = await tab.js("[...document.querySelectorAll('#nodes tbody button.link')]"
                            ".map(button => button.innerText)")  # fmt: skip
        assert rows == ["First", "Inner", "Second"]
        second.go_on.set()
        await page.run
        await tab.until(f"{text_of('#state')} === 'finished'")
        assert await tab.js("document.querySelectorAll('#nodes .badge.is-done').length") == 3


async def test_names_and_errors_are_text(tmp_path: Path) -> None:
    """Whatever they are, nothing of them becomes a part of the page."""

    class Fails(Held):
        async def exec(self, item: Any) -> None:
            await super().exec(item)
            error = ValueError(HOSTILE)
            error.add_note(HOSTILE)
            raise error

    node = Fails(HOSTILE)
    async with seen(tmp_path, Graph(node, name=HOSTILE)) as (page, tab):
        await tab.until("document.querySelector('#nodes tbody tr')")
        node.go_on.set()
        with pytest.raises(ValueError, match="img"):
            await page.run
        await tab.until(f"{text_of('#state')} === 'failed'")
        for place in ("#nodes tbody", "#errors", "#failed", "#name"):
            assert HOSTILE in await tab.js(text_of(place)), place
        assert await tab.js("document.querySelectorAll('main img, main script').length") == 0
        assert "owned" not in (await tab.js("document.title")).split(":")[0]


async def test_what_waits_is_said_and_read_out(tmp_path: Path) -> None:
    """In the list, and for screen readers, not ten times a second."""
    first, second = Held("First"), Held("Second")
    join = Node(name="Join")
    start = Node(name="Start")
    start >> [first, second] >> join
    async with seen(tmp_path, Graph(start)) as (page, tab):
        first.go_on.set()
        await tab.until(f"{text_of('#waits')}.includes(\"'Join' waits for 'Second'\")")
        assert await tab.js("document.querySelector('[aria-live=polite]').id") == "said"
        await tab.until("document.querySelector('#said').textContent.includes('Join, join')")
        second.go_on.set()
        await page.run


async def test_it_is_used_by_keyboard(tmp_path: Path) -> None:
    """All that can be done is reached by Tab, in the order in which it stands, and is seen."""
    first = Held("First")
    first >> Graph(Held("Second"), name="Inner")
    async with seen(tmp_path, Graph(first), control=True) as (page, tab):
        await tab.until("!document.querySelector('#save').hidden")
        await tab.until("document.querySelector('#nodes button.link')")
        reached = []
        for _ in range(12):
            await tab.press("Tab")
            place = await tab.js("document.activeElement.id || document.activeElement.innerText")
            assert await tab.js("getComputedStyle(document.activeElement).outlineStyle") != "none"
            reached.append(place)
            if place == "First":
                break
        wanted = ["Skip to the nodes", "drain", "save", "fit", "drawing", "First"]
        assert [one for one in reached if one in wanted] == wanted
        await tab.press("Enter")
        await tab.until("document.querySelector('[data-node=\"First\"].is-picked')")
        await tab.js("document.querySelector('#drain').focus()")
        await tab.press("Enter")
        async with asyncio.timeout(60):
            while not page.run.draining:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        first.go_on.set()
        await page.run


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
async def test_it_is_readable_at_every_width_in_light_and_dark(
    tmp_path: Path, width: int, dark: bool
) -> None:
    """Nothing is wider than the window; text stands out from what is behind it."""

    class Fails(ParallelBatchNode):
        on_error = "collect"
        max_retries = 2

        def prep(self, shared: Any) -> Any:
            return range(50)

        async def exec(self, item: int) -> int:
            if item % 7 == 3:
                raise ValueError("a-word-without-any-space-" * 12)
            return item

    start, held = Node(name="A name that is quite long, and is still not at its end"), Held()
    batch = Fails(name="Fails")
    start >> [batch, held] >> Node(name="Join")
    async with seen(tmp_path, Graph(start)) as (page, tab):
        await tab.size(width, 900, dark)
        await tab.open(page.address)
        await tab.until("document.querySelector('#errors li')")
        await tab.until("document.querySelector('[data-node=\"Held\"].is-running')")
        assert await tab.js("document.documentElement.scrollWidth") <= width
        ratios = await tab.js(CONTRASTS)
        assert len(ratios) > 20
        assert [one for one in ratios if one[0] < 4.5] == []
        held.go_on.set()
        await page.run


async def test_a_saved_page_shows_the_run_without_a_server(tmp_path: Path) -> None:
    """It is one file; its policy lets it ask nobody."""
    path = tmp_path / "run.html"
    node = Held("First")
    async with seen(tmp_path / "profile", Graph(node, name=HOSTILE), save=path) as (page, tab):
        await tab.until("!document.querySelector('#save').hidden")
        by_hand = await tab.js(
            "new Promise(resolve => { HTMLAnchorElement.prototype.click = () => {};"
            " URL.createObjectURL = blob => { blob.text().then(resolve); return '#'; };"
            " document.querySelector('#save').click(); })"
        )
        node.go_on.set()
        await page.run
        await tab.until(f"{text_of('#state')} === 'finished'")
        tab.complaints.clear()  # that no server answers
        for text, state in ((path.read_text(encoding="utf-8"), "finished"), (by_hand, "running")):
            path.write_text(text, encoding="utf-8")
            await tab.open(path.as_uri())
            await tab.until(f"{text_of('#state')} === {state!r}")
            assert await tab.js(text_of("#name")) == HOSTILE
            assert await tab.js("document.querySelectorAll('[data-node=\"First\"]').length") == 1
            asked = "fetch('https://example.org').then(() => 'asked', () => 'refused')"
            assert await tab.js(asked) == "refused"
            tab.complaints.clear()


async def test_a_run_that_waits_is_answered_in_a_form(tmp_path: Path) -> None:
    """The form is that of the schema."""
    schema = {
        "type": "object", "required": ["approved"],
        "properties": {
            "approved": {"type": "boolean"}, "amount": {"type": "integer"},
            "level": {"enum": ["low", "high"]}, "note": {"type": "string"},
        },
    }  # fmt: skip
    got: list[Any] = []

    class Asks(WaitFor):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            got.append(exec_res)

    graph = Graph(Asks(name="approval", ask=HOSTILE, schema=schema))
    journal = Journal(tmp_path / "runs.db", run="order-7", on_wait="stay")
    async with seen(tmp_path / "p", graph, {}, {"journal": journal}, control=True) as (page, tab):
        await tab.until("document.querySelector('form')")
        assert HOSTILE in await tab.js(text_of("form"))
        await tab.js(
            "{ const fields = document.querySelectorAll('form select, form input');"
            " fields[0].value = 'yes'; fields[1].value = '12'; fields[2].value = '1';"
            " document.querySelector('form button').click(); }"
        )
        await page.run
    assert got == [{"approved": True, "amount": 12, "level": "high"}]


async def test_a_link_of_another_site_opens_the_page_with_its_token(tmp_path: Path) -> None:
    """The cookie is that of the page, though no request from there would have it."""
    node = Held()
    async with seen(tmp_path, Graph(node, name="Story"), token="a-token-of-mine") as (page, tab):
        address = f"{page.address}?token=a-token-of-mine"

        async def link(_: web.Request) -> web.Response:
            return web.Response(text=f"<a href='{address}'>x</a>", content_type="text/html")

        elsewhere = web.Application()
        elsewhere.router.add_get("/", link)
        elsewhere.router.add_get("/favicon.ico", link)
        runner = web.AppRunner(elsewhere)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            await tab.until("!document.querySelector('#save').hidden")  # it has asked for all
            await tab.ask("Network.clearBrowserCookies")
            await tab.open(f"http://localhost:{runner.addresses[0][1]}/")
            await tab.js("document.querySelector('a').click()")
            await tab.until("document.querySelector('[data-node=\"Held\"].is-running')")
            assert "token" not in await tab.js("location.href")
        finally:
            await runner.cleanup()
        node.go_on.set()
        await page.run


async def test_a_hidden_tab_holds_no_stream(tmp_path: Path) -> None:
    """A browser has six for a server: the seventh tab would get nothing at all."""
    node = Held()
    async with watched(Graph(node)) as page, browser(tmp_path) as chromium:
        tabs = [await chromium.tab() for _ in range(9)]
        for tab in tabs:
            await tab.ask("Page.bringToFront")
            await tab.open(page.address)
            await tab.until(f"{text_of('#state')} === 'running'")
        (hub,) = page.watch.hubs()
        async with asyncio.timeout(30):
            while hub.readers > 6:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        node.go_on.set()
        await page.run


class Many(ParallelBatchNode):
    max_workers = 50

    def prep(self, shared: Any) -> Any:
        return range(50_000)

    async def exec(self, item: int) -> int:
        if item % 5_000 == 0:
            await asyncio.sleep(0.001)
        return item


class Quick(BatchNode):
    def prep(self, shared: Any) -> Any:
        return range(10)

    async def exec(self, item: int) -> int:
        await asyncio.sleep(0)
        return item


async def test_two_hundred_nodes_and_a_million_items_are_shown(tmp_path: Path) -> None:
    """While they run, and as they have ended."""
    graph = graph_of(200)
    steps = [Many if number % 10 == 0 else Quick for number in range(200)]
    made = [kind(name=f"Step {number}") for number, kind in enumerate(steps)]
    last = Held("Last")
    for first, second in zip(made, [*made[1:], last], strict=True):
        first >> second
    for number in range(0, 180, 9):
        made[number] - "again" >> made[number + 15]
    assert graph is not None
    async with seen(tmp_path, Graph(made[0], name="Large")) as (page, tab):
        await tab.until("document.querySelectorAll('#drawing .kaygraph-node').length === 201")
        await tab.until("document.querySelectorAll('#nodes tbody tr').length > 20")
        assert await tab.js("document.documentElement.scrollWidth") <= 1280
        async with asyncio.timeout(100):
            await last.begun.wait()
        await tab.until("document.querySelectorAll('#drawing .is-done').length === 200")
        last.go_on.set()
        await page.run
        await tab.until(f"{text_of('#state')} === 'finished'")
        assert "1,001,800" in await tab.js(text_of("#figures"))


CONTRASTS = """(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest('svg, noscript, script')) continue;
    const a = light(parts(getComputedStyle(element).color)), b = light(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, element.textContent.slice(0, 40)]);
  }
  return found;
})()"""


async def test_a_page_that_is_opened_before_a_run_shows_it(tmp_path: Path) -> None:
    """In a ``with``, its address is printed when there is no run yet."""
    node = Held("First")
    with Watch() as watch:
        async with browser(tmp_path) as chromium:
            tab = await chromium.tab()
            assert watch.address is not None
            await tab.open(watch.address)
            await tab.until(f"{text_of('#state')} === 'no run'")
            run = Graph(node, name="Story").launch({}, watch=watch)
            await tab.until("document.querySelector('[data-node=\"First\"].is-running')")
            node.go_on.set()
            await run
            await tab.until(f"{text_of('#state')} === 'finished'")
