"""Errors of aiohttp as ours."""

import os

import aiohttp
from yarl import URL

from ..._formatting import redacted
from ._addresses import HTTPRequestError
from .messages import HTTPConnectionError, HTTPError, HTTPTimeoutError, Request


def translated(
    error: aiohttp.ClientError, request: Request, url: URL, answering: bool
) -> HTTPError | HTTPRequestError:
    """Return our error for one of aiohttp's, without the requested address and its key."""
    asked = request.asking(url)
    if isinstance(error, aiohttp.InvalidURL):
        return HTTPRequestError(f"{asked} cannot be requested: its host is invalid")
    unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    again = request.may_be_repeated or unsent
    if isinstance(error, TimeoutError):
        step = "no connection in time" if unsent else "the answer stopped"
        return HTTPTimeoutError(f"{asked}: {step}", again)
    what = redacted(_reason(error)) or type(error).__name__
    if isinstance(error, aiohttp.ClientSSLError):
        return HTTPConnectionError(f"{asked}: {what}")
    step = "the answer was interrupted: " if answering else ""
    return HTTPConnectionError(f"{asked}: {step}{what}", again)


def _reason(error: aiohttp.ClientError) -> str:
    """Return the text of one of aiohttp's errors, in the system's words if it has none."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
        error, aiohttp.ClientSSLError
    ):
        cause, code = error.os_error, error.os_error.errno or 0  # below 0: from the name service
        return f"no connection: {os.strerror(code) if code > 0 else cause.strerror or cause}"
    return str(error)
