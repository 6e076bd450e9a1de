"""What holds for every pattern, whatever it does."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.patterns import NAMES, load, run_each, title_of
from examples.patterns.world import World

MAIN = Path(__file__).parents[2] / "main.py"
FOLDER = MAIN.parent / "examples" / "patterns"
MOST_LINES = 80


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    """The graph of each pattern, as Mermaid."""

    async def draw() -> dict[str, str]:
        async with World() as world:
            return {name: load(name).build(world).to_mermaid() for name in NAMES}

    return asyncio.run(draw())


def test_every_module_is_a_pattern_and_has_its_name() -> None:
    """What stands in the folder is listed, and the other way round."""
    modules = {path.stem for path in FOLDER.glob("*.py")}
    assert modules - {"__init__", "__main__", "world"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_pattern_is_read_on_one_screen(name: str) -> None:
    """It has fewer than eighty lines."""
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) < MOST_LINES


@pytest.mark.parametrize("name", NAMES)
def test_the_drawing_is_that_of_the_graph(name: str, drawn: dict[str, str]) -> None:
    """The Mermaid in the docstring is what ``graph.to_mermaid()`` returns."""
    found = re.search(r"```mermaid\n(.*?)\n```", load(name).__doc__, re.DOTALL)
    assert found is not None
    assert found[1] == drawn[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_title_is_one_sentence(name: str) -> None:
    """It fits a line of a terminal beside the name."""
    title = title_of(load(name))
    assert title.endswith(".")
    assert len(title) < 90


def test_all_of_them_run_one_after_another_in_one_world() -> None:
    """Each has something to say, in the order of the list, and leaves no task behind."""

    async def play() -> list[tuple[str, int]]:
        ran = [(name, len(lines)) async for name, _, lines in run_each(NAMES)]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return ran

    ran = asyncio.run(play())
    assert [name for name, _ in ran] == list(NAMES)
    assert all(lines for _, lines in ran)


def test_the_command_runs_them_offline() -> None:
    """``python main.py --example patterns`` ends with 0 and shows each of them."""
    done = subprocess.run(
        [sys.executable, MAIN, "--example", "patterns"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^── (\w+):", done.stdout, re.MULTILINE) == list(NAMES)


def test_what_is_for_the_five_examples_is_refused() -> None:
    """One line says so, and nothing runs."""
    done = subprocess.run(
        [sys.executable, MAIN, "--example", "patterns", "--workers", "3"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == ("error: --workers goes with the five examples, not with patterns\n")
