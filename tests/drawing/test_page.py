"""The picture on the page about drawings."""

import re
from pathlib import Path

from kaygraph import Graph
from tests.drawing.reading import read

DOCS = Path(__file__).parents[2] / "docs"


def test_picture_is_what_its_program_draws() -> None:
    """To draw it anew: write ``graph.to_svg()`` of the program, and a line end, to the file."""
    page = (DOCS / "how-to" / "drawing.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (program,) = [one for one in programs if "Review loop" in one]
    names: dict[str, Graph] = {}
    exec(program, {"__name__": "page", "print": lambda *_: None}, names)
    picture = (DOCS / "pictures" / "drawing.svg").read_text(encoding="utf-8")
    assert picture == names["graph"].to_svg() + "\n"
    assert "Pipeline/Rank" in read(picture).nodes
