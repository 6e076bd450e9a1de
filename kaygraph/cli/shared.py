"""What a run begins with, as it stands in a command."""

import json
import sys
from pathlib import Path
from typing import Any

from .loading import from_json
from .wrong import WrongCommandError


def shared_of(source: str | None, settings: list[str]) -> Any:
    """Return ``shared``: what a file has as JSON (``-``: standard input), then each KEY=VALUE.

    Raises:
        WrongCommandError: It is no JSON, or has no keys to set.
    """
    shared = {} if source is None else from_json(_text(source), f"--input {source}")
    for one in settings:
        key, equals, text = one.partition("=")
        if not equals or not key:
            raise WrongCommandError(f"--set takes KEY=VALUE, as in --set limit=20; got {one!r}")
        if not isinstance(shared, dict):
            raise WrongCommandError(
                f"--set {key} takes an object, and --input is {type(shared).__name__}"
            )
        shared[key] = json_or_text(text)
    return shared


def _text(source: str) -> str:
    if source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise WrongCommandError(
                "--input - reads standard input, and nothing is piped there: type --input FILE"
            )
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise WrongCommandError(f"cannot read --input {source}: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongCommandError(f"--input {source} is no UTF-8: {error}") from None


def json_or_text(text: str) -> Any:
    """Return the value of a JSON text; the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
