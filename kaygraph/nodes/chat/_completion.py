"""The protocol of ``/v1/chat/completions``: requests, answers, and their errors."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._validation import check_count
from ...errors import closest
from .._quoted import quoted
from ..http._addresses import HTTPRequestError
from ..http.messages import HTTPError, passes

CALLS = frozenset({"tool_calls", "function_call"})  # unsupported

# Names of transient errors; one may occur in the type, the code or the text of an error.
PASSING = (
    "overload", "unavailable", "rate_limit", "rate limit", "timeout", "timed out", "capacity",
    "server_error", "servererror", "server error", "api_error", "try again",
)  # fmt: skip
# Names of permanent errors, even with status 429.
FINAL = frozenset({"insufficient_quota", "billing_hard_limit_reached"})

SHOWN = 300  # characters of a server's or model's text in an error


class ChatFormatError(HTTPError):
    """An answer is not a chat completion, or does not fit the schema; a retry may help."""

    def __init__(self, message: str, repeatable: bool = True) -> None:
        super().__init__(message, repeatable)


class ChatRefusedError(HTTPError):
    """The model refused to answer, or a filter withheld its answer. It is not retried."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The answer of a model.

    Attributes:
        text: The answer.
        data: With a schema: the value of the answer's JSON, which fits the schema.
        finish_reason: ``"stop"``: the answer is complete. ``"length"``: it was cut off at
            ``max_tokens``, or at the model's limit. None if the server does not say.
        model: The model that answered, according to the server.
        usage: Tokens, as counted by the server: ``prompt_tokens``, ``completion_tokens``,
            ``total_tokens``; empty if it does not say.
    """

    text: str
    data: Any = None
    finish_reason: str | None = None
    model: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


def check_temperature(name: str, value: Any) -> Any:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2
    ):
        raise ValueError(f"{name} must be a number from 0 to 2, got {value!r}")
    return value


def check_tokens(name: str, value: Any) -> Any:
    return None if value is None else check_count(name, value)


# What a prompt may set in addition to its messages.
PROMPT_CHECKS = {"temperature": check_temperature, "max_tokens": check_tokens}
PROMPT_FIELDS = ("messages", *PROMPT_CHECKS)


def prompt_of(item: Any) -> dict[str, Any]:
    """Return an item as ``{"messages": […]}``, possibly with ``temperature`` and ``max_tokens``.

    Raises:
        HTTPRequestError: It is not a prompt.
        ValueError: A setting in addition to its messages is invalid.
    """
    if isinstance(item, ChatReply):  # from the previous stage
        item = item.text
    if isinstance(item, str):
        return {"messages": [{"role": "user", "content": item}]}
    prompt = dict(item) if isinstance(item, Mapping) else {"messages": item}
    for name, value in prompt.items():
        if name in PROMPT_CHECKS:
            PROMPT_CHECKS[name](name, value)
        elif name not in PROMPT_FIELDS:
            raise HTTPRequestError(
                f"a prompt has no {name!r}; it has: {', '.join(PROMPT_FIELDS)}."
                f"{closest(name, PROMPT_FIELDS)}"
            )
    messages = prompt.get("messages")
    if (
        not isinstance(messages, list | tuple)
        or not messages
        or not all(map(_is_message, messages))
    ):
        raise HTTPRequestError(
            "a prompt must be a text, messages such as [{'role': 'user', 'content': 'Hello'}], "
            f"or {{'messages': […]}}; got {item!r:.100}"
        )
    return prompt


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and isinstance(message.get("role"), str)


def tokens_of(item: Any, *, system: str = "", max_tokens: int = 0) -> int:
    """Return about how many tokens a prompt costs: the ``weight`` of a RateLimit.

    A token is estimated as four bytes of UTF-8; pictures are not counted. The answer's limit is
    added: the item's own ``max_tokens``, or else the one given here.
    ``RateLimit(90_000, per=60, weight=partial(tokens_of, max_tokens=500))`` sets it for a node.

    Args:
        item: A prompt for a ChatNode.
        system: The node's ``system``.
        max_tokens: The node's ``max_tokens``.

    Raises:
        HTTPRequestError: The item is not a prompt.
    """
    prompt = prompt_of(item)
    texts = [system, *(text for one in prompt["messages"] for text in _texts(one.get("content")))]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    own = prompt.get("max_tokens")
    return -(-size // 4) + (max_tokens if own is None else own)


def _texts(content: Any) -> Sequence[str]:
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, list | tuple) else ()
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return [text for text in texts if isinstance(text, str)]


class Completion:
    """An answer that is being assembled: from one object, or from those of a stream.

    Args:
        secrets: What errors must not show, even if the server repeats it.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = secrets
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._chosen = self._has_text = False
        self._index: Any = None  # of the choice with the answer
        self.finish_reason: str | None = None
        self._model: str | None = None
        self._usage: dict[str, int] = {}

    def add(self, message: Any) -> str:
        """Add an object and return the text that it adds.

        Raises:
            ChatFormatError: It does not follow the protocol, or reports an error.
        """
        if error_of(message):
            why = complaint_of(message, self._secrets)
            raise ChatFormatError(f"the answer reports an error: {why!r}", is_passing(message))
        choices = message.get("choices") if isinstance(message, dict) else 0
        if not isinstance(choices, list | None):
            raise ChatFormatError(f"the answer is not a chat completion: {self._shown(message)}")
        if isinstance(message.get("model"), str):
            self._model = message["model"] or self._model
        if isinstance(message.get("usage"), dict):
            usage = message["usage"].items()
            self._usage = {name: number for name, number in usage if type(number) is int}
        # A stream also has objects without choices, for example the one with the usage.
        return "".join([self._choice(choice) for choice in self._first(choices)] if choices else ())

    def _first(self, choices: Sequence[Any]) -> Sequence[Any]:
        """Return the choice with the answer, if there is one: only one was requested."""
        for choice in choices:
            if not isinstance(choice, dict):
                raise ChatFormatError(f"the answer contains no message: {self._shown(choice)}")
        if not self._chosen:
            ours = next((one for one in choices if one.get("index") in (0, None)), choices[0])
            self._index = ours.get("index")
            return (ours,)
        known = (self._index, None)  # servers start counting where they like
        return [one for one in choices if one.get("index") in known or self._index is None][:1]

    def _choice(self, choice: Mapping[str, Any]) -> str:
        self._chosen = True
        if isinstance(why := choice.get("finish_reason"), str) and why not in ("", "null"):
            self.finish_reason = why
        message = choice.get("message")  # the whole, or a piece of a stream
        message = choice.get("delta") if message is None else message
        if message is None:
            return ""  # other data: the finish reason, or the results of a filter
        text = _text(message.get("content")) if isinstance(message, dict) else False
        if not isinstance(text, str | None):
            raise ChatFormatError(f"the answer contains no message: {self._shown(message)}")
        self._has_text = self._has_text or text is not None
        self._texts.append(text or "")
        if isinstance(message.get("refusal"), str):
            self._refusals.append(message["refusal"])
        return text or ""

    def _shown(self, message: Any) -> str:
        return quoted(repr(message), self._secrets)[:100]

    def reply(self) -> ChatReply:
        """Return the whole answer.

        Raises:
            ChatFormatError: There is no answer.
            ChatRefusedError: The answer is a refusal.
        """
        if not self._chosen:
            raise ChatFormatError("the answer contains no choices")
        if refusal := "".join(self._refusals):
            raise ChatRefusedError(f"the model refused: {refusal[:SHOWN]!r}")
        if self.finish_reason == "content_filter":
            raise ChatRefusedError("a filter withheld the answer: finish_reason 'content_filter'")
        if not self._has_text and self.finish_reason != "length":
            text = f"the answer contains no text: finish_reason {self.finish_reason!r}"
            raise ChatFormatError(text, self.finish_reason not in CALLS)
        text = _whole("".join(self._texts))
        return ChatReply(text, None, self.finish_reason, self._model, self._usage)


