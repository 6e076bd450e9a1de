"""What can be wrong with a single record: the checks of the validation example without requests.

Three functions, ``security``, ``format`` and ``rules``. Each takes a record, which may be any JSON
value, and yields a fault ``(field, kind, reason)`` for each problem: the kind is one
word to count by, the reason is for people. None raises, whatever the record is, and none of them
repeats a suspicious text.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from reprlib import Repr
from typing import Any
from urllib.parse import unquote

from examples.inputs import Unreadable

Fault = tuple[str, str, str]
Fields = Mapping[str, Any]

# Values come from anywhere: their control characters are escaped, and long ones are cut.
_repr = Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 40


def shown(value: Any) -> str:
    """Return a value in the form for a reason."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python formats no number of more than 4300 digits
        return "a number too long to show"


# --- security: is there an attack in any of its texts, or a secret? -----------------------------


def patterns(*texts: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)


# Each pattern requires what an attack needs in addition to its keyword (a quote that closes a
# string, a bracket that opens a tag), because people are called O'Brien, and write "<3".
# None can hang on a hostile text: repetitions are bounded, or stop where they would restart.
ATTACKS = {
    "sql_injection": patterns(
        r"['\"]\s{0,9}(?:or|and)\s{1,9}(?:['\"(]{1,3}\w{0,40}|\w{1,40})['\"]?\s{0,9}(?:[=<>#]|--)",
        r"\b(?:or|and)\s{1,9}(['\"]?)(\w{1,40})\1\s{0,9}=\s{0,9}\1\2\b",
        r"['\")0-9]\s{1,9}union\s{1,9}(?:all\s{1,9})?select\b",
        r"[;'\"]\s{0,9}(?:drop|alter|create|truncate)\s{1,9}(?:table|database|schema|user)\b",
        r"[;'\"]\s{0,9}(?:delete\s{1,9}from|insert\s{1,9}into|update\s{1,9}\w{1,60}\s{1,9}set)\b",
        r"\b(?:and|or|select)\s{1,9}(?:pg_)?sleep\s{0,9}\(|\bwaitfor\s{1,9}delay\s{1,9}['\"]",
        r"['\"]--|['\"]\s{0,9}(?:--|#)\s{0,9}$|;\s{0,9}--\s{0,9}$",
        r"\bxp_cmdshell\b|\binformation_schema\.",
    ),
    "cross_site_script": patterns(
        r"</?(?:script|iframe|object|embed)[\s/>]",
        r"<[a-z][^<>]*[\s/\"'`]on[a-z]{3,20}\s{0,9}=",
        r"\b(?:javascript|vbscript):\s{0,9}[\w.$]{1,60}[(=\[]|\bdata:text/html\b",
    ),
    "path_traversal": patterns(
        r"(?:^|[\s/\\='\"(])\.\.[/\\]|\.{4}[/\\]{2}",
        r"\bfile:/{2,3}|(?:^|[\s='\"])/etc/(?:passwd|shadow|hosts)\b",
    ),
    "leaked_secret": patterns(
        r"\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
        r"\bgh[pousr]_\w{30}|\bgithub_pat_\w{20}|\bxox[abprs]-[\w-]{10}",
        r"\bauthorization:\s{0,9}(?:bearer|basic)\s{1,9}\S{8}",
        # "password: forgotten" is harmless: a secret has 8 characters and a digit.
        r"\b(?:(?:api|access|secret)[_-]?key|password|passwd|pwd|secret|token)\s{0,9}[=:]\s{0,9}"
        r"['\"]?(?=[^\s'\"]{0,99}\d)[^\s'\"]{8}",
    ),
}
REASONS = {
    "sql_injection": "looks like SQL that breaks out of its string",
    "cross_site_script": "looks like markup that runs a script",
    "path_traversal": "looks like a path that leaves its folder",
    "leaked_secret": "looks like a secret that does not belong here",
}


def security(record: Any) -> Iterator[Fault]:
    """Check every text of the record, as it is and as a browser or a shell decodes it."""
    for field, text in texts_in(record):
        for kind in attacks_in(text):
            yield field, kind, REASONS[kind]


def texts_in(record: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a JSON value with the path to it, including the names of fields."""
    waiting = [("record", record)]  # no recursion: the author of the data decides the depth
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, list):
            waiting += [(f"{path}[{place}]", value[place]) for place in reversed(range(len(value)))]
        elif isinstance(value, dict):
            yield from ((path, name) for name in value)
            prefix = "" if path == "record" else f"{path}."
            waiting += [(prefix + shown(name)[1:-1], value[name]) for name in reversed(value)]


def attacks_in(text: str) -> Iterator[str]:
    """Yield each kind of attack in a text, once."""
    try:
        decoded = html.unescape(unquote(unquote(text)))
    except ValueError:  # a character reference with more digits than int() accepts
        decoded = text
    # "uni/**/on" is no disguise for a database, which drops comments.
    views = {text, decoded, re.sub(r"/\*[^*]*\*/", " ", decoded)}
    for kind, needles in ATTACKS.items():
        if any(needle.search(view) for view in views for needle in needles):
            yield kind


# --- format: is each field there, of the right type and form? -----------------------------------

PERSON = ("name", "email", "birth_date", "country")
ORDER = ("plan", "seats", "amount", "currency", "ordered", "delivered")
DATES = ("birth_date", "ordered", "delivered")

# The dot-atom of RFC 5322 (with letters of any script, RFC 6531) at a host name of RFC 1123.
ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
EMAIL = re.compile(rf"{ATOM}(?:\.{ATOM})*@(?:{LABEL}\.)+[^\W\d_]{{2,63}}")
MAX_EMAIL = 254  # characters, RFC 5321


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Say whether it is an amount; NaN and Infinity, which Python reads in JSON, are not."""
    return is_whole(value) or (isinstance(value, float) and abs(value) < float("inf"))


def is_text_or_null(value: Any) -> bool:
    return value is None or is_text(value)


FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(PERSON, (is_text, "a text")),
    "age": (is_whole, "a whole number"),
    "plan": (is_text, "a text"),
    "seats": (is_whole, "a whole number"),
    "amount": (is_number, "a number"),
    "currency": (is_text, "a text"),
    "ordered": (is_text, "a text"),
    "delivered": (is_text_or_null, "a text or null"),
    "comment": (is_text, "a text"),
}
TYPES = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}


