"""Secrets are taken out of what people read."""

import json
import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from kaygraph._formatting import HIDDEN, redacted

NAMES = [
    "token",
    "access_token",
    "refresh-token",
    "client_secret",
    "password",
    "passwd",
    "pwd",
    "pass",
    "SMTP_PASS",
    "AccountKey",
    "signing_key",
    "encryption-key",
    "api_key",
    "api%5Fkey",
    "session%2did",
    "apikey",
    "X-API-Key",
    "AWSAccessKeyId",
    "X-Amz-Signature",
    "Authorization",
    "aws_credential",
    "Cookie",
    "session_id",
    "sessionid",
    "private_key",
    "auth[token]",
]
QUERY_NAMES = [*NAMES, "auth", "sig", "key", "code"]
MARK = "zq9"  # stands in no name and in no text around


def secrets(**settings: object) -> st.SearchStrategy[str]:
    """Texts of which every part would be seen: the mark stands at both ends and within."""
    text = st.text(st.characters(**settings), max_size=20)  # type: ignore[arg-type]
    return st.tuples(text, text).map(lambda parts: MARK + parts[0] + MARK + parts[1] + MARK)


ANY = secrets(codec="utf-8")
PLAIN = secrets(codec="ascii", categories=["L", "N"], include_characters="+/=.~-_")
names = st.sampled_from(NAMES).flatmap(lambda n: st.sampled_from([n, n.upper(), n.lower()]))
around = st.sampled_from(
    ["", "it failed: ", "a=1, b: 2 ", "[{'x': 'y'}] ", '"', "'", "https://h/ "]
)


@given(names, ANY, around)
def test_a_secret_in_a_mapping_is_hidden(name: str, secret: str, before: str) -> None:
    """The value of a name is hidden in a mapping that is shown, whatever it holds."""
    for value in (secret, secret.encode(), [secret, secret], {"a": secret}):
        shown = redacted(before.replace("'", "").replace('"', "") + repr({"x": 1, name: value}))
        assert MARK not in shown
        assert HIDDEN in shown


@given(names, ANY)
def test_a_secret_in_json_is_hidden(name: str, secret: str) -> None:
    """The same in JSON, and in JSON that is text within JSON or a repr."""
    text = json.dumps({"x": 1, name: secret})
    for shown in (text, json.dumps(text), repr(text), json.dumps([{"y": text}])):
        assert MARK not in redacted(shown)


@given(st.sampled_from(QUERY_NAMES), ANY, around)
def test_a_secret_in_a_query_is_hidden(name: str, secret: str, before: str) -> None:
    """However a query is quoted: all of it, none but what must be, or as yarl does."""
    loose = quote(secret, safe="/:@!$'()*,;?~|^`[]{}\\")
    urls = [
        f"https://host/x?{urlencode({'a': '1', name: secret, 'b': '2'})}",
        f"https://host/x?a=1&{name}={loose}&b=2",
        f"https://host/x?{name}={loose}",
        str(URL("https://host/x").update_query({name: secret})),
    ]
    for url in urls:
        for text in (url, repr(url), f"<GET {url}>", f"{url}, then", f'"{url}"'):
            assert MARK not in redacted(before + text)


@given(names, PLAIN, around)
def test_a_secret_in_a_line_is_hidden(name: str, secret: str, before: str) -> None:
    """The same in a log line, and in the header that a request begins with."""
    for text in (
        f"{name}={secret}",
        f"{name}: {secret}",
        f"x {name} = '{secret}', and more",
        f"'{name}' => '{secret}'",
        f"{name} => {secret}",
    ):
        assert MARK not in redacted(before + text)


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "ApiKey", "token", "AWS4-HMAC-SHA256 x"])
@given(secret=PLAIN)
def test_an_authorization_header_is_hidden_whatever_its_scheme(scheme: str, secret: str) -> None:
    """All of the line is, and of others nothing."""
    shown = redacted(f"Host: h\r\nAuthorization: {scheme} {secret}, {secret}\r\nAccept: */*")
    assert shown == f"Host: h\r\nAuthorization: {HIDDEN}\r\nAccept: */*"


@given(PLAIN)
def test_a_bearer_token_is_hidden_where_no_name_stands(secret: str) -> None:
    """What follows the scheme is hidden in any text."""
    assert MARK not in redacted(f"sent Bearer {secret} to it")


@given(
    secrets(codec="utf-8", exclude_categories=["Z", "Cc"], exclude_characters="/?#@"),
    st.sampled_from(["", "@", "@@"]),
)
def test_a_user_in_an_address_is_hidden(secret: str, at: str) -> None:
    """User and password are, also where the password holds an @."""
    for user in (f"{secret}:{secret}{at}x", secret, f":{secret}"):
        shown = redacted(f"cannot reach https://{user}@host:8080/path")
        assert shown == f"cannot reach https://{HIDDEN}@host:8080/path"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://user:pa/ss@host/db", f"postgres://{HIDDEN}@host/db"),
        ("https://host:8080/people/@me", "https://host:8080/people/@me"),
        ("https://host/a@b", "https://host/a@b"),
        ("passed=3, pass_rate: 1, bypass: on", "passed=3, pass_rate: 1, bypass: on"),
        ("basic usage of a token", "basic usage of a token"),
        ("no token for client 'me'", "no token for client 'me'"),
        ("{'status': 200, 'keys': [1, 2]}", "{'status': 200, 'keys': [1, 2]}"),
        ("'https://h/?token=abc' is bad", f"'https://h/?token={HIDDEN}' is bad"),
        ("{'token': 'it\\'s', 'x': 1}", f"{{'token': {HIDDEN}, 'x': 1}}"),
        (f"<GET https://h/?token={HIDDEN}> answered", f"<GET https://h/?token={HIDDEN}> answered"),
    ],
)
def test_what_is_not_a_secret_stays(text: str, shown: str) -> None:
    """What stands around a secret can still be read."""
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "piece",
    [
        "token", "a", "a.token ", "://a:x", "token=[", "token='", "://", "?token='", "'", "a:",
        "bearer ", "\\", "cookie:", "token ", "[", '{"token":', "?key=;", "%", "token=\\'",
    ],
)  # fmt: skip
def test_a_long_text_does_not_take_its_length_squared(piece: str) -> None:
    """Text from outside cannot hold the loop: a tenth of a megabyte takes well below a second."""
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    redacted(text)
    redacted(piece + " " * 100_000)
    assert time.process_time() - started < 1.0


@given(name=st.sampled_from(["X-Api-Key", "password", "authToken"]), secret=PLAIN)
def test_a_secret_in_a_pair_is_hidden(name: str, secret: str) -> None:
    """Headers and forms are shown as lists of pairs, of texts or of bytes."""
    for pair in ((name, secret), (name.encode(), secret.encode())):
        for kind in (tuple, list):
            shown = redacted(repr([kind(p) for p in (("Accept", "text/html"), pair, ("X", "y"))]))
            assert secret not in shown
            assert "text/html" in shown
            assert "'y'" in shown


def test_a_private_key_is_hidden_to_its_end() -> None:
    """All of its lines, and no more; without an end, all that follows."""
    key = "-----BEGIN RSA PRIVATE KEY-----\nc2Vj\ncmV0\n-----END RSA PRIVATE KEY-----"
    assert redacted(f"key: {key} in the file") == (
        "key: -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY----- in the file"
    )
    assert "cmV0" not in redacted(key[:60])
    assert "c2Vj" not in redacted(f"private_key: {key!r}")
