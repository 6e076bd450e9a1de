"""Channels that need no mail server: to the log, to webhooks, chats and telephones."""

import asyncio
import json
import time
import traceback
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
import structlog
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import CircuitBreaker, Graph, Node, RateLimit
from kaygraph.errors import AttemptTimeoutError, CircuitOpenError, KayGraphError
from kaygraph.nodes import (
    SMS,
    Bearer,
    ChatWebhook,
    Delivery,
    FunctionNode,
    HTTPBodyError,
    HTTPConnectionError,
    HTTPError,
    HTTPRequestError,
    HTTPStatusError,
    Log,
    Message,
    Webhook,
)
from kaygraph.nodes.errors import MessageError
from kaygraph.nodes.notify.channels import escaped
from kaygraph.testing import assert_accounted, capture_events
from tests.receiving import Receiver, receiver

pytestmark = pytest.mark.anyio

TOKEN = uuid4().hex  # in no line of this file, which tracebacks show
SECRET = f"/services/T000/{TOKEN}"


async def sent(channel: Any, message: Any = "Disk full") -> Delivery:
    """Run a channel as a node, and return what it has written."""
    channel.reads, channel.writes = "message", "delivery"
    shared = {"message": message}
    await channel.run_async(shared)
    return shared["delivery"]


def sms(server: Receiver, **settings: Any) -> SMS:
    server.answers = {"sid": "SM1", "status": "queued"}
    settings = {"to": "+4790000000", "wait": 0} | settings
    return SMS("AC1", "the token", "+4711111111", url=server.url, **settings)


# --- Webhook -------------------------------------------------------------------------------------


async def test_a_webhook_posts_the_message_as_json() -> None:
    """Key, text, subject and data, with the key as a header as well."""
    message = Message("Disk full", subject="db1", key="disk-db1", data={"percent": 97})
    async with receiver() as server:
        delivery = await sent(Webhook(server.url + SECRET, auth=Bearer("tok")), message)
    (request,) = server.received
    assert delivery == Delivery("disk-db1")
    assert request.path == SECRET
    assert request.headers["Authorization"] == "Bearer tok"
    assert request.key == "disk-db1"
    assert json.loads(request.body) == {
        "key": "disk-db1",
        "text": "Disk full",
        "subject": "db1",
        "data": {"percent": 97},
    }


@pytest.mark.parametrize(
    "faults",
    [
        ["reset"],
        ["lost"],
        [500],
        [503, 502, "reset"],
    ],
    ids=str,
)
async def test_a_webhook_is_tried_again_with_the_same_key(faults: list[Any]) -> None:
    """Each attempt has the key of the message; a server that knows it again does it once."""
    async with receiver() as server:
        server.faults = [web.Response(status=f) if isinstance(f, int) else f for f in faults]
        delivery = await sent(Webhook(server.url, wait=0))
    assert server.keys == [delivery.key] * (len(faults) + 1)
    assert list(server.done) == [delivery.key]


async def test_a_webhook_gives_up_after_four_attempts() -> None:
    """A server that stays broken is asked four times, and its last answer is the error."""
    async with receiver() as server:
        server.faults = [web.Response(status=500) for _ in range(9)]
        with pytest.raises(HTTPStatusError) as caught:
            await sent(Webhook(server.url, wait=0))
    assert caught.value.status == 500
    assert len(server.received) == 4


async def test_a_webhook_waits_as_long_as_it_is_asked_to() -> None:
    """Retry-After of a 429 is kept to."""
    async with receiver() as server:
        server.faults = [web.Response(status=429, headers={"Retry-After": "1"})]
        began = time.monotonic()
        await sent(Webhook(server.url))
    assert time.monotonic() - began >= 1
    assert len(server.received) == 2


async def test_an_answer_that_says_no_is_final() -> None:
    """A status from 400 to 499 fails immediately, with the server's text."""
    async with receiver() as server:
        server.faults = [web.Response(status=410, text="channel_is_archived\r\ntoken=abc")]
        with pytest.raises(HTTPStatusError, match=r"410: channel_is_archived\\r\\ntoken=\*\*\*"):
            await sent(Webhook(server.url))
    assert len(server.received) == 1


async def test_a_webhook_does_not_follow_redirects() -> None:
    """A POST that is led on would arrive as a GET, without the message."""
    async with receiver() as server:
        server.faults = [web.Response(status=302, headers={"Location": "/elsewhere"})]
        with pytest.raises(HTTPRequestError, match="redirected"):
            await sent(Webhook(server.url))
    assert len(server.received) == 1
    assert server.done == {}


