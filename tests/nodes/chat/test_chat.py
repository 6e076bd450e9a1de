"""Nodes that ask a language model, against a server that speaks the protocol."""

import asyncio
import json
import pickle
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import Graph, Node, Outcome, RateLimit, RunReport
from kaygraph.events import ItemRetried, Said
from kaygraph.nodes import (
    APIKey,
    Bearer,
    ChatFormatError,
    ChatNode,
    ChatRefusedError,
    ChatReply,
    HTTPConnectionError,
    HTTPRequestError,
    HTTPStatusError,
    HTTPTimeoutError,
    ParallelChatNode,
    tokens_of,
)
from kaygraph.nodes.chat._schema import check_schema, fitting
from kaygraph.nodes.http.asking import PATIENT
from kaygraph.nodes.types import Auth
from kaygraph.testing import capture_events, simulate
from tests.calls import Calls
from tests.chat_server import USAGE, Answer, ChatServer, Fails, Says, Sends, Waits
from tests.servers import saying, serving, speaking

pytestmark = pytest.mark.anyio

QUICK = replace(PATIENT, wait=0.0)
AGAIN = Fails(429, "slow down", {"Retry-After": "0"})
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
KEY = "sk-5ecret-0123456789"


class Keeps(ChatNode):
    """A ChatNode that keeps the whole reply in addition to what it writes."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        shared["reply"] = exec_res
        return super().post(shared, prep_res, exec_res)


async def asked(
    *answers: Answer,
    item: Any = "Hello",
    kind: Any = Keeps,
    key: str | None = None,
    **settings: Any,
) -> tuple[dict[str, Any], ChatServer]:
    """Ask a server that answers so, and return the store and the server."""
    shared: dict[str, Any] = {"prompt": item}
    async with ChatServer(*answers, key=key) as server:
        arguments = {"retry": QUICK, "reads": "prompt", "writes": "answer", **settings}
        await Graph(kind(server.url, "tiny", **arguments)).run_async(shared)
    return shared, server


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_is_written_with_its_figures(streaming: bool) -> None:
    """The text goes to the store; the reply says how it ended, who answered, what it cost."""
    shared, server = await asked(Says("Bonjour à tous, 你好!"), streaming=streaming)
    assert shared["answer"] == "Bonjour à tous, 你好!"
    assert shared["reply"] == ChatReply("Bonjour à tous, 你好!", None, "stop", "tiny", USAGE)
    (body,) = server.bodies
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert body.get("stream", False) is streaming
    assert body.keys() <= {"model", "messages", "stream", "stream_options"}


async def test_settings_are_sent_in_the_protocols_words() -> None:
    """The node's settings are in each request, except those that are None."""
    _, server = await asked(
        Says("ok"),
        system="Be brief.",
        temperature=0.5,
        max_tokens=20,
        options={"top_p": 0.9, "stop": None},
        headers={"X-Team": "a"},
    )
    assert server.bodies == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
            ],
            "temperature": 0.5,
            "max_tokens": 20,
            "top_p": 0.9,
        }
    ]
    assert server.headers[0]["x-team"] == "a"


async def test_a_prompt_may_hold_messages_and_say_more_than_its_node() -> None:
    """A list of messages is sent as it is, and a mapping may have figures of its own."""
    talk = [
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
    ]
    _, server = await asked(Says("ok"), item=talk)
    assert server.bodies[0]["messages"] == talk
    _, server = await asked(
        Says("ok"), item={"messages": talk, "max_tokens": 7}, max_tokens=20, temperature=0
    )
    assert (server.bodies[0]["max_tokens"], server.bodies[0]["temperature"]) == (7, 0)


async def test_a_prompt_is_left_as_it_is() -> None:
    """The system message is not added to it, and is in each attempt once."""
    prompt = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 7}
    _, server = await asked(AGAIN, Says("ok"), item=prompt, system="Be brief.")
    assert prompt == {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 7}
    assert [len(body["messages"]) for body in server.bodies] == [2, 2]


async def test_of_what_an_answer_holds_more_nothing_is_mixed_in() -> None:
    """The first choice is the answer; figures are numbers; an empty reason is None."""
    two = [{"message": {"content": text}, "finish_reason": "stop"} for text in ("one", "two")]
    usage = {"prompt_tokens": 9, "details": {"cached": 3}, "exact": True}
    shared, _ = await asked(Sends(json.dumps({"choices": two, "usage": usage})))
    assert shared["reply"] == ChatReply("one", finish_reason="stop", usage={"prompt_tokens": 9})
    pieces = [{"delta": {"content": "one"}, "finish_reason": why} for why in ("stop", "")]
    body = "".join(f"data: {json.dumps({'choices': [piece]})}\n\n" for piece in pieces)
    shared, _ = await asked(Sends(body, "text/event-stream"), streaming=True)
    assert shared["reply"] == ChatReply("oneone", finish_reason="stop")


