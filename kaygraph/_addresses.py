"""Addresses of servers, told without what is secret in them."""

import re

# One @ at most: where it is clear what the password is, it is clear what is not.
_SERVER = re.compile(r"(?:(?P<user>[^:@/?#]*)(?::[^@/?#]*)?@)?(?P<place>[^@?#]*)(?:\?[^@]*)?")


def without_password(url: str) -> str | None:
    """Return a PostgreSQL url without its password and its settings, None if it cannot be one."""
    parts = _SERVER.fullmatch(url.partition("://")[2])
    if parts is None:
        return None
    user = f"{parts['user']}@" if parts["user"] else ""
    return f"postgresql://{user}{parts['place']}"
