"""What is uploaded to an index: built once, checked, and installed on each Python that is here."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import kaygraph
from tests.children import ROOT, child, python, ran
from tests.pythons import pythons

pytestmark = [pytest.mark.proofs, pytest.mark.timeout(600)]

PROGRAM = """
import kaygraph
from kaygraph import Graph, Node, ParallelBatchNode

class Load(ParallelBatchNode):
    def prep(self, shared):
        return range(10)
    async def exec(self, number):
        return number * number
    def post(self, shared, numbers, results):
        shared["sum"] = sum(results)

class Show(Node):
    def post(self, shared, prep_res, exec_res):
        print(shared["sum"], kaygraph.__file__)

graph = Graph(Load(max_workers=4) >> Show())
if __name__ == "__main__":
    graph.run({})
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both: the wheel is made from the sdist, as an index's readers would."""
    for module in ("build", "hatchling", "twine"):
        pytest.importorskip(module)
    out = tmp_path_factory.mktemp("dist")
    command = ["-m", "build", "--no-isolation", "--outdir", out, ROOT]
    run = python(*command, timeout=500, cwd=out)
    assert run.returncode == 0, run.stdout + run.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> "Message[str, str]":
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_an_index_takes_both(built: Path) -> None:
    """Twine finds nothing to complain of, not even in README."""
    checked = python("-m", "twine", "check", "--strict", *sorted(built.iterdir()))
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("PASSED") == 2


def test_the_metadata_says_what_it_is(metadata: "Message[str, str]") -> None:
    """The version of the code, a licence that programs can read, and all extras."""
    assert metadata["Version"] == kaygraph.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == ">=3.11"
    needed: dict[str, set[str]] = {}
    for one in metadata.get_all("Requires-Dist", []):
        requirement, _, extra = one.partition("extra == ")
        needed.setdefault(extra.strip("'\""), set()).add(requirement)
    every = needed.pop("all")
    for name in ("", "dev", "docs", "release", "test"):  # those of users: the rest
        assert needed.pop(name)
    assert len(needed) > 8
    assert every == set().union(*needed.values())


def test_links_of_readme_work_on_an_index(metadata: "Message[str, str]") -> None:
    """Every relative one leads to the repository, at this version, to something that is there."""
    text = metadata.get_payload()
    assert isinstance(text, str)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pattern = r'\]\(([^)\s]+)\)|src="([^"]+)"'
    links = [a or b for a, b in re.findall(pattern, text)]
    assert len(links) == len(re.findall(pattern, readme)) > 20
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert relative == []
    source = dict(one.split(", ") for one in metadata.get_all("Project-URL", []))["Source"]
    for link in (link for link in links if link.startswith(source + "/")):
        _kind, tag, path = link.removeprefix(source + "/").split("/", 2)
        assert tag == f"v{kaygraph.__version__}"
        assert (ROOT / path.partition("#")[0]).exists(), link


def test_the_address_of_the_project_is_the_same_everywhere() -> None:
    """pyproject.toml has it; what cannot read it says the same."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    address = re.search(r'^Source = "(.+)"$', project, re.MULTILINE)
    assert address is not None
    others = [ROOT / "CITATION.cff", ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]
    for path in [ROOT / "pyproject.toml", *others]:
        found = re.findall(r"https://github\.com/[\w-]+/kaygraph", path.read_text("utf-8"))
        assert set(found) == {address[1]}, path
    assert f"version: {kaygraph.__version__}\n" in others[0].read_text(encoding="utf-8")


def test_the_wheel_has_the_package_alone(wheel: Path) -> None:
    """All of it, with its types and pages, and neither tests nor docs."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = ran("git", "ls-files", "kaygraph", cwd=ROOT, check=True).stdout.split()
    assert names == set(tracked)
    assert "kaygraph/py.typed" in names


def test_the_sdist_has_all_that_a_change_needs(built: Path) -> None:
    """Tests, docs, examples and benchmarks, and the files that say how to work on it."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = ran("git", "ls-files", cwd=ROOT, check=True).stdout.splitlines()
    hidden = {name for name in tracked if name.startswith(".")}
    assert set(tracked) - hidden - names == set()
    assert names - set(tracked) <= {"PKG-INFO", ".gitignore"}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_wheel_works_where_nothing_else_is(version: str, wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment, outside of the checkout: a graph, the command, and ``-m``."""
    program = pythons().get(version)
    if program is None:
        pytest.skip(f"there is no Python {version} here")
    ran(program, "-m", "venv", tmp_path / "venv", check=True)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    inside = scripts / "python"
    clean = {"PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    installing = [inside, "-m", "pip", "install", "--quiet", wheel]
    with child(*installing, env=clean, cwd=tmp_path, stderr=subprocess.STDOUT) as process:
        said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    (tmp_path / "squares.py").write_text(PROGRAM, encoding="utf-8")

    def run(*command: str | Path) -> str:
        """Return what a program prints; any warning is an error."""
        settings = {**clean, "PYTHONWARNINGS": "error"}
        return ran(*command, env=settings, cwd=tmp_path, check=True).stdout

    total, where = run(inside, "squares.py").split()
    assert total == "285"
    assert Path(where).is_relative_to(tmp_path / "venv")
    for command in ([scripts / "kaygraph"], [inside, "-m", "kaygraph"]):
        assert run(*command, "--version") == f"kaygraph {kaygraph.__version__}\n"
        assert run(*command, "run", "squares.py:graph", "--output", "sum").endswith("285\n")