async def test_a_slow_answer_is_tried_again() -> None:
    """An attempt that exceeds total_timeout may have arrived: the key is the same."""
    async with receiver() as server:
        server.faults = ["slow"]
        await sent(Webhook(server.url, total_timeout=0.5, wait=0))
    assert len(server.received) == 2
    assert len(set(server.keys)) == 1
    assert len(server.done) == 1


async def test_what_may_not_be_sent_twice_is_not() -> None:
    """Where a key means nothing to the server, an answer that was lost is an error."""
    async with receiver() as server:
        server.faults = ["lost"]
        with pytest.raises(HTTPConnectionError):
            await sent(Webhook(server.url, idempotent=False, wait=0))
        assert len(server.received) == 1
        server.faults = [web.Response(status=429)]  # which says that nothing was done
        await sent(Webhook(server.url, idempotent=False, wait=0))
    assert len(server.received) == 3


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"no HTTP at all\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    "fault", ["reset", "status", "final", "redirect", "slow", "garbage", "gone"]
)
async def test_no_error_shows_the_secret_of_a_url(fault: str) -> None:
    """Path and query are in no error, traceback, repr or event; the host is."""
    faults: dict[str, Any] = {
        "status": web.Response(status=500),
        "final": web.Response(status=404, text="no such hook"),
        "redirect": web.Response(status=302, headers={"Location": SECRET}),
    }
    events: list[str] = []

    def observe(event: Any) -> None:
        error = getattr(event, "error", None)
        events.append(repr(event) + "".join(traceback.format_exception(error) if error else ()))

    async with receiver() as server:
        url = server.url
        if fault in ("garbage", "gone"):
            other = await asyncio.start_server(garbage, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
            if fault == "gone":
                other.close()
                await other.wait_closed()
        server.faults = [faults.get(fault, fault)] * 4
        channel = Webhook(
            f"{url}{SECRET}?k={TOKEN}", total_timeout=0.3, max_retries=2, reads="message"
        )
        with pytest.raises(KayGraphError) as caught:
            await Graph(channel).run_async({"message": "text"}, observers=[observe])
        if fault == "garbage":
            other.close()
            await other.wait_closed()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(channel)
    assert TOKEN not in shown
    assert TOKEN not in "".join(events)
    assert len(events) > 3
    assert "127.0.0.1" in shown or fault == "final"


@pytest.mark.parametrize("status", [300, 304])
async def test_an_answer_that_sends_elsewhere_is_no_delivery(status: int) -> None:
    """Even if it does not say where to."""
    async with receiver() as server:
        server.faults = [web.Response(status=status)]
        with pytest.raises(HTTPStatusError, match=f"answered {status}"):
            await sent(Webhook(server.url))
    assert len(server.received) == 1


@pytest.mark.parametrize("path", ["/caf\u00e9/%s?k=\u00fc", "/caf%%C3%%A9/%s?k=%%C3%%BC"])
async def test_a_secret_is_hidden_however_it_is_written(path: str) -> None:
    """As it was typed, and as it is sent."""
    async with receiver() as server:
        server.faults = [web.Response(status=404, text=f"no hook at {path % TOKEN[:7]}")]
        with pytest.raises(HTTPStatusError, match=r"no hook at /\*\*\*\s"):
            await sent(Webhook(f"{server.url}/caf\u00e9/{TOKEN[:7]}?k=\u00fc"))


async def test_a_server_that_says_our_secret_again_is_not_quoted() -> None:
    """The error contains its answer, without the path and the query."""
    async with receiver() as server:
        server.faults = [web.Response(status=404, text=f"no hook at {SECRET}?k={TOKEN}")]
        with pytest.raises(HTTPStatusError, match=r"404: no hook at /\*\*\*\s"):
            await sent(Webhook(f"{server.url}{SECRET}?k={TOKEN}"))


@pytest.mark.parametrize("kind", [Webhook, ChatWebhook])
async def test_a_server_that_says_a_part_of_our_secret_again_is_not_quoted(kind: Any) -> None:
    """A word of the path, a value of the query, or the key; not where the text is cut, either."""
    key = uuid4().hex
    texts = [f"no hook {TOKEN}", f"no {key}", f"bad key {TOKEN[::-1]}", "x" * 335 + TOKEN]
    async with receiver() as server:
        for status in (403, 500):
            for text in texts:
                server.faults = [web.Response(status=status, text=text)]
                url = f"{server.url}{SECRET}?k={TOKEN[::-1]}"
                with pytest.raises(HTTPStatusError, match=f"answered {status}: ") as caught:
                    await sent(kind(url, auth=Bearer(key), max_retries=1))
                for secret in (TOKEN, TOKEN[::-1], key):
                    assert secret[:12] not in f"{caught.value}{caught.value!r}"


async def test_a_long_page_is_quoted_in_part() -> None:
    """To look for secrets in all of it would hold the loop for seconds."""
    async with receiver() as server:
        server.faults = [web.Response(status=404, text="token x " * 1_500_000)]
        began = time.process_time()
        with pytest.raises(HTTPStatusError) as caught:
            await sent(Webhook(server.url))
        assert time.process_time() - began < 1
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("text", ["ok", "{", '{"a": ' + "[" * 200 + "]" * 200 + "}"])
async def test_what_cannot_be_read_of_an_answer_does_not_undo_its_status(text: str) -> None:
    """It is delivered, and not sent again; unless the text decides, and says otherwise."""
    async with receiver() as server:
        server.faults = [web.Response(text=text, content_type="application/json") for _ in range(3)]
        delivery = await sent(Webhook(server.url))
        assert server.keys == [delivery.key]
        assert (await sent(sms(server))).reference is None
        with pytest.raises(HTTPBodyError, match="answered 200 with JSON that cannot be read"):
            await sent(ChatWebhook(server.url))
    assert len(server.received) == 3


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    """At construction, and what was typed may be a secret all the same."""
    with pytest.raises(HTTPRequestError, match="begins with http:") as caught:
        Webhook("hooks.slack.com" + SECRET)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(TypeError, match="needs the address"):
        Webhook()


async def test_the_settings_of_a_channel_are_those_of_a_node() -> None:
    """Limits, breaker and the time of an attempt are the core's own."""
    breaker = CircuitBreaker(failures=2)
    async with receiver() as server:
        server.faults = [web.Response(status=500) for _ in range(9)]
        channel = Webhook(server.url, breaker=breaker, rate=RateLimit(100, per=1.0), wait=0)
        with pytest.raises(CircuitOpenError):
            await sent(channel)
        assert len(server.received) == 2
        server.faults = ["slow"]
        with pytest.raises(AttemptTimeoutError):
            await sent(Webhook(server.url, timeout=0.1, max_retries=1))


async def test_a_body_of_ones_own_is_posted() -> None:
    """A subclass says what it looks like."""

    class Ticket(Webhook):
        def body(self, message: Message, /) -> Any:
            return {"title": message.subject, "labels": ["alert"]}

    async with receiver() as server:
        await sent(Ticket(server.url), Message("x", subject="Disk full"))
    assert json.loads(server.received[0].body) == {"title": "Disk full", "labels": ["alert"]}


# --- ChatWebhook ---------------------------------------------------------------------------------


async def test_a_chat_gets_the_text_with_nothing_in_it_that_calls_people() -> None:
    """The three characters that mean something there are escaped."""
    async with receiver() as server:
        await sent(ChatWebhook(server.url), Message("<!channel> & all", subject="Hello"))
    assert json.loads(server.received[0].body) == {"text": "Hello\n&lt;!channel&gt; &amp; all"}


@given(st.text(alphabet="a&<>", min_size=1).filter(str.strip), st.integers(1, 30))
def test_a_chat_text_is_cut_and_no_entity_is_cut_in_two(text: str, most: int) -> None:
    """What is sent is never longer than it may be, and is the beginning of the text."""
    chat = ChatWebhook("http://127.0.0.1/hook", max_length=most)
    shown: str = chat.body(Message(text))["text"]
    assert len(shown) <= most
    plain = shown.removesuffix("…")
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        plain = plain.replace(entity, char)
    assert text.startswith(plain)
    assert shown.endswith("…") or plain == text


async def test_a_chat_may_say_ok_without_saying_that_it_is_text() -> None:
    """Not every server names the type of two letters."""
    async with receiver() as server:
        server.faults = [
            web.Response(body=b"ok", content_type="application/octet-stream"),
            web.Response(text="OK\n"),
        ]
        await sent(ChatWebhook(server.url))
        await sent(ChatWebhook(server.url))
    assert len(server.received) == 2


async def test_a_chat_that_does_not_answer_ok_has_not_delivered() -> None:
    """A proxy's page with status 200 is not a delivery."""
    async with receiver() as server:
        server.answers = "<html>Please log in</html>"
        with pytest.raises(HTTPStatusError, match="200: <html>Please"):
            await sent(ChatWebhook(server.url))
    assert len(server.received) == 1


# --- SMS -----------------------------------------------------------------------------------------


async def test_an_sms_is_a_form_with_basic_auth() -> None:
    """The path holds the account, the form the numbers and the text."""
    async with receiver() as server:
        delivery = await sent(sms(server), Message("Disk full", subject="db1", key="k1"))
    (request,) = server.received
    assert delivery == Delivery("k1", "SM1")
    assert request.path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert request.headers["Authorization"] == "Basic QUMxOnRoZSB0b2tlbg=="
    assert request.key == "k1"
    assert parse_qs(request.body.decode()) == {
        "From": ["+4711111111"],
        "To": ["+4790000000"],
        "Body": ["db1\nDisk full"],
    }


@pytest.mark.parametrize("prefix", ["/api/laml", "/api/laml/"])
async def test_an_sms_keeps_the_path_of_its_service(prefix: str) -> None:
    """Services like Twilio's have the same interface further down."""
    async with receiver() as server:
        server.answers = {"sid": "SM1"}
        channel = SMS("AC1", "t", "+4711111111", to="+4790000000", url=server.url + prefix)
        await sent(channel)
    assert server.received[0].path == "/api/laml/2010-04-01/Accounts/AC1/Messages.json"


async def test_an_sms_takes_what_its_class_says() -> None:
    """The account of a class goes with the token that is given."""

    class Ours(SMS):
        account = "AC1"
        sender = "+4711111111"
        to = "+4790000000"

    async with receiver() as server:
        server.answers = {"sid": "SM1"}
        await sent(Ours(token="the token", url=server.url))
    assert server.received[0].headers["Authorization"] == "Basic QUMxOnRoZSB0b2tlbg=="


async def test_an_sms_goes_to_whom_the_message_says() -> None:
    """By the name of the channel; recipients of another channel are not used."""
    async with receiver() as server:
        message = Message("x", to={"SMS": "+4790000001", "Email": "ann@example.org"})
        await sent(sms(server), message)
        await sent(sms(server), Message("x", to={"Email": "ann@example.org"}))
    numbers = [parse_qs(request.body.decode())["To"] for request in server.received]
    assert numbers == [["+4790000001"], ["+4790000000"]]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        (("+4790000001", "+4790000002"), "one number, got 2"),
        ("90000000", "must be a number such as"),
    ],
)
async def test_an_sms_to_nobody_or_to_several_is_refused(to: Any, why: str) -> None:
    """Nothing is sent to the first of several, because the result would be ambiguous."""
    async with receiver() as server:
        with pytest.raises(MessageError, match=why):
            await sent(sms(server), Message("x", to=to))
        channel = SMS("AC1", "t", "+4711111111", url=server.url)
        with pytest.raises(MessageError, match="no recipients"):
            await sent(channel)
    assert server.received == []