def _text(content: Any) -> Any:
    """Return the text of a message; some servers send it in parts, along with the reasoning."""
    if not isinstance(content, list):
        return content
    if not all(isinstance(part, dict) for part in content):
        return False
    return "".join(_texts([part for part in content if part.get("type", "text") == "text"]))


def error_of(message: Any) -> Any:
    """Return the error in an answer, or None; some servers send it without a wrapper."""
    message = _only(message)
    if not isinstance(message, dict):
        return None
    bare = "error" in (message.get("object"), message.get("type"))
    return message.get("error") or (message if bare else None)


def is_passing(message: Any) -> bool:
    """Return whether an error in an answer with status 200 may be gone at the next attempt.

    Unless its status, type or text says so, it is not retried: each request costs.
    """
    if is_final(message):
        return False
    error = error_of(message)
    known = [one for one in (_only(message), error) if isinstance(one, dict)]
    for name in ("code", "status", "status_code"):
        for one in known:
            text = str(one.get(name))
            if re.fullmatch("[1-5][0-9][0-9]", text):
                return passes(int(text))
    texts = [str(one.get(name, "")) for one in known for name in ("type", "code", "error_type")]
    texts += [complaint_of(message)]
    return any(word in text.lower() for word in PASSING for text in texts)


def is_final(data: Any) -> bool:
    """Return whether an answer says that retrying is pointless."""
    error = error_of(data)
    return isinstance(error, dict) and not FINAL.isdisjoint(
        {str(error.get("code")), str(error.get("type"))}
    )


def _whole(text: str) -> str:
    """Join the two halves of a character that arrived in two pieces."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _only(data: Any) -> Any:
    """Return the element of a list of one: some servers wrap their errors in it."""
    return data[0] if isinstance(data, list) and len(data) == 1 else data


def complaint_of(data: Any, secrets: Sequence[str] = ()) -> str:
    """Return the reason in an unsuccessful answer; servers use different forms."""
    data = _only(data)
    if isinstance(data, dict):
        data = data.get("error") or data
    if isinstance(data, dict):
        data = data.get("message") or data.get("detail") or data
    return quoted(str(data or ""), secrets)[:SHOWN]
