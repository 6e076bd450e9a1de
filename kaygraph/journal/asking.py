"""What hooks ask of a recorded run: facts that never change, and answers from outside."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from threading import get_ident
from time import time
from typing import Any, TypeVar

from ..aio.cancelling import cancel
from ..errors import AttemptTimeoutError, JournalError
from ..graph.graph import Graph
from ..groups.branches import BranchGroup
from ..limits.clock import has_own_clock
from ..run.frame import FRAME
from ..run.here import Here
from ..run.recorder import Question
from ..run.run import Run
from .answers import Answers
from .encoding import Encoding
from .log import ANSWERED, NOTED, PAYLOAD, VOID, Log
from .position import POSITION, Position
from .settings import Settings
from .state import State
from .store import Answer, RunInfo
from .waiting import ID, Wait, WaitNotice, Waits, entry_of, id_of, once_more, wait_of
from .writer import Writer

T = TypeVar("T")

# A wait with a shorter timeout does not end the process: the run would be resumed only to time out.
SOON_S = 10.0
AGAIN_S = 0.02  # after reading or writing something that may let the run continue


class Asked:
    """An open wait: its entry, and the number of the look that has seen all answers to it."""

    __slots__ = ("key", "number", "wait")

    def __init__(self, key: bytes, wait: Wait) -> None:
        self.key, self.wait = key, wait
        self.number: int | None = None  # None: not committed yet


class Asking(State):
    """The part of a run's journal that answers its hooks.

    Args:
        info: What the store knows about the run.
        answers: Returns the existing answers; called in the writer's thread.
        notified: See ``Answers``.
        notice: Reports what the run waits for.

    Attributes:
        leaves: The run is ending early: it waits, or drains and waits for what has not begun.
        left: The waits that it has ended with.
        info: What the store knows about the run.
    """

    def __init__(
        self,
        log: Log,
        settings: Settings,
        encoding: Encoding,
        run: Run,
        writer: Writer,
        info: RunInfo,
        answers: Callable[[], list[Answer]],
        notified: Callable[[int, float], Awaitable[object]] | None,
        notice: WaitNotice,
    ) -> None:
        super().__init__(log, settings, encoding, run, writer)
        self.left: Waits | None = None
        self.leaves = False
        self.waits: dict[Asked, None] = {}
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()
        self.info, self.notice = info, notice
        self._answers = Answers(lambda: writer.call(answers), self._unreadable, notified)
        self._said: set[bytes] = set()
        self._cancelled_before = 0
        run.read(self.motion.look)  # a draining run does not keep waiting
        if self.changes:  # what it waited for is asked again if the run reaches it again
            for key in log.waits.keys() - log.answered:
                del log.waits[key]
                self.add([VOID, key])

    @property
    def is_cancelled(self) -> bool:
        """Whether something else has cancelled the run, too."""
        return self._run.task is not None and self._run.task.cancelling() > self._cancelled_before

    async def close(self) -> None:
        """End the background tasks of the run."""
        self._run.read_out(self.motion.look)
        self.motion.close()
        await self._answers.close()

    def _unreadable(self, error: Exception) -> None:
        self.fatal(error if isinstance(error, JournalError) else JournalError(str(error)))

    # --- facts ------------------------------------------------------------------------------------

    def here(self) -> Here:
        position = POSITION.get()
        if position.here is None:
            run = self.info.run.encode(errors="surrogatepass")
            key = blake2b(run, digest_size=16, key=position.digest).hexdigest()
            seed = blake2b(position.digest, digest_size=32, key=self.info.seed).digest()
            position.here = Here(key, seed)
        return position.here

    def replays(self, node: Any) -> bool:
        position, find = POSITION.get(), self.turns.find
        if isinstance(node, Graph | BranchGroup):
            return not self.turns.are_over
        return (find(position.digest) or find(position.key("left"))) is not None

    def now(self) -> float:
        return self._note("now", self._time)

    def _time(self) -> float:
        return self._loop.time() if has_own_clock(self._loop) else time()

    def _note(self, what: str, make: Callable[[], T]) -> T:
        """Return what a hook has asked for, with the value of the first time, in any process."""
        position = POSITION.get()
        key, _ = position.key_of_next(what, FRAME.get().attempt)
        noted = position.noted
        if key not in noted:
            entry = self.log.entries.pop(key, None)
            if entry is not None:
                noted[key] = self.encoding.decode(entry[PAYLOAD])
            else:
                noted[key] = value = make()
                made = [NOTED, key, 0, self.encoding.encode(value, what)]
                if get_ident() == self._thread:
                    self.add(made)
                else:
                    self._loop.call_soon_threadsafe(self.add, made)
        found: T = noted[key]
        return found

    # --- answers ----------------------------------------------------------------------------------

    async def answered(self, node: Any, question: Question) -> Any:
        position = POSITION.get()
        name = question.name
        key, number = position.key_of_next(f"wait {name}", FRAME.get().attempt)
        wait = self._asked(position, key, number, node, question)
        known = self.log.entries.get(key)
        if known is not None and known[0] == ANSWERED:
            return self.encoding.decode(known[PAYLOAD])
        asked = Asked(key, wait)
        self.waits[asked] = None
        self.motion.stop(position)
        try:
            await self.committed()
            asked.number = self._answers.number()
            self._answers.hurry()
            data, took = await self._answer(wait, question)
        finally:
            del self.waits[asked]
            self.motion.go_on(position)
        entry = [ANSWERED, key, self.number_of(node, position.name), data, took]
        self.log.entries[key] = entry  # another attempt asks again
        if took is not None:
            self.log.taken.add(took)
        self.add(entry)
        return self.encoding.decode(data)

    def _asked(
        self, position: Position, key: bytes, number: int, node: Any, question: Question
    ) -> Wait:
        """Return a wait, which is recorded when it is first asked.

        A different question is a different wait: an answer belongs to the question that was shown.
        """
        now, name, before = self._time(), question.name, self.log.waits.get(key)
        ask = self.encoding.encode(question.ask, f"what {name!r} asks")
        id_ = id_of(position.path, name, number)
        if before is not None:
            known = wait_of(before, self.encoding)
            if key not in self.log.asked_again and question.ask == known.ask:
                return known
            self.log.asked_again.discard(key)
            self.log.entries.pop(key, None)
            id_ = once_more(known.id, id_)
        until = None if question.timeout is None else now + question.timeout
        wait = Wait(id_, name, question.ask, question.schema, now, until)
        entry = entry_of(key, self.number_of(node, position.name), position.path, wait, ask)
        self.log.waits[key] = entry
        self.add(entry)
        return wait

    async def _answer(self, wait: Wait, question: Question) -> tuple[bytes, str | None]:
        """Return the encoded answer to a wait and its name; None as the name means the default."""
        left = None if wait.until is None else max(0.0, wait.until - self._time())
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                while True:
                    await self._answers.look()
                    if (found := self._found(wait)) is not None:
                        return found.data, found.name
        await self._answers.look()
        if (found := self._found(wait)) is not None:
            return found.data, found.name
        if question.has_default:
            what = f"the default of {wait.name!r}"
            return self.encoding.encode(question.default, what), None
        raise AttemptTimeoutError(
            f"nobody answered {wait.id!r} within timeout={question.timeout:g} s: give a default, "
            "or a longer timeout"
        )

    def _found(self, wait: Wait) -> Answer | None:
        found = self._answers.found
        if wait.id in found:
            return found[wait.id]
        # Answered early, by name only: it belongs to the first wait of that name.
        early = found.get(wait.name)
        if early is None or wait.name in self.log.taken:
            return None
        is_of_other = any(entry[ID] == wait.name for entry in self.log.waits.values())
        return None if is_of_other else early

    def _is_reading(self) -> bool:
        """Whether the run waits for an item of a source."""
        runs = self._run.with_joined()
        return any(reads() for run in runs for reads in run.sources.values())

    def _only_waits(self) -> float | None:
        """Leave the run if only an answer lets it continue."""
        if not self.waits:
            return None
        seen = all(
            asked.number is not None and self._answers.has_looked(asked.number)
            for asked in self.waits
        )
        if not seen or self._writer.is_busy or self._is_reading():
            return AGAIN_S
        waiting = [asked.wait for asked in self.waits]
        ends = min((wait.until for wait in waiting if wait.until is not None), default=None)
        drains = self._run.draining
        stays = self.settings.on_wait == "stay" and not drains
        if not (stays or drains) and ends is not None and ends - self._time() <= SOON_S:
            return max(AGAIN_S, ends - self._time())
        new = [asked.wait for asked in self.waits if asked.key not in self._said]
        self._said.update(asked.key for asked in self.waits)
        if new:
            self.notice(new)
        if not stays:
            self.left = Waits(waiting)
            self.leave()
        return None

    def leave(self) -> None:
        """End the run so that it can be resumed."""
        self.leaves = True
        if self._run.task is not None:
            self._cancelled_before = self._run.task.cancelling()
            cancel(self._run.task)
