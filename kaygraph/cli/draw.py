"""``kaygraph draw``: draw a graph as a picture."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from ..graph.graph import Graph
from .arguments import Command, Options, takes
from .loading import load_graph
from .wrong import WrongCommandError


def draw(options: Options) -> int:
    """Write a graph as SVG, or as Mermaid if the file name ends in ``.mmd``."""
    file = None if options.output in (None, "-") else Path(options.output)
    if file is not None and file.suffix not in (".svg", ".mmd"):
        raise WrongCommandError(
            f"-o must be a file name ending in .svg, or in .mmd for Mermaid; got {options.output!r}"
        )
    with redirect_stdout(sys.stderr):  # keep what its module prints out of the picture
        graph = load_graph(options.graph)
    if file is not None and file.suffix == ".mmd":
        if not isinstance(graph, Graph):
            raise WrongCommandError(
                f"only a graph can be written as Mermaid, not {graph!r}: type -o FILE.svg"
            )
        _write(file, graph.to_mermaid())
        return 0
    from ..graph.picture import drawn  # loaded only where it is used

    if isinstance(graph, Graph):
        graph.validate()
    text = drawn(graph, options.direction)
    if file is None:
        # ASCII only, so that any encoding of the terminal or the pipe can show it.
        print(text.encode("ascii", "xmlcharrefreplace").decode())
    else:
        _write(file, text)
    return 0


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise WrongCommandError(f"cannot write -o {file}: {error.strerror}") from None


EXAMPLES = """\
  kaygraph draw flows.py:graph -o flow.svg
  kaygraph draw package.flows:make_graph --direction TB > flow.svg
  kaygraph draw flows.py:graph -o flow.mmd
"""

COMMAND = Command(
    "draw",
    draw,
    "draw a graph as SVG",
    (
        takes("graph", "FILE:NAME", help="the graph, or a function that returns one"),
        takes("-o", "FILE", dest="output", help="a .svg or .mmd (Mermaid) file; by default: print"),
        takes(
            "--direction", choices=("LR", "TB"), default="LR",
            help="left to right (LR, the default) or top to bottom (TB)",
        ),
    ),
    EXAMPLES,
)  # fmt: skip
