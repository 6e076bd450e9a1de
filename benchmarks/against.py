"""This build and an older one, side by side: the same benchmarks, in processes that take turns."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.table import figure

TURNS = 3

HERE = Path(__file__).parents[1]


def compare(commit: str, names: Iterable[str], options: list[str]) -> None:
    """Print what the benchmarks of this build give with the package of another commit, and here.

    A benchmark that fails there, because something did not exist yet, shows a dash.
    """
    with tempfile.TemporaryDirectory() as folder:
        older, then, now = (Path(folder, name) for name in ("older", "then", "now"))
        _git("worktree", "add", "--quiet", "--detach", str(older), commit)
        try:
            for place, root in ((then, older), (now, HERE)):
                place.mkdir()
                (place / "kaygraph").symlink_to(root / "kaygraph")
            print(f"{'':24} {'workload':60} {commit[:12]:>14} {'this build':>14}")
            for name in names:
                turns = [
                    (_row(then, name, options), _row(now, name, options)) for _ in range(TURNS)
                ]
                print(_line(name, turns), flush=True)
        finally:
            _git("worktree", "remove", "--force", str(older))


def is_commit(name: str) -> bool:
    """Return whether the repository knows a commit of that name."""
    command = ["git", "-C", str(HERE), "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _line(name: str, turns: list[tuple[dict[str, Any] | None, dict[str, Any] | None]]) -> str:
    found = next((row for turn in turns for row in turn if row is not None), None)
    what, unit = ("", "") if found is None else (found["what"], found["unit"])
    sides = []
    for side in zip(*turns, strict=True):
        values = [row["value"] for row in side if row is not None]
        sides.append(figure(median(values), unit) if values else "–")
    return f"{name:24} {what:60} {sides[0]:>14} {sides[1]:>14}"


def _row(place: Path, name: str, options: list[str]) -> dict[str, Any] | None:
    """Measure one benchmark of this build with the package that a folder holds."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--exactly", name, "--json", *options],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(HERE)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if done.returncode:
        return None
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows[0]


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(HERE), *arguments], check=True)
