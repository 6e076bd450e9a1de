"""Programs of tests end with their test."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.children import child, left_of, python, ran

FAMILY = """
import subprocess, sys, time
if len(sys.argv) < 2: subprocess.Popen([sys.executable, __file__, "child"])
else: print("begun", flush=True)
time.sleep(1000)
"""


def test_nothing_is_left_of_a_program_whose_test_fails(tmp_path: Path) -> None:
    """Nor of what it has started."""
    path = tmp_path / "family.py"
    path.write_text(FAMILY)
    begun: list[Any] = []

    def fails() -> None:
        with child(sys.executable, path) as process:
            begun.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            assert len(left_of(process, seconds=0)) == 2
            raise ValueError("the test")

    with pytest.raises(ValueError, match="the test"):
        fails()
    (process,) = begun
    assert process.returncode < 0
    assert left_of(process) == []


def test_a_program_reads_what_it_is_given_and_tells_how_it_ended() -> None:
    """Its output and its errors apart."""
    program = "import sys; print(input()); print('no', file=sys.stderr); sys.exit(3)"
    done = python("-c", program, text="yes\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "yes\n", "no\n")
    assert ran("sh", "-c", "echo $WORD", env={"WORD": "said"}).stdout == "said\n"
    with pytest.raises(AssertionError, match="no"):
        python("-c", program, text="yes\n", check=True)
