"""Nodes that wait for a person, or for an event in another process."""

import asyncio
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, Unpack, get_args, get_origin

from .._schemas import checked_schema
from .._validation import check_name
from ..batch.batch import ParallelBatchNode
from ..errors import JournalError
from ..limits.slots import Slot
from ..node.node import Node
from ..node.settings import Checks
from ..run.frame import FRAME
from ..run.place import PLACE
from ..run.recorder import Question
from ._store import Stored, StoreParallelSettings, StoreSettings, check_on_loop, configure

# The JSON schemas of types; a bool is not an integer there.
SCHEMAS: dict[Any, dict[str, Any]] = {
    Any: {},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    float: {"type": "number"},
    int: {"type": "integer"},
    list: {"type": "array"},
    str: {"type": "string"},
    None: {"type": "null"},
    NoneType: {"type": "null"},
}


def schema_of(name: str, given: Any) -> dict[str, Any]:
    """Return the JSON schema of a type: a JSON type, a Literal, a union, or a pydantic model."""
    try:
        if given in SCHEMAS:
            return dict(SCHEMAS[given])
    except TypeError:  # it cannot be hashed
        pass
    origin, parts = get_origin(given), get_args(given)
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(name, part) for part in parts]}
    if origin is list:
        return {"type": "array", "items": schema_of(name, parts[0])}
    if origin is dict and parts[0] is str:
        return {"type": "object", "additionalProperties": schema_of(name, parts[1])}
    if hasattr(given, "model_json_schema"):
        schema: dict[str, Any] = given.model_json_schema()
        return schema
    raise ValueError(
        f"{name} must be a JSON schema, as in {{'type': 'boolean'}}, or a JSON type, as in "
        f"bool, list[str] or Literal['yes', 'no']; got {given!r}"
    )


def check_answer_schema(name: str, value: Any) -> Any:
    """Return the JSON schema that a setting describes, or None."""
    if value is None:
        return None
    return checked_schema(
        name, value if isinstance(value, dict) else schema_of(name, value), "journal"
    )


class Waiting(Stored):
    """Waits in ``exec``; it precedes Node or ParallelBatchNode in the bases of a node."""

    question: str | None = None
    ask: Any = None
    schema: dict[str, Any] | None = None
    default: Any = ...
    timeout: float | None = None
    times_itself = True

    _accepts: ClassVar[frozenset[str]] = frozenset(
        {"ask", "default", "question", "reads", "schema", "writes"}
    )
    _checks: ClassVar[Checks] = {
        "ask": lambda _, value: value,
        "default": lambda _, value: value,
        "question": check_name,
        "run_in": check_on_loop,
        "schema": check_answer_schema,
    }

    def _named(self, settings: Any) -> None:
        """Use the question as the name, unless a name is given."""
        if self.question is None:
            return
        if "name" not in settings:
            vars(self)["name"] = self.question  # not like a given name: it may occur twice
        if self.writes is None and "writes" not in settings:
            self.writes = self.question

    def asked_of(self, read: Any, /) -> Any:
        """Return the question for what was read."""
        return self.ask(read) if callable(self.ask) else self.ask

    async def wait_for(
        self,
        name: str,
        /,
        *,
        ask: Any = None,
        schema: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it spans processes
        default: Any = ...,
    ) -> Any:
        """Wait for an answer from another process, given with ``Journal.answer``; return it.

        It holds no permit while it waits. The answer is recorded: if ``exec`` is called again, it
        gets the same one immediately. Other work in ``exec`` does not keep a run alive that
        otherwise only waits.

        Args:
            name: What is waited for. Each visit and each item has a wait of its own.
            ask: The question for the person who answers: a JSON value.
            schema: A JSON schema, or a JSON type, that the answer must fit.
            timeout: Seconds since it was first asked, even if the process has ended meanwhile.
            default: What to return after the timeout, instead of raising AttemptTimeoutError.

        Raises:
            AttemptTimeoutError: There was no answer in time.
            JournalError: The run has no journal.
        """
        frame = FRAME.get(None)
        journal = None if frame is None else frame.run.journal
        if journal is None:
            raise JournalError(
                f"{name!r} waits for an answer from another process, which finds the run in a "
                f"journal: run(shared, journal=Journal('runs.db', run='…'))"
            )
        schema = check_answer_schema("schema", schema)
        has_default = default is not ...
        question = Question(
            name, ask, schema, timeout, has_default, default if has_default else None
        )
        here = PLACE.get()
        slot: Slot | None = None if here is None or here.node is not self else here.slot
        if slot is None:
            return await journal.answered(self, question)
        now = asyncio.get_running_loop().time
        since = now()
        slot.give()
        slot.pause()
        try:
            answer = await journal.answered(self, question)
        finally:
            slot.resume(now() - since)
        await slot.go_on()
        return answer

    async def _answer_to(self, ask: Any) -> Any:
        name = self.question or self.name
        return await self.wait_for(
            name, ask=ask, schema=self.schema, timeout=self.timeout, default=self.default
        )


