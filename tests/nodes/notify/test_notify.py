"""A message over several channels at once: each ends on its own, and is accounted for once."""

import asyncio
from collections import Counter
from typing import Any

import pytest
import structlog
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import BatchGraph, Graph, Node, Outcome, RateLimit, first_of
from kaygraph.errors import AttemptTimeoutError, Drop
from kaygraph.nodes import (
    SMS,
    Channel,
    ChatWebhook,
    Delivery,
    Email,
    HTTPStatusError,
    Log,
    MailError,
    Message,
    NotDeliveredError,
    NotifyNode,
    Webhook,
)
from kaygraph.nodes.errors import MessageError, MissingInputError
from kaygraph.testing import assert_accounted, cancel_everywhere, capture_events
from tests.children import python
from tests.receiving import Mailbox, Receiver, mailbox, receiver

pytestmark = pytest.mark.anyio


class Kept(Channel):
    """A channel of one's own: it keeps the messages that it gets."""

    def __init__(self, kept: list[Message], error: Exception | None = None, **given: Any) -> None:
        super().__init__(**given)
        self.kept, self.failure = kept, error

    async def exec(self, message: Message, /) -> Delivery:
        self.kept.append(message)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return Delivery(message.key)


def email(box: Mailbox, **given: Any) -> Email:
    given = {"to": "ann@example.org", "wait": 0} | given
    return Email("127.0.0.1", "alerts@example.org", port=box.port, tls="none", **given)


def sms(server: Receiver, **given: Any) -> SMS:
    server.answers = {"sid": "SM1"}
    return SMS("AC1", "t", "+4711111111", to="+4790000000", url=server.url, wait=0, **given)


async def notified(node: NotifyNode, message: Any = "Disk full") -> list[Outcome[Any]]:
    shared = {"message": message}
    await node.run_async(shared)
    outcomes: Any = shared["deliveries"]
    return outcomes  # type: ignore[no-any-return]


async def test_five_channels_get_the_message_with_the_same_key() -> None:
    """At once, each once; the outcomes come in the order in which the channels are written."""
    async with receiver() as hook, receiver() as phones, mailbox() as box:
        with structlog.testing.capture_logs() as lines, capture_events() as events:
            chat = ChatWebhook(hook.url + "/chat")
            node = NotifyNode(Webhook(hook.url), chat, email(box), sms(phones), Log())
            outcomes = await notified(node, {"text": "Disk full", "subject": "db1"})
    assert [one.name for one in outcomes] == ["Webhook", "ChatWebhook", "Email", "SMS", "Log"]
    assert {one.status for one in outcomes} == {"ok"}
    (key,) = {one.value.key for one in outcomes}
    assert [*hook.keys, *phones.keys, lines[0]["key"]] == [key] * 4
    assert len(box.mails) == 1
    assert outcomes[3].value.reference == "SM1"
    assert_accounted(events)


async def test_what_one_channel_fails_with_does_not_stop_the_others() -> None:
    """One is dead for good, one for a while: each has one outcome, and the others deliver."""
    async with receiver() as dead, receiver() as flaky, mailbox() as box:
        dead.faults = [web.Response(status=500) for _ in range(9)]
        flaky.faults = ["lost", web.Response(status=503), "reset"]
        box.faults = ["554 no"]
        node = NotifyNode(
            Webhook(dead.url, max_retries=2, wait=0, name="dead"),
            Webhook(flaky.url, wait=0, name="flaky"),
            email(box),
            Log(),
        )
        with structlog.testing.capture_logs() as lines:
            outcomes = await notified(node)
    by_name = {one.name: one for one in outcomes}
    assert Counter(one.status for one in outcomes) == {"failed": 2, "ok": 2}
    assert isinstance(by_name["dead"].error, HTTPStatusError)
    assert isinstance(by_name["Email"].error, MailError)
    assert (by_name["dead"].attempts, len(dead.received)) == (2, 2)
    assert (by_name["flaky"].attempts, len(flaky.received)) == (4, 4)
    # The same key over all attempts and channels, and one effect of it.
    assert {*dead.keys, *flaky.keys, lines[0]["key"]} == {by_name["flaky"].value.key}
    assert list(flaky.done) == [by_name["flaky"].value.key]