async def test_an_answer_cut_before_its_first_word_is_a_reply() -> None:
    """Models that think first may have used up max_tokens."""
    shared, server = await asked(Says(None, finish_reason="length"))
    assert shared["reply"] == ChatReply("", None, "length", "tiny", USAGE)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (None, "a prompt must be a text, messages such as"),
        ([], "a prompt must be a text"),
        ([{"content": "no role"}], "a prompt must be a text"),
        (["Hello"], "a prompt must be a text"),
        ({"message": []}, "Did you mean 'messages'?"),
        ({"messages": [{"role": "user"}], "tools": []}, "a prompt has no 'tools'"),
        ({"messages": [{"role": "user"}], "max_tokens": 0}, "max_tokens must be at least 1"),
    ],
)
async def test_what_is_no_prompt_is_refused_before_anything_is_asked(item: Any, words: str) -> None:
    """Nothing goes out, and there is no second attempt."""
    async with ChatServer(Says("ok")) as server:
        node = ChatNode(server.url, "tiny", reads="prompt")
        with pytest.raises(ValueError, match=r"prompt|max_tokens") as caught:
            await Graph(node).run_async({"prompt": item})
        assert words in str(caught.value)
        assert server.bodies == []


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_schema_is_sent_and_the_data_is_written(streaming: bool) -> None:
    """The request holds the schema, and the store what the JSON says."""
    shared, server = await asked(
        Says('{"name": "Ada", "age": 36}'), schema=PERSON, schema_name="person", streaming=streaming
    )
    assert shared["answer"] == {"name": "Ada", "age": 36}
    assert shared["reply"].text == '{"name": "Ada", "age": 36}'
    assert server.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "person", "strict": True, "schema": PERSON},
    }


@pytest.mark.parametrize(
    "wrong",
    [
        "Ada is 36.",
        '{"name": "Ada"}',
        '{"name": "Ada", "age": "36"}',
        '{"name": "Ada", "age": 36, "more": 1}',
        '```json\n{"name": "Ada", "age": 36}\n```',
        "[" * 200 + "]" * 200,
        "",
    ],
)
async def test_an_answer_that_does_not_fit_is_asked_for_again(wrong: str) -> None:
    """A wrong answer is an error, which another attempt mends, and never a result."""
    right = '{"name": "Ada", "age": 36}'
    shared, server = await asked(Says(wrong), Says(right), schema=PERSON)
    assert shared["answer"] == {"name": "Ada", "age": 36}
    assert len(server.bodies) == 2
    with pytest.raises(ChatFormatError):
        await asked(Says(wrong), schema=PERSON)


async def test_the_depth_of_data_is_that_of_the_node() -> None:
    """It counts for what the model writes as for the answer around it."""
    schema, deep = {"type": "array"}, "[[[[[[]]]]]]"
    assert (await asked(Says(deep), schema=schema, max_depth=6))[0]["answer"] == [[[[[[]]]]]]
    with pytest.raises(ChatFormatError, match="deeper than 5 levels"):
        await asked(Says(deep), schema=schema, max_depth=5)


CENTS = {"type": "number", "multipleOf": 0.01}


@pytest.mark.parametrize("draft", [None, "2020-12/schema", "draft-07/schema#", "draft-04/schema#"])
def test_every_price_is_a_multiple_of_a_cent(draft: str | None) -> None:
    """Numbers are compared as they are written, and not as floats hold them; those come back."""
    schema: dict[str, Any] = dict(CENTS)
    if draft is not None:
        host = "https" if draft[0] == "2" else "http"
        schema["$schema"] = f"{host}://json-schema.org/{'draft/' if draft[0] == '2' else ''}{draft}"
    for cents in range(0, 100_000, 7):
        text = f"{cents // 100}.{cents % 100:02}"
        price = fitting(text, schema, 10)
        assert type(price) is float
        assert price == float(text)


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        (CENTS, ["19.99", "-0.07", "1e2", "0", "0.0", "1E+300", "12345678901234567.89", "3"],
         ["19.995", "1e-3", "1e-300", "1e999"]),
        ({"multipleOf": 0.1}, ["0.3", "1e22", "0.7", "1" + "0" * 400], ["0.35"]),
        ({"multipleOf": 1e-300}, ["1e300", "0.1"], ["5e-324"]),
        ({"multipleOf": 3}, ["9", "9.0", "0"], ["10", "9.5", "1e999"]),
        ({"multipleOf": 0.01, "minimum": 0.1, "maximum": 0.3}, ["0.1", "0.10", "0.3"],
         ["0.09", "0.31"]),
        ({"enum": [19.99, 1]}, ["19.99", "19.990", "1", "1.0"], ["19.98", "true"]),
        ({"const": 0.1}, ["0.1", "1e-1"], ["0.11", '"0.1"']),
        ({"type": "integer"}, ["1", "1.0"], ["1.5", "true"]),
        ({"multipleOf": 0.01}, ['"text"', "true", "null"], []),
        ({"uniqueItems": True}, ["[1, 2]"], ["[1, 1.0]", "[0.1, 0.10]"]),
        ({"$ref": "#/$defs/price", "$defs": {"price": CENTS}}, ["0.07"], ["0.071"]),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", "multipleOf": 0.01,
          "items": {"$ref": "#"}}, ["[0.07, [0.29]]"], ["[0.07, [0.295]]"]),
        ({"properties": {"$schema": {"multipleOf": 0.01}}}, ['{"$schema": 0.29}'],
         ['{"$schema": 0.295}']),
    ],
)  # fmt: skip
def test_numbers_fit_as_they_are_written(schema: Any, fits: list[str], fails: list[str]) -> None:
    """Whatever keyword compares them, and wherever it is in the schema."""
    assert check_schema("schema", schema) == schema
    for text in fits:
        assert fitting(text, schema, 10) == json.loads(text)
    for text in fails:
        with pytest.raises(ChatFormatError, match="does not fit the schema"):
            fitting(text, schema, 10)


async def test_a_number_that_does_not_fit_is_reported_as_it_was_written() -> None:
    """And asked for again."""
    with pytest.raises(ChatFormatError, match=r"at \$: 19\.995 is not a multiple of 0\.01"):
        await asked(Says("19.995"), schema=CENTS)
    shared, server = await asked(Says("19.99"), schema=CENTS)
    assert (shared["answer"], len(server.bodies)) == (19.99, 1)


async def test_the_place_that_does_not_fit_is_named() -> None:
    """The error says where in the JSON, and what was expected there."""
    with pytest.raises(ChatFormatError, match=r"at \$\.age: '36' is not of type 'integer'"):
        await asked(Says('{"name": "Ada", "age": "36"}'), schema=PERSON)


