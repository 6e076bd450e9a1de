"""Text about items and errors for people to read: short, and without secrets."""

import re
from reprlib import Repr
from typing import Any

HIDDEN = "***"

_IN_NAME = r"[\w.%\[\]-]"

# Names whose values are hidden, in a query, a header, a mapping or a log line. The patterns do not
# backtrack; with backtracking, a long text would take quadratic time.
_NAMES = (
    rf"(?>{_IN_NAME}*?(?:token|secret|pass(?:word|wd|phrase)|(?<![a-z])pass(?![a-z_])|pwd|"
    r"(?:api|access|account|private|signing|encryption)(?:[_-]|%(?:25)*(?:5f|2d))?key|"
    rf"signature|authorization|credential|cookie|session(?:[_-]|%(?:25)*(?:5f|2d))?id)){_IN_NAME}*+"
)

# A quote after any number of backslashes does not end the text, which may be nested in another.
_QUOTED = r"""(?:'(?:[^'\\]|\\++.)*+'?|"(?:[^"\\]|\\++.)*+"?)"""

# `https://user:password@host`; a password may contain an unquoted slash, a port may not.
_USER = re.compile(
    r"""(?P<name>://)(?:[^/?#\s]*|[^/?#:@\s]*:(?!\d*(?:[/?#\s'"]|$))[^@\s]{0,256})@"""
)

# `Authorization: ApiKey abc`: the whole line.
_LINE = re.compile(
    rf"(?P<name>(?<!{_IN_NAME})(?:(?:proxy-)?authorization|(?:set-)?cookie):[ \t]*)"
    r"[^\s'\"][^\r\n]*",
    re.IGNORECASE,
)

# `?token=a,b`: up to the next name, without characters that may end the surrounding text.
_QUERY = re.compile(
    rf"""(?P<name>[?&](?:{_NAMES}|auth|sig|key|code)=)[^\s&#"<>]*(?<![)\]}}',;.:])""", re.IGNORECASE
)

# `token=abc`, `'token': 'abc'`, `"tokens": ["abc"]`, `"token" => "abc"`.
_VALUE = re.compile(
    rf"""(?P<name>(?<!{_IN_NAME}){_NAMES}(?:\\*+['"])?\s*+(?:=>|[=:])\s*+)(?!\*\*\*)"""
    rf"""(?:[bru\\]*+{_QUOTED}|[(\[{{](?:{_QUOTED}|[^)\]}}'"])*+[)\]}}]?"""
    r"""|(?:(?:bearer|basic|digest)\s+)?[^\s&#'",;)}\]]+)""",
    re.IGNORECASE | re.DOTALL,
)

# `('X-Api-Key', 'abc')`, `["X-Api-Key", "abc"]`: headers and forms are often lists of pairs.
_PAIR = re.compile(
    rf"""(?P<name>[(\[][bru]*+['"]{_NAMES}['"],\s*+)(?:[bru]*+{_QUOTED})(?=\s*[)\]])""",
    re.IGNORECASE | re.DOTALL,
)

_PEM = re.compile(
    r"(?P<name>-----BEGIN [A-Z ]*KEY-----).*?(?=-----END [A-Z ]*KEY-----|\Z)", re.DOTALL
)

_SCHEME = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[\w+/=.~-]{6,}", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return a text with its secrets hidden.

    Secrets are the user and password in a URL (``https://user:password@host``), the values of
    names such as ``token``, ``api_key`` or ``password``, what follows ``Bearer`` or ``Basic``, and
    keys in PEM format.
    """
    text = _USER.sub(rf"\g<name>{HIDDEN}@", text)
    for secret in (_PEM, _LINE, _QUERY, _PAIR, _VALUE, _SCHEME):
        text = secret.sub(rf"\g<name>{HIDDEN}", text)
    return text


SHOWN = 60  # characters of an item's text

LOOKED_AT = 10_000  # of a longer text only the beginning is searched, so as not to block the loop


class _Redacting(Repr):
    """Hide secrets before a text is cut: a part of a secret would not be recognised as one."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(_beginning(x), level)

    def repr_instance(self, x: Any, level: int) -> str:
        text = _beginning(repr(x))
        return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}...{text[-SHOWN // 2 :]}"


def _beginning(text: str) -> str:
    shown = redacted(text[:LOOKED_AT])
    return shown if len(text) <= LOOKED_AT else shown[:SHOWN] + "…"


_repr = _Redacting()
_repr.maxstring = SHOWN


def error_text(error: BaseException) -> str:
    """Return the class and the message of an error, with its secrets hidden."""
    try:
        return _beginning(f"{type(error).__name__}: {error}".removesuffix(": "))
    except Exception:  # an error in __str__ must not hide the error to report
        return type(error).__name__


def item_place(name: str, index: int, item: Any, shows: bool = True) -> str:
    """Return the place of an error: the node, the index and the item, with its secrets hidden.

    ``shows``: whether the item is shown.
    """
    if not shows:
        return f"{name!r}, item {index}"
    return f"{name!r}, item {index} ({value_text(item)})"


def value_text(value: object) -> str:
    """Return a short text that shows a value, with its secrets hidden."""
    try:
        return redacted(_repr.repr(value))
    except Exception:  # an error in __repr__ must not hide the error to report
        return f"a {type(value).__name__}"
