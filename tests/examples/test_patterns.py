"""What holds for every pattern, whatever it does."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.patterns import WORKFLOW, load
from examples.patterns.world import World
from examples.workflow import PATTERNS, Options
from main import main
from tests.children import child, python

MAIN = Path(__file__).parents[2] / "main.py"
FOLDER = MAIN.parent / "examples" / "patterns"
MOST_LINES = 80


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    """The graph of each pattern, as Mermaid."""

    async def draw() -> dict[str, str]:
        async with World() as world:
            return {name: load(name).build(world).to_mermaid() for name in PATTERNS}

    return asyncio.run(draw())


def test_every_module_is_a_pattern_and_has_its_name() -> None:
    """What is in the folder is listed, and the other way round."""
    modules = {path.stem for path in FOLDER.glob("*.py")}
    assert modules - {"__init__", "world"} == set(PATTERNS)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_read_on_one_screen(name: str) -> None:
    """It has fewer than eighty lines."""
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) < MOST_LINES


@pytest.mark.parametrize("name", PATTERNS)
def test_the_drawing_is_that_of_the_graph(name: str, drawn: dict[str, str]) -> None:
    """The Mermaid in the docstring is what ``graph.to_mermaid()`` returns."""
    found = re.search(r"```mermaid\n(.*?)\n```", load(name).__doc__, re.DOTALL)
    assert found is not None
    assert found[1] == drawn[name]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_title_is_one_sentence(name: str) -> None:
    """It fits a line of a terminal next to the name."""
    title = load(name).__doc__.partition("\n")[0]
    assert title.endswith(".")
    assert len(title) < 90


@pytest.mark.proofs
def test_all_of_them_run_one_after_another_in_one_world() -> None:
    """Each prints something, in the order of the list, and leaves no task behind."""
    shared = WORKFLOW.prepare(Options())

    async def play() -> None:
        await WORKFLOW.build(Options()).run_async(shared)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(play())
    ran = list(WORKFLOW.rows(shared))
    assert [one["pattern"] for one in ran] == list(PATTERNS)
    assert all(one["lines"] for one in ran)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return python(MAIN, *arguments)


@pytest.mark.proofs
def test_the_command_runs_them_offline() -> None:
    """``python main.py --example patterns`` ends with 0 and shows each of them."""
    done = command("--example", "patterns")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^── (\w+):", done.stdout, re.MULTILINE) == list(PATTERNS)


def test_one_of_them_may_be_run_alone() -> None:
    """By its name; as JSON lines where that is asked for."""
    done = command("--example", "explicit_order", "--json")
    assert done.returncode == 0, done.stderr
    one, report = map(json.loads, done.stdout.splitlines())
    assert one["pattern"] == "explicit_order"
    assert report["example"] == "patterns"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_them_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    """One line, the exit code of the signal, and the folder of the world is gone."""
    command = [sys.executable, MAIN, "--example", "patterns", "-v"]
    with child(*command, stdout=subprocess.DEVNULL, env={"TMPDIR": str(tmp_path)}) as run:
        while not list(tmp_path.iterdir()):  # the world has its folder now, and its servers soon
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(number)
        lines = run.communicate()[1].splitlines()
    assert run.returncode == 128 + number
    assert lines[-1].startswith("patterns interrupted after")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "3"), "--workers goes with validation, enrichment, batch, mapreduce"),
        (("--limit", "3"), "--limit goes with batch, mapreduce and pipeline, not with patterns"),
        (("--input", "x.csv"), "--input goes with the five examples, not with patterns"),
    ],
)
def test_what_is_for_the_five_examples_is_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says so, and nothing runs."""
    assert main(["--example", "patterns", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert out == ""