def format(record: Any) -> Iterator[Fault]:
    """Check each field by itself.

    A record with any of an order's fields is an order, and must then have all of them.
    Otherwise it is a contact, and an e-mail address is enough.
    """
    if isinstance(record, Unreadable):
        yield "record", "malformed", record.reason
        return
    if not isinstance(record, dict):
        found = TYPES.get(type(record), "a number")
        yield "record", "not_an_object", f"must be an object, not {found}"
        return
    is_order = any(field in record for field in ORDER)
    required = {*PERSON, *ORDER, "comment"} if is_order else {"email"}
    for field in FORMS:
        if field in record:
            yield from ((field, *fault) for fault in faults_in(field, record[field]))
        elif field in required:
            yield field, "missing_field", "is missing"


def faults_in(field: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and the reason of a problem with an existing field: one at most."""
    fits, form = FORMS[field]
    if not fits(value):
        found = TYPES.get(type(value), f"the number {shown(value)}")
        yield "wrong_type", f"must be {form}, not {found}"
    elif field in ("name", "email") and not value.strip():
        yield "missing_field", "is empty"
    elif field == "email" and not (len(value) <= MAX_EMAIL and EMAIL.fullmatch(value)):
        yield "malformed_email", f"{shown(value)} is not an e-mail address"
    elif field == "country" and not re.fullmatch("[A-Z]{2}", value):
        yield "malformed_country", f"{shown(value)} is not two capital letters"
    elif field in DATES and value is not None and day(value) is None:
        yield "impossible_date", f"{shown(value)} is not a valid date (YYYY-MM-DD)"


def day(value: Any) -> date | None:
    """Return the day of a text YYYY-MM-DD, or None."""
    # fromisoformat() alone would also accept 20260412 and 2026-W15-7.
    if isinstance(value, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    return None


# --- rules: does it make sense as a whole? ------------------------------------------------------

PRICES = {"free": 0, "team": 9, "business": 19}  # a seat
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK")
MIN_AGE = 16


def rules(record: Any) -> Iterator[Fault]:
    """Check fields together. A field with a wrong form is left to ``format``."""
    if isinstance(record, dict):
        yield from price(record)
        yield from age(record)
        yield from delivery(record)


def price(record: Fields) -> Iterator[Fault]:
    """The amount is seats times the price of the plan, in an accepted currency."""
    plan, currency = record.get("plan"), record.get("currency")
    seats: Any = record.get("seats")
    amount: Any = record.get("amount")
    if is_text(plan) and plan not in PRICES:
        yield "plan", "unknown_plan", f"{shown(plan)} is not one of {', '.join(PRICES)}"
    if is_whole(seats) and seats < 1:
        yield "seats", "seats_below_one", f"must be at least 1, not {shown(seats)}"
    if is_text(currency) and currency not in CURRENCIES:
        reason = f"{shown(currency)} is not one of {', '.join(CURRENCIES)}"
        yield "currency", "unknown_currency", reason
    if is_number(amount) and plan == "free" and amount != 0:
        reason = f"the free plan costs nothing, not {shown(amount)}"
        yield "amount", "free_plan_with_amount", reason
    elif is_number(amount) and is_whole(seats) and is_text(plan) and plan in PRICES:
        due = seats * PRICES[plan]
        if amount != due:
            sum_of = f"{shown(seats)} seats at {PRICES[plan]} come to {shown(due)}"
            yield "amount", "wrong_amount", f"{sum_of}, not {shown(amount)}"


def age(record: Fields) -> Iterator[Fault]:
    """The person is old enough on that day, and as old as the record says."""
    born, ordered = day(record.get("birth_date")), day(record.get("ordered"))
    if born is None or ordered is None:
        return
    turned = (ordered.month, ordered.day) >= (born.month, born.day)
    years = ordered.year - born.year - (not turned)
    age = record.get("age")
    if years < MIN_AGE:
        reason = f"is {years} years old on the day of the order, under {MIN_AGE}"
        yield "birth_date", "under_age", reason
    if is_whole(age) and age != years:
        yield "age", "wrong_age", f"is {years} on the day of the order, not {shown(age)}"


def delivery(record: Fields) -> Iterator[Fault]:
    """Nothing is delivered before it was ordered."""
    ordered, delivered = day(record.get("ordered")), day(record.get("delivered"))
    if ordered and delivered and delivered < ordered:
        reason = f"{delivered} is before the order of {ordered}"
        yield "delivered", "delivered_before_ordered", reason
