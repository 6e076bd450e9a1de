"""Why parts of a run wait: for what, who holds it, and until when."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ..limits.permits import KeyPermits, Permits
from ..limits.rate import RateClaim
from ..snapshot import Waiting, WaitKind
from ..streams.stage import Stage
from .caps import Caps
from .limits import breaker_waits
from .looking import Look, Seen
from .tokens import join_waits
from .whereabouts import asleep_s, exec_place, place_of, thread_places
from .words import holders_text, key_text, number_of, seconds_text

# The order in which they are listed: what nothing else explains comes first.
ORDER: Sequence[WaitKind] = (
    "loop", "answer", "permit", "key", "rate", "breaker", "retry", "source", "room", "items",
    "cache", "journal", "join", "executor", "process", "thread", "hook",
)  # fmt: skip


class Waits:
    """Finds what the tasks of a run wait for.

    Args:
        look: The inspection of the run.
        caps: Its permits.
        shows: Whether items and keys may be quoted.
    """

    def __init__(self, look: Look, caps: Caps, shows: bool) -> None:
        self._look, self._caps, self._shows = look, caps, shows

    def all(self) -> tuple[Waiting, ...]:
        """Return them: those that need a person first; within a kind, the longest queue first."""
        groups: dict[tuple[str, str, Any], list[Seen]] = {}
        for seen in self._look.seen:
            sayer = _SAYERS.get(seen.kind)
            if sayer is not None or seen.kind == "":
                groups.setdefault((seen.node, seen.kind, _target(seen)), []).append(seen)
        found: list[Waiting] = []
        for (_, kind, target), group in groups.items():
            said = _SAYERS.get(kind, Waits._in_hook)(self, group, target)
            if said is not None:
                found.append(said)
        found += breaker_waits(self._look)
        found += join_waits(self._look)
        found.sort(key=lambda wait: (ORDER.index(wait.kind), -wait.count, wait.node))
        return tuple(found)

    # --- limits -----------------------------------------------------------------------------------

    def _permit(self, group: Sequence[Seen], obstacle: Any) -> Waiting | None:
        node = group[0].node
        lines = self._caps.waiting.get(obstacle, ())
        count = sum(number for seen, number in lines if seen.node == node)
        if isinstance(obstacle, RateClaim):
            return self._rate(group, obstacle)
        if isinstance(obstacle, KeyPermits):
            return self._key(group, obstacle, count)
        assert isinstance(obstacle, Permits)
        owner, holders = self._caps.owner_of(obstacle), self._caps.holders_of(obstacle)
        held = obstacle.size - obstacle.free
        text = (
            f"{node!r} waits: {held} of {number_of(obstacle.size, 'permit')} of {owner} "
            f"{'is' if held == 1 else 'are'} held by {holders_text(holders) or 'unknown holders'}; "
            f"{count} wait{'s' if count == 1 else ''}"
        )
        return Waiting(node, "permit", count, owner, text, dict(holders))

    def _key(self, group: Sequence[Seen], obstacle: KeyPermits, count: int) -> Waiting:
        node, key = group[0].node, key_text(obstacle.key, self._shows)
        items = sorted(self._caps.items.get(obstacle, ()))
        held = obstacle.size - obstacle.free
        by = f"item {items[0]}" if len(items) == 1 else f"items {', '.join(map(str, items[:5]))}"
        if not items:
            return self._behind_first(node, obstacle, key, count)
        text = (
            f"{node!r} waits: {held} of {number_of(obstacle.size, 'permit')} of key {key} "
            f"{'is' if held == 1 else 'are'} held by {by}; {number_of(count, 'item')} of that key "
            f"wait{'s' if count == 1 else ''}"
        )
        holders = dict(self._caps.holders_of(obstacle))
        return Waiting(node, "key", count, f"key {key} of {node!r}", text, holders)

    def _behind_first(self, node: str, obstacle: KeyPermits, key: str, count: int) -> Waiting:
        """Items of a free key: the first of them takes it once it has everything it needs."""
        first = "the first of them"
        for seen in self._look.seen:
            waiter = seen.at.local("waiter") if seen.kind == "permit" and seen.at else None
            if waiter is not None and obstacle in waiter.caps and waiter.obstacle is not obstacle:
                other = waiter.obstacle
                of = (
                    repr(other.rate) if isinstance(other, RateClaim) else self._caps.owner_of(other)
                )
                first = f"item {seen.item}, which waits for {of}"
        text = (
            f"{node!r} waits: {number_of(count, 'item')} of key {key} "
            f"{'is' if count == 1 else 'are'} behind {first}"
        )
        return Waiting(node, "key", count, f"key {key} of {node!r}", text)

    def _rate(self, group: Sequence[Seen], first: RateClaim) -> Waiting:
        node, rate = group[0].node, first.rate
        claims = [seen.at.local("waiter").obstacle for seen in group if seen.at is not None]
        left = min(claim.seconds_left() for claim in claims)
        count = len(group)
        text = (
            f"{node!r} waits: {rate!r} is used up; the next call may begin in "
            f"{seconds_text(left)}; {count} wait{'s' if count == 1 else ''}"
        )
        return Waiting(node, "rate", count, repr(rate), text, seconds_left=left)

    def _retry(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        ends = [_ends(seen, self._look.now) for seen in group]
        left = min(ends)
        soonest = group[ends.index(left)]
        after = _last_error(soonest)
        attempt = 0 if soonest.slot is None else soonest.slot.attempts
        text = (
            f"{node!r} waits: {number_of(count, 'item')} for another attempt; "
            f"{'it' if count == 1 else 'the next'} begins in {seconds_text(left)}, after attempt "
            f"{attempt} failed{f' with {after}' if after else ''}"
        )
        return Waiting(node, "retry", count, "its next attempt", text, seconds_left=left)

    def _cached(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        text = f"{node!r} waits: {number_of(count, 'item')} for the result of an equal item"
        return Waiting(node, "cache", count, "the result of an equal item", text)

    # --- streams ----------------------------------------------------------------------------------

    def _room(self, group: Sequence[Seen], target: Any) -> Waiting | None:
        stage, node, count = group[0].owner, group[0].node, len(group)
        if not isinstance(stage, Stage):
            return None
        outbox, after = stage.outbox, self._after(stage)
        what = "its source" if after is stage else f"the buffer behind {node!r}"
        reader = "the reader of the stream" if after is None else repr(after.name)
        full = f"{len(outbox.items)} of {number_of(outbox.size, 'item')}"
        who = f"{what} waits" if after is stage else f"{node!r} waits"
        where = f"the buffer before {node!r}" if after is stage else what
        text = f"{who}: {where} is full ({full}), as {reader} is slower"
        since = max((self._look.now - began for began in _begun(group)), default=None)
        return Waiting(
            node, "room", count, f"room before {reader}", text.replace("its source", _source(node)),
            {} if after is None else {after.name: len(outbox.items)}, since=since,
        )  # fmt: skip

    def _items(self, group: Sequence[Seen], target: Any) -> Waiting | None:
        stage, node, count = group[0].owner, group[0].node, len(group)
        if not isinstance(stage, Stage):
            return None
        if group[0].at is not None and group[0].at.local("is_full"):
            return self._out_of_order(stage, group)
        before = self._before(stage)
        giver = _source(node) if before is None else repr(before.name)
        at_work = sum(seen.has_item for seen in self._look.seen if seen.owner is stage)
        if at_work:
            return None  # some of its workers have items: the others are not needed
        since = max((self._look.now - began for began in _begun(group)), default=None)
        doing = "" if before is None else self._doing(before)
        text = f"{node!r} waits: its buffer is empty, as {giver} has no output yet{doing}"
        holders = {} if before is None else {before.name: 1}
        return Waiting(node, "items", count, f"an item of {giver}", text, holders, since=since)

    def _doing(self, stage: Stage) -> str:
        number = sum(seen.has_item for seen in self._look.seen if seen.owner is stage)
        return f": it works on {number_of(number, 'item')}" if number else ""

    def _out_of_order(self, stage: Stage, group: Sequence[Seen]) -> Waiting | None:
        if any(seen.owner is stage and seen.kind == "room" for seen in self._look.seen):
            return None  # the buffer behind it explains it
        assert stage.order is not None
        first, kept = stage.order.next, stage.order.kept
        text = (
            f"{stage.name!r} waits: {number_of(kept, 'result')} behind item {first}, which has not "
            "ended, as results keep the order of the items (ordered=False lets them go on)"
        )
        return Waiting(stage.name, "room", len(group), f"item {first}", text, {stage.name: 1})

    def _before(self, stage: Stage) -> Stage | None:
        for _, stages in self._look.lines:
            for before, after in pairwise(stages):
                if after is stage:
                    return before
        return None

    def _after(self, stage: Stage) -> Stage | None:
        for _, stages in self._look.lines:
            if stage not in stages:  # it feeds the first one
                if stages and stages[0].inbox is stage.outbox:
                    return stage if stage.node is stages[0].node else stages[0]
                continue
            for before, after in pairwise(stages):
                if before is stage:
                    return after
        return None

    def _reader(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        text = f"{node!r} waits: the reader of the stream has not taken the available results"
        return Waiting(node, "room", count, "the reader of the stream", text)

    def _source(self, group: Sequence[Seen], source: Any) -> Waiting:
        node, count = group[0].node, len(group)
        reader = self._look.readers.get(source)
        place = None if reader is None else place_of(source.reads_from)
        where = "" if place is None else f", at {place}"
        owner = group[0].owner
        given = getattr(owner, "pulled", 0) or getattr(owner, "taken", 0)
        so_far = f"no item after {number_of(given, 'item')}" if given else "no item yet"
        text = f"{node!r} waits for its source, which has yielded {so_far}{where}"
        return Waiting(node, "source", count, "its source", text)

    def _reading(self, group: Sequence[Seen], source: Any) -> Waiting | None:
        """A source without a known waiter: that of a pipeline."""
        if any(seen.kind == "source" and _target(seen) is source for seen in self._look.seen):
            return None
        return self._source(group, source)

    # --- where exec runs --------------------------------------------------------------------------

    def _elsewhere(self, group: Sequence[Seen], kind: WaitKind, text: str) -> Waiting:
        return Waiting(group[0].node, kind, len(group), f"a {kind}", text)

    def _in_thread(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        places = thread_places(self._look).get(node, [])
        where = f", at {places[0]}" if places else ""
        text = f"{node!r} runs: {number_of(count, 'call')} of exec in threads{where}"
        return Waiting(node, "thread", count, "a thread", text)

    def _in_process(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        text = f"{node!r} runs: {number_of(count, 'call')} of exec in worker processes"
        return Waiting(node, "process", count, "a process", text)

    def _in_executor(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        executor = None if group[0].at is None else group[0].at.local("executor")
        size = getattr(executor, "_max_workers", None)
        name = type(executor).__name__
        text = f"{node!r} runs: {number_of(count, 'call')} of exec in {name}"
        if isinstance(size, int):
            behind = count - size
            text += f", which has {number_of(size, 'worker')}"
            text += f": {behind} wait{'s' if behind == 1 else ''} there" if behind > 0 else ""
        return Waiting(node, "executor", count, name, text)

    def _in_hook(self, group: Sequence[Seen], place: Any) -> Waiting | None:
        if place is None:
            return None
        node, count = group[0].node, len(group)
        sleeps = [s for seen in group if (s := asleep_s(seen.calls, self._look.now)) is not None]
        left = min(sleeps, default=None)
        asleep = "" if left is None else f", asleep for another {seconds_text(left)}"
        what = f"{count} calls await" if count > 1 else "a call awaits"
        text = f"{node!r} runs: {what} at {place}{asleep}"
        return Waiting(node, "hook", count, place, text, seconds_left=left)

    # --- a person ---------------------------------------------------------------------------------

    def _answer(self, group: Sequence[Seen], _: Any) -> Waiting | None:
        node, count = group[0].node, len(group)
        at = group[0].at
        wait, journal = (None, None) if at is None else (at.local("wait"), at.local("self"))
        if wait is None or journal is None:  # it was not asked yet
            return None
        what = repr(wait.name) if count == 1 else f"{wait.name!r}, of {count} items"
        left = None if wait.until is None else max(0.0, wait.until - time.time())
        until = "" if left is None else f", for another {seconds_text(left)}"
        text = (
            f"{node!r} waits for an answer to {what}{until}; to give "
            f"{'one' if count == 1 else 'the first'}: {journal.notice.command(wait.id)}"
        )
        return Waiting(node, "answer", count, f"an answer to {what}", text, seconds_left=left)

    def _journal(self, group: Sequence[Seen], _: Any) -> Waiting:
        node, count = group[0].node, len(group)
        text = f"{node!r} waits: its journal is being written"
        return Waiting(node, "journal", count, "its journal", text)


def _target(seen: Seen) -> Any:
    """Return what tasks wait for together."""
    at = seen.at
    if at is None or seen.kind == "":
        return exec_place(seen.calls)
    match seen.kind:
        case "permit":
            waiter = at.local("waiter")
            obstacle = None if waiter is None else waiter.obstacle
            return id(obstacle.rate) if isinstance(obstacle, RateClaim) else obstacle
        case "source" | "reading":
            return at.local("self")
        case "room" | "items":
            return seen.owner, bool(at.local("is_full"))
        case "answer":
            question = at.local("question")
            return None if question is None else question.name
        case "executor":
            return id(at.local("executor"))
        case _:
            return None


def _begun(group: Sequence[Seen]) -> Iterator[float]:
    for seen in group:
        began = None if seen.at is None else seen.at.local("began")
        if began is not None:
            yield began


def _source(node: str) -> str:
    return f"the source of {node!r}"


def _ends(seen: Seen, now: float) -> float:
    """Return how long a pause between two attempts still lasts."""
    assert seen.at is not None
    return max(0.0, (seen.at.local("since") or now) + (seen.at.local("seconds") or 0.0) - now)


def _last_error(seen: Seen) -> str:
    for call in reversed(seen.calls):
        if call.name == "node.call:Calls._retried":
            last = call.local("last")
            return "" if last is None else type(last).__name__
    return ""


_SAYERS: dict[str, Callable[[Waits, Sequence[Seen], Any], Waiting | None]] = {
    "permit": lambda waits, group, _: waits._permit(group, _obstacle(group)),
    "retry": Waits._retry,
    "cache": Waits._cached,
    "room": Waits._room,
    "items": Waits._items,
    "reader": Waits._reader,
    "source": Waits._source,
    "reading": Waits._reading,
    "thread": Waits._in_thread,
    "process": Waits._in_process,
    "executor": Waits._in_executor,
    "answer": Waits._answer,
    "journal": Waits._journal,
}


def _obstacle(group: Sequence[Seen]) -> Any:
    at = group[0].at
    return None if at is None else at.local("waiter").obstacle
