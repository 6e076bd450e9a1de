"""The user's settings for a recorded run."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from ..errors import closest
from .log import any_means, means

KeyOf = Callable[[Any], Any]


class Settings(NamedTuple):
    """How a run is recorded and resumed; see ``Journal``."""

    key: Mapping[str, KeyOf]
    redo: tuple[str, ...]
    redo_failed: bool
    accept: tuple[str, ...]
    on_wait: Literal["exit", "stay"]
    snapshot_every: int | None

    @property
    def changes(self) -> bool:
        """Whether anything is run again on purpose, so that what follows may differ."""
        return bool(self.redo) or self.redo_failed

    def key_of(self, name: str) -> KeyOf | None:
        """Return what identifies the items of a node, if that is set."""
        return next((key for written, key in self.key.items() if means(written, name)), None)

    def accepts(self, name: str) -> bool:
        """Whether the results of a node stay valid although its code has changed."""
        return any_means(self.accept, name)

    def unknown(self, known: Collection[str]) -> str | None:
        """Return a message about names that match no node, or None."""
        given = {"redo": self.redo, "accept": self.accept, "key": self.key}
        for setting, names in given.items():
            for written in names:
                if not any(means(written, name) for name in known):
                    near = closest(written, {name.rpartition("/")[2] for name in known})
                    return f"{setting} names {written!r}, but no node of that name has run.{near}"
        return None


def names(setting: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of nodes in a setting."""
    listed = () if isinstance(given, str) else tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) for name in listed):
        raise TypeError(
            f"{setting} must be a list of node names, as in {setting}=['Fetch']; got {given!r}"
        )
    return listed
