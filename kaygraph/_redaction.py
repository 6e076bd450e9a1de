"""Secrets are taken out of what people read: addresses, errors, reports, logs."""

import re

HIDDEN = "***"

_IN_NAME = r"[\w.%\[\]-]"
# What a name must hold for its value to be hidden: in a query, a header, a mapping, a log line.
# Nothing here goes back over what it has read, or a long text would take its length squared.
_NAMES = (
    rf"(?>{_IN_NAME}*?(?:token|secret|pass(?:word|wd|phrase)|(?<![a-z])pass(?![a-z_])|pwd|"
    r"(?:api|access|account|private|signing|encryption)[_-]?key|"
    rf"signature|authorization|credential|cookie|session[_-]?id)){_IN_NAME}*+"
)
# A quote after backslashes, however many, is no end: the text may be shown within another.
_QUOTED = r"""(?:'(?:[^'\\]|\\++.)*+'?|"(?:[^"\\]|\\++.)*+"?)"""
# `https://user:password@host`; a password may hold a slash that nobody has quoted, a port not.
_USER = re.compile(
    r"""(?P<name>://)(?:[^/?#\s]*|[^/?#:@\s]*:(?!\d*(?:[/?#\s'"]|$))[^@\s]{0,256})@"""
)
# `Authorization: ApiKey abc`: all of the line.
_LINE = re.compile(
    rf"(?P<name>(?<!{_IN_NAME})(?:(?:proxy-)?authorization|(?:set-)?cookie):[ \t]*)"
    r"[^\s'\"][^\r\n]*",
    re.IGNORECASE,
)
# `?token=a,b`: up to the next name, but for what may end the text around it.
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
# `('X-Api-Key', 'abc')`, `["X-Api-Key", "abc"]`: headers and forms are often lists of such.
_PAIR = re.compile(
    rf"""(?P<name>[(\[][bru]*+['"]{_NAMES}['"],\s*+)(?:[bru]*+{_QUOTED})(?=\s*[)\]])""",
    re.IGNORECASE | re.DOTALL,
)
_PEM = re.compile(
    r"(?P<name>-----BEGIN [A-Z ]*KEY-----).*?(?=-----END [A-Z ]*KEY-----|\Z)", re.DOTALL
)
_SCHEME = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[\w+/=.~-]{6,}", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return a text with the secrets in it hidden.

    Hidden are who is named in an address (``https://user:password@host``), the values of names
    such as ``token``, ``api_key`` or ``password``, what follows ``Bearer`` or ``Basic``, and keys.
    """
    text = _USER.sub(rf"\g<name>{HIDDEN}@", text)
    for secret in (_PEM, _LINE, _QUERY, _PAIR, _VALUE, _SCHEME):
        text = secret.sub(rf"\g<name>{HIDDEN}", text)
    return text
