"""``llms.txt`` and ``llms-full.txt``: the site for readers that want text, see llmstxt.org.

``llms.txt`` lists the pages in the order of the site, each with its first sentence, and every page
that is written by hand stands next to its HTML as Markdown. ``llms-full.txt`` has the pages one
after another and a line for each public name; of the ``llms_optional`` ones those that still fit.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from public_names import MODULES, places
from sphinx.addnodes import toctree
from sphinx.application import Sphinx

FULL_BYTES = 200_000
TOCTREE = re.compile(r"```\{toctree\}.*?```\n*", re.DOTALL)


def pages(app: Sphinx) -> Iterator[tuple[str, list[str]]]:
    """Yield the captions of the first page, each with its pages."""
    for tree in app.env.get_doctree(app.config.root_doc).findall(toctree):
        yield str(tree["caption"]), list(tree["includefiles"])


def text_of(app: Sphinx, page: str) -> str:
    """Return a page as it was read: with its links out of ``docs/`` led to the repository."""
    source = [app.env.doc2path(page).read_text(encoding="utf-8")]
    app.emit("source-read", page, source)
    return TOCTREE.sub("", source[0]).strip() + "\n"


def paragraph(text: str) -> str:
    """Return the first paragraph that is prose, in one line; "" without one."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = (" ".join(part.split()) for part in prose.split("\n\n"))
    return next((part for part in found if part and part[0] not in "#|-*"), "")


def sentence(text: str) -> str:
    """Return the first sentence of a page, after a colon, or nothing."""
    first = re.split(r"(?<=[.:])\s", paragraph(text))[0].rstrip(":.")
    return first and f": {first}"


def names() -> Iterator[str]:
    """Yield a line for each public name, with the first line of its docstring."""
    for module in MODULES:
        yield f"\n## {module}\n"
        for name in sorted(places(module)):
            text = inspect.getdoc(getattr(import_module(module), name)) or ""
            yield f"- `{name}`: {' '.join(text.partition(chr(10) * 2)[0].split())}"


def write(app: Sphinx, error: Exception | None) -> None:
    """Write both files, and the pages as Markdown."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    start = text_of(app, app.config.root_doc)
    listed = [f"# {app.config.project}\n\n> {paragraph(start)}\n"]
    full = [start]
    optional, spare = [], {}
    for caption, found in pages(app):
        listed.append(f"\n## {caption}\n\n")
        for page in found:
            if app.env.doc2path(page).suffix != ".md":
                listed.append(f"- [{title(app, page)}]({page}.html)\n")
                continue
            text = text_of(app, page)
            (out / f"{page}.md").write_text(text, encoding="utf-8")
            line = f"- [{title(app, page)}]({page}.md){sentence(text)}\n"
            if page in app.config.llms_optional:
                optional.append(line)
                spare[page] = text
            else:
                listed.append(line)
                full.append(text)
    listed += ["\n## Optional\n\n", *optional]
    full.append("# All public names\n" + "\n".join(names()) + "\n")
    left = FULL_BYTES - size_of(full)
    if left < 0:
        raise ValueError(f"llms-full.txt has {-left} bytes too many: make a page llms_optional")
    for page in app.config.llms_optional:
        if size_of([*full, spare[page]]) <= FULL_BYTES:
            full.append(spare[page])
    (out / "llms.txt").write_text("".join(listed), encoding="utf-8")
    (out / "llms-full.txt").write_text("\n".join(full), encoding="utf-8")


def size_of(pages: list[str]) -> int:
    return len("\n".join(pages).encode())


def title(app: Sphinx, page: str) -> str:
    return app.env.titles[page].astext()


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the files when the site is built."""
    app.add_config_value("llms_optional", [], "")
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
