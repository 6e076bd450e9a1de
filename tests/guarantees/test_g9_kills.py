"""G9: a run that is killed with SIGKILL loses nothing acknowledged, and calls nothing again."""

import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.children import child, ran
from tests.guarantees.figures import cases
from tests.journal import dying
from tests.journal.shapes import SHAPES

# Each run is killed once or several times, 1.7 times on average.
RUNS, SOAK_RUNS, A_TEST = 3_000, 27_000, 120
FRESH, SOAK_FRESH = 100, 900


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.journal.dying", *map(str, arguments)]


@pytest.mark.parametrize("seeds", cases(RUNS, size=A_TEST, soak=SOAK_RUNS))
def test_a_killed_run_goes_on_where_it_was(seeds: range, tally: Callable[[str, int], None]) -> None:
    """Processes that are forked end at any moment: around a commit, or whenever a timer rings."""
    middle = seeds.start + len(seeds) // 2
    parts = [(seeds.start, middle), (middle, seeds.stop)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda part: ran(*program(*part), check=True).stdout, parts))
    counts: Counter[str] = Counter()
    for text in found:
        counts += Counter(json.loads(text))
    assert counts["runs"] == len(seeds)
    assert counts["killed"] > len(seeds)
    for what, count in counts.items():
        tally(f"G9 {what}", count)


@pytest.mark.parametrize("seeds", cases(FRESH, size=20, soak=SOAK_FRESH, programs=True))
def test_processes_of_their_own_are_killed(
    seeds: range, tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    """Each imports what it runs, and opens the file that the one before has left."""
    shapes = [shape for shape in SHAPES if "allowed" not in shape.settings]
    dying.Writer._do, do = dying.counted, dying.Writer._do  # type: ignore[method-assign]
    try:
        for seed in seeds:
            random_ = random.Random(seed)
            shape = random_.choice(shapes)
            folder = tmp_path / str(seed)
            folder.mkdir()
            whole = dying.Whole(shape, folder)
            tells = len(dying.lines_of(folder / f"{shape}.txt"))
            for life in ("first", "second"):
                before = dying.Committed(folder / "runs.db")
                with child(*program(shape, folder, life)) as process:
                    assert process.stdout is not None
                    for _ in range(random_.randint(1, tells)):
                        process.stdout.readline()
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                after = dying.Committed(folder / "runs.db")
                dying.checked(before, after, folder / f"{life}.txt", f"{shape}, seed {seed}")
            dying.ended(shape, whole, folder, f"{shape}, seed {seed}")
            tally("G9 fresh processes killed", 2)
    finally:
        dying.Writer._do = do  # type: ignore[method-assign]


ITEMS, IN_FLIGHT, MOST_CALLS = 200, 4, 210


@pytest.mark.parametrize("seed", [1, *(pytest.param(s, marks=pytest.mark.proofs) for s in (2, 3))])
def test_two_kills_cost_what_was_in_flight(seed: int, tmp_path: Path) -> None:
    """Of two hundred items no more than ten are called twice."""
    random_ = random.Random(seed)
    lines = tmp_path / "calls.txt"
    ends = sorted(random_.sample(range(20, ITEMS - 20), 2))
    for most in (*ends, None):
        code = dying.forked_items(tmp_path / "runs.db", lines, ITEMS, IN_FLIGHT, most)
        assert code == (0 if most is None else -signal.SIGKILL)
    calls = lines.read_text().split()
    assert set(calls) == {str(item) for item in range(ITEMS)}
    assert len(calls) <= MOST_CALLS
