"""The page's own files, and the page as a file to share."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ..drawing.style import STYLE

FOLDER = Path(__file__).parent / "static"

_STYLE = '<link rel="stylesheet" href="/page.css">'
_SCRIPT = '<script src="/page.js" defer></script>'
_DATA = '<script type="application/json" id="saved">{}</script>'


@cache
def read(name: str) -> str:
    """Return one of the page's files; the stylesheet includes that of the drawing."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return text + STYLE if name.endswith(".css") else text


@cache
def template() -> str:
    """Return the page with all of its files, and a place for its data.

    It loads nothing, and runs only its own script.
    """
    script, style = read("page.js"), read("page.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = read("page.html")
    page = page.replace(
        _STYLE,
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>',
    )
    page = page.replace(_SCRIPT, "")
    return page.replace("</body>", f"{_DATA}\n<script>{script}</script>\n</body>")


def saved(state: dict[str, Any], drawing: str) -> str:
    """Return a page that shows a run as it is, without a server."""
    text = json.dumps({"state": state, "drawing": drawing}, separators=(",", ":"))
    # Within a script element, `</script` and `<!--` would end it or hide its end.
    return template().replace(_DATA, _DATA.replace("{}", text.replace("<", "\\u003c")))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
