"""A timeline as SVG: what is there is drawn, and nothing that a page would refuse."""

from xml.etree import ElementTree

import pytest

from kaygraph.drawing.timeline import Row, Track, timeline_svg

SPACE = "{http://www.w3.org/2000/svg}"


def track(*work: float, workers: int = 1, **others: list[bool]) -> Track:
    nothing = [False] * len(work)
    paused = others.get("paused", nothing)
    failed, retried = others.get("failed", nothing), others.get("retried", nothing)
    return Track(workers, work, [float(one) for one in paused], failed, retried)


def row(*tracks: Track, name: str = "Fetch", note: str = "3 items", line: list[float] = []) -> Row:  # noqa: B006
    bins = len(tracks[0].work) if tracks else 4
    return Row(name, note, [True] * bins, tracks, line, len(tracks))


def drawn(*rows: Row, seconds: float = 4.0, standalone: bool = True) -> ElementTree.Element:
    text = timeline_svg("Flow", rows, seconds, 4, 0, standalone)
    return ElementTree.fromstring(text)


def paths(drawing: ElementTree.Element, kind: str) -> list[str]:
    """Return the paths of bars of a kind."""
    found = drawing.iter(f"{SPACE}path")
    return [one.attrib["d"] for one in found if one.attrib["class"] == f"kaygraph-{kind}"]


def texts(drawing: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in drawing.iter(f"{SPACE}text")]


def test_equal_bins_are_one_rectangle() -> None:
    """The height of a bar says how much of the time its worker worked."""
    drawing = drawn(row(track(0, 1, 1, 0.5)))
    assert paths(drawing, "work") == ["M1 0h2v8h-2zM3 4h1v4h-1z"]


def test_little_work_is_seen() -> None:
    """It has the least height."""
    assert paths(drawn(row(track(0.001, 0, 0, 0))), "work") == ["M0 7.5h1v0.5h-1z"]


def test_each_worker_has_a_bar_below_the_one_before() -> None:
    """With a gap between them."""
    drawing = drawn(row(track(1, 0, 0, 0), track(1, 0, 0, 0)))
    assert paths(drawing, "work") == ["M0 0h1v8h-1z", "M0 10h1v8h-1z"]


def test_bar_of_several_workers_is_as_high_as_how_many_work() -> None:
    """All of them are the whole height."""
    drawing = drawn(row(track(4, 8, 0, 0, workers=8)))
    assert paths(drawing, "work") == ["M0 20h1v20h-1zM1 0h1v40h-1z"]


def test_what_waits_stands_on_what_works() -> None:
    """Pauses above work; failures and failed attempts at the top; waiting items below."""
    drawing = drawn(
        row(
            track(
                0.5, 0, 1, 0,
                paused=[True, True, False, False],
                failed=[False, False, True, False],
                retried=[True, False, False, False],
            ),
            line=[0, 0, 0, 1],
        )
    )  # fmt: skip
    assert paths(drawing, "paused") == ["M0 0h1v5h-1zM1 2.5h1v5.5h-1z"]
    assert paths(drawing, "failed") == ["M2 0h1v8h-1z"]
    assert paths(drawing, "retried") == ["M0 0h1v3h-1z"]
    assert paths(drawing, "line") == ["M3 10h1v8h-1z"]
    assert texts(drawing)[-5:] == [
        "in exec",
        "waits to retry",
        "in line",
        "failed",
        "attempt failed",
    ]


def test_legend_names_only_what_is_there() -> None:
    """A run without failures needs no word for them."""
    assert texts(drawn(row(track(1, 1, 1, 1))))[-1:] == ["in exec"]
    assert "failed" not in texts(drawn(row(track(1, 1, 1, 1))))