@pytest.mark.parametrize("ref", ["#/$defs/person", "#person"])
async def test_a_schema_that_refers_to_nothing_is_reported(ref: str) -> None:
    """In the words of this library, and without a second question."""
    async with ChatServer(Says("{}")) as server:
        node = ChatNode(server.url, "tiny", schema={"$ref": ref}, reads="prompt")
        with pytest.raises(ValueError, match=r"schema refers to something outside of it: .*person"):
            await Graph(node).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 1


async def test_an_answer_that_is_too_deep_to_be_checked_is_reported() -> None:
    """A schema that refers to itself follows the answer down."""
    with pytest.raises(ChatFormatError, match="nested too deeply for Python"):
        await asked(Says("{}"), schema={"$ref": "#"})


async def test_a_schema_fetches_nothing() -> None:
    """References are resolved within the schema; an address in it is not requested."""
    async with ChatServer(Says("{}")) as server:
        schema = {"$ref": f"{server.url}/schema.json"}
        node = ChatNode(server.url, "tiny", schema=schema, reads="prompt")
        with pytest.raises(ValueError, match=r"outside of it: .*schema\.json"):
            await Graph(node).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 1


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        Says(None, refusal="I will not do that."),
        Says("I was about", finish_reason="content_filter"),
    ],
)
async def test_a_refusal_is_an_error_and_not_asked_again(answer: Says, streaming: bool) -> None:
    """Asking again would change nothing; neither is half an answer passed on."""
    async with ChatServer(answer) as server:
        node = ChatNode(server.url, "tiny", retry=QUICK, streaming=streaming, reads="prompt")
        with pytest.raises(ChatRefusedError, match=r"I will not|content_filter"):
            await Graph(node).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 1


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_cut_answer_says_so(streaming: bool) -> None:
    """Text that ended at max_tokens is a reply, with its reason; JSON that did is an error."""
    shared, _ = await asked(Says("Once upon", finish_reason="length"), streaming=streaming)
    assert (shared["answer"], shared["reply"].finish_reason) == ("Once upon", "length")
    async with ChatServer(Says('{"name": "A', finish_reason="length")) as server:
        node = ChatNode(
            server.url, "tiny", schema=PERSON, retry=QUICK, streaming=streaming, reads="prompt"
        )
        with pytest.raises(ChatFormatError, match="raise max_tokens"):
            await Graph(node).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "JSON that cannot be read"),
        ("[1]", "not a chat completion"),
        ('{"choices": 3}', "not a chat completion"),
        ('{"choices": []}', "no choices"),
        ('{"choices": [7]}', "no message"),
        ('{"choices": [{"message": "Hello"}]}', "no message"),
        ('{"choices": [{"message": {"content": [1]}}]}', "no message"),
        ('{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}', "no text"),
        ('{"error": {"message": "overloaded"}}', "reports an error: 'overloaded'"),
        ('{"choices": ' + "[" * 200 + "]" * 200 + "}", "deeper than 100"),
    ],
)
async def test_what_is_no_completion_is_asked_for_again(body: str, words: str) -> None:
    """It is one clear error when it stays so, and no matter when the next is one."""
    with pytest.raises(ChatFormatError, match=words):
        await asked(Sends(body))
    shared, server = await asked(Sends(body), Sends(body), Says("ok"))
    assert shared["answer"] == "ok"
    assert len(server.bodies) == 3


async def test_a_web_page_is_no_completion() -> None:
    """An address that is not that of an API is an error."""
    with pytest.raises(ChatFormatError, match="not a chat completion: '<html>"):
        await asked(Sends("<html>Welcome</html>", "text/html"))


@pytest.mark.parametrize("streaming", [False, True])
async def test_refusals_for_now_are_tried_again(streaming: bool) -> None:
    """429 and a status from 500 are followed by another attempt, as Retry-After says."""
    with capture_events() as seen:
        shared, server = await asked(
            AGAIN, Fails(500), Fails(503, headers={"Retry-After": "0"}), Says("ok"),
            streaming=streaming, retry=PATIENT,
        )  # fmt: skip
    assert shared["answer"] == "ok"
    assert len(server.bodies) == 4
    waits = [event.wait_s for event in seen if isinstance(event, ItemRetried)]
    assert waits[0] <= 0.025
    assert waits[2] <= 0.1


async def test_retry_after_is_waited_for() -> None:
    """A server that asks for a second is given a second."""
    with capture_events() as seen:
        await asked(Fails(429, headers={"Retry-After": "1"}), Says("ok"), retry=PATIENT)
    (wait,) = [event.wait_s for event in seen if isinstance(event, ItemRetried)]
    assert 1.0 <= wait < 1.1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("streaming", [False, True])
async def test_other_refusals_are_not_tried_again(status: int, streaming: bool) -> None:
    """One request, and one error with the server's own words."""
    async with ChatServer(Fails(status, "no such model: tiny")) as server:
        node = ChatNode(server.url, "tiny", streaming=streaming, reads="prompt")
        with pytest.raises(HTTPStatusError, match="no such model: tiny") as caught:
            await Graph(node).run_async({"prompt": "Hello"})
        assert caught.value.status == status
        assert f"answered {status}" in str(caught.value)
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": "model not loaded"}', "'model not loaded'"),
        ('{"detail": "Not Found"}', "'Not Found'"),
        ('{"message": "bad\\nthing"}', r"'bad\nthing'"),
        ('{"detail": [{"msg": "Field required"}]}', """\"[{'msg': 'Field required'}]\""""),
        ('{"error": {"code": 5}}', "\"{'code': 5}\""),
        ('[{"error": {"code": 404, "message": "no such model"}}]', "'no such model'"),
        ("[]", "''"),
    ],
)
async def test_the_reason_is_found_in_whatever_form_it_comes(body: str, words: str) -> None:
    """Servers differ; what is shown is one line."""

    class Odd(ChatServer):
        async def _answer(self, request: Any) -> Any:
            response = await super()._answer(request)
            response.set_status(404)
            return response

    async with Odd(Sends(body)) as server:
        with pytest.raises(HTTPStatusError) as caught:
            await Graph(ChatNode(server.url, "tiny", reads="p")).run_async({"p": "Hello"})
        assert str(caught.value).endswith(f"answered 404: {words}")


