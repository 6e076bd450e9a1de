"""Calls of ``exec`` that leave the process: what goes there, and what comes back."""

import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..errors import NodeDefinitionError
from ..run.saying import Receiver
from .elsewhere import run_elsewhere
from .exceptions import pack
from .pickling import ADVICE, HOOKS, SETTINGS, dumps, loads, noting, stays_itself
from .rebuilding import note, unpack
from .speech import said_pickled, said_unpickled

Facts = tuple[Mapping[str, Any], int, Mapping[str, Any]]  # params, attempt, and place in the run

NODES_KEPT = 32  # how many nodes an executor's process keeps ready


def stripped(node: Any) -> Any:
    """Return a copy of a node for ``exec`` alone: the engine's settings and hooks stay here.

    A setting that can be pickled goes with it, as ``exec`` may read it.
    """
    copied = node.with_parts()
    held = vars(copied)
    for name in SETTINGS & held.keys():
        if not stays_itself(name, held[name]):
            del held[name]
    for name in HOOKS & held.keys():
        del held[name]
    return copied


def node_pickled(node: Any, without_main: bool = False, at_least_by_name: bool = False) -> bytes:
    """Return a node as bytes.

    Raises:
        NodeDefinitionError: It cannot be pickled.
    """
    try:
        return dumps(stripped(node), without_main, at_least_by_name)
    except Exception as error:
        stays = "thread" if node.exec_kind in ("sync", "generator") else "loop"
        text = f"{node!r} cannot be sent to a process: {error}"
        if ADVICE not in text:
            text += (
                ". Define its class at the top level of a module, and make what cannot be pickled "
                "in exec()"
            )
        raise NodeDefinitionError(f"{text}; or have it stay, by run_in={stays!r}") from error


def given_pickled(item: Any, facts: Facts, *how: bool) -> bytes:
    """Return the item and the facts of a call as bytes."""
    try:
        return dumps((item, facts), *how)
    except BaseException as error:
        note(error, f"while {_blamed(facts, 'pickled for a process', *how)}")
        raise


def given_unpickled(pickled: bytes) -> tuple[Any, Facts]:
    """Return the item and the facts of a call, where it was sent to."""
    item, facts = loads(pickled, "the item was unpickled in the process")
    return item, facts


def _blamed(facts: Facts, what: str, *how: bool) -> str:
    """Say whether it is the item that cannot be pickled, or the params of the round."""
    try:
        dumps(facts, *how)
    except Exception:
        return f"self.params were {what}"
    return f"the item was {what}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call in another process."""

    pickled: bytes  # the result, or the error as it was packed
    trace: str | None = None  # of an error: where it was raised
    said: tuple[tuple[int | None, bytes], ...] = ()  # items, and what was said of them, pickled

    def value(self, receive: Receiver | None = None) -> Any:
        """Return the result; ``receive`` takes what was said before.

        Raises:
            BaseException: What was raised in the process, with a note of where that was.
        """
        if receive is not None:
            for item, pickled in self.said:
                receive(item, said_unpickled(pickled))
        if self.trace is not None:
            raise self.error()
        return result_of(self.pickled)

    def error(self) -> BaseException:
        error = unpack(self.pickled)
        note(error, self.trace or "")
        return error


def result_of(pickled: bytes | memoryview) -> Any:
    """Return a result that came from a process."""
    return loads(pickled, "the result of exec was unpickled, as it came from a process")


def failed(error: BaseException) -> Answer:
    """Return the answer to a call that has raised an error, which is being handled."""
    return Answer(pack(error), f"in process {os.getpid()}:\n{traceback.format_exc()}")


class Call:
    """One call of ``exec``, to be submitted to an executor.

    In this process it runs as it is. An executor that sends it away pickles it; what arrives there
    has all its parts as bytes, so that one that cannot be unpickled is an error of the call and
    none of the executor's.
    """

    def __init__(
        self,
        node: Any,
        item: Any,
        facts: Facts,
        without_main: bool,
        pickled: dict[Any, bytes],
        receive: Receiver | None,
    ) -> None:
        self._node, self._item, self._facts, self._receive = node, item, facts, receive
        self._how = without_main, True
        self._pickled = pickled  # nodes of the run, each once
        self._mark = b""
        self.failure: Exception | None = None  # what kept it from being sent

    def run(self) -> Any:
        return run_elsewhere(self._node, self._item, *self._facts, self._receive)

    def __reduce__(self) -> Any:
        try:
            return _Sent, self._parts()
        except Exception as error:  # the executor has no part in this, and shall not log it
            self.failure = error
            return _Sent, ()

    def _parts(self) -> tuple[bytes, ...]:
        # Dask makes two equal calls once: to it a function gives the same for the same.
        self._mark = self._mark or os.urandom(16)
        key = self._node, self._how
        if key not in self._pickled:
            self._pickled[key] = node_pickled(self._node, *self._how)
        given = given_pickled(self._item, self._facts, *self._how)
        return self._pickled[key], given, self._mark, b"received" if self._receive else b""


class _Sent:
    """A call where an executor has sent it to; without parts, if they could not be pickled."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def run(self) -> Answer:
        if not self._parts:
            return Answer(b"")  # the other side knows
        said: list[tuple[int | None, bytes]] = []

        def receive(item: int | None, value: Any) -> None:
            said.append((item, said_pickled(value)))

        try:
            node = _unpickled_once(self._parts[0])
            item, facts = given_unpickled(self._parts[1])
            result = run_elsewhere(node, item, *facts, receive if self._parts[3] else None)
            with noting("the result of exec was pickled in the process"):
                return Answer(dumps(result), None, tuple(said))
        except BaseException as error:
            return replace(failed(error), said=tuple(said))

    def __reduce__(self) -> Any:
        return _Sent, self._parts


@lru_cache(NODES_KEPT)
def _unpickled_once(node: bytes) -> Any:
    return loads(node, "the node was unpickled in the process")


def run_call(call: Call | _Sent) -> Any:
    """Run a call, where an executor has put it."""
    return call.run()


def has_our_main(executor: Any) -> bool:
    """Whether an executor's processes have a ``__main__`` like ours: those that Python starts."""
    futures = sys.modules.get("concurrent.futures.process")
    return futures is not None and isinstance(executor, futures.ProcessPoolExecutor)