async def test_each_channel_has_limits_of_its_own() -> None:
    """A slow one is cut off at its timeout, while another takes its time."""
    async with receiver() as slow:
        slow.faults = ["slow"]
        kept: list[Message] = []
        rate = RateLimit(1, per=0.2)
        quick = Webhook(slow.url, timeout=0.5, max_retries=1)
        node = NotifyNode(quick, Kept(kept, rate=rate))
        first, second = await asyncio.gather(notified(node), notified(node, "another"))
    assert [one.status for one in first] == ["timed_out", "ok"]
    assert isinstance(first[0].error, AttemptTimeoutError)
    assert [one.status for one in second] == ["ok", "ok"]
    assert second[1].seconds >= 0.19  # it waited for its turn


async def test_the_same_node_may_send_many_messages_at_once() -> None:
    """Each run has its own key, which all its channels see; the node is not changed."""
    left: list[Message] = []
    right: list[Message] = []
    node = NotifyNode(Kept(left), Kept(right))
    before = dict(vars(node))
    runs = await asyncio.gather(*(notified(node, f"number {n}") for n in range(30)))
    assert {m.text: m.key for m in left} == {m.text: m.key for m in right}
    assert len({m.key for m in left}) == 30
    assert all(one.value.key == runs[n][0].value.key for n in range(30) for one in runs[n])
    assert dict(vars(node)) == before


async def test_a_message_that_is_read_keeps_its_key_and_the_store_is_left_alone() -> None:
    """Nothing but the outcomes is written."""
    message = Message("text", key="order-17-paid")
    shared: dict[str, Any] = {"alert": message, "other": 1}
    node = NotifyNode(Kept([]), reads="alert", writes="sent")
    await Graph(node).run_async(shared)
    assert shared["alert"] is message
    assert shared.keys() == {"alert", "other", "sent"}
    assert shared["sent"][0].value == Delivery("order-17-paid")
    await NotifyNode(Log(), writes=None).run_async(shared | {"message": "x"})
    assert shared.keys() == {"alert", "other", "sent"}
    with pytest.raises(MissingInputError, match="alert"):
        await node.run_async({})
    with pytest.raises(MessageError, match="got a int"):
        await node.run_async({"alert": 3})


@pytest.mark.parametrize(
    ("failures", "required", "raised"),
    [(3, None, True), (2, None, False), (1, 3, True), (0, 3, False), (3, 0, False), (2, 2, True)],
)
async def test_too_few_deliveries_are_an_error(
    failures: int, required: int | None, raised: bool
) -> None:
    """After all have come to their end; it keeps each error, and the outcomes."""
    errors = [OSError(f"number {n}") if n < failures else None for n in range(3)]
    kept: list[Message] = []
    node = NotifyNode(*(Kept(kept, error) for error in errors), required=required)
    if not raised:
        outcomes = await notified(node)
        assert [one.error for one in outcomes] == errors
    else:
        with pytest.raises(NotDeliveredError) as caught:
            await notified(node)
        assert list(caught.value.exceptions) == errors[:failures]
        assert [one.ok for one in caught.value.outcomes] == [error is None for error in errors]
        assert f"{3 - failures} of 3 channels of 'NotifyNode'" in str(caught.value)
        assert caught.value.derive([OSError()]).outcomes == caught.value.outcomes
    assert len(kept) == 3


async def test_what_was_not_delivered_leads_on_by_the_error_route() -> None:
    """The node there has the outcomes as well."""

    class Page(Node[Any, Any]):
        def post(self, shared: Any, _: Any, __: Any) -> None:
            shared["page"] = [one.status for one in self.outcomes], type(self.error)

    shared: dict[str, Any] = {"message": "x"}
    notify = NotifyNode(Kept([], OSError()), Kept([], Drop()))
    notify - "error" >> Page()
    await Graph(notify).run_async(shared)
    assert shared["page"] == (["failed", "skipped"], NotDeliveredError)


