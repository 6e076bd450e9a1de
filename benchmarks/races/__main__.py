"""``python -m benchmarks.races [NAME ...]``: explore public packages.

It installs the packages, pinned, in a temporary folder, unpacks their sources, and runs their own
tests once per seed on simulations (see ``each_seed``): first in orders that asyncio's own loop
could have, then in any. It does the same with small programs that use the packages as they are
documented (see ``examples``). It prints a row for each package, and what was found. It takes an
hour; ``--seconds 50`` takes half of one.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.races.examples.__main__ import line_of
from benchmarks.races.packages import PACKAGES, Package

ROOT = Path(__file__).parents[2]
NEEDED = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-cov")
BUILDING = (
    "setuptools", "wheel", "hatchling", "hatch-vcs", "hatch-fancy-pypi-readme", "poetry-core",
    "flit-core",
)  # fmt: skip

# On Python 3.11.7, `ast` raises a SystemError while pytest shows the source of some failed tests.
SETTINGS = (
    "-q", "--tb=line", "--continue-on-collection-errors", "-p", "benchmarks.races.each_seed",
    "-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings=ignore",
    "-o", "asyncio_default_fixture_loop_scope=function",
)  # fmt: skip
COLUMNS = (
    "package", "tests", "schedules", "pass", "not simulated", "found",
    "examples", "schedules", "pass", "not simulated", "broken",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.races", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=100, help="for each test and order (100)")
    parser.add_argument(
        "--example-seeds", type=int, default=1000, help="for each example and order (1000)"
    )
    parser.add_argument("--folder", type=Path, help="keep what is installed, and use it again")
    parser.add_argument("--seconds", type=int, default=600, help="for the tests of a package (600)")
    options = parser.parse_args()
    chosen = [one for one in PACKAGES if not options.names or one.name in options.names]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        python = installed(folder, chosen)
        print(line(COLUMNS))
        print(line("---" for _ in COLUMNS))
        notes: list[str] = []
        for package in chosen:
            found = explored(package, folder, python, options.seeds, options.seconds)
            examples = examples_explored(package, folder, python, options.example_seeds)
            print(line([package, *of_tests(found), *of_examples(examples)]), flush=True)
            notes += [note(package, test) for test in found if "seed" in test]
            notes += [line_of(result) for result in examples if result["broken"]]
    print("\n".join(["", *notes]))


def installed(folder: Path, chosen: list[Package]) -> Path:
    """Return a Python that has the packages, their tests' needs and kaygraph's own."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        needs = {need for package in chosen for need in package.needs}
        pinned = [f"{package.name}=={package.version}" for package in chosen]
        for wanted in ([*NEEDED, *BUILDING], [ROOT], sorted(needs), pinned):
            pip(python, "install", *map(str, wanted))
    for package in chosen:
        if not sources(folder, package):
            exact = f"{package.name}=={package.version}"
            pip(
                python, "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:",
                "--dest", str(folder), exact,
            )  # fmt: skip
            with tarfile.open(archive(folder, package)) as file:
                file.extractall(folder, filter="data")
    return python


def pip(python: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([python, "-m", "pip", arguments[0], *quiet, *arguments[1:]], check=True)


def matching(folder: Path, package: Package, end: str) -> Iterator[Path]:
    names = {package.name, package.name.replace("-", "_")}
    return (path for name in names for path in folder.glob(f"{name}-{package.version}{end}"))


def archive(folder: Path, package: Package) -> Path:
    return next(matching(folder, package, ".tar.gz"))


def sources(folder: Path, package: Package) -> Path | None:
    return next((path for path in matching(folder, package, "") if path.is_dir()), None)


def explored(
    package: Package, folder: Path, python: Path, seeds: int, seconds: int
) -> list[dict[str, Any]]:
    """Run the tests of a package, and return what became of each."""
    results = folder / f"{package.name}.jsonl"
    results.unlink(missing_ok=True)
    command: list[str | Path] = [
        python, "-m", "pytest", *SETTINGS, "--timeout", str(seconds), "--each-seed", str(seeds),
        "--for-seconds", str(seconds), "--found", results, *package.options, *package.tests,
    ]  # fmt: skip
    with open(folder / f"{package.name}.log", "w") as log:
        done = subprocess.Popen(
            command, cwd=sources(folder, package), env={"PYTHONPATH": str(ROOT)}, stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            done.wait(2 * seconds)  # it shares its seconds out; one test may have no end
        except subprocess.TimeoutExpired:
            done.kill()
            done.wait()
    return read(results)


def examples_explored(
    package: Package, folder: Path, python: Path, seeds: int
) -> list[dict[str, Any]]:
    """Run the examples of a package, and return what became of each."""
    results = folder / f"{package.name}.examples.jsonl"
    results.unlink(missing_ok=True)
    command: list[str | Path] = [
        python, "-m", "benchmarks.races.examples", package.name, "--seeds", str(seeds),
        "--found", results,
    ]  # fmt: skip
    with open(folder / f"{package.name}.examples.log", "w") as log:
        subprocess.run(
            command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=log,
            stderr=subprocess.STDOUT, check=True,
        )  # fmt: skip
    return read(results)


def read(results: Path) -> list[dict[str, Any]]:
    lines = results.read_text().splitlines() if results.exists() else []
    return [json.loads(each) for each in lines]


def line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def of_tests(found: list[dict[str, Any]]) -> list[object]:
    """Return the cells of a package's own tests; those without a loop are not counted."""
    counts = Counter(test["outcome"] for test in found)
    ran = [test for test in found if test.get("schedules")]
    schedules = sum(test["schedules"] for test in ran)
    broken = [f"{n} {what[6:]}" for what, n in sorted(counts.items()) if what.startswith("found")]
    cells = [len(ran), f"{schedules:,}", counts["passes"], counts["not simulated"]]
    return [*cells, ", ".join(broken) or "–"]


def of_examples(results: list[dict[str, Any]]) -> list[object]:
    """Return the cells of the examples."""
    schedules = sum(result["schedules"] for result in results)
    broken = sum(bool(result["broken"]) for result in results)
    still = sum(not result["schedules"] for result in results)
    passes = len(results) - broken - still
    return [len(results), f"{schedules:,}", passes, still, broken or "–"]


def note(package: Package, test: dict[str, Any]) -> str:
    error = test["error"].partition(": ")[2]
    lines = [line for line in error.splitlines() if line.startswith("E ")]
    what = " ".join(lines[0].split()[1:]) if lines else error.strip().splitlines()[-1]
    outcome = f"{test['outcome']}, seed {test['seed']}"
    return f"{package}: {outcome}: {test['test']}: {what[:200]}"


if __name__ == "__main__":
    main()
