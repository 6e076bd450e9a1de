"""The nodes of a log: their numbers, and whether their code is what it was."""

from typing import Any, Protocol

from ..errors import JournalError, NodeChangedError
from .code import code_of, hooks_of
from .encoding import Encoding
from .log import NODE, NOTED, NUMBER, Entry, Log
from .settings import Settings


class Records(Protocol):
    """Who writes entries, and ends the run where it cannot go on."""

    encoding: Encoding

    def add(self, entry: Entry) -> None: ...

    def fatal(self, error: JournalError) -> JournalError: ...


class Nodes:
    """Numbers the nodes whose results are recorded, by their full names."""

    def __init__(self, log: Log, settings: Settings, session: Records) -> None:
        self._log, self._settings, self._session = log, settings, session
        self._numbers = {name: number for number, (name, _) in log.nodes.items()}
        self._checked: set[str] = set()

    def number_of(self, name: str, node: Any = None) -> int:
        """Return the number of a node; refuse one whose code is not that of its results.

        Raises:
            NodeChangedError: It has results, and neither ``redo`` nor ``accept`` names it.
        """
        number = self._numbers.get(name)
        if number is not None and (node is None or name in self._checked):
            return number
        code = b"" if node is None else code_of(node)
        if node is not None:
            self._checked.add(name)
            self._register_types(node)
        if number is None:
            number = self._numbers[name] = len(self._numbers) + 1
            self._note(number, name, code)
            return number
        known = self._log.nodes[number][1] if number in self._log.nodes else b""
        if code != known:
            if known and self._has_results(number) and not self._settings.accepts(name):
                raise self._session.fatal(_changed(name))
            self._note(number, name, code)
        return number

    def _register_types(self, node: Any) -> None:
        """Let values of the classes be recorded that a node's hooks are annotated to return."""
        owner, hooks = hooks_of(node)
        for hook in ("function", *hooks):  # that of @node is the user's
            self._session.encoding.register_returned(getattr(owner, hook, None))

    def _note(self, number: int, name: str, code: bytes) -> None:
        self._log.nodes[number] = (name, code)
        self._session.add([NODE, number, name, code])

    def _has_results(self, number: int) -> bool:
        entries = self._log.entries.values()
        return any(entry[0] != NOTED and entry[NUMBER] == number for entry in entries)


def _changed(name: str) -> NodeChangedError:
    return NodeChangedError(
        f"the code of {name!r} has changed since results of it were recorded. To run it again: "
        f"redo=[{name!r}]; to go on with the results that are there: accept=[{name!r}]"
    )
