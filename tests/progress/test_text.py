"""Text: a row in so many columns."""

from dataclasses import replace

import pytest

from kaygraph.progress.rows import Row
from kaygraph.progress.screen import unpainted
from kaygraph.progress.text import Style, bars, cells, cut, duration, per_second, plain

PLAIN = Style(color=False, unicode=True)
ROW = Row(
    name="Fetch", path="Fetch", depth=0, state="running", done=1234, total=10_000, counts=True,
    runs=1, failed=3, skipped=0, retried=12, in_flight=40, rate=240.0, left_s=36.5,
    seconds=0.0, waits=None,
)  # fmt: skip


def test_a_row_has_a_bar_a_count_and_what_matters() -> None:
    """In this order: failures, the time that is left, the rate, attempts, calls at once."""
    assert bars([ROW], 110, PLAIN) == [
        "  ▸ Fetch  ━━──────────────────────  1,234/10,000  3 failed  36 s left  240/s  12 retried"
        "  40 at once"
    ]


@pytest.mark.parametrize("width", [*range(1, 130)])
def test_no_line_is_wider_than_it_may_be(width: int) -> None:
    """Not with long names of wide characters either, deep in graphs."""
    rows = [
        ROW,
        replace(ROW, name="データを取得する" * 5, depth=3, waits="it waits for 数える " * 20),
        replace(ROW, name="x" * 100, depth=30, total=None),
    ]
    lines = bars(rows, max(width, 30), PLAIN)
    assert max(map(cells, lines)) <= max(width, 30)
    for row in rows:
        assert len(bars([row], width, PLAIN)) == 1 + (row.waits is not None)


def test_facts_go_first_where_there_is_little_room() -> None:
    """The bar gets shorter, and goes; what has failed stays, and the count longest."""
    lines = [bars([ROW], width, PLAIN)[0] for width in (90, 60, 40, 26)]
    assert ["at once" in line for line in lines] == [False] * 4
    assert ["3 failed" in line for line in lines] == [True, True, True, False]
    assert ["━" in line for line in lines] == [True, True, False, False]
    assert all("1,234/10,000" in line for line in lines)


def test_what_it_waits_for_stands_below() -> None:
    """Cut to the width."""
    row = replace(ROW, waits="Fetch waits: 40 of 40 permits are held by Parse")
    assert bars([row], 40, PLAIN)[1] == "      Fetch waits: 40 of 40 permits are…"


def test_items_that_were_skipped_are_shown() -> None:
    """They are missing from the results, so behind those that failed."""
    skipping = replace(ROW, failed=0, skipped=20)
    assert "  20 skipped  36 s left" in bars([skipping], 110, PLAIN)[0]
    assert plain(replace(ROW, skipped=1)).startswith("Fetch: 1,234/10,000, 3 failed, 1 skipped")


def test_a_row_says_how_its_node_has_ended() -> None:
    """With the time that it took, in place of what is left."""
    ended = replace(
        ROW, state="finished", done=10_000, rate=None, left_s=None, seconds=41.2, retried=0
    )
    assert bars([ended], 90, PLAIN) == [
        "  ✓ Fetch  ━━━━━━━━━━━━━━━━━━━━━━━━  10,000  3 failed  in 41 s"
    ]
    assert bars([replace(ended, state="failed", total=None)], 90, PLAIN) == [
        "  ✗ Fetch  10,000  3 failed  in 41 s"
    ]


def test_a_terminal_that_has_only_ascii_gets_no_other_character() -> None:
    """Of names those that it has."""
    style = Style(color=False, unicode=False)
    lines = bars([replace(ROW, waits="w" * 200)], 60, style)
    assert "  > Fetch  #---" in lines[0]
    assert all(line.isascii() for line in lines)


def test_colours_take_no_room() -> None:
    """The same text with and without."""
    color = Style(color=True, unicode=True)
    rows = [ROW, replace(ROW, depth=1, state="finished"), replace(ROW, state="failed", waits="x")]
    assert [*map(unpainted, bars(rows, 70, color))] == bars(rows, 70, PLAIN)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (3599.6, "1:00 h"),
        (90061.0, "25:01 h"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, said: str) -> None:
    """Never 60 s or 60:00 min."""
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("rate", "said"), [(123456.0, "123,456/s"), (9.94, "9.9/s"), (0.1, "0.1/s"), (0.05, "3/min")]
)
def test_rates_have_digits_that_say_something(rate: float, said: str) -> None:
    """Slow ones are counted by the minute."""
    assert per_second(rate) == said


def test_a_text_is_cut_by_its_columns() -> None:
    """Wide characters take two."""
    assert cut("取得する", 8, PLAIN) == "取得する"
    assert cut("取得する", 7, PLAIN) == "取得す…"
    assert cut("取得する", 0, PLAIN) == ""


def test_a_line_of_a_log_says_all_of_it() -> None:
    """With the names of the graphs around."""
    row = replace(ROW, path="Inner/Fetch", waits="it waits")
    assert plain(row) == (
        "Inner/Fetch: 1,234/10,000, 3 failed, 36 s left, 240/s, 12 retried, 40 at once, it waits"
    )
    alone = replace(ROW, counts=False, failed=0, retried=0, in_flight=0, rate=None, left_s=None)
    assert plain(alone) == "Fetch: running"
    assert plain(replace(alone, runs=3, state="failed")) == "Fetch: 3 ×, failed"
    assert plain(replace(ROW, total=None)).startswith("Fetch: 1,234 items, ")
