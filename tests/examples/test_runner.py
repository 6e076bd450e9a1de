"""Running workflows and showing what came of them, with small workflows of our own."""

import io
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from examples.inputs import InputError
from examples.runner import Output, Runner, check_options, explain, make_job, output_to, print_rows
from examples.screen import Terminal, run_log, visible
from examples.workflow import NAMES, Options, Workflow, load
from kaygraph import Graph, Node, ParallelBatchNode, RunReport, Watch
from tests.terminal import at_terminal


class Double(ParallelBatchNode[int, int]):
    """Double the numbers."""

    def prep(self, shared: dict[str, Any], /) -> list[int]:
        return list(shared["numbers"])

    async def exec(self, number: int, /) -> int:
        return number * 2

    def post(self, shared: dict[str, Any], _: Any, doubled: list[int], /) -> None:
        shared["numbers"] = doubled


class Fail(Node[Any, Any]):
    """Fail for good."""

    async def exec(self, _: Any, /) -> None:
        raise RuntimeError("the disk\nis \x1b[31mgone")


class Interrupt(Node[Any, Any]):
    """Send SIGINT to ourselves, as a person at a terminal does, and wait."""

    async def exec(self, _: Any, /) -> None:
        import anyio

        signal.raise_signal(signal.SIGINT)
        await anyio.sleep_forever()


def workflow(name: str, node: Callable[[], Any], **changes: Any) -> Workflow:
    parts: dict[str, Any] = {
        "name": name,
        "summary": "",
        "words": frozenset[str](),
        "prepare": lambda options: {"numbers": options.records or [1, 2]},
        "build": lambda options: Graph(node(), name=name),
        "rows": lambda shared: [{"number": number} for number in shared["numbers"]],
        "show": lambda shared, report, screen: screen.print(f"numbers: {shared['numbers']}"),
    }
    return Workflow(**parts | changes)


DOUBLE = workflow("double", Double)


def test_a_run_shows_its_results_and_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Text goes to standard output: what the workflow shows, then the measured run report."""
    assert Runner(Terminal()).run(make_job([DOUBLE], Options()))
    out, err = capsys.readouterr()
    assert out.startswith("numbers: [2, 4]\n")
    assert "run report: double" in out
    assert "items: 2 ok, 0 failed, 0 skipped; retries: 0" in out
    for word in ("calls of exec at once", "processor", "memory", "exec s", "Double"):
        assert word in out
    assert err == ""


def test_the_report_shows_nodes_under_the_graphs_that_they_are_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each graph once; names stay short enough for a terminal."""
    graph = Graph(Graph(Double(), name="inner") >> Double(name="Again") >> Double(name="Last"))
    nested = workflow("nested", Double, build=lambda options: graph)
    assert Runner(Terminal()).run(make_job([nested], Options()))
    lines = capsys.readouterr().out.partition("  node")[2].splitlines()[1:]
    names = [line[: len(line) - len(line.lstrip())] + line.split()[0] for line in lines]
    assert names == ["  inner", "    Double", "  Again", "  Last"]


def test_json_is_all_that_stands_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows come first and the report last; people read standard error."""
    assert Runner(Terminal(json=True)).run(make_job([DOUBLE], Options()))
    out, err = capsys.readouterr()
    *rows, last = map(json.loads, out.splitlines())
    assert rows == [{"number": 2}, {"number": 4}]
    assert last.keys() == {"example", "report"}
    assert last["example"] == "double"
    assert last["report"]["items"]["ok"] == 2
    assert "run report: double" in err


def test_workflows_are_wired_over_one_store(capsys: pytest.CaptureFixture[str]) -> None:
    """The second continues with the output of the first, and rows name their workflow."""
    job = make_job([DOUBLE, workflow("again", Double)], Options(records=[1]))
    assert job.name == "double >> again"
    assert Runner(Terminal(json=True)).run(job)
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert rows == [{"workflow": "double", "number": 4}, {"workflow": "again", "number": 4}]
    assert last["example"] == "double >> again"
    assert [node["name"] for node in last["report"]["nodes"] if node["items"]["ok"]] == [
        "double/Double",
        "again/Double",
    ]


def test_where_two_fill_the_same_place_the_first_does() -> None:
    """The sample of a later workflow does not replace that of an earlier one."""
    later = workflow("later", Double, prepare=lambda options: {"numbers": [9], "more": 1})
    assert make_job([DOUBLE, later], Options()).shared == {"numbers": [1, 2], "more": 1}


def test_a_failure_is_reported_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that fails says what and where, without a traceback or control characters."""
    assert not Runner(Terminal()).run(make_job([workflow("fail", Fail)], Options()))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "fail failed: RuntimeError: the disk is \\x1b[31mgone (in node 'Fail')\n"


