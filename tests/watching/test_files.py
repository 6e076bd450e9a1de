"""The page's own files."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from kaygraph.watching.files import FOLDER, read, saved, template

MOST_BYTES = 60_000


def test_the_page_is_small() -> None:
    """All that a browser loads, before it is compressed."""
    assert sum(len(read(path.name).encode()) for path in FOLDER.iterdir()) <= MOST_BYTES


def test_the_page_takes_nothing_from_elsewhere() -> None:
    """No address of another host stands in it, but for names of XML."""
    for path in FOLDER.iterdir():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text(encoding="utf-8"))
        assert {one for one in addresses if "www.w3.org" not in one} == set()


def test_the_page_makes_no_markup_of_text() -> None:
    """What a run says is never read as HTML or as a program."""
    script = read("page.js")
    for dangerous in (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(",
        "setTimeout(\"", "style=", ".srcdoc",
    ):  # fmt: skip
        assert dangerous not in script
    assert "style=" not in read("page.html")
    assert not re.search(r"\son\w+=", read("page.html"))


def test_a_saved_page_runs_its_own_script_alone() -> None:
    """Its policy names the hashes of that and of its style, and allows nothing else."""
    text = template()
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    style = text.partition("<style>")[2].partition("</style>")[0]
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)[0]
    for part, kind in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert 'href="/' not in text.replace('href="#', "")
    assert 'src="' not in text


@pytest.mark.parametrize(
    "hostile",
    ["</script><script>alert(1)</script>", "<!--<script>", "\u2028", "\ud800", "{}", "$&"],
)
def test_whatever_a_run_says_stays_data_in_a_saved_page(hostile: str) -> None:
    """It does not end the element that it stands in."""
    state: dict[str, Any] = {"name": hostile, "nodes": {hostile: {}}}
    text = saved(state, hostile)
    before, _, rest = text.partition('id="saved">')
    data, _, behind = rest.partition("</script>")
    assert json.loads(data) == {"state": state, "drawing": hostile}
    assert (before + behind).count("<script") == template().count("<script")
    text.encode()
