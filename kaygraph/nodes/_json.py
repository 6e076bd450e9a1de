"""Untrusted JSON: its depth is checked before it is decoded."""

import json
import re
from codecs import BOM_UTF8
from itertools import accumulate
from typing import Any

MAX_DEPTH = 100

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class JSONDepthError(ValueError):
    """The JSON is nested too deeply."""


def check_depth(data: bytes, most: int = MAX_DEPTH) -> None:
    """Raise a JSONDepthError when arrays and objects are nested deeper than ``most``.

    Brackets in strings do not count. The time is linear in the size, and much shorter than that
    of decoding.
    """
    if data.count(b"[") + data.count(b"{") <= most:
        return
    brackets = _STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > most:
        raise JSONDepthError(f"the JSON is nested deeper than {most} levels")


def decode(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Decode JSON in UTF-8.

    Raises:
        JSONDepthError: The JSON is nested deeper than ``max_depth``.
        ValueError: ``data`` is not JSON.
    """
    check_depth(data, max_depth)
    try:
        # Decode first: from bytes, json could detect UTF-16, for which the depth was not checked.
        return json.loads(data.removeprefix(BOM_UTF8).decode())
    except RecursionError:  # max_depth is greater than Python's own limit
        raise JSONDepthError("the JSON is nested deeper than Python can read") from None