class WaitFor(Waiting, Node[Any, Any]):
    """Waits for an answer from outside: from a person, or from a program that reports an event.

    .. code-block:: python

        approval = WaitFor("approval", ask=lambda shared: shared["draft"], schema=bool)
        Graph(draft >> approval >> send).run(shared, journal=Journal("runs.db", run="letter-7"))

    ``Journal("runs.db").answer("letter-7", "approval", True)`` answers it, from any process, even
    before it is asked. When everything left in the run waits, ``run`` says so on standard error
    and returns ``Waits``, the string ``"waits"``; after an answer, the same call of ``run`` resumes
    the run. With ``Journal(…, on_wait="stay")`` it keeps waiting. It holds no permit meanwhile.

    Args:
        question: What is waited for. Each visit of a loop and each round has a wait of its own.
            The question and the node's name are each the default of the other.
        ask: The question for the person who answers: a JSON value, or a function that returns one
            for the value of ``reads``, or for ``shared``. By default, the value of ``reads``.
        schema: A JSON schema, or a JSON type (``bool``, ``list[str]``,
            ``Literal["yes", "no"]``, a pydantic model): other answers are refused.
        timeout: Seconds since it was first asked, even if the process has ended meanwhile. A run
            that has returned "waits" is not resumed by that; a run whose wait ends within ten
            seconds does not return.
        default: The answer to use after the timeout.
        reads: The key of the shared store with the data for the question.
        writes: The key for the answer; by default, the question.

    The other settings are those of Node.

    Raises:
        AttemptTimeoutError: From a run: there was no answer in time, and no ``default``.
        JournalError: From a run without a journal.
    """

    def __init__(
        self,
        question: str | None = None,
        /,
        ask: Any = None,
        schema: Any = None,
        *,
        default: Any = ...,
        **settings: Unpack[StoreSettings],
    ) -> None:
        configure(self, {"question": question, "ask": ask, "schema": schema}, settings)
        if default is not ...:
            self.default = default
        self._named(settings)

    def prep(self, shared: Any, /) -> Any:
        """Return the question for the person who answers."""
        read = super().prep(shared)
        if self.ask is None:
            return read
        return self.asked_of(shared if self.reads is None else read)

    async def exec(self, ask: Any, /) -> Any:
        """Wait for the answer."""
        return await self._answer_to(ask)


class ParallelWaitFor(Waiting, ParallelBatchNode[Any, Any]):
    """Waits for an answer for each item, all at once.

    Args:
        question: As for WaitFor. ``Journal.waits`` returns the id of each item's wait.
        ask: The question for the person who answers: a function that returns it for an item; by
            default, the item.
        max_workers: How many are asked at once; by default, 1000.

    ``schema``, ``timeout`` and ``default`` are those of WaitFor, the other settings those of
    ParallelBatchNode.
    """

    max_workers: int | Literal["auto"] = 1000

    def __init__(
        self,
        question: str | None = None,
        /,
        ask: Any = None,
        schema: Any = None,
        *,
        default: Any = ...,
        **settings: Unpack[StoreParallelSettings],
    ) -> None:
        configure(self, {"question": question, "ask": ask, "schema": schema}, settings)
        if default is not ...:
            self.default = default
        self._named(settings)

    async def exec(self, item: Any, /) -> Any:
        """Wait for the answer for an item."""
        return await self._answer_to(item if self.ask is None else self.asked_of(item))