async def test_a_branch_may_be_more_than_a_channel() -> None:
    """The first of two that delivers; its shared store is the message, and nothing else."""

    class Sees(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return shared

        async def exec(self, message: Any) -> Any:
            return message

    async with receiver() as server:
        server.faults = [web.Response(status=404)]
        group = first_of(Webhook(server.url), Kept(kept := []))
        outcomes = await notified(NotifyNode(group, Sees()), "text")
    assert outcomes[0].value == [Delivery(kept[0].key)]
    assert outcomes[1].value is kept[0]


async def test_what_a_channel_writes_counts_where_it_stands_alone() -> None:
    """In a NotifyNode its store is the message: what has been delivered does not fail of that."""
    kept: list[Message] = []
    channel = Kept(kept, reads="alert", writes="delivery")
    (outcome,) = await notified(NotifyNode(channel))
    assert outcome.value == Delivery(kept[0].key)
    shared: dict[str, Any] = {"alert": "Disk full"}
    await channel.run_async(shared)
    assert shared["delivery"] == Delivery(kept[1].key)


async def test_a_notify_node_may_be_a_channel() -> None:
    """For example of a team, of which one must get it; its channels get the same message."""
    kept: list[Message] = []
    ops = NotifyNode(Kept(kept, OSError()), Kept(kept), name="ops")
    sales = NotifyNode(Kept(kept, OSError()), name="sales")
    shared: dict[str, Any] = {"message": "Disk full"}
    await NotifyNode(ops, sales).run_async(shared)
    first, second = shared["deliveries"]
    assert (first.name, first.value) == ("ops", [Delivery(kept[0].key)])
    assert (second.name, type(second.error)) == ("sales", NotDeliveredError)
    assert len({message.key for message in kept}) == 1
    assert shared.keys() == {"message", "deliveries"}


async def test_prep_may_say_the_message() -> None:
    """For example of the current round: many rounds at once read one store."""

    class Tell(NotifyNode):
        writes = None

        def prep(self, shared: Any) -> str:
            return f"Hello {self.params['name']}"

    class Everyone(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"name": name} for name in shared["names"]]

    kept: list[Message] = []
    names = [f"number {n}" for n in range(20)]
    await Everyone(Tell(Kept(kept)), max_workers=5).run_async({"names": names})
    assert sorted(m.text for m in kept) == sorted(f"Hello {name}" for name in names)
    assert len({m.key for m in kept}) == 20


def test_settings_that_cannot_work_are_refused() -> None:
    """At construction, with what to type."""
    with pytest.raises(TypeError, match="at least one"):
        NotifyNode()
    with pytest.raises(ValueError, match="required=3, but there are only 2 channels"):
        NotifyNode(Log(), Log(), required=3)
    with pytest.raises(ValueError, match="number of channels"):
        NotifyNode(Log(), required=True)
    with pytest.raises(TypeError, match="Did you mean 'reads'"):
        NotifyNode(Log(), read="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a branch is a node"):
        NotifyNode("Log")


def test_a_run_cancelled_at_any_step_leaves_nothing() -> None:
    """No task, and each channel that had begun has ended once."""

    class Slow(Channel):
        async def exec(self, message: Message, /) -> Delivery:
            await asyncio.sleep(1)
            if self.attempt == 1:
                raise OSError
            return Delivery(message.key)

    def graph() -> Graph:
        return Graph(NotifyNode(Slow(max_retries=2, wait=1), Kept([], OSError()), Kept([])))

    points = cancel_everywhere(graph(), lambda: {"message": "x"}, seeds=3)
    assert points > 50


