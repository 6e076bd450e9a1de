"""Addresses of files and servers, without their secrets."""

import os
import re

# One @ at most: only then is it clear where the password ends.
_SERVER = re.compile(r"(?:(?P<user>[^:@/?#]*)(?::[^@/?#]*)?@)?(?P<place>[^@?#]*)(?:\?[^@]*)?")


def without_password(url: str) -> str | None:
    """Return a PostgreSQL url without its password and its settings, or None if it is not one."""
    parts = _SERVER.fullmatch(url.partition("://")[2])
    if parts is None:
        return None
    user = f"{parts['user']}@" if parts["user"] else ""
    return f"postgresql://{user}{parts['place']}"


def shown(address: str | os.PathLike[str]) -> str:
    """Return the path of a file or a url, safe to show."""
    text = str(os.fspath(address))
    scheme, is_url, _ = text.partition("://")
    if not is_url or scheme == "sqlite":
        return text
    return without_password(text) or f"{scheme}://…"
