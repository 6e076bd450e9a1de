"""Quotes of servers' texts omit secrets, and are short."""

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kaygraph.nodes import APIKey, Basic, Bearer
from kaygraph.nodes._quoted import quoted, secrets_of
from kaygraph.nodes.types import Auth


def test_secrets_are_hidden_the_longest_first() -> None:
    """One that holds another leaves nothing of itself."""
    assert quoted("no abc-def here, nor abc", ["abc", "abc-def", ""]) == "no *** here, nor ***"
    assert quoted("password=hunter2 x") == "password=*** x"


@given(st.text(), st.text("ab", min_size=1), st.text())
def test_no_secret_is_left(before: str, secret: str, after: str) -> None:
    """Whatever surrounds it."""
    assert secret not in quoted(f"{before}{secret}{after}".replace(secret, f" {secret} "), [secret])


def test_of_a_long_text_only_the_beginning_is_read() -> None:
    """A page of megabytes does not hold the loop."""
    began = time.process_time()
    assert len(quoted("token x " * 1_500_000)) <= 10_000
    assert time.process_time() - began < 0.5


class Signed(Auth):
    async def added(self, headers: Any, url: Any, tokens: Any, post: Any) -> Any:
        return headers, url


def test_what_is_secret_of_an_auth_is_what_it_does_not_show() -> None:
    """A user name and a header name are not secret; fields of other classes are unknown."""
    assert secrets_of(Bearer("abc")) == ["abc"]
    assert secrets_of(Basic("me", "sesame")) == ["sesame"]
    assert secrets_of(APIKey("abc", header="api-key")) == ["abc"]
    assert secrets_of(Signed()) == secrets_of(None) == []