async def test_the_key_is_sent_and_shown_nowhere() -> None:
    """The server gets it; errors, their parts, events and reprs do not, though it is repeated."""
    shared, server = await asked(Says("ok"), key=KEY, auth=Bearer(KEY))
    assert shared["answer"] == "ok"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    for auth in (Bearer(KEY), APIKey(KEY, header="api-key")):
        async with ChatServer(Says("ok"), key="another") as server:
            node = ChatNode(server.url, "tiny", auth=auth, reads="prompt")
            with (
                capture_events() as seen,
                pytest.raises(HTTPStatusError, match="Incorrect API key") as caught,
            ):
                await Graph(node).run_async({"prompt": "Hello"})
        error = caught.value
        shown = f"{error}{error!r}{error.result}{node!r}{node.auth!r}{seen}{error.__notes__}"
        assert KEY not in shown
        assert "***" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "the key %s is worn out"}}',
        '{"choices": 3, "said": "%s"}',
        '["%s"]',
        '{"choices": [{"message": ["%s"]}]}',
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_the_key_is_not_shown_where_an_answer_makes_no_sense(
    body: str, content_type: str
) -> None:
    """The status is 200, and the error contains what the server repeats."""
    text = body % KEY
    sent = f"data: {text}\n\n" if content_type == "text/event-stream" else text
    with pytest.raises(ChatFormatError, match=r"\*\*\*") as caught:
        await asked(Sends(sent, content_type), auth=Bearer(KEY))
    assert KEY not in f"{caught.value}{caught.value!r}"


async def test_an_auth_of_ones_own_keeps_the_servers_reason() -> None:
    """It need not be a dataclass."""

    class Signed(Auth):
        async def added(self, headers: Any, url: Any, tokens: Any, post: Any) -> Any:
            return {**headers, "x-signature": "4711"}, url

    with pytest.raises(HTTPStatusError, match="answered 403: 'not yours'"):
        await asked(Fails(403, "not yours"), auth=Signed())


async def test_a_stream_is_received_as_it_comes() -> None:
    """The first piece arrives while the server is still writing the others."""
    hold = asyncio.Event()
    pieces: list[str] = []

    class Listens(ChatNode):
        async def receive(self, item: Any, text: str, /) -> None:
            assert item == "Hello"
            pieces.append(text)
            hold.set()  # the server continues when we have received it

    shared, _ = await asked(Says("one two three", hold=hold), kind=Listens, streaming=True)
    assert pieces == ["one", " two", " three"]
    assert shared["answer"] == "one two three"


async def test_what_is_streamed_is_sent_to_observers_as_it_arrives() -> None:
    """To the observers of the run, piece by piece; what is not streamed is not sent to them."""
    hold, pieces = asyncio.Event(), list[str]()

    def observer(event: Any, /) -> None:
        if isinstance(event, Said):
            pieces.append(event.value)
            hold.set()

    text = "Bonjour à tous, 你好!"
    for streaming, expected in (False, ""), (True, text):
        async with ChatServer(Says(text, hold=hold)) as server:
            shared: dict[str, Any] = {"question": "Hello?"}
            node = ChatNode(server.url, "phi", reads="question", writes="a", streaming=streaming)
            await Graph(node).run_async(shared, observers=[observer])
        assert shared["a"] == text
        assert "".join(pieces) == expected
    assert len(pieces) == 4


async def test_what_is_not_streamed_is_received_at_once() -> None:
    """A listener need not know how the answer comes."""
    pieces: list[str] = []

    class Listens(ChatNode):
        def receive(self, item: Any, text: str, /) -> None:
            pieces.append(text)

    await asked(Says("one two three"), kind=Listens)
    assert pieces == ["one two three"]


@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_a_stream_that_breaks_off_begins_anew(pieces: int) -> None:
    """Nothing is lost or doubled in the text; the receiver knows about the new attempt."""
    by_attempt: dict[int, list[str]] = {}

    class Listens(ChatNode):
        def receive(self, item: Any, text: str, /) -> None:
            by_attempt.setdefault(self.attempt, []).append(text)

    shared, server = await asked(
        Says("one two three", breaks_off_after=pieces), Says("one two three"),
        kind=Listens, streaming=True,
    )  # fmt: skip
    assert shared["answer"] == "one two three"
    assert "".join(by_attempt[2]) == "one two three"
    assert "".join(by_attempt.get(1, [])) == "one two three"[: (0, 3, 7)[pieces]]
    assert len(server.bodies) == 2


@pytest.mark.parametrize("streaming", [False, True])
async def test_connections_that_are_lost_for_good_are_an_error(streaming: bool) -> None:
    """After all attempts the loss is an error."""
    async with ChatServer(Says("one two", breaks_off_after=1)) as server:
        node = ChatNode(server.url, "tiny", retry=QUICK, streaming=streaming, reads="prompt")
        with pytest.raises(HTTPConnectionError):
            await Graph(node).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 4


