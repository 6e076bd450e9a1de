"""Screen: what is drawn at the bottom of a terminal, and what the program prints above it."""

import io
import logging
import os
import sys
import threading

import pytest

from kaygraph.progress.screen import (
    Errors,
    Screen,
    Through,
    can_draw,
    screen_of,
    style_of,
    unpainted,
)
from kaygraph.progress.text import Style
from tests.terminal import Terminal, at_terminal


def test_what_is_printed_stands_above_what_is_drawn() -> None:
    """As it was printed: long lines are broken by the terminal, and not by us."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one", "two"])
        screen.draw()
        assert terminal.text == "one\ntwo"
        print("a line")
        print("x" * 100)
        assert terminal.text.splitlines() == ["a line", "x" * 80, "x" * 20, "one", "two"]
        assert "x" * 100 in terminal.written
        screen.remove("run", leave=True)
        print("behind")
        assert terminal.text.splitlines()[-3:] == ["one", "two", "behind"]


def test_bars_need_not_stay() -> None:
    """Then nothing of them is left."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one"])
        screen.draw()
        screen.remove("run", leave=False)
        assert terminal.text == ""


def test_a_line_that_is_begun_hides_the_bars_until_it_is_ended() -> None:
    """As a question does, whose answer is typed behind it."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one"])
        screen.draw()
        print("your name? ", end="", flush=True)
        screen.draw()
        assert terminal.text == "your name?"
        print("Ann")
        assert terminal.text == "your name? Ann\none"
        print("more", end="")
        screen.remove("run", leave=True)
        assert terminal.text == "your name? Ann\nmore\none"


def test_several_runs_are_drawn_one_below_the_other() -> None:
    """On the screen that is there already; what has ended stays above."""
    with at_terminal() as terminal:
        first = screen_of(sys.stderr)
        first.add("a", lambda width, height: ["a 1", "a 2"])
        second = screen_of(sys.stderr)
        assert second is first
        second.add("b", lambda width, height: ["b 1"])
        first.draw()
        assert terminal.text == "a 1\na 2\nb 1"
        first.remove("a", leave=True)
        assert isinstance(sys.stdout, Through)
        assert terminal.text == "a 1\na 2\nb 1"
        print("a line")
        assert terminal.text == "a 1\na 2\na line\nb 1"
        second.remove("b", leave=True)


def test_no_more_is_drawn_than_the_terminal_has_lines() -> None:
    """What has scrolled away could not be drawn again."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: [str(number) for number in range(100)])
        screen.draw()
        assert len(terminal.text.splitlines()) == 23
        screen.remove("run", leave=False)


def test_a_terminal_that_has_become_narrower_is_cleaned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lines are broken in two by then."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        monkeypatch.setenv("COLUMNS", "80")
        screen.add("run", lambda width, height: ["x" * width])
        screen.draw()
        monkeypatch.setenv("COLUMNS", "41")
        screen.draw()
        assert terminal.written[-1].startswith("\r\x1b[2A")
        screen.remove("run", leave=False)


def test_only_terminals_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to a file is no business of the bars."""
    file, terminal = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(sys, "stderr", terminal)
    screen = screen_of(sys.stderr)
    screen.add("run", lambda width, height: ["one"])
    assert sys.stdout is file
    print("to the file")
    screen.remove("run", leave=True)
    assert (file.getvalue(), terminal.text) == ("to the file\n", "one")
    assert sys.stderr is terminal


def test_a_stream_that_somebody_has_replaced_stays() -> None:
    """And code that has kept ours can still write to it."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one"])
        kept, sys.stdout = sys.stdout, io.StringIO()
        ours = sys.stdout
        screen.remove("run", leave=True)
        assert sys.stdout is ours
        sys.stdout = terminal
        kept.write("still\n")
        assert terminal.text == "one\nstill"


def test_the_stream_is_what_it_was() -> None:
    """In all that is not its text."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one"])
        assert (sys.stdout.isatty(), sys.stdout.encoding) == (True, "utf-8")
        assert sys.stdout.write("abc\n") == 4
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"abc")  # type: ignore[arg-type]
        sys.stdout.writelines(["d\n", "e\n"])
        assert terminal.text == "abc\nd\ne\none"
        screen.remove("run", leave=False)


def test_what_is_logged_stands_above_too() -> None:
    """Also by a handler that knew the stream before, and by one that was made in the meantime."""
    with at_terminal() as terminal:
        before, log = logging.StreamHandler(), logging.getLogger("above")
        log.addHandler(before)
        log.propagate = False
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one"])
        log.warning("a line")
        meanwhile = logging.StreamHandler()
        log.handlers = [meanwhile]
        log.warning("another")
        Errors().write("a third\n")
        assert terminal.text == "a line\nanother\na third\none"
        log.handlers = [before, meanwhile]
        screen.remove("run", leave=False)
        assert before.stream is meanwhile.stream is terminal
        log.handlers = []


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    """The program would notice by itself where it prints."""

    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError("gone")

    screen = Screen(Gone(), Style(color=False, unicode=True))
    screen.add("run", lambda width, height: ["one"])
    screen.draw()
    screen.draw()
    screen.remove("run", leave=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_prints_without_bars() -> None:
    """The holder of the screen's lock is not in it."""
    with at_terminal() as terminal:
        screen = screen_of(sys.stderr)
        screen.add("run", lambda width, height: ["one"])
        stuck, free = threading.Event(), threading.Event()

        def part(width: int, height: int) -> list[str]:
            stuck.set()
            free.wait()
            return ["two"]

        screen.add("slow", part)
        drawing = threading.Thread(target=screen.draw)
        drawing.start()
        stuck.wait()
        child = os.fork()
        if not child:
            code = 1
            try:
                print("here")
                code = 0 if sys.stdout is terminal else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        free.set()
        drawing.join()
        screen.remove("slow", leave=False)
        screen.remove("run", leave=False)
        assert os.waitstatus_to_exitcode(status) == 0


def test_not_every_terminal_can_be_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumb one cannot move its cursor; a file, and what is closed, is none."""
    monkeypatch.setenv("TERM", "xterm")
    assert can_draw(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not can_draw(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    closed = io.StringIO()
    assert not can_draw(closed)
    closed.close()
    assert not can_draw(closed)
    assert not can_draw(object())


def test_colours_are_for_who_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR, of any text, says that one does not."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert style_of(Terminal()) == Style(color=True, unicode=True)
    monkeypatch.setenv("NO_COLOR", "1")
    latin = io.TextIOWrapper(io.BytesIO(), encoding="iso-8859-1")
    assert style_of(latin) == Style(color=False, unicode=False)


def test_a_painted_text_is_as_wide_as_the_text() -> None:
    """Colours take no room."""
    style = Style(color=True, unicode=True)
    assert unpainted(f"a {style.paint('red', '31')} m {style.bar(0.5, 4)}") == "a red m ━━──"
