"""``Journal``: where a run is recorded, and how it is resumed."""

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar

from .._validation import check_choice
from .encoding import Encoding
from .running import new_id, opened, run_recorded
from .settings import KeyOf, Settings, names
from .store import Store, check_run

T = TypeVar("T")

Work = Callable[[Any, Any], Coroutine[Any, Any, T]]


class Journal:
    """A file or database where runs are recorded, so that they can be resumed.

    ``graph.run(shared, journal=Journal("runs.db", run="import-7"))`` records what every ``exec``
    returns. The same call again, after whatever has ended the process, takes recorded results in
    place of calls and goes on from there. ``prep`` and ``post`` run again, and rebuild ``shared``.
    A run that is done returns its last action and calls nothing.

    Args:
        address: The path of a SQLite file, or ``postgresql://…`` (extra ``postgres``).
        run: The id of the run. None: one is made, and said on standard error.
        types: Classes whose values may be recorded, besides those of Python itself.
        key: What tells the items of a node from each other, by the node's name, as in
            ``{"Fetch": lambda item: item["id"]}``. By default, what is in them.
        redo: Names of nodes to run again, or ``"failed"``: what has failed and was gone on past.
            What follows from results that have changed is run again as well.
        accept: Names of nodes whose results hold although their code has changed.
        on_wait: What happens when all that is left waits for answers: ``"exit"``: the run returns
            and is resumed when there is one; ``"stay"``: it goes on waiting.
        durable: Of SQLite: whether what is recorded survives a loss of power. By default it
            survives the end of the process.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        *,
        run: str | None = None,
        types: Iterable[type] = (),
        key: Mapping[str, KeyOf] | None = None,
        redo: Iterable[str] | Literal["failed"] = (),
        accept: Iterable[str] = (),
        on_wait: Literal["exit", "stay"] = "exit",
        durable: bool = False,
    ) -> None:
        self.address, self.durable = address, durable
        self.run = None if run is None else check_run(run)
        self._encoding = Encoding(types)
        self._settings = Settings(
            dict(key or {}),
            () if redo == "failed" else names("redo", redo),
            redo == "failed",
            names("accept", accept),
            check_choice("exit", "stay")("on_wait", on_wait),
        )

    def __repr__(self) -> str:
        run = "" if self.run is None else f", run={self.run!r}"
        return f"<Journal {os.fspath(self.address)!r}{run}>"

    def open_store(self) -> Store:
        """Open the store at its address; called in the thread that uses it."""
        return opened(self.address, self.durable)

    def recording(self, node: Any, work: Work[T]) -> Work[T]:
        """Return the work of a run of ``node``, recorded or replayed; for the engine."""

        async def recorded(shared: Any, frame: Any) -> T:
            return await run_recorded(
                self.open_store,
                self.run or new_id(self.address),
                self._settings,
                self._encoding,
                node,
                frame.run,
                partial(work, shared, frame),
            )

        return recorded