@pytest.mark.parametrize(
    ("finish_reason", "done", "whole"),
    [("stop", True, True), ("stop", False, True), (None, True, True), (None, False, False)],
)
async def test_a_stream_ends_with_a_word(
    finish_reason: str | None, done: bool, whole: bool
) -> None:
    """[DONE] or a finish_reason makes it whole; one that merely stops has broken off."""
    answer = Says("one two", finish_reason=finish_reason, done=done)
    shared, server = await asked(answer, Says("again"), streaming=True)
    assert shared["answer"] == ("one two" if whole else "again")
    assert shared["reply"].finish_reason == (finish_reason if whole else "stop")
    assert len(server.bodies) == (1 if whole else 2)


async def test_what_follows_the_end_of_a_stream_is_not_waited_for() -> None:
    """[DONE] is the end, and nothing that read the stream is left for others to close."""
    left: list[Any] = []
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=left.append)
    try:
        body = 'data: {"choices": [{"delta": {"content": "ok"}}]}\n\ndata: [DONE]\n\ndata: {\n\n'
        shared, server = await asked(Sends(body, "text/event-stream"), streaming=True)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    assert shared["answer"] == "ok"
    assert len(server.bodies) == 1
    assert left == []


@pytest.mark.parametrize(
    "event", ['{"error": {"message": "out of memory"}}', "{", '{"choices": [3]}', "[1]"]
)
async def test_an_error_in_a_stream_is_one(event: str) -> None:
    """What goes wrong after a status of 200 is asked for again as well."""
    with pytest.raises(ChatFormatError):
        await asked(Sends(f"data: {event}\n\n", "text/event-stream"), streaming=True)


def chunk(content: Any = None, **more: Any) -> dict[str, Any]:
    """Return an object of a stream, with a piece of text."""
    return {"choices": [{"index": 0, "delta": {"content": content}, **more}]}


