"""Where files may be: under their root, whatever is in the way; and they must be regular."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import BaseNode
from kaygraph.nodes import (
    FileMap,
    PathError,
    ReadCSV,
    ReadJSONLines,
    ReadText,
    WriteCSV,
    WriteJSONLines,
)
from kaygraph.nodes.files._paths import folder_of, opened, resolved

pytestmark = pytest.mark.anyio

SECRET = '{"secret": 1}\n'

NODES: dict[str, Callable[[Any, Any], BaseNode[Any, Any]]] = {
    "ReadCSV": lambda path, root: ReadCSV(path, root=root, writes="result"),
    "ReadJSONLines": lambda path, root: ReadJSONLines(path, root=root, writes="result"),
    "ReadText": lambda path, root: ReadText(path, root=root, writes="result"),
    "WriteCSV": lambda path, root: WriteCSV(path, root=root, fields=["a"], reads="rows"),
    "WriteJSONLines": lambda path, root: WriteJSONLines(path, root=root, reads="rows"),
    "FileMap": lambda path, root: FileMap(path, Path.read_text, root=root, writes="result"),
}
each_node = pytest.mark.parametrize("kind", NODES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file, links that lead out of it, and a file next to it."""
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "a.txt").write_text(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text(SECRET)
    (tmp_path / "rooted").mkdir()  # its name begins as the root's
    (tmp_path / "rooted" / "a.txt").write_text(SECRET)
    (root / "file_link.txt").symlink_to(tmp_path / "outside" / "a.txt")
    (root / "folder_link").symlink_to(tmp_path / "outside")
    (root / "dangling.txt").symlink_to(tmp_path / "outside" / "new.txt")
    (root / "inner" / "up").symlink_to("../..")
    (root / "chain").symlink_to("folder_link")
    return root


OUTSIDE = [
    "../outside/a.txt",
    "../rooted/a.txt",
    "inner/../../outside/a.txt",
    "file_link.txt",
    "folder_link/a.txt",
    "inner/up/outside/a.txt",
    "chain/a.txt",
    "{outside}/a.txt",
]


@each_node
@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_path_that_leads_out_of_the_root_is_refused(
    kind: str, path: str, root: Path
) -> None:
    """By `..`, as an absolute path, through links to files and folders: nothing is read there."""
    shared: dict[str, Any] = {"rows": []}
    node = NODES[kind](path.format(outside=root.parent / "outside"), root)
    with pytest.raises(PathError, match="leads out of the root"):
        await node.run_async(shared)
    assert shared == {"rows": []}
    assert (root.parent / "outside" / "a.txt").read_text() == SECRET
    assert os.listdir(root.parent / "outside") == ["a.txt"]


@pytest.mark.parametrize("kind", ["WriteCSV", "WriteJSONLines"])
async def test_a_dangling_link_makes_no_file_outside(kind: str, root: Path) -> None:
    """A link to something that does not exist yet is a way out, too."""
    with pytest.raises(PathError, match="leads out of the root"):
        await NODES[kind]("dangling.txt", root).run_async({"rows": []})
    assert os.listdir(root.parent / "outside") == ["a.txt"]


async def test_a_path_from_data_is_refused_as_one_from_the_constructor(root: Path) -> None:
    """What is read from the shared store is checked in the same place."""
    with pytest.raises(PathError, match="leads out of the root"):
        await ReadText(reads="path", root=root).run_async({"path": "../outside/a.txt"})
    with pytest.raises(PathError, match="leads out of the root"):
        await FileMap(None, print, reads="glob", root=root).run_async({"glob": "../*/*"})


async def test_a_link_that_a_glob_meets_is_refused(root: Path) -> None:
    """A pattern that matches a link out of the root processes nothing at all."""
    seen: list[Path] = []
    with pytest.raises(PathError, match="leads out of the root"):
        await FileMap("*.txt", seen.append, root=root).run_async({})
    assert seen == []


async def test_links_and_dots_that_stay_within_the_root_are_followed(root: Path) -> None:
    """Confined is what a path comes to, not how it is written."""
    (root / "link.txt").symlink_to("inner/a.txt")
    for path in ("link.txt", "inner/../inner/a.txt", str(root / "inner" / "a.txt"), "inner/a.txt"):
        shared: dict[str, Any] = {}
        await ReadText(path, root=root, writes="lines").run_async(shared)
        assert shared["lines"] == [SECRET.strip()]


def test_a_link_put_in_the_way_after_the_check_is_not_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is opened folder by folder, none of which may be a link by then."""
    monkeypatch.setattr(os.path, "realpath", os.path.abspath)  # the check has seen no link yet
    for path in ("file_link.txt", "folder_link/a.txt", "inner/up/outside/a.txt"):
        with pytest.raises((OSError, PathError)):
            opened(path, root).close()
    opened("inner/a.txt", root).close()
    known = os.stat(root / "inner" / "a.txt")
    monkeypatch.setattr(os, "stat", lambda *_, **__: known)  # nor has the look at the file itself
    with pytest.raises(OSError, match="file_link"):
        opened("file_link.txt", root).close()


@given(
    st.lists(st.sampled_from(["..", ".", "inner", "up", "folder_link", "a.txt", "/"]), min_size=1)
)
def test_no_path_resolves_outside_of_its_root(steps: list[str]) -> None:
    """For any mixture of steps and links: it is refused, or it is below the root."""
    here = Path(os.path.realpath("/proc/self")).parent  # links of all kinds stand in there
    try:
        real = resolved("/".join(steps), here)
    except PathError:
        return
    assert Path(real) == here or here in Path(real).parents


async def test_a_pattern_does_not_tell_what_is_outside(root: Path) -> None:
    """It is refused for its dots, whether there is such a file or not."""
    for pattern in ("../*/a.txt", "../*/no.txt", "inner/../../*/no.txt"):
        with pytest.raises(PathError, match="leads out of the root"):
            await FileMap(pattern, print, root=root).run_async({})


@each_node
@pytest.mark.parametrize("path", ["a\0.txt", "", "a\ud800.txt"])
def test_what_is_no_path_is_refused_at_construction(kind: str, path: str) -> None:
    """A null byte ends a path for the system, and not for Python."""
    with pytest.raises(ValueError, match="must be a path"):
        NODES[kind](path, None)


@pytest.mark.parametrize("path", ["a\0.txt", "", 7, None, b"a.txt", "a\ud800.txt", ["a"] * 999])
async def test_what_is_no_path_is_refused_from_data(path: Any, root: Path) -> None:
    """Whatever is under the key, and however long it is."""
    with pytest.raises(PathError) as caught:
        await ReadText(reads="path", root=root).run_async({"path": path})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", [kind for kind in NODES if kind != "FileMap"])
@pytest.mark.parametrize("special", ["pipe", "folder", "socket", "device"])
@pytest.mark.parametrize("rooted", [True, False])
@pytest.mark.timeout(20)
async def test_what_is_not_a_file_is_refused(
    kind: str, special: str, rooted: bool, tmp_path: Path
) -> None:
    """A pipe without a writer does not block; a device is not read; a folder is an error."""
    path = tmp_path / special
    if special == "pipe":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    elif special == "socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.close()
    else:
        rooted, path = False, Path("/dev/zero")
    expected = "is a folder" if special == "folder" else "is a device, a pipe, a socket or"
    before = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(PathError, match=expected):
        await NODES[kind](path, tmp_path if rooted else None).run_async({"rows": []})
    assert stat.S_IFMT(path.stat().st_mode) == before
    assert os.listdir(tmp_path) in ([special], [])


@pytest.mark.timeout(20)
async def test_a_pipe_that_takes_the_place_of_a_file_makes_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and its opening: it is looked at again."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    known = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda *_, **__: known)
    with pytest.raises(PathError, match="a pipe"):
        opened(tmp_path / "pipe", None)


async def test_a_glob_passes_over_what_is_not_a_file(tmp_path: Path) -> None:
    """Folders, pipes and dangling links match no pattern."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    shared: dict[str, Any] = {}
    await FileMap("*", Path.read_text, root=tmp_path, writes="found").run_async(shared)
    assert shared["found"] == {tmp_path / "file": "x"}


@pytest.mark.parametrize("kind", [kind for kind in NODES if kind != "FileMap"])
async def test_an_error_of_the_system_names_the_path_as_it_was_given(
    kind: str, tmp_path: Path
) -> None:
    """Even if the folder is missing, or a file is in its place."""
    (tmp_path / "file").write_text("")
    for path, error in (("no/such.txt", FileNotFoundError), ("file/a.txt", NotADirectoryError)):
        for given_root, given_path in ((tmp_path, path), (None, str(tmp_path / path))):
            with pytest.raises(error) as caught:
                await NODES[kind](given_path, given_root).run_async({"rows": []})
            assert caught.value.filename == given_path


@pytest.mark.parametrize("kind", [kind for kind in NODES if kind != "FileMap"])
async def test_an_error_of_the_root_names_the_root(kind: str, tmp_path: Path) -> None:
    """Who has misspelled it looks in vain for the file, which is there."""
    (tmp_path / "file").write_text("")
    for wrong, error in (("no", FileNotFoundError), ("file", NotADirectoryError)):
        with pytest.raises(error) as caught:
            await NODES[kind]("a.txt", tmp_path / wrong).run_async({"rows": []})
        assert caught.value.filename == str(tmp_path / wrong)


async def test_an_error_while_a_file_is_read_names_its_path() -> None:
    """The system names the path of what it opens, but not of what it reads."""
    path = "/proc/self/mem"  # a file that opens, and whose beginning cannot be read
    with pytest.raises(OSError, match="Input/output error") as caught:
        await ReadText(path).run_async({})
    assert caught.value.filename == path


@pytest.mark.parametrize("kind", [kind for kind in NODES if kind != "FileMap"])
async def test_a_link_that_leads_to_itself_is_refused(kind: str, tmp_path: Path) -> None:
    """With or without a root."""
    (tmp_path / "loop").symlink_to("loop")
    for root in (None, tmp_path):
        with pytest.raises(PathError, match="an endless link"):
            await NODES[kind](tmp_path / "loop", root).run_async({"rows": []})


async def test_a_file_that_may_not_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    """With its own type, which says what is wrong."""
    path = tmp_path / "a.txt"
    path.write_text("x")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read anything
    try:
        with pytest.raises(PermissionError):
            await ReadText(path).run_async({})
    finally:
        os.seteuid(user)


def test_no_descriptor_is_left_when_a_path_is_refused(root: Path) -> None:
    """Whether it is refused before, in the middle or at the end."""
    before = len(os.listdir("/proc/self/fd"))
    for path in ("../outside/a.txt", "inner", "inner/no.txt", "inner/a.txt/b.txt"):
        with pytest.raises((PathError, OSError)):
            opened(path, root)
    with folder_of("inner/a.txt", root):
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_error_says_which_path_and_why() -> None:
    """Its attributes too."""
    error = PathError("../x", "leads out of the root 'data'")
    assert str(error) == "path '../x' leads out of the root 'data'"
    assert (error.path, error.reason) == ("../x", "leads out of the root 'data'")