def test_stage_has_a_bar_of_its_shares() -> None:
    """As wide as the time that it was busy, had no input, and had no room."""
    stage = Row("Parse", "", [True] * 4, [track(1, 1, 1, 1)], shares=(1, 2, 1))
    drawing = drawn(stage)
    kinds = ("kaygraph-busy", "kaygraph-starved", "kaygraph-blocked")
    found = [one for one in drawing.iter(f"{SPACE}rect") if one.get("class") in kinds]
    assert [one.get("width") for one in found[:3]] == ["24.50%", "49.00%", "24.50%"]
    assert texts(drawing)[-3:] == ["busy", "no input", "no room"]


def test_node_without_items_has_a_bar_of_its_time() -> None:
    """A graph within, say."""
    drawing = drawn(Row("Inner", "", [False, True, True, False], []))
    assert paths(drawing, "node") == ["M1 0h2v8h-2z"]


def test_bars_stretch_and_texts_do_not() -> None:
    """So it reads at any width; a page that knows its height gives the same to all."""
    drawing = drawn(row(track(1, 1, 1, 1)))
    assert drawing.get("viewBox") is None
    assert drawing.get("width") == "100%"
    (bars,) = [one for one in drawing.iter(f"{SPACE}svg") if one is not drawing]
    assert bars.get("viewBox") == "0 0 4 8"
    assert bars.get("preserveAspectRatio") == "none"


def test_names_cannot_break_the_drawing() -> None:
    """Nor can what is said of them; long ones are cut, and whole in the tooltip."""
    name = "<script>" + 40 * "long "
    drawing = drawn(row(track(1, 1, 1, 1), name=name, note="<b>"))
    (group,) = [one for one in drawing.iter(f"{SPACE}g") if one.get("class") == "kaygraph-row"]
    title = group.find(f"{SPACE}title")
    assert group.get("data-node") == name
    assert title is not None
    assert title.text == f"{name}: <b>"
    assert [one.endswith("…") for one in texts(group)] == [True, False]


def test_page_with_a_strict_policy_takes_it() -> None:
    """No style attribute, and with ``standalone=False`` no style element."""
    text = timeline_svg("Flow", [row(track(1, 0, 1, 0))], 4, 4, 0, False)
    assert "style" not in text
    assert "<style>" in timeline_svg("Flow", [row(track(1, 0, 1, 0))], 4, 4, 0, True)


def test_nodes_that_are_left_out_are_counted() -> None:
    """In the drawing and in its description."""
    text = timeline_svg("Flow", [row(track(1, 0, 1, 0))], 4, 4, 7, True)
    assert "and 7 more nodes" in text
    assert "<desc>Fetch: 3 items; and 7 more</desc>" in text


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (0.0, []),
        (0.00001, ["0", "2 µs", "4 µs", "6 µs", "8 µs", "10 µs"]),
        (0.0043, ["0", "1 ms", "2 ms", "3 ms", "4 ms"]),
        (2.9, ["0", "1 s", "2 s"]),
        (60, ["0", "20 s", "40 s", "60 s"]),
        (61, ["0", "20 s", "40 s", "60 s"]),
        (299, ["0", "1 min", "2 min", "3 min", "4 min"]),
        (601, ["0", "5 min", "10 min"]),
        (3 * 3600, ["0", "1 h", "2 h", "3 h"]),
        (30 * 3600, ["0", "6 h", "12 h", "18 h", "24 h", "30 h"]),
    ],
)
def test_ticks_are_round_and_few(seconds: float, ticks: list[str]) -> None:
    """From microseconds to days."""
    drawing = drawn(row(track(1, 1, 1, 1)), seconds=seconds)
    (axis,) = [one for one in drawing.iter(f"{SPACE}g") if one.get("class") == "kaygraph-axis"]
    assert texts(axis) == ticks


def test_every_time_has_ticks() -> None:
    """At most six, up to a year."""
    seconds = 1e-6
    while seconds < 4e7:
        drawing = drawn(seconds=seconds)
        (axis,) = [one for one in drawing.iter(f"{SPACE}g") if one.get("class") == "kaygraph-axis"]
        assert 2 <= len(texts(axis)) <= 6, seconds
        seconds *= 1.13
