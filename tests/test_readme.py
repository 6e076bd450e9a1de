"""README and docs keep their word: every program runs and prints what stands below it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [TEXT, *(page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/*.md")))]
PROGRAMS = [
    program
    for page in PAGES
    for program in re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", page, re.DOTALL)
]
SECONDS = re.compile(r"\b\d+\.\d\d s$", re.MULTILINE)  # that a program has measured
OVER_THE_CORE = {"testing", "nodes", "patterns", "compat"}
MODULES = re.findall(r"\| `([\w/]+\.py)` \| [^|]+ \| (\d+) \|", TEXT)


def test_every_program_is_followed_by_its_output() -> None:
    """No snippet stands without the output that a test can compare."""
    assert len(PROGRAMS) == sum(page.count("```python\n") for page in PAGES) > 0


@pytest.mark.parametrize(("program", "output"), PROGRAMS, ids=range(len(PROGRAMS)))
def test_program_prints_what_the_readme_shows(
    program: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run one, and compare all but measured seconds to the letter."""
    printed = run(program, capsys)
    assert SECONDS.sub("… s", printed) == SECONDS.sub("… s", output)


def run(program: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a program prints."""
    exec(compile(program, "README.md", "exec"), {"__name__": "readme"})
    return capsys.readouterr().out


def test_first_program_is_short() -> None:
    """The first screen shows a whole program."""
    lines = [line for line in PROGRAMS[0][0].splitlines() if line.strip()]
    assert len(lines) <= 24


def test_first_program_is_many_times_slower_with_one_worker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It waits for something, so that workers help; README says 0.18 s and 1.7 s."""
    fast, alone = PROGRAMS[0][0], PROGRAMS[0][0].replace("max_workers=40", "max_workers=1")
    assert alone != fast
    fast_s, alone_s = (
        float(SECONDS.findall(run(program, capsys))[0].removesuffix(" s"))
        for program in (fast, alone)
    )
    assert alone_s > 3 * fast_s


@pytest.mark.parametrize(("name", "lines"), MODULES)
def test_module_has_about_as_many_lines_as_the_readme_says(name: str, lines: str) -> None:
    """Within a tenth; the table is renewed when it drifts."""
    actual = len((ROOT / "kaygraph" / name).read_text(encoding="utf-8").splitlines())
    assert int(lines) == pytest.approx(actual, rel=0.1, abs=10)


def test_every_module_stands_in_the_table() -> None:
    """A new module is shown to those who read the core; the packages over it are for users."""
    there = {
        path.relative_to(ROOT / "kaygraph").as_posix()
        for path in (ROOT / "kaygraph").rglob("*.py")
        if (path.name != "__init__.py" or path.parent.name == "executors")
        and OVER_THE_CORE.isdisjoint(path.relative_to(ROOT / "kaygraph").parts)
    }
    assert {name for name, _ in MODULES} == there