@pytest.mark.parametrize(("fault", "attempts"), [("lost", 1), (500, 1), (503, 1), (429, 2)])
async def test_an_sms_is_tried_again_only_where_it_was_not_sent(fault: Any, attempts: int) -> None:
    """The service does not look at the key: what it may have sent is not sent again."""
    async with receiver() as server:
        channel = sms(server)
        server.faults = [web.Response(status=fault) if isinstance(fault, int) else fault]
        if attempts == 1:
            with pytest.raises(HTTPError):
                await sent(channel)
        else:
            await sent(channel)
        assert len(server.received) == attempts
        server.received.clear()
        server.faults = ["lost"]
        await sent(sms(server, idempotent=True))
    assert len(server.received) == 2


async def test_an_sms_that_is_refused_says_why() -> None:
    """The code and the words of the service, and not the token."""
    async with receiver() as server:
        channel = sms(server)
        refusal = {"code": 21211, "message": "'To' is not valid", "status": 400}
        server.faults = [web.json_response(refusal, status=400)]
        with pytest.raises(HTTPStatusError, match="400: 21211, 'To' is not valid") as caught:
            await sent(channel)
    shown = "".join(traceback.format_exception(caught.value)) + repr(channel) + repr(vars(channel))
    assert "the token" not in shown