def streamed(*data: Any, end: str = "\n\n") -> Sends:
    """Return a stream of these objects, or texts."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in data]
    return Sends("".join(f"data: {text}{end}" for text in texts), "text/event-stream")


@pytest.mark.parametrize(
    "nothing",
    [
        # Azure's asynchronous filter, in every answer
        {"id": "", "choices": [{"index": 0, "finish_reason": None, "content_filter_results": {},
                                "content_filter_offsets": {"check_offset": 44}}]},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": [{"finish_reason": None}]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": {}}]},
        {"choices": [{"index": 0, "delta": {"role": "assistant"}}]},
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"index": 0, "delta": {"content": ""}, "logprobs": None}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "hm", "content": None}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "1"}]}}]},
        {"choices": [{"index": 0, "delta": {"refusal": None, "content": ""}}]},
        {"choices": None, "usage": {"total_tokens": 12}},
        {"usage": None},
        {},
        "",
        " ",
        "null",
        '{"choices": []}\n\n: keep-alive',
    ],
)  # fmt: skip
async def test_what_adds_nothing_adds_nothing(nothing: Any) -> None:
    """Wherever it is in a stream, one question has one answer."""
    stop = {"choices": [{"finish_reason": "stop"}]}
    events = (nothing, chunk("Col"), nothing, chunk("or"), nothing, stop, nothing, "[DONE]")
    shared, server = await asked(streamed(*events), streaming=True)
    assert (shared["answer"], shared["reply"].finish_reason) == ("Color", "stop")
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("ours", "others"), [(0, [1, 2]), (1, [0, 2]), ("0", ["1"]), (None, []), (0, [])]
)
async def test_of_several_answers_the_first_is_taken(ours: Any, others: list[Any]) -> None:
    """However the server counts them, even if a piece does not say which it belongs to."""
    answers = [[ours, "Col"], *([other, "no"] for other in others), [ours, "o"], [None, "r"]]
    pieces = [chunk(text, index=index) for index, text in answers]
    shared, server = await asked(streamed(*pieces, "[DONE]"), streaming=True)
    assert (shared["answer"], len(server.bodies)) == ("Color", 1)
    both = [{"index": 1, "message": {"content": "no"}}, {"index": 0, "message": {"content": "a"}}]
    shared, _ = await asked(Sends(json.dumps({"choices": both})))
    assert shared["answer"] == "a"


@pytest.mark.parametrize("done", ["[DONE]", "[DONE] ", "  [DONE]  ", "[DONE]\r"])
async def test_the_last_word_of_a_stream_may_have_spaces_around_it(done: str) -> None:
    """Without a finish_reason it is what makes the answer whole."""
    shared, server = await asked(streamed(chunk("Hello"), done), streaming=True)
    assert (shared["answer"], len(server.bodies)) == ("Hello", 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_a_stream_may_begin_with_a_mark_and_end_its_lines_in_any_way(end: str) -> None:
    """As the standard of event streams says; events may have types, numbers and comments."""
    first = json.dumps(chunk("a"))
    lines = ["\ufeff: hello", "event: chunk", "id: 1", "retry: 10", f"data:{first}", "",
             "data", "", "data: {", f'data: "choices": {json.dumps(chunk("b")["choices"])}',
             "data: }", "", f"data: {json.dumps(chunk(finish_reason='stop'))}", "", ""]  # fmt: skip
    shared, server = await asked(Sends(end.join(lines), "text/event-stream"), streaming=True)
    assert (shared["answer"], len(server.bodies)) == ("ab", 1)


async def test_an_event_that_did_not_come_to_its_end_is_none() -> None:
    """The stream has broken off in it; the answer begins anew."""
    broken = Sends(
        f"data: {json.dumps(chunk('lost', finish_reason='stop'))}\n", "text/event-stream"
    )
    shared, server = await asked(broken, Says("whole"), streaming=True)
    assert (shared["answer"], len(server.bodies)) == ("whole", 2)


async def test_a_line_of_a_stream_may_be_as_long_as_the_answer() -> None:
    """max_bytes says how long; one that is longer is not asked for again."""
    text = "x" * (3 << 20)
    shared, server = await asked(streamed(chunk(text), "[DONE]"), streaming=True)
    assert (len(shared["answer"]), len(server.bodies)) == (len(text), 1)
    for reply, streaming in ((streamed(chunk(text), "[DONE]"), True), (Says(text), False)):
        async with ChatServer(reply) as server:
            given: Any = {"streaming": streaming, "max_bytes": 1 << 20, "reads": "prompt"}
            with pytest.raises(ChatFormatError, match="larger than max_bytes=1048576"):
                await Graph(ChatNode(server.url, "tiny", **given)).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
async def test_a_stream_may_come_without_its_type(kind: str) -> None:
    """Where it was asked for; some proxies lose it."""
    body = streamed(chunk("Hello"), "[DONE]").body
    shared, _ = await asked(Sends(body, kind), streaming=True)
    assert shared["answer"] == "Hello"


async def test_a_stream_is_asked_for_uncompressed() -> None:
    """A compressing proxy may hold back the last bytes."""
    _, server = await asked(Says("Hello"), streaming=True)
    assert server.headers[0]["accept-encoding"] == "identity"
    _, server = await asked(Says("Hello"), streaming=True, headers={"Accept-Encoding": "gzip"})
    assert server.headers[0]["accept-encoding"] == "gzip"
    _, server = await asked(Says("Hello"))
    assert server.headers[0]["accept-encoding"] == "gzip, deflate"


PASSING = [
    {"error": {"message": "sorry", "type": "server_error", "code": None}},
    {"error": {"message": "sorry", "code": 502}},
    {"error": {"message": "sorry", "code": "429"}},
    {"error": {"message": "sorry", "type": "overloaded_error"}},
    {"error": {"message": "The engine is overloaded"}},
    {"error": "Rate limit reached", "status_code": 429},
    {"object": "error", "message": "sorry", "type": "InternalServerError", "code": 500},
    [{"error": {"code": 503, "message": "sorry", "status": "UNAVAILABLE"}}],
]
LASTING = [
    {"error": {"message": "too long", "type": "invalid_request_error", "code": 400}},
    {"error": {"message": "no", "type": "authentication_error"}},
    {"error": {"message": "pay", "type": "server_error", "code": "insufficient_quota"}},
    {"error": {"message": "the image has no pixels"}},
    {"error": "Input validation error", "error_type": "validation"},
    {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
    {"type": "error", "message": "no"},
    [{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}],
]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("message", PASSING + LASTING)
async def test_an_error_is_asked_about_again_where_that_may_help(
    message: Any, streaming: bool
) -> None:
    """The status was 200: what the error says decides, and questions cost."""
    reply = streamed(chunk("Hel"), message) if streaming else Sends(json.dumps(message))
    async with ChatServer(reply) as server:
        node = ChatNode(server.url, "tiny", retry=QUICK, streaming=streaming, reads="prompt")
        with pytest.raises(ChatFormatError, match="reports an error"):
            await Graph(node).run_async({"prompt": "Hello"})
    assert len(server.bodies) == (4 if message in PASSING else 1)


@pytest.mark.parametrize(
    ("data", "words", "questions"),
    [
        ('{"message": "overloaded", "code": 503}', "'overloaded'", 4),
        ('{"message": "no", "code": 400}', "'no'", 1),
        ('{"error": {"message": "no"}}', "'no'", 1),
        ("the model has crashed", "'the model has crashed'", 1),
        ("upstream timeout", "'upstream timeout'", 4),
        ("7", "'7'", 1),
    ],
)
async def test_an_event_may_be_an_error_by_its_type(data: str, words: str, questions: int) -> None:
    """Whatever its data are."""
    body = streamed(chunk("Hel")).body + f"event: error\ndata: {data}\n\n"
    async with ChatServer(Sends(body, "text/event-stream")) as server:
        node = ChatNode(server.url, "tiny", retry=QUICK, streaming=True, reads="prompt")
        with pytest.raises(ChatFormatError, match=f"reports an error: {words}"):
            await Graph(node).run_async({"prompt": "Hello"})
    assert len(server.bodies) == questions


async def test_a_quota_that_is_used_up_is_not_asked_about_again() -> None:
    """Its status is that of a rate limit."""
    body = '{"error": {"message": "pay", "code": "insufficient_quota"}}'

    async def answer(_: Any) -> web.Response:
        return web.Response(text=body, status=429, content_type="application/json")

    async with serving(answer) as site:
        with pytest.raises(HTTPStatusError, match="429: 'pay'"):
            await Graph(ChatNode(site.url, "tiny", reads="prompt")).run_async({"prompt": "Hello"})
    assert len(site.asked) == 1


async def test_a_call_of_a_tool_is_an_error_that_is_not_asked_about_again() -> None:
    """Tools are not supported: another answer would be the same."""
    calls = [{"index": 0, "id": "1", "function": {"name": "look", "arguments": "{}"}}]
    answer = streamed(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": calls}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        "[DONE]",
    )
    async with ChatServer(answer) as server:
        node = ChatNode(server.url, "tiny", retry=QUICK, streaming=True, reads="prompt")
        with pytest.raises(ChatFormatError, match="no text: finish_reason 'tool_calls'"):
            await Graph(node).run_async({"prompt": "Hello"})
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("reason", "whole"),
    [("stop", True), ("length", True), (None, False), ("", False), ("null", False)],
)
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_answer_with_a_finish_reason_is_whole(
    reason: str | None, whole: bool, end: str
) -> None:
    """Even if the connection is lost then; without a reason it is unknown what is missing."""
    event = f"data: {json.dumps(chunk('Hello', finish_reason=reason))}\n\n".encode()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    sent = head + b"%x\r\n%b\r\n" % (len(event), event)
    async with speaking(saying(sent)) as site:
        node = ChatNode(site.url, "tiny", streaming=True, retry=QUICK, reads="prompt", writes="got")
        if whole:
            await Graph(node).run_async(shared := {"prompt": "Hello"})
            assert (shared["got"], len(site.asked)) == ("Hello", 1)
        else:
            with pytest.raises(HTTPConnectionError):
                await Graph(node).run_async({"prompt": "Hello"})


async def test_an_answer_may_be_json_without_saying_so() -> None:
    """As from some gateways."""
    message = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    for kind in ("text/plain", "application/octet-stream", "text/json"):
        shared, _ = await asked(Sends(json.dumps(message), kind))
        assert shared["answer"] == "Hello"


async def test_a_character_that_came_in_two_halves_is_one() -> None:
    """Text without halves can be written anywhere."""
    halves = streamed(chunk("a\ud83d"), chunk("\ude00"), chunk("\ud83d"), "[DONE]")
    shared, _ = await asked(halves, streaming=True)
    assert shared["answer"] == "a😀\ufffd"


@pytest.mark.parametrize("streaming", [False, True])
async def test_text_may_come_in_parts(streaming: bool) -> None:
    """As from models that think first: what they thought is not the answer."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
               {"type": "text", "text": "Hel"}, {"text": "lo"}]  # fmt: skip
    message = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    reply = streamed(chunk(content), "[DONE]") if streaming else Sends(json.dumps(message))
    shared, _ = await asked(reply, streaming=streaming)
    assert shared["answer"] == "Hello"