def test_verbose_prints_events_and_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """With -v standard error has a line per event, and the whole of a failure."""
    runner = Runner(Terminal(), verbose=True)
    assert not runner.run(make_job([workflow("fail", Fail)], Options()))
    out, err = capsys.readouterr()
    assert out == ""
    assert "node started" in err
    assert "item failed" in err
    assert "Traceback" in err


def test_results_that_cannot_be_shown_are_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """An error while showing results is reported like one while running."""
    odd = workflow("odd", Double, rows=lambda shared: [{"number": float("nan")}])
    assert not Runner(Terminal(json=True)).run(make_job([odd], Options()))
    out, err = capsys.readouterr()
    assert out == ""
    assert "odd failed: ValueError" in err


def test_interruption_says_how_far_the_run_had_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT ends the run when its grace is over, and the interrupt carries the figures."""
    monkeypatch.setattr("examples.runner.GRACE_S", 0.05)
    with pytest.raises(KeyboardInterrupt, match=r"wait interrupted after .* s; items: 1 cancelled"):
        Runner(Terminal()).run(make_job([workflow("wait", Interrupt)], Options()))


def test_what_prepare_refuses_is_an_input_error() -> None:
    """A ValueError of a workflow is one line for the person who typed."""

    def refuse(options: Options) -> dict[str, Any]:
        raise ValueError("type something else")

    with pytest.raises(InputError, match="type something else"):
        make_job([workflow("picky", Double, prepare=refuse)], Options())


@pytest.mark.parametrize(
    ("options", "names", "words"),
    [
        (Options(limit=3), ["validation"], "--limit goes with batch, mapreduce and pipeline"),
        (Options(run_in="process"), ["pipeline"], "--run-in goes with batch and mapreduce"),
        (Options(mapper="a:b"), ["batch"], "--mapper goes with mapreduce, not with batch"),
        (Options(output=Path("a.db")), list(NAMES), "only the pipeline alone"),
        (Options(output=Path("a.DB")), ["batch"], "'a.jsonl'"),
    ],
)
def test_an_option_that_nothing_follows_is_refused(
    options: Options, names: list[str], words: str
) -> None:
    """No option is dropped in silence."""
    with pytest.raises(InputError, match=words):
        check_options(options, names)


def test_options_that_one_of_several_follows_are_taken() -> None:
    """With all examples, every option has its place."""
    check_options(Options(limit=3, mapper="a:b", services="http://x", run_in="thread"), NAMES)
    check_options(Options(output=Path("a.db")), ["pipeline"])


def test_errors_of_a_group_are_reported_by_kind() -> None:
    """Equal errors share a line; beyond five kinds the rest are counted."""
    same = [ValueError("a") for _ in range(3)]
    assert list(explain(ExceptionGroup("many", same))) == ["ValueError: a (3 times)"]
    kinds = [ValueError(str(number)) for number in range(8)]
    assert list(explain(ExceptionGroup("many", kinds)))[-1] == "and 3 other errors"


def write_to(path: Path, rows: list[Any], then: BaseException | None = None) -> None:
    with output_to(path, Terminal()) as output:
        assert output is not None
        output.write(rows)
        if then is not None:
            raise then


# --- files ----------------------------------------------------------------------------------------


def test_output_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Until the end there is the old file; then the new one, with the same permissions."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    path.chmod(0o640)
    output = Output(path)
    output.write([{"name": "Zoë", "lone": "\ud800"}])
    assert path.read_text() == "old"
    output.close(keep=True)
    assert json.loads(path.read_text("utf-8")) == {"name": "Zoë", "lone": "\ud800"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_cannot_be_written_leave_the_file(tmp_path: Path) -> None:
    """A job whose rows are not JSON writes none of them, and the old file stays."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_to(path, [{"a": 1}, {"a": float("inf")}])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_output_keeps_what_was_complete(tmp_path: Path) -> None:
    """When the second of two jobs is interrupted, the rows of the first are kept."""
    path = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_to(path, [{"a": 1}], then=KeyboardInterrupt())
    assert path.read_text() == '{"a": 1}\n'


