"""E-mail as a channel, to a real mail server."""

import asyncio
import base64
import email.policy
import gc
import shutil
import socket
import ssl
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaygraph import BatchGraph, Graph, Node, Retry
from kaygraph._extras import MissingExtraError
from kaygraph.errors import AttemptTimeoutError
from kaygraph.nodes import Basic, Bearer, Delivery, Email, MailError, Message
from kaygraph.nodes.errors import MessageError
from kaygraph.nodes.notify._smtp import Connection
from tests.children import ran
from tests.receiving import Mailbox, mailbox

pytestmark = pytest.mark.anyio

SENDER = "Alerts <alerts@example.org>"
ANN, BOB = "ann@example.org", "bob@example.org"


def channel(box: Mailbox, **given: Any) -> Email:
    """Return a channel to a server, with its attempts, but without the waits between them."""
    given = {"to": ANN, "tls": "none", "reads": "message", "writes": "delivery"} | given
    return Email("127.0.0.1", SENDER, port=box.port, wait=0, **given)


async def sent(node: Email, message: Any = "Disk full") -> Delivery:
    shared = {"message": message}
    await node.run_async(shared)
    delivery = shared["delivery"]
    assert isinstance(delivery, Delivery)
    return delivery


def read(envelope: Any) -> EmailMessage:
    """Return a mail as its recipient reads it."""
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A self-made certificate for 127.0.0.1: the server's context, and the file to trust."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    ran(
        openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", key, "-out", certificate, check=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


async def test_a_mail_holds_subject_text_and_an_id_made_of_the_key() -> None:
    """In any language; the Message-ID is the same for the same key."""
    message = Message("Größe: 97 %\n.\nlast line", subject="Disk voll ✓", key="disk-1")
    async with mailbox() as box:
        delivery = await sent(channel(box), message)
        await sent(channel(box), Message("other"))
        again = await sent(channel(box), Message("x", key="disk-1"))
    mail = read(box.mails[0])
    assert mail["Subject"] == "Disk voll ✓"
    assert mail.get_content().splitlines() == ["Größe: 97 %", ".", "last line"]
    assert (mail["From"], mail["To"]) == (SENDER, ANN)
    assert mail["Message-ID"] == delivery.reference == again.reference
    assert delivery.reference is not None
    assert delivery.reference.endswith("@example.org>")
    assert read(box.mails[1])["Message-ID"] != delivery.reference
    assert mail["Auto-Submitted"] == "auto-generated"
    assert (box.mails[0].mail_from, box.mails[0].rcpt_tos) == ("alerts@example.org", [ANN])
    assert read(box.mails[1])["Subject"] == "other"


async def test_a_first_line_that_is_long_is_a_subject_in_part() -> None:
    """What the mail says is not cut."""
    async with mailbox() as box:
        await sent(channel(box), "x" * 100 + "\nmore")
    assert read(box.mails[0])["Subject"] == "x" * 71 + "…"
    assert read(box.mails[0]).get_content().splitlines() == ["x" * 100, "more"]


class Messages(Node[Any, Any]):
    """Gives twenty-five messages."""

    def prep(self, shared: Any) -> Any:
        return [Message(f"number {number}") for number in range(25)]

    async def exec(self, message: Any) -> Any:
        return message


@pytest.mark.parametrize(
    ("given", "connections"),
    [({}, [10, 10, 5]), ({"messages_per_connection": None}, [25]),
     ({"messages_per_connection": 1}, [1] * 25), ({"messages_per_connection": 25}, [25])],
)  # fmt: skip
async def test_mails_of_a_run_go_over_few_connections(
    given: dict[str, Any], connections: list[int]
) -> None:
    """One after another, by default ten per connection; each ends with a goodbye."""
    async with mailbox() as box:
        shared: dict[str, Any] = {}
        await (Messages() | channel(box, reads=None, **given)).run_async(shared)
    assert [read(one).get_content() for one in box.mails] == [f"number {n}" for n in range(25)]
    assert list(Counter(box.carriers).values()) == connections
    assert (len(box.connections), box.goodbyes) == (len(connections), len(connections))
    assert len({one.reference for one in shared["delivery"]}) == 25


async def test_mails_that_were_refused_count_for_their_connection() -> None:
    """And are errors of their own messages alone."""
    async with mailbox() as box:
        box.faults = [None, "550 5.1.1 no", None, "451 4.3.0 later"]
        connection = Connection("127.0.0.1", box.port, "none", None, None, 3)
        codes = []
        for _ in range(7):
            try:
                codes.append(await connection.send("a@example.org", [ANN], b"Subject: x\r\n\r\nx"))
            except MailError as error:
                codes.append(error.code)
        await connection.quit()
    assert codes == [{}, 550, {}, 451, {}, {}, {}]
    assert list(Counter(box.carriers).values()) == [3, 3, 1]
    assert box.goodbyes == 3


