"""The site builds without a warning, has every name, loads nothing from elsewhere, and finds."""

import re
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from urllib.parse import unquote, urlsplit

import pytest

import kaygraph
from tests.children import ROOT, python
from tests.watching.browser import PROGRAM, browser

DOCS = ROOT / "docs"
LOADED = {"src", "srcset", "poster", "data", "href"}  # href: not of <a>, which loads nothing
THEME = {"https://github.com/pradyunsg/furo", "https://pradyunsg.me", "https://www.sphinx-doc.org/"}

pytestmark = pytest.mark.proofs


class Page(HTMLParser):
    """What a page loads, where it leads, and the places within it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name == "href" and tag == "a" and value:
                self.links.append(value)
            elif name in LOADED and value:
                self.loads.append(value)
            elif name == "style" and value:
                self.loads += re.findall(r"url\(['\"]?([^'\")]+)", value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it once, as ``.ci/run`` does: a warning is an error."""
    for module in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(module)
    out = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-n", "-q", "-b", "html"]
    built = python("-m", "sphinx", *options, DOCS, out, cwd=ROOT, timeout=None)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 40
    return found


def public_names() -> Iterator[str]:
    """Yield the names of ``__all__`` of every module, and the errors, wherever they are."""
    modules = [info.name for info in walk_packages(kaygraph.__path__, "kaygraph.")]
    for module in ["kaygraph", *modules]:
        if not re.search(r"\._|\.__main__$", module):
            public = import_module(module)
            yield from (f"{module}.{name}" for name in getattr(public, "__all__", ()))
    for error in vars(kaygraph.errors).values():
        if isinstance(error, type) and issubclass(error, kaygraph.KayGraphError):
            yield f"{error.__module__}.{error.__name__}"


@pytest.mark.timeout(600)
def test_every_public_name_is_in_the_reference(site: Path) -> None:
    """Its inventory, which other sites link by, has them all, as what they are."""
    lines = (site / "objects.inv").read_bytes().split(b"\n", 4)
    names = {line.split(" ")[0] for line in zlib.decompress(lines[4]).decode().splitlines()}
    public = set(public_names())
    assert len(public) > 150
    assert {name for name in public if name not in names} == set()


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """No font, script, style or picture: a reader without a network sees the same."""
    loads = {load for page in pages.values() for load in page.loads}
    assert any(load.endswith(".svg") for load in loads)
    for style in site.rglob("*.css"):
        loads |= set(
            re.findall(r"(?:url\(|@import\s+)['\"]?([^'\")\s;]+)", style.read_text("utf-8"))
        )
    assert [load for load in loads if urlsplit(load).netloc or load.startswith("//")] == []


def test_every_link_within_the_site_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    """To a file that is there, and a place in it."""
    lost = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            there = target.is_file() and target.is_relative_to(site)
            if there and target in pages and parts.fragment:
                there = unquote(parts.fragment) in pages[target].places
            if not there:
                lost.append(f"{path.relative_to(site)}: {link}")
    assert lost == []


def test_a_link_to_the_web_is_one_of_the_text(pages: dict[Path, Page]) -> None:
    """A page or a docstring has it; the theme names itself at the end of each page."""
    sources = [*DOCS.rglob("*.md"), *DOCS.rglob("*.rst"), *(ROOT / "kaygraph").rglob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    address = re.search(r'^Source = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert address is not None
    links = {link for page in pages.values() for link in page.links if urlsplit(link).netloc}
    others = {link for link in links if not link.startswith(address[1] + "/") and link not in text}
    assert others <= THEME
    for link in links - others:  # and those to the repository lead to what is in it
        if link.startswith(address[1] + "/"):
            _kind, _branch, path = link.removeprefix(address[1] + "/").split("/", 2)
            assert (ROOT / path).exists()


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
@pytest.mark.anyio
async def test_search_finds_without_a_server(site: Path, tmp_path: Path) -> None:
    """A word that a page explains, and a name of the reference, from the files alone."""
    async with browser(tmp_path) as chromium:
        tab = await chromium.tab()
        await tab.open((site / "index.html").as_uri())
        await tab.js("document.querySelector('.sidebar-search').value = 'deadlock'")
        await tab.js("document.querySelector('.sidebar-search-container').submit()")
        # The results appear one after another.
        await tab.until("document.querySelector('#search-results')?.innerText.includes('Caps')")
        await tab.open((site / "search.html").as_uri() + "?q=idempotency_key")
        await tab.until("document.querySelectorAll('#search-results li a').length > 0")
        first = await tab.js("document.querySelector('#search-results li a').href")
        assert "/reference/nodes.html#kaygraph.BaseNode.idempotency_key" in first
        await tab.open(first)
        assert await tab.js("document.title") == "Nodes - kaygraph"


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
@pytest.mark.anyio
@pytest.mark.parametrize("width", [1280, 400])
async def test_no_page_is_wider_than_the_window(
    pages: dict[Path, Page], tmp_path: Path, width: int
) -> None:
    """On a telephone, what is wide scrolls by itself; the browser complains of nothing."""
    async with browser(tmp_path) as chromium:
        tab = await chromium.tab(width)
        for path in pages:
            await tab.open(path.as_uri())
            assert await tab.js("document.documentElement.scrollWidth") <= width, path
        assert tab.complaints == []


def test_the_text_for_language_models_has_all_pages(site: Path) -> None:
    """llms.txt leads to Markdown files that are there; llms-full.txt is not too long to be read."""
    listed = (site / "llms.txt").read_text(encoding="utf-8")
    links = re.findall(r"^- \[[^]]+\]\(([^)]+)\)", listed, re.MULTILINE)
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"index.md"}
    assert {link for link in links if link.endswith(".md")} == pages
    assert [link for link in links if not (site / link).is_file()] == []
    assert listed.startswith("# kaygraph\n\n> ")
    full = (site / "llms-full.txt").read_bytes()
    assert len(full) <= 200_000
    for start in ("# First steps\n", "# What kaygraph guarantees\n", "- `ParallelBatchNode`: "):
        assert f"\n{start}".encode() in full