async def test_a_server_that_does_not_stream_is_read_as_it_answers() -> None:
    """Some take no notice of what was asked."""
    body = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}
    shared, _ = await asked(Sends(json.dumps(body)), streaming=True)
    assert shared["answer"] == "ok"


async def test_a_slow_answer_is_given_up() -> None:
    """Seconds that an attempt may take are counted, and another attempt is made."""
    event = asyncio.Event()
    with pytest.raises(HTTPTimeoutError, match="total_timeout"):
        await asked(Waits(event), total_timeout=0.05)
    shared, server = await asked(Waits(event), Says("ok"), read_timeout=0.5)
    assert shared["answer"] == "ok"
    assert len(server.bodies) == 2


async def test_many_prompts_are_asked_at_once_and_keep_their_order() -> None:
    """Answers stand where their prompts stood, and a failure in its place when asked for."""
    async with ChatServer(Says("ok")) as server:
        node = ParallelChatNode(
            server.url, "tiny", on_error="collect", retry=QUICK, reads="prompts", writes="answers"
        )
        shared = {"prompts": ["one", 2, [{"role": "user", "content": "three"}]]}
        await Graph(node).run_async(shared)
    first, second, third = shared["answers"]
    assert (first, third) == ("ok", "ok")
    assert isinstance(second, Outcome)
    assert isinstance(second.error, HTTPRequestError)
    assert len(server.bodies) == 2


async def test_answers_flow_from_stage_to_stage() -> None:
    """In a pipeline each item is a prompt, and the reply of one stage is the prompt of the next."""

    class Lengths(Node[Any, Any]):
        async def exec(self, reply: ChatReply, /) -> int:
            return len(reply.text)

        def post(self, shared: Any, prep_res: Any, report: Any, /) -> None:
            shared["lengths"] = report.results

    async with ChatServer(Says("four")) as server:
        asks = ParallelChatNode(server.url, "tiny", reads="prompts", name="Asks")
        again = ParallelChatNode(server.url, "tiny", system="Shorten.", name="Again")
        shared = {"prompts": (f"prompt {number}" for number in range(5))}
        await Graph(asks | again | Lengths()).run_async(shared)
    assert shared["lengths"] == [4] * 5  # type: ignore[comparison-overlap]
    assert len(server.bodies) == 10
    shortened = [body["messages"][1] for body in server.bodies if len(body["messages"]) == 2]
    assert shortened == [{"role": "user", "content": "four"}] * 5


async def test_the_last_stage_writes_texts() -> None:
    """What a pipeline ends with is written as a node by itself writes it."""
    async with ChatServer(Says("four")) as server:
        asks = ParallelChatNode(server.url, "tiny", reads="prompts", name="Asks")
        last = ParallelChatNode(server.url, "tiny", writes="answers", name="Last")
        written: dict[str, Any] = {"prompts": ["one", "two"]}
        await Graph(asks | last).run_async(written)
    assert written["answers"] == ["four", "four"]


async def test_a_node_serves_many_runs_and_loops() -> None:
    """The same object runs at once in several graphs, and in a second loop."""
    async with ChatServer(Says("ok")) as server:
        node = ChatNode(server.url, "tiny", reads="prompt", writes="answer")
        stores = [{"prompt": "Hello"} for _ in range(5)]
        await asyncio.gather(*(Graph(node).run_async(shared) for shared in stores))
        last = {"prompt": "Hello"}
        await asyncio.to_thread(Graph(node).run, last)
    assert [shared["answer"] for shared in [*stores, last]] == ["ok"] * 6


async def test_a_cancelled_question_is_not_waited_for() -> None:
    """The connection is closed with the run, though the server has not answered."""
    event = asyncio.Event()
    async with ChatServer(Waits(event)) as server:
        node = ChatNode(server.url, "tiny", deadline=0.1, reads="prompt")
        with pytest.raises(TimeoutError):
            await Graph(node).run_async({"prompt": "Hello"})
        assert len(server.bodies) == 1