async def test_a_server_that_says_no_goodbye_is_left_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After some seconds, which are those of the next message."""
    monkeypatch.setattr("kaygraph.nodes.notify._smtp.QUIT_S", 0.01)
    async with mailbox() as box:
        box.silent = True
        node = channel(box, reads=None, messages_per_connection=13)
        await (Messages() | node).run_async({})
    assert list(Counter(box.carriers).values()) == [13, 12]


async def test_what_is_sent_at_once_takes_turns_on_the_connection() -> None:
    """No two mails are mixed, and the connection is opened once, and again when it is lost."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"number": number} for number in range(20)]

    class Numbered(Email):
        def prep(self, shared: Any) -> Message:
            return Message(f"number {self.params['number']}")

    async with mailbox() as box:
        box.faults = [None, None, "drop"]
        node = Numbered("127.0.0.1", SENDER, to=ANN, port=box.port, tls="none", wait=0)
        await Rounds(node, max_workers=7).run_async({})
    texts = [read(one).get_content() for one in box.mails]
    assert sorted(texts) == sorted(f"number {number}" for number in range(20))
    assert list(Counter(box.carriers).values()) == [3, 10, 8]  # the third was lost, and tried again


@pytest.mark.parametrize("fault", ["451 4.3.0 later", "drop", "lost", "421 closing"])
async def test_a_mail_is_tried_again_with_the_same_id(fault: str) -> None:
    """A refusal for now, or a connection that is cut in the middle; it is opened again."""
    async with mailbox() as box:
        box.faults = [None, fault]
        node = channel(box)

        class Twice(Node[Any, Any]):
            def prep(self, shared: Any) -> Any:
                return [Message("first"), Message("second")]

            async def exec(self, message: Any) -> Any:
                return message

        node.reads = None
        await (Twice() | node).run_async({})
    ids = [read(one)["Message-ID"] for one in box.mails]
    assert len(ids) == (3 if fault == "lost" else 2)
    assert len(set(ids)) == 2
    assert len(box.connections) == (1 if fault[0] == "4" else 2)