def test_output_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    """The file that a symbolic link leads to is written, not the link replaced."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    output = Output(link)
    output.write([{"a": 1}])
    output.close(keep=True)
    assert link.is_symlink()
    assert target.read_text() == '{"a": 1}\n'


def test_output_to_a_device_does_not_replace_it() -> None:
    """/dev/null stays what it is."""
    output = Output(Path(os.devnull))
    output.write([{"a": 1}])
    output.close(keep=True)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("name", ["-", ".", "nowhere/out.jsonl"])
def test_output_that_cannot_be_written_is_refused_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before any work is done."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        Output(Path(name))
    assert list(tmp_path.iterdir()) == []


def test_rows_hold_what_json_has_no_form_for() -> None:
    """A path or a date is written as its text."""
    file = io.StringIO()
    print_rows([{"path": Path("a/b")}], file)
    assert file.getvalue() == '{"path": "a/b"}\n'


# --- the screen -----------------------------------------------------------------------------------


def test_data_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape codes are shown, not sent, and brackets are not markup, in text and in tables."""
    from rich.table import Table

    table = Table()
    table.add_row("[red]\x1b]0;title\x07")
    Terminal().print("[bold]x\x1b[2J", table)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[bold]x\\x1b[2J" in out
    assert "[red]\\x1b]0;title\\x07" in out


def test_letters_of_all_languages_stay_visible() -> None:
    """Only control characters are escaped."""
    assert visible("Олена Ωmega é\tx\n\r") == "Олена Ωmega é\tx\n\\r"


def test_progress_is_drawn_in_a_terminal_and_leaves_nothing() -> None:
    """With --verbose only where it is asked for: the log has the same news."""
    with at_terminal(width=120) as terminal:
        job = make_job([DOUBLE], Options())
        for runner, shows in (
            (Runner(Terminal()), True),
            (Runner(Terminal(), verbose=True), False),
            (Runner(Terminal(), verbose=True, progress=True), True),
        ):
            terminal.written.clear()
            assert runner.run(job)
            assert (
                any("✓ Double" in text or "▸ double" in text for text in terminal.written) == shows
            )
        assert "▸" not in terminal.text


def test_progress_is_written_to_a_file_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else nothing of it is."""
    for progress in (False, True):
        assert Runner(Terminal(), progress=progress).run(make_job([DOUBLE], Options()))
        assert ("double: finished after " in capsys.readouterr().err) == progress


def test_runs_are_shown_in_the_browser() -> None:
    """On the page that the runner is given."""
    with Watch() as page:
        assert Runner(Terminal(), page=page).run(make_job([DOUBLE], Options()))
        assert page.address is not None
        with urlopen(f"{page.address}explain", timeout=30) as answer:
            assert answer.read() == b"double: the run has ended.\n"


def test_log_leaves_out_items_that_went_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A million good items do not print a million lines."""
    Graph(Double()).run({"numbers": [1, 2]}, observers=[run_log(), RunReport()])
    err = capsys.readouterr().err
    assert "run finished" in err
    assert "item " not in err


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_its_name(name: str) -> None:
    """The registry loads what it says."""
    assert load(name).name == name
    assert load(name).build(Options()).name == name