async def test_a_long_sms_is_cut() -> None:
    """At as many characters as the service takes."""
    async with receiver() as server:
        await sent(sms(server), "é" * 2000)
    (body,) = parse_qs(server.received[0].body.decode())["Body"]
    assert body == "é" * 1599 + "…"


def test_an_sms_that_cannot_work_is_refused_at_construction() -> None:
    """A number, an account, a setting that is missing."""
    with pytest.raises(MessageError, match=r"\+4790000000"):
        SMS("AC1", "t", "x", to="12")
    with pytest.raises(ValueError, match="letters and digits"):
        SMS("AC1/../x", "t", "x")
    with pytest.raises(TypeError, match="needs account, token and sender"):
        SMS("AC1", "t")
    with pytest.raises(TypeError, match="Did you mean 'max_length'"):
        SMS("AC1", "t", "x", max_lenght=3)  # type: ignore[call-arg]


# --- Log -----------------------------------------------------------------------------------------


async def test_a_log_line_holds_text_subject_and_key() -> None:
    """At the level that is asked for, by the node's name."""
    with structlog.testing.capture_logs() as lines:
        await sent(Log("warning"), Message("Disk full", subject="db1", key="k1"))
    assert len(lines[0].pop("run")) == 8
    assert lines == [
        {
            "event": "message",
            "log_level": "warning",
            "node": "Log",
            "text": "Disk full",
            "subject": "db1",
            "key": "k1",
        }
    ]
    with pytest.raises(ValueError, match="Did you mean 'warning'"):
        Log("warnin")