@asynccontextmanager
async def dialogue(answers: dict[bytes, bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """Start a mail server that gives each answer once, else says yes; tell what it has done."""
    done: list[str] = []
    usual = {b"DATA": b"354 go on", b"QUIT": b"221 bye"}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append("connection")
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            verb = line[:4].strip().upper()
            reply = answers.pop(verb, usual.get(verb, b"250 fine"))
            writer.write(reply + b"\r\n")
            if reply.startswith(b"354"):
                await reader.readuntil(b"\r\n.\r\n")
                reply = answers.pop(b".", b"250 fine")
                done.extend(["mail"] if reply.startswith(b"250") else [])
                writer.write(reply + b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], done
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("at", [b"MAIL", b"RCPT", b"DATA", b".", b"RSET"])
async def test_an_answer_that_makes_no_sense_ends_the_connection(at: bytes) -> None:
    """What was meant for one command is not read as the answer to the next."""
    answers = {at: b"whoops"} | ({b"MAIL": b"451 later"} if at == b"RSET" else {})

    class Twice(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return [Message("first"), Message("second")]

        async def exec(self, message: Any) -> Any:
            return message

    async with dialogue(answers) as (port, done):
        given: Any = {"to": ANN, "tls": "none", "port": port, "wait": 0}
        await (Twice() | Email("127.0.0.1", SENDER, **given)).run_async({})
        assert done == ["connection", "connection", "mail", "mail"]
        answers[b"MAIL"] = b"whoops"
        once = Email("127.0.0.1", SENDER, max_retries=1, reads="message", **given)
        with pytest.raises(MailError, match=rf"{port}: .*whoops") as caught:
            await once.run_async({"message": "x"})
    assert (caught.value.code, caught.value.repeatable) == (None, True)


async def test_a_server_that_says_our_password_again_is_not_quoted() -> None:
    """Neither as it is, nor as it was sent."""
    password = "open sesame 8c5a"
    encoded = [base64.b64encode(text.encode()).decode() for text in (password, f"\0me\0{password}")]
    connection = Connection("127.0.0.1", 25, "tls", Basic("me", password), None)
    for secret in (password, *encoded):
        assert connection._said(502, f"unknown: {secret}") == "502 unknown: ***"


async def test_a_refusal_for_good_is_not_tried_again() -> None:
    """It fails immediately, with the code and the server's text, in one line."""
    async with mailbox() as box:
        box.faults = ["554 5.7.1 spam\x1b[2J password=hunter2", None]
        with pytest.raises(MailError) as caught:
            await sent(channel(box))
        assert box.mails == []
        assert (caught.value.code, caught.value.repeatable) == (554, False)
        assert r"554 5.7.1 spam\x1b[2J password=***" in str(caught.value)
        assert f"127.0.0.1:{box.port}" in str(caught.value)


async def test_refused_recipients_among_others_are_reported() -> None:
    """The others have it, once; nobody gets it again because of them."""
    async with mailbox() as box:
        box.refused = {BOB: ["550 5.1.1 no such user"], "eve@example.org": ["450 greylisted"]}
        delivery = await sent(channel(box), Message("x", to=[ANN, BOB, "eve@example.org"]))
    assert delivery.refused == {
        BOB: "550 5.1.1 no such user",
        "eve@example.org": "450 greylisted",
    }
    assert [one.rcpt_tos for one in box.mails] == [[ANN]]


@pytest.mark.parametrize(("codes", "repeatable"), [(["450", "550"], True), (["550", "551"], False)])
async def test_where_all_are_refused_it_is_an_error(codes: list[str], repeatable: bool) -> None:
    """It is retried if one of them was refused temporarily: nobody has it yet."""
    async with mailbox() as box:
        box.refused = {ANN: [f"{codes[0]} no"], BOB: [f"{codes[1]} no"]}
        node = channel(box, to=[ANN, BOB])
        if repeatable:
            await sent(node)
            assert [one.rcpt_tos for one in box.mails] == [[ANN, BOB]]
            return
        with pytest.raises(MailError, match=r"refused ann@example.org \(550 no\), bob@") as caught:
            await sent(node)
    assert caught.value.code == 550
    assert box.mails == []


async def test_a_server_that_is_not_there_is_tried_four_times() -> None:
    """And the error says where it was looked for."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        box = Mailbox()
        box.port = free.getsockname()[1]
    tried: list[int] = []

    class Counting(Email):
        async def exec(self, message: Message, /) -> Delivery:
            tried.append(self.attempt)
            return await super().exec(message)

    node = Counting("127.0.0.1", SENDER, to=ANN, tls="none", port=box.port, reads="message", wait=0)
    with pytest.raises(MailError, match=rf"127\.0\.0\.1:{box.port}: .*[Cc]onnect") as caught:
        await node.run_async({"message": "x"})
    assert tried == [1, 2, 3, 4]
    assert caught.value.repeatable


async def test_an_attempt_that_takes_too_long_is_tried_again() -> None:
    """On a new connection, because the state of the dialogue on the old one is unknown."""
    async with mailbox() as box:
        box.faults = ["slow"]
        node = channel(box, timeout=0.5)
        delivery = await sent(node)
        assert len(box.connections) == 2
        box.faults = ["slow"] * 4
        with pytest.raises(AttemptTimeoutError):
            await sent(node)
    assert read(box.mails[0])["Message-ID"] == delivery.reference


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_mail_goes_encrypted_and_with_a_password(
    tls: str, certificate: tuple[ssl.SSLContext, Path]
) -> None:
    """Over a certificate that is trusted, by STARTTLS or from the first byte."""
    context = ssl.create_default_context(cafile=certificate[1])
    # Of TLS around all that it says the library knows nothing.
    options: dict[str, Any] = (
        {"auth_required": True} if tls == "starttls" else {"auth_require_tls": False}
    )
    async with mailbox(certificate[0], implicit=tls == "tls", **options) as box:
        node = channel(box, tls=tls, auth=Basic("me", "open sesame"), ssl_context=context)
        await sent(node)
        assert box.over_tls == [tls == "starttls"]  # what the server knows of its own TLS
        assert box.users == ["me"]
        wrong = channel(box, tls=tls, auth=Basic("me", "not 8c5a"), ssl_context=context)
        with pytest.raises(MailError, match="535") as caught:
            await sent(wrong)
        assert len(box.mails) == 1
        await asyncio.sleep(0)
    shown = "".join(traceback.format_exception(caught.value)) + repr(wrong) + repr(vars(wrong))
    assert "8c5a" not in shown.replace('Basic("me", "not 8c5a")', "")
    assert caught.value.repeatable is False


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_ends_it(
    tls: str, certificate: tuple[ssl.SSLContext, Path]
) -> None:
    """No mail is sent, and it is not tried again."""
    asyncio.get_running_loop().set_debug(False)  # it tells of the server's failed handshake
    async with mailbox(certificate[0], implicit=tls == "tls") as box:
        with pytest.raises(MailError, match=r"certificate|CERTIFICATE") as caught:
            await sent(channel(box, tls=tls))
        assert not caught.value.repeatable
    assert box.mails == []
    assert len(box.connections) <= 1  # not tried again


async def test_no_mail_goes_in_the_clear_where_tls_was_asked_for() -> None:
    """A server (or somebody in between) that offers no STARTTLS gets nothing."""
    async with mailbox() as box:
        with pytest.raises(MailError, match="STARTTLS"):
            await sent(channel(box, tls="starttls"))
    assert box.mails == []


HOSTILE = [
    "=?utf-8?q?x=0D=0ABcc:_eve@example.org?=",
    "=?utf-8?b?DQpCY2M6IGV2ZQ==?=",
    "a: b",
    "ü" * 200,
]


@pytest.mark.parametrize("subject", HOSTILE)
async def test_a_subject_cannot_become_another_header(subject: str) -> None:
    """Not by encoded words either, which Python's own EmailMessage reads before it writes them."""
    async with mailbox() as box:
        await sent(channel(box), Message("text", subject=subject))
        await sent(channel(box), "first line " + subject)
    for envelope in box.mails:
        head = envelope.content.split(b"\r\n\r\n")[0].replace(b"\r\n ", b"")
        names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")]
        assert b"bcc" not in names
        assert len(names) == len(set(names))
        assert envelope.rcpt_tos == [ANN]
    raw = email.message_from_bytes(box.mails[0].content)
    (text, charset), *rest = email.header.decode_header(raw["Subject"])
    assert not rest
    assert text.decode(charset) == subject


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_address_holds_more_than_an_address(before: str, after: str) -> None:
    """What is not one is refused, so that no command or header can stand in it."""
    try:
        node = Email("localhost", SENDER, to=f"{before}@{after}")
    except MessageError:
        return
    (address,) = node.to
    assert address.isascii()
    assert address.isprintable()
    assert not set(address) & set(' <>,;:"()[]\\\r\n')
    assert address.count("@") == 1


@pytest.mark.parametrize(
    "to",
    ["ann@example.org\r\nRCPT TO:<eve@example.org>", "ann", "<ann@x> SIZE=1", "a@b,c@d", "ü@x"],
)
async def test_an_address_that_is_none_is_refused(to: str) -> None:
    """At construction, and when the message says it, before anything is sent."""
    with pytest.raises(MessageError):
        Email("localhost", SENDER, to=to)
    with pytest.raises(MessageError):
        Email("localhost", f"Alerts <{to}>" if "<" not in to else to)
    async with mailbox() as box:
        with pytest.raises(MessageError):
            await sent(channel(box), {"text": "x", "to": to})
    assert box.connections == []


@pytest.mark.parametrize("settings", [{"max_retries": 2}, {"retry": Retry(attempts=2)}])
async def test_retries_are_as_many_as_set_and_only_useful_ones(settings: Any) -> None:
    """The caller decides how often; a permanent refusal is tried once nevertheless."""
    async with mailbox() as box:
        box.faults = ["451 later"] * 9
        node = Email(
            "127.0.0.1", SENDER, to=ANN, tls="none", port=box.port, reads="message", **settings
        )
        with pytest.raises(MailError, match="451 later"):
            await node.run_async({"message": "x"})
        assert len(box.faults) == 7
        box.faults = ["554 no"] * 9
        with pytest.raises(MailError, match="554 no"):
            await node.run_async({"message": "x"})
        assert len(box.faults) == 8


async def test_a_class_may_say_how_often() -> None:
    """As in the constructor, even if nothing was to be retried."""

    class Hasty(Email):
        max_retries = 2
        wait = 0.0

    class Once(Email):
        retry = None

    async with mailbox() as box:
        given: Any = {"to": ANN, "tls": "none", "port": box.port, "reads": "message"}
        hasty = Hasty("127.0.0.1", SENDER, **given)
        for node in (hasty, Once("127.0.0.1", SENDER, max_retries=2, wait=0, **given)):
            box.faults = ["451 later"] * 9
            with pytest.raises(MailError, match="451 later"):
                await node.run_async({"message": "x"})
            assert len(box.faults) == 7


@pytest.mark.parametrize(
    "host", ["mail.example.org:587", "smtp://mail.example.org", "a..b", "", "ann@b", "a b", 3]
)
def test_a_host_that_is_none_is_refused(host: Any) -> None:
    """When it is made; afterwards it would be looked up four times."""
    with pytest.raises(ValueError, match=r"must be the name of a server.*port="):
        Email(host, SENDER)


@pytest.mark.parametrize(
    "host", ["localhost", "my_host", "10.0.0.1", "::1", "fe80::1%eth0", "ø.no"]
)
def test_a_host_that_is_one_is_kept(host: str) -> None:
    """A name or an address."""
    assert Email(host, SENDER).host == host


@pytest.mark.parametrize("port", [0, -1, 65536, "25", True, 25.0])
def test_a_port_that_is_none_is_refused(port: Any) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match="port must be a number from 1 to 65535"):
        Email("localhost", SENDER, port=port)


@pytest.mark.parametrize("most", [0, -1, True, 2.5, "10"])
def test_a_number_of_messages_that_is_none_is_refused(most: Any) -> None:
    """At least one goes over a connection."""
    with pytest.raises(ValueError, match="messages_per_connection must be"):
        Email("localhost", SENDER, messages_per_connection=most)


def test_settings_that_cannot_work_are_refused() -> None:
    """Each with what was expected."""
    with pytest.raises(ValueError, match="send the password"):
        Email("localhost", SENDER, tls="none", auth=Basic("me", "x"))
    with pytest.raises(ValueError, match=r"must be Basic\(user, password\)"):
        Email("localhost", SENDER, auth=Bearer("x"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Did you mean 'starttls'"):
        Email("localhost", SENDER, tls="starttl")
    with pytest.raises(ValueError, match="run_in must be 'loop'"):
        Email("localhost", SENDER, run_in="thread")
    with pytest.raises(TypeError, match="needs a host and a sender"):
        Email("localhost")


async def test_without_the_library_the_error_says_what_to_type(monkeypatch: Any) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "aiosmtplib", None)
    async with mailbox() as box:
        with pytest.raises(MissingExtraError, match=r"kaygraph\[mail\]"):
            await sent(channel(box))


def test_a_channel_works_in_a_second_event_loop() -> None:
    """Nothing of the first one is left in the node."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def once() -> int:
        async with mailbox(port=port) as box:
            await sent(node)
            return len(box.mails)

    box = Mailbox()
    box.port = port
    node = channel(box)
    assert [asyncio.run(once()) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("tls", ["none", "starttls"])
async def test_a_run_that_is_cancelled_leaves_nothing(
    tls: str, certificate: tuple[ssl.SSLContext, Path]
) -> None:
    """In the middle of a mail: no task, no socket; the server sees the connection end."""
    context = None if tls == "none" else ssl.create_default_context(cafile=certificate[1])
    async with mailbox(None if tls == "none" else certificate[0]) as box:
        box.faults = ["slow"]
        node = channel(box, tls=tls, ssl_context=context)
        run = asyncio.create_task(Graph(node).run_async({"message": "x"}))
        await box.came.wait()
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        left = [task for task in asyncio.all_tasks() if "kaygraph" in repr(task.get_coro())]
        assert left == []
        await asyncio.wait_for(box.gone.wait(), 10)
        gc.collect()  # what is not closed warns, and warnings are errors
    assert box.mails == []


async def test_a_mail_whose_run_is_cancelled_does_not_arrive_later() -> None:
    """What the server has not accepted yet is discarded, and not sent later."""
    stuck, go_on = asyncio.Event(), asyncio.Event()
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while not (await reader.readline()).startswith(b"DATA"):
            writer.write(b"250 fine\r\n")
        writer.write(b"354 go on\r\n")
        await reader.readline()
        stuck.set()
        await go_on.wait()
        got = bytearray()
        with suppress(ConnectionError):
            while piece := await reader.read(2**20):
                got += piece
        received.set_result(bytes(got[-5:]))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    box = Mailbox()
    box.port = server.sockets[0].getsockname()[1]
    message = Message("\U0001f600" * 1_000_000)  # more than the system holds for a socket
    run = asyncio.create_task(sent(channel(box), message))
    await stuck.wait()
    run.cancel()
    await asyncio.wait([run])
    go_on.set()
    assert await asyncio.wait_for(received, 10) != b"\r\n.\r\n"
    server.close()
    await server.wait_closed()


async def test_the_connection_ends_with_a_run_that_fails_elsewhere() -> None:
    """It is idle when another node fails, and is closed nevertheless."""

    class Fails(Node[Any, Any]):
        async def exec(self, _: Any) -> Any:
            raise OSError("elsewhere")

    async with mailbox() as box:
        with pytest.raises(OSError, match="elsewhere"):
            await Graph(channel(box) >> Fails()).run_async({"message": "x"})
        await asyncio.wait_for(box.gone.wait(), 10)
    assert len(box.mails) == 1
