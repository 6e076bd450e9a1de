"""README and docs keep their word: every program runs and prints what stands below it."""

import ast
import linecache
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import structlog

from tests.children import ran
from tests.test_layers import LAYERS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    if "_build" not in path.parts
}
PROGRAMS = {
    f"{name}-{number}": program
    for name, page in PAGES.items()
    for number, program in enumerate(
        re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", page, re.DOTALL)
    )
}
FIRST = PROGRAMS["README.md-0"][0]
CODE = PAGES["docs/concepts/code.md"]
PEERS = {
    "# PocketFlow": "pocketflow",
    "# LangGraph": "langgraph",
    "# Prefect": "prefect",
    "# Kailash": "kailash",
    "# Ray": "ray",
}
SECONDS = re.compile(r"\b\d+\.\d\d s$", re.MULTILINE)  # that a program has measured
OVER_THE_CORE = {"testing", "nodes", "patterns", "compat", "cli"}
PACKAGE = ROOT / "kaygraph"


def test_every_program_is_followed_by_its_output() -> None:
    """No snippet stands without the output that a test can compare."""
    assert len(PROGRAMS) == sum(page.count("```python\n") for page in PAGES.values()) > 0


OURS = {name: case for name, case in PROGRAMS.items() if not case[0].startswith(tuple(PEERS))}
OTHERS = {name: case for name, case in PROGRAMS.items() if name not in OURS}


@pytest.mark.parametrize(("program", "output"), OURS.values(), ids=OURS)
def test_program_prints_what_the_readme_shows(
    program: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run one, and compare all but measured seconds to the letter."""
    printed = run(program, capsys)
    assert SECONDS.sub("… s", printed) == SECONDS.sub("… s", output)


@pytest.mark.proofs
@pytest.mark.parametrize(("program", "output"), OTHERS.values(), ids=OTHERS)
def test_program_of_another_framework_prints_what_the_page_shows(
    program: str, output: str, tmp_path: Path
) -> None:
    """Where that framework is installed; it may log what it likes on standard error."""
    peer = PEERS[" ".join(program.split()[:2])]
    if find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    quiet = {
        "HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    }
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    ended = ran(sys.executable, tmp_path / "program.py", check=True, env=quiet, cwd=tmp_path)
    assert ended.stdout == output


def run(program: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a program prints; what shows its lines finds them."""
    name = "__main__" if "__main__" in program else "readme"  # processes import neither
    linecache.cache["program.py"] = len(program), None, program.splitlines(True), "program.py"
    try:
        exec(compile(program, "program.py", "exec"), {"__name__": name})
    finally:
        structlog.reset_defaults()  # one configures it
    return capsys.readouterr().out


def test_readme_is_short() -> None:
    """What is longer has a page of its own."""
    assert len(TEXT.splitlines()) <= 200


def test_first_program_is_short() -> None:
    """The first screen shows a whole program."""
    lines = [line for line in FIRST.splitlines() if line.strip()]
    assert len(lines) <= 24


def test_first_program_is_many_times_slower_with_one_worker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It waits for something, so that workers help; README says 0.18 s and 1.7 s."""
    fast, alone = FIRST, FIRST.replace("max_workers=40", "max_workers=1")
    assert alone != fast
    fast_s, alone_s = (
        min(float(SECONDS.findall(run(program, capsys))[0].removesuffix(" s")) for _ in range(3))
        for program in (fast, alone)
    )  # the best of three, and not nine times: a busy machine has no processor for either
    assert alone_s > 3 * fast_s


def test_the_picture_shows_every_package_with_its_own_line() -> None:
    """It says of each what its docstring says, in the order of the layers."""
    lines = dict(re.findall(r"^(\w+)/ +(\S.*)$", CODE, re.MULTILINE))
    assert list(lines) == [layer for layer in LAYERS if layer in lines]
    for package in [layer for layer in LAYERS if (PACKAGE / layer).is_dir()]:
        if package not in OVER_THE_CORE:
            docstring = ast.get_docstring(
                ast.parse((PACKAGE / package / "__init__.py").read_text())
            )
            assert lines.pop(package) == docstring
    assert not lines


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\b(?:kaygraph|examples)/[\w/]+\.py", TEXT + CODE)))
)
def test_file_that_is_named_is_there(path: str) -> None:
    """README and the page about the code point to files that exist."""
    assert (ROOT / path).is_file()


def test_what_is_to_be_read_is_there() -> None:
    """The files that the core is read in."""
    order = CODE[CODE.index("Read it in this order") :]
    files = re.findall(r"`(\w+/\w+\.py)`", order[: order.index("`tests/")])
    assert len(files) == 9
    assert [name for name in files if not (PACKAGE / name).is_file()] == []


NOTES = (ROOT / "docs" / "field-notes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`((?:tests|findings)/[^`]+)`", NOTES))))
def test_what_field_notes_refer_to_is_there(named: str) -> None:
    """A file, or one test of it."""
    path, _, test = named.partition("::")
    assert (ROOT / path).exists()
    if test:
        functions = re.findall(r"^(?:async )?def (\w+)", (ROOT / path).read_text(), re.MULTILINE)
        assert test in functions


@pytest.mark.parametrize(
    "path", sorted((ROOT / "findings").glob("*.sh")), ids=lambda path: path.stem
)
def test_a_finding_can_be_run_and_stays_by_itself(path: Path) -> None:
    """It is executable, and works in a folder of its own, which it removes."""
    script = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "mktemp -d" in script
    assert "trap" in script


def test_rows_of_field_notes_are_whole() -> None:
    """Each says what one would guess, what is, what kaygraph does, and where that is shown."""
    rows = [line for line in NOTES.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {6}


def slugs(page: str) -> set[str]:
    """Return the anchors that GitHub and MyST give the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


LINKS = sorted(
    {
        (name, target)
        for name, page in PAGES.items()
        for target in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', page)
        for target in target
        if target and not re.match(r"[a-z]+:", target)
    }
)


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[" ".join(link) for link in LINKS])
def test_link_leads_to_a_file_and_a_heading(page: str, target: str) -> None:
    """A relative link of README and the docs works where the files are read raw."""
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if anchor:
        assert anchor in slugs(file.read_text(encoding="utf-8"))


def test_every_page_is_in_the_contents() -> None:
    """The site's first page lists each page of the docs."""
    index = PAGES["docs/index.md"]
    listed = set(re.findall(r"^([\w/-]+)$", index, re.MULTILINE))
    pages = {name.removeprefix("docs/").removesuffix(".md") for name in PAGES} - {"README", "index"}
    assert {page for page in pages if not page.startswith("reference/")} <= listed
