"""Trace attributes of a request to a language model: OpenTelemetry's ``gen_ai.*`` conventions."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from yarl import URL

from ...run.spans import Attribute
from ..http.messages import Request
from ._completion import ChatReply

OPERATION = "chat"

# Fields of the request, and their names in the conventions.
FIELDS = {
    "model": "gen_ai.request.model",
    "temperature": "gen_ai.request.temperature",
    "max_tokens": "gen_ai.request.max_tokens",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "stream": "gen_ai.request.stream",
}


def asked(request: Request) -> dict[str, Attribute]:
    """Return what is known about a request before it is made; none of its content."""
    body: Mapping[str, Any] = request.json if isinstance(request.json, Mapping) else {}
    known: dict[str, Attribute] = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": "openai",  # the protocol, by the conventions
        "gen_ai.output.type": "json" if "response_format" in body else "text",
    }
    with suppress(ValueError):
        address = URL(request.url)
        if address.host is not None and address.port is not None:
            known |= {"server.address": address.host, "server.port": address.port}
    for field, name in FIELDS.items():
        if isinstance(value := body.get(field), str | int | float):
            known[name] = value
    stop = body.get("stop")
    if isinstance(stop, str):
        stop = [stop]
    if isinstance(stop, list | tuple) and all(isinstance(one, str) for one in stop):
        known["gen_ai.request.stop_sequences"] = list(stop)
    return known


def name_of(attributes: Mapping[str, Attribute]) -> str:
    """Return the name of the span of a request."""
    model = attributes.get(FIELDS["model"])
    return OPERATION if model is None else f"{OPERATION} {model}"


def answered(reply: ChatReply) -> dict[str, Attribute]:
    """Return what is known about an answer."""
    known: dict[str, Attribute] = {}
    if reply.model is not None:
        known["gen_ai.response.model"] = reply.model
    if reply.finish_reason is not None:
        known["gen_ai.response.finish_reasons"] = [reply.finish_reason]
    for name, kind in ("prompt_tokens", "input"), ("completion_tokens", "output"):
        if name in reply.usage:
            known[f"gen_ai.usage.{kind}_tokens"] = reply.usage[name]
    return known
