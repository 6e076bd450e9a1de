"""``kaygraph draw``: a graph as a picture."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from ..graph.graph import Graph
from .arguments import Command, Options, takes
from .loading import load_graph
from .wrong import WrongCommandError


def draw(options: Options) -> int:
    """Write a graph as SVG, or as Mermaid where the file is called so."""
    file = None if options.output in (None, "-") else Path(options.output)
    if file is not None and file.suffix not in (".svg", ".mmd"):
        raise WrongCommandError(
            f"-o takes a file that ends in .svg, or in .mmd for Mermaid; got {options.output!r}"
        )
    with redirect_stdout(sys.stderr):  # what its module prints is no part of the picture
        graph = load_graph(options.graph)
    if file is not None and file.suffix == ".mmd":
        if not isinstance(graph, Graph):
            raise WrongCommandError(f"only a graph is written as Mermaid, and {graph!r} is none")
        _write(file, graph.to_mermaid())
        return 0
    from ..graph.picture import drawn  # loads where it is used

    if isinstance(graph, Graph):
        graph.validate()
    text = drawn(graph, options.direction)
    if file is None:
        # In whatever encoding the terminal or the pipe has.
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
        takes("graph", "FILE:NAME", help="the graph, or a function that returns it"),
        takes("-o", "FILE", dest="output", help="a .svg, or a .mmd for Mermaid; else printed"),
        takes(
            "--direction", choices=("LR", "TB"), default="LR",
            help="from left to right (the default), or from top to bottom",
        ),
    ),
    EXAMPLES,
)  # fmt: skip
