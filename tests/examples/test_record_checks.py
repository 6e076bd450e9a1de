"""The checks of the validation example without requests: what they find and what they let pass."""

import sys
from datetime import date, timedelta
from typing import Any

import pytest

from examples import record_checks
from tests.examples.orders import ORDER, order


def faults(record: Any) -> list[tuple[str, str]]:
    """Return the results of these three checks: the field and the kind of each fault."""
    checks = (record_checks.security, record_checks.format, record_checks.rules)
    return [(field, kind) for check in checks for field, kind, _ in check(record)]


def test_whole_order_has_no_fault() -> None:
    """The record that the other tests break is whole."""
    assert faults(ORDER) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sql_injection", "x' AND 'a'='a"),
        ("sql_injection", '" OR ""="'),
        ("sql_injection", "7 or 7=7"),
        ("sql_injection", "%27%20OR%201%3D1"),
        ("sql_injection", "'; UPDATE users SET admin = 1"),
        ("sql_injection", "1 UNION\nALL SELECT 1,2"),
        ("cross_site_script", "<IMG\nsrc=x\nonError = y()>"),
        ("cross_site_script", "%253Cscript%253Ealert(1)"),
        ("cross_site_script", "&#60;script&#62;"),
        ("path_traversal", "..\\boot.ini"),
        ("path_traversal", "img/%2e%2e/%2e%2e/key"),
        ("leaked_secret", "token=abcdefgh1"),
        ("leaked_secret", "eyJhbGciOiJIUzI1NiJ9: password = 'abc12345'"),
    ],
)
def test_attack_is_found_in_any_text(kind: str, text: str) -> None:
    """In a field, deep in a list, and as the name of a field."""
    assert (("comment", kind)) in faults(order(comment=text))
    assert ("notes[1].more", kind) in faults(order(notes=["", {"more": text}]))
    assert ("record", kind) in faults(order(**{text: 1}))


@pytest.mark.parametrize(
    "text",
    [
        "Union Select Committee",
        "I select from the menu where I can",
        "5' or 6' tall, it's fine -- thanks",
        "rock 'n' roll; update me",
        "a < b and b > c, on = off",
        "I teach javascript: it is fun (really)",
        "data: text, html",
        "wait... what/ever; see page 2../3",
        "password: forgotten yesterday",
        "secret: none. token? bearer of good news",
        "50% off, R&D, 100%25, Q&A;",
        "drop the table off at the warehouse",
    ],
)
def test_plain_words_are_no_attack(text: str) -> None:
    """Words that stand in attacks stand in letters too."""
    assert faults(order(comment=text)) == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "part", ["'", "<a ", "../", "/*", " or ", "a=a ", "%25", "&", "\t", "secret=", "a.", "-"]
)
def test_hostile_text_cannot_hang_the_checks(part: str) -> None:
    """Tens of thousands of characters made to be searched in vain are through in seconds."""
    text = part * (50_000 // len(part))
    faults(order(comment=text, email=text, currency=text, ordered=text))


def test_nesting_has_no_limit() -> None:
    """A list nested deeper than Python's stack is looked through to its bottom."""
    nested: Any = "../../x"
    for _ in range(3 * sys.getrecursionlimit()):
        nested = [nested]
    assert [kind for _, kind in faults(order(notes=nested))] == ["path_traversal"]


@pytest.mark.parametrize(
    ("born", "ordered", "broken"),
    [
        ("2010-03-02", "2026-03-02", False),
        ("2010-03-03", "2026-03-02", True),
        ("2012-02-29", "2028-02-28", True),
        ("2012-02-29", "2028-02-29", False),
        ("2008-02-29", "2024-02-28", True),
        ("2010-02-28", "2026-02-28", False),
    ],
)
def test_age_counts_to_the_day(born: str, ordered: str, broken: bool) -> None:
    """Sixteen is old enough on the birthday itself, leap days included."""
    expected = [("birth_date", "under_age")] if broken else []
    assert faults(order(birth_date=born, ordered=ordered)) == expected


def test_age_must_be_the_age_on_the_day_of_the_order() -> None:
    """An age is optional; where it is given, it is checked."""
    assert faults(order(age=35)) == []
    assert faults(order(age=36)) == [("age", "wrong_age")]
    assert faults(order(age="35")) == [("age", "wrong_type")]


def test_delivery_on_the_day_of_the_order_is_fine() -> None:
    """Only an earlier day breaks the rule."""
    day = date.fromisoformat(ORDER["ordered"])
    assert faults(order(delivered=day.isoformat())) == []
    early = (day - timedelta(days=1)).isoformat()
    assert faults(order(delivered=early)) == [("delivered", "delivered_before_ordered")]


@pytest.mark.parametrize("text", ["20260302", "2026-W10-1", "2026-03-02T00:00", "٢٠٢٦-٠٣-٠٢"])
def test_other_forms_of_a_date_are_refused(text: str) -> None:
    """Only YYYY-MM-DD is taken, whatever else Python can read."""
    assert faults(order(ordered=text)) == [("ordered", "impossible_date")]


@pytest.mark.parametrize("field", ["seats", "amount"])
def test_boolean_is_no_number(field: str) -> None:
    """Python counts True as 1; an order does not."""
    assert (field, "wrong_type") in faults(order(**{field: True}))