async def test_a_text_cannot_forge_a_line_of_the_log() -> None:
    """Control characters, and those that turn a line around, come out escaped."""
    with structlog.testing.capture_logs() as lines:
        await sent(
            Log(), Message("ok\r\n2026 [error] forged \x1b[2J \u202e\u2028 naïve ✓", "\u202e")
        )
    assert lines[0]["subject"] == r"\u202e"
    assert lines[0]["text"] == r"ok\r\n2026 [error] forged \x1b[2J \u202e\u2028 naïve ✓"


@given(st.text())
def test_what_is_escaped_is_one_line_that_can_be_printed(text: str) -> None:
    """Whatever comes."""
    assert escaped(text).isprintable()


# --- all -----------------------------------------------------------------------------------------


async def test_a_channel_is_a_stage_of_a_pipeline() -> None:
    """It takes Messages, each with the key it was made with, and tries each again for itself."""

    class Rows(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return [{"text": f"row {number}", "key": f"row-{number}"} for number in range(5)]

        async def exec(self, row: Any) -> Any:
            return row

    async with receiver() as server:
        server.faults = [None, "lost"]
        channel = Webhook(server.url, writes="deliveries", wait=0)
        shared: dict[str, Any] = {}
        with capture_events() as events:
            await (Rows() | FunctionNode(Message.of) | channel).run_async(shared)
    assert [one.key for one in shared["deliveries"]] == [f"row-{number}" for number in range(5)]
    assert len(server.received) == 6
    assert list(server.done) == [f"row-{number}" for number in range(5)]
    assert_accounted(events)


async def test_a_stage_refuses_what_has_no_key() -> None:
    """Made of a string in exec, each attempt would have another key."""

    class Texts(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return ["one"]

        async def exec(self, text: Any) -> Any:
            return text

    with pytest.raises(MessageError, match=r"got a str: put FunctionNode\(Message.of\)"):
        await (Texts() | Log()).run_async({})
    with pytest.raises(MessageError, match=r"got none: type Log\(…, reads='message'\)"):
        await Log().run_async({})


@pytest.mark.parametrize("kind", ["webhook", "sms"])
def test_a_channel_works_in_a_second_event_loop(kind: str) -> None:
    """Nothing of the first one is left in the node."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    channel: Any = (
        Webhook(url)
        if kind == "webhook"
        else SMS("AC1", "t", "+4711111111", to="+4790000000", url=url)
    )

    async def once() -> int:
        server = Receiver()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await sent(channel)
        await runner.cleanup()
        return len(server.received)

    assert [asyncio.run(once()) for _ in range(2)] == [1, 1]


async def test_a_run_that_is_cancelled_leaves_nothing() -> None:
    """In the middle of a request: no task, and the connection is closed."""
    async with receiver() as server:
        server.faults = ["slow"]
        before = asyncio.all_tasks()
        run = asyncio.create_task(sent(Webhook(server.url)))
        await server.came.wait()
        during = asyncio.all_tasks() - before - {run}
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        left = {task for task in during & asyncio.all_tasks() if "kaygraph" in repr(task)}
        assert left == set()
        assert len(server.received) == 1