async def test_cancelled_among_requests_and_mails_nothing_is_left() -> None:
    """Both are in the middle of it: no task continues, and both connections end."""
    async with receiver() as server, mailbox() as box:
        server.faults, box.faults = ["slow"], ["slow"]
        node = NotifyNode(Webhook(server.url), email(box), Kept(kept := []))
        run = asyncio.create_task(notified(node))
        await asyncio.gather(server.came.wait(), box.came.wait())
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        left = [task for task in asyncio.all_tasks() if "kaygraph" in repr(task.get_coro())]
        assert left == []
        await asyncio.wait_for(box.gone.wait(), 10)
    assert len(kept) == 1
    assert box.mails == []


def test_the_node_loads_no_library_that_it_does_not_need() -> None:
    """Neither the HTTP client nor the mail client."""
    code = (
        "import sys; from kaygraph.nodes import NotifyNode, Message; "
        "print([name for name in ('aiohttp', 'aiosmtplib', 'structlog') if name in sys.modules])"
    )
    assert python("-c", code, check=True).stdout.strip() == "[]"


# --- Message -------------------------------------------------------------------------------------


def test_a_message_is_made_of_a_string_a_mapping_or_itself() -> None:
    """Each with its own key, unless one is given."""
    message = Message("x", subject="s", key="k", to="ann@example.org", data={"a": 1})
    assert Message.of(message) is message
    assert Message.of("x").text == "x"
    assert Message.of("x").key != Message.of("x").key
    fields = {"text": "x", "subject": "s", "key": "k", "to": ["ann@example.org"], "data": {"a": 1}}
    assert Message.of(fields) == message
    with pytest.raises(MessageError, match="Did you mean 'subject'"):
        Message.of({"text": "x", "sujbect": "s"})
    with pytest.raises(MessageError, match="needs a text"):
        Message.of({"subject": "s"})


def test_a_message_shows_nothing_of_what_it_says() -> None:
    """It may hold a password for once; its key is enough to find it."""
    message = Message("code 4711", subject="sub", to="ann@example.org", key="k", data={"a": "b"})
    assert repr(message) == "Message(key='k')"


def test_recipients_are_given_for_all_or_by_channel() -> None:
    """Each is there once; a channel that is not named gets nothing."""
    assert Message("x", to=["a", "b", "a"]).recipients("SMS") == ("a", "b")
    by_name = Message("x", to={"SMS": "+47", "Email": ["a@b", "c@d"]})
    assert by_name.recipients("SMS") == ("+47",)
    assert by_name.recipients("Email") == ("a@b", "c@d")
    assert by_name.recipients("Pager") == Message("x").recipients("SMS") == ()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"text": " \n"}, "text of a message"),
        ({"text": None}, "text of a message"),
        ({"text": "x" * 1_000_001}, "at most 1000000 characters"),
        ({"text": "\ud800"}, "surrogate"),
        ({"text": "x", "subject": "a\r\nBcc: eve@example.org"}, "subject must be one line"),
        ({"text": "x", "subject": ""}, "subject must be one line"),
        ({"text": "x", "to": "a@b\r\nRCPT TO:<c@d>"}, "to must be one line"),
        ({"text": "x", "to": {"SMS": 47}}, r"to\['SMS'\] must be an address"),
        ({"text": "x", "key": "two words"}, "must be a word in ASCII"),
        ({"text": "x", "key": "a\r\nX-Evil: 1"}, "must be a word in ASCII"),
        ({"text": "x", "data": [1]}, "data must be a mapping"),
    ],
)
def test_a_message_that_is_none_is_refused(fields: Any, why: str) -> None:
    """When it is made, so that no channel has to look again."""
    with pytest.raises(MessageError, match=why):
        Message(**fields)


@given(st.text(), st.text())
def test_no_subject_and_no_key_of_a_message_can_end_a_line(subject: str, key: str) -> None:
    """Whatever text it is made of."""
    try:
        message = Message("x", subject=subject, key=key)
    except MessageError:
        return
    assert message.subject is not None
    assert len(message.subject.splitlines()) == 1
    assert message.key.isprintable()
    assert message.key.isascii()
    assert " " not in message.key
