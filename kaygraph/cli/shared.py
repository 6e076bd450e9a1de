"""The initial ``shared`` of a run, as given in a command."""

import json
import sys
from pathlib import Path
from typing import Any

from .arguments import several, takes
from .loading import from_json
from .wrong import WrongCommandError

SHARED = (
    several("--set", "KEY=VALUE", "set shared[KEY] to a JSON value, or else to text"),
    takes("--input", "FILE", help="read shared from a JSON file; - for standard input"),
)


def shared_of(source: str | None, settings: list[str]) -> Any:
    """Return ``shared``: the JSON of a file (``-``: standard input), then each KEY=VALUE.

    Raises:
        WrongCommandError: It is not JSON, or has no keys to set.
    """
    shared = {} if source is None else from_json(_text(source), f"--input {source}")
    for one in settings:
        key, equals, text = one.partition("=")
        if not equals or not key:
            raise WrongCommandError(f"--set must be KEY=VALUE, as in --set limit=20; got {one!r}")
        if not isinstance(shared, dict):
            raise WrongCommandError(
                f"--set {key} needs an object, but --input is {type(shared).__name__}: leave out "
                "--set, or put an object into the file"
            )
        shared[key] = json_or_text(text)
    return shared


def _text(source: str) -> str:
    if source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise WrongCommandError(
                "--input - reads standard input, but nothing is piped into it: type --input FILE"
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
        raise WrongCommandError(
            f"--input {source} is not UTF-8: {error}. Convert the file to UTF-8"
        ) from None


def json_or_text(text: str) -> Any:
    """Return the value of a JSON text, or the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
