"""The nodes of a log: their numbers, and whether their code has changed."""

from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ..errors import JournalError, NodeChangedError
from .code import code_of, hooks_of
from .encoding import Encoding
from .log import NODE, NUMBER, Entry, Log
from .settings import Settings


class Records(Protocol):
    """Writes entries, and ends the run if it cannot continue."""

    encoding: Encoding

    def add(self, entry: Entry) -> None: ...

    def fatal(self, error: JournalError) -> JournalError: ...


class Nodes:
    """Numbers the nodes with recorded results by full name and code.

    Nodes made at run time may differ in code and share a name.
    """

    def __init__(self, log: Log, settings: Settings, session: Records) -> None:
        self._log, self._settings, self._session = log, settings, session
        self._numbers = {named: number for number, named in log.nodes.items()}
        self._known: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()

    def known(self, name: str, node: Any) -> int | None:
        """Return the number of a node that was asked for before."""
        known = self._known.get(node)
        return None if known is None else known.get(name)

    def number_of(self, name: str, node: Any = None) -> int:
        """Return the number of a node, or that of a name."""
        if node is None:
            return self._number(name, b"")
        self._register_types(node)
        number = self._number(name, code_of(node))
        self._known.setdefault(node, {})[name] = number
        return number

    def check(self, entry: Entry, number: int) -> None:
        """Refuse a result that was recorded with different code of the node that asks.

        Raises:
            NodeChangedError: ``accept`` does not name it.
        """
        recorded = entry[NUMBER]
        code = self._log.nodes[recorded][1]
        if recorded == number or not code:
            return
        name, now = self._log.nodes[number]
        if code == now:
            return
        if not self._settings.accepts(name):
            raise self._session.fatal(_changed(name))
        self._note(recorded, name, now)

    def _number(self, name: str, code: bytes) -> int:
        number = self._numbers.get((name, code))
        if number is None:
            number = self._numbers[name, code] = len(self._log.nodes) + 1
            self._note(number, name, code)
        return number

    def _register_types(self, node: Any) -> None:
        """Register the classes that a node's hooks are annotated to return."""
        owner, hooks = hooks_of(node)
        for hook in ("function", *hooks):  # for @node, the user's function
            self._session.encoding.register_returned(getattr(owner, hook, None))

    def _note(self, number: int, name: str, code: bytes) -> None:
        self._log.nodes[number] = (name, code)
        self._session.add([NODE, number, name, code])


def _changed(name: str) -> NodeChangedError:
    return NodeChangedError(
        f"the code of {name!r} has changed since results of it were recorded. To run it again: "
        f"redo=[{name!r}]; to keep the recorded results: accept=[{name!r}]"
    )
