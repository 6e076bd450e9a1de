"""What a run waits for from outside, and the answers from other processes."""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from .._addresses import shown
from .._formatting import redacted
from .._schemas import misfit
from ..errors import WaitUnknownError, closest
from .encoding import Encoding
from .log import PATH, PAYLOAD, WAITING, Entry, Log
from .store import Answer, answered
from .turns import around

SHOWN = 300  # characters of the question

# The indexes of these in an entry of the kind WAITING.
SCHEMA, ASKED, UNTIL, ID, NAME = 4, 5, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Wait:
    """What a run waits for.

    Attributes:
        id: Unique among the waits of the run: ``"approval"``, for the third visit in a
            loop ``"approval#2"``; for an item of a batch ``"Review[…]:approval"``.
        name: The node's name for it.
        ask: The question for the person who answers.
        schema: The JSON schema of the answer, or None.
        asked: When it was asked, in seconds since 1970.
        until: When it times out, in seconds since 1970, or None.
    """

    id: str
    name: str
    ask: Any = None
    schema: dict[str, Any] | None = None
    asked: float = 0.0
    until: float | None = None


class Waits(str):
    """What ``run`` returns if everything left waits for answers: the string ``"waits"``.

    Attributes:
        waiting: The waits, in the order in which they were asked.
    """

    waiting: tuple[Wait, ...]

    def __new__(cls, waiting: Iterable[Wait] = ()) -> Self:
        self = super().__new__(cls, "waits")
        self.waiting = tuple(waiting)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Waits, (self.waiting,)


def entry_of(key: bytes, number: int, path: str, wait: Wait, ask: bytes) -> Entry:
    """Return the entry that records a wait."""
    return [
        WAITING, key, number, ask, wait.schema, wait.asked, path, wait.until, wait.id, wait.name,
    ]  # fmt: skip


def wait_of(entry: Entry, encoding: Encoding) -> Wait:
    """Return the wait that an entry records."""
    return Wait(
        entry[ID],
        entry[NAME],
        encoding.decode(entry[PAYLOAD]),
        entry[SCHEMA],
        entry[ASKED],
        entry[UNTIL],
    )


def id_of(path: str, name: str, number: int) -> str:
    """Return the id of a wait: that of its node, and its name if the node has another one."""
    path = path.replace("[]", "")
    last = path.rpartition("/")[2]
    if number:
        return f"{path}:{name}#{number}"
    return path if last.partition("#")[0] == name else f"{path}:{name}"


def once_more(last: str, first: str) -> str:
    """Return the id of a wait that is asked again, from the last and the first one."""
    times = int(last.removeprefix(f"{first}~")) if last != first else 1
    return f"{first}~{times + 1}"


def pending(log: Log, answers: Iterable[Answer]) -> Iterator[Entry]:
    """Yield the entries of unanswered waits that have not ended otherwise."""
    known = {answer.name for answer in answers}
    over = {point.path for point in log.points}
    for key, entry in log.waits.items():
        ended = key in log.answered or not over.isdisjoint(around(entry[PATH]))
        if not (ended or entry[ID] in known):
            yield entry


def addressed(
    run: str, name: str, value: Any, log: Log, answers: Iterable[Answer], early: bool
) -> str:
    """Return the name under which an answer is stored, after checking it.

    Raises:
        WaitUnknownError: No wait has that id or name, or several have it.
        AlreadyAnsweredError: It has been answered before.
        ValueError: It does not fit the schema.
    """
    answers = list(answers)
    waits = list(pending(log, answers))
    found = [entry for entry in waits if entry[ID] == name]
    found = found or [entry for entry in waits if entry[NAME] == name]
    if len(found) > 1:
        listed = ", ".join(repr(entry[ID]) for entry in found)
        raise WaitUnknownError(f"run {run!r} waits for {name!r} in several places: {listed}")
    if found:
        schema = found[0][SCHEMA]
        wrong = None if schema is None else misfit(value, schema, "journal")
        if wrong is not None:
            raise ValueError(f"the answer to {name!r} does not fit its schema, at {wrong}")
        return str(found[0][ID])
    if early:
        return name
    known = [entry for entry in log.waits.values() if name in (entry[ID], entry[NAME])]
    if known or any(answer.name == name for answer in answers):
        raise answered(run, name)
    if waits:
        listed = ", ".join(repr(entry[ID]) for entry in waits)
        names = [text for entry in waits for text in (entry[ID], entry[NAME])]
        raise WaitUnknownError(
            f"run {run!r} does not wait for {name!r}, only for {listed}.{closest(name, names)} To "
            "answer what has not been asked yet: early=True, or --early"
        )
    return name


@dataclass(frozen=True, slots=True)
class WaitNotice:
    """Reports on standard error what a run waits for, and how to answer."""

    run: str
    address: str | os.PathLike[str]
    goes_on: bool

    def __call__(self, waits: Iterable[Wait]) -> None:
        lines = [f"kaygraph: run {self.run!r} waits for an answer:"]
        for wait in waits:
            what = f": {asked(wait.ask)}" if wait.ask is not None else ""
            lines += [f"  {wait.id}{what}", f"  to answer: {self.command(wait.id)}"]
        if not self.goes_on:
            lines.append("then resume it: the same call of run() again, or kaygraph runs resume")
        print("\n".join(lines), file=sys.stderr)

    def command(self, wait: str) -> str:
        """Return the command that answers a wait."""
        return answer_command(self.address, self.run, wait)


def answer_command(address: str | os.PathLike[str], run: str, wait: str) -> str:
    """Return the command that answers a wait, with JSON for the answer."""
    words = "--journal", shown(address), run, wait
    return f"kaygraph runs answer {shlex.join(words)} JSON"


def asked(ask: Any) -> str:
    """Return the question on one line, without secrets."""
    text = ask if isinstance(ask, str) else json.dumps(ask, ensure_ascii=False, default=str)
    text = " ".join(redacted(text).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
