"""Programs in the shape of PocketFlow's cookbook: what they print here and there is the same.

``programs/NAME.txt`` is what PocketFlow 0.0.3 prints for ``programs/NAME.py``.
"""

import importlib.util
import io
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import kaygraph.compat

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))
NAMES = [program.stem for program in PROGRAMS]


def printed(program: Path) -> str:
    with redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(program))
    return out.getvalue()


@pytest.mark.parametrize("program", PROGRAMS, ids=NAMES)
def test_a_program_prints_what_it_prints_with_pocketflow(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing changed but where its classes come from."""
    monkeypatch.setitem(sys.modules, "pocketflow", kaygraph.compat)
    assert printed(program) == program.with_suffix(".txt").read_text()


@pytest.mark.skipif(importlib.util.find_spec("pocketflow") is None, reason="not installed")
@pytest.mark.parametrize("program", PROGRAMS, ids=NAMES)
def test_what_a_program_prints_with_pocketflow_is_recorded(program: Path) -> None:
    """Where PocketFlow is installed, it is asked."""
    assert printed(program) == program.with_suffix(".txt").read_text()