async def test_the_report_counts_what_was_asked() -> None:
    """Items and attempts are in the run report, as for any node."""
    report = RunReport()
    async with ChatServer(AGAIN, Says("ok")) as server:
        node = ParallelChatNode(server.url, "tiny", max_workers=1, retry=QUICK, reads="prompts")
        await Graph(node).run_async({"prompts": ["a", "b"]}, observers=[report])
    figures = report.nodes["ParallelChatNode"]
    assert (figures.items["ok"], figures.retries) == (2, 1)


def test_tokens_are_reckoned_from_prompt_and_answer() -> None:
    """Four bytes are a token, and what the answer may take is added."""
    assert tokens_of("x" * 400) == 100
    assert tokens_of("x" * 401, max_tokens=50) == 151
    assert tokens_of("é" * 4) == 2
    assert tokens_of("x" * 40, system="y" * 40) == 20
    picture = {"type": "image_url", "image_url": {"url": "data:…"}}
    talk = [{"role": "user", "content": [{"type": "text", "text": "x" * 8}, picture]}]
    assert tokens_of(talk) == 2
    assert tokens_of({"messages": talk, "max_tokens": 5}, max_tokens=50) == 7
    with pytest.raises(HTTPRequestError):
        tokens_of(None)


@given(st.text(), st.text(), st.integers(0, 10_000))
def test_more_text_never_weighs_less(text: str, more: str, max_tokens: int) -> None:
    """The weight of a prompt grows with it, and is never below what the answer may take."""
    lighter = tokens_of(text, max_tokens=max_tokens)
    assert max_tokens <= lighter <= tokens_of(text + more, max_tokens=max_tokens)


def test_a_rate_limit_counts_tokens() -> None:
    """In no window of a minute do prompts of more tokens begin than were allowed."""
    weight = partial(tokens_of, max_tokens=20)
    prompts = ["x" * (40 * (1 + number % 4)) for number in range(30)]  # of 30 to 60 tokens
    calls = Calls(prompts, rate=RateLimit(100, per=60, weight=weight))
    simulate(Graph(calls))
    assert sorted(item for _, item in calls.begun) == sorted(prompts)
    for start, _ in calls.begun:
        window = [weight(item) for at, item in calls.begun if start <= at < start + 60]
        assert sum(window) <= 100


async def test_a_prompt_that_could_never_begin_is_reported() -> None:
    """A prompt of more tokens than a window holds is an error, not a wait without end."""
    rate = RateLimit(10, per=60, weight=tokens_of)
    with pytest.raises(ValueError, match="weighs 25"):
        await asked(Says("ok"), item="x" * 100, rate=rate)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 3}, "temperature must be a number from 0 to 2, got 3"),
        ({"temperature": True}, "temperature must be a number"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"system": 7}, "system must be a string"),
        ({"schema": "object"}, "schema must be a JSON schema"),
        ({"schema": {"type": "objekt"}}, "schema is not a JSON schema, at $.type"),
        ({"schema_name": "a person"}, "schema_name must be up to 64 letters"),
        ({"streaming": 1}, "streaming must be True or False"),
        ({"options": {"tools": []}}, "'tools' is not supported"),
        ({"options": {"stream": True}}, "'stream' has a setting of its own"),
        ({"options": 5}, "options must be a mapping"),
        ({"auth": "key"}, "auth must be Bearer(token)"),
        ({"model": ""}, "model must be a non-empty string"),
        ({"url": "localhost:8080"}, "a URL must begin with http:// or https://"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    """At construction, in one line that says what was expected."""
    arguments = {"url": "http://127.0.0.1/v1", "model": "tiny", **settings}
    with pytest.raises(ValueError, match=r"must|not a JSON schema") as caught:
        ChatNode(**arguments)
    assert words in str(caught.value)
    with pytest.raises(ValueError, match=r"must|not a JSON schema"):
        type("Mine", (ParallelChatNode,), arguments)


def test_a_schema_without_the_library_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes at construction; a node without a schema does not need it."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    ChatNode("http://host/v1", "tiny")
    with pytest.raises(ImportError, match=r"jsonschema is not installed.*'kaygraph\[chat\]'"):
        ChatNode("http://host/v1", "tiny", schema=PERSON)


def test_an_unknown_setting_is_reported_with_the_nearest() -> None:
    """A slip of the finger is an error, with what was meant."""
    with pytest.raises(TypeError, match="Did you mean 'streaming'"):
        ChatNode("http://127.0.0.1/v1", "tiny", streamin=True)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [ChatNode, ParallelChatNode])
def test_a_node_without_url_or_model_is_refused(kind: Any) -> None:
    """Unless its class says them."""
    for arguments in ({}, {"url": "http://127.0.0.1/v1"}, {"model": "tiny"}):
        with pytest.raises(TypeError, match=f"a {kind.__name__} needs"):
            kind(**arguments)
    arguments = {"url": "http://127.0.0.1/v1", "model": "tiny"}
    assert type("ChatNode", (kind,), arguments)().model == "tiny"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://host/v1", "http://host/v1/chat/completions"),
        ("http://host/v1/", "http://host/v1/chat/completions"),
        ("http://host/v1/chat/completions", "http://host/v1/chat/completions"),
        ("https://host/d?api-version=1", "https://host/d/chat/completions?api-version=1"),
    ],
)
def test_the_address_is_that_of_the_api(url: str, address: str) -> None:
    """The base of an API is enough; the whole address is as good."""
    assert ChatNode(url, "tiny").request("Hello").url == address


def test_a_node_can_be_pickled() -> None:
    """It goes elsewhere with its settings, its schema among them."""
    node = pickle.loads(pickle.dumps(ChatNode("http://host/v1", "tiny", schema=PERSON)))
    assert (node.model, node.schema) == ("tiny", PERSON)
