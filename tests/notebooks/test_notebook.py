"""A notebook, executed as a whole: what its cells show."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.kernels import environment

CELLS = {
    "definitions": """
import asyncio
from kaygraph import *

class Work(ParallelBatchNode):
    def prep(self, shared):
        return range(3)
    async def exec(self, item):
        await asyncio.sleep(0)
        return item
    def post(self, shared, _, results):
        shared["results"] = results

a, b = Node(name="a"), Node(name="b")
""",
    "line": "a >> b",
    "graph": "graph = Graph(a, name='Flow')\ngraph",
    "mermaid": "display(graph, include=['text/vnd.mermaid'])",
    "pipeline": "Work() | Node(name='Last')",
    "group": "settle(Node(name='c'), Node(name='d'))",
    "outcome": "Outcome('Fetch', 1, 'ok', 2)",
    "run": "shared = {}\nGraph(Work()).run(shared)\nshared",
    "run_async": "shared = {}\nawait Graph(Work()).run_async(shared)\nshared",
    "launch": "shared = {}\ntask = Graph(Work()).launch(shared)\nawait task\nshared",
    "stream": "[outcome.value async for outcome in Work().stream()]",
    "report": "report = RunReport()\nGraph(Work()).run({}, observers=[report])\nreport",
    "warnings": "import warnings; warnings.simplefilter('error'); Graph(Work()).run()",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return the outputs of each cell."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment())
    nbformat.write(notebook, folder / "cells.ipynb")
    read = nbformat.read(Path(folder) / "cells.ipynb", as_version=4)
    nbformat.validate(read)
    return {name: cell.outputs for name, cell in zip(CELLS, read.cells, strict=True)}


def shown(outputs: dict[str, list[Any]], name: str) -> dict[str, str]:
    """Return the only thing that a cell shows, by type."""
    (output,) = outputs[name]
    data: dict[str, str] = output["data"]
    return data


@pytest.mark.parametrize("name", ["line", "graph", "pipeline", "group"])
def test_what_has_parts_is_drawn(outputs: dict[str, list[Any]], name: str) -> None:
    """As SVG, with its text."""
    data = shown(outputs, name)
    assert set(data) == {"text/plain", "image/svg+xml"}
    assert data["image/svg+xml"].startswith("<svg")


def test_mermaid_is_there_when_it_is_asked_for(outputs: dict[str, list[Any]]) -> None:
    """JupyterLab draws it."""
    assert "n0 --> n1" in shown(outputs, "mermaid")["text/vnd.mermaid"]


def test_outcome_is_a_table(outputs: dict[str, list[Any]]) -> None:
    """With its text."""
    assert "<table>" in shown(outputs, "outcome")["text/html"]


def test_report_is_a_table_and_a_timeline(outputs: dict[str, list[Any]]) -> None:
    """Front ends show the HTML, which has both; others the drawing, or the text."""
    data = shown(outputs, "report")
    assert set(data) == {"text/plain", "text/html", "image/svg+xml"}
    assert "<table>" in data["text/html"]
    assert data["image/svg+xml"] in data["text/html"]


@pytest.mark.parametrize("name", ["run", "run_async", "launch"])
def test_graphs_run_in_cells(outputs: dict[str, list[Any]], name: str) -> None:
    """A loop runs there already: without a warning, and without anything that is shown."""
    assert shown(outputs, name) == {"text/plain": "{'results': [0, 1, 2]}"}


def test_results_are_streamed_in_cells(outputs: dict[str, list[Any]]) -> None:
    """By an ``async for``."""
    assert shown(outputs, "stream") == {"text/plain": "[0, 1, 2]"}


def test_nothing_warns(outputs: dict[str, list[Any]]) -> None:
    """Not even where warnings are errors."""
    assert outputs["warnings"] == []
