"""The facts that a call of ``exec`` gets where the context of its run does not reach."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any

from ..run.frame import Frame
from ..run.place import CARRIED, place_to_send
from .variables import Name, Sent, is_sent, names_of


def facts_of(node: Any, frame: Frame) -> tuple[Mapping[str, Any], int, Mapping[str, Any]]:
    """Return what a call elsewhere gets: its params, its attempt, and its place in the run."""
    place = place_to_send(node)
    found = {one: value for one, value in copy_context().items() if is_sent(one)}
    if found:
        place = {**place, CARRIED: [Variables(found), *place.get(CARRIED, ())]}
    return dict(frame.params), frame.attempt, place


class Variables:
    """Context variables and their values; a call of this sets them where it is."""

    def __init__(self, values: "Mapping[ContextVar[Any], Any]") -> None:
        self._values = values

    def __call__(self) -> None:
        for variable, value in self._values.items():
            variable.set(value)

    def __reduce__(self) -> tuple[Any, ...]:
        from .pickling import dumps, travels_by_name  # which loads where it is used

        sent = list[tuple[Sequence[Name], bytes]]()
        for variable, value in self._values.items():
            names = names_of(variable)
            if names and value is not ...:  # structlog's way to say that it is not bound
                with suppress(Exception):
                    sent.append((names, dumps(value, not travels_by_name("__main__"))))
        return Sent, (sent,)
