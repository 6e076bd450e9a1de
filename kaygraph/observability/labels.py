"""Names and messages for telemetry systems: valid Unicode, without secrets, few of them."""

from collections.abc import Mapping

from .._formatting import error_text, redacted
from ..run.spans import Attribute

LONGEST = 200  # characters of a name
MOST_LABELS = 1000  # names that have their own series in a metric
OTHERS = "(others)"  # shared by all further names


def clean(text: str) -> str:
    """Return a text as valid Unicode.

    One lone surrogate, as in the name of a file, would lose all that is sent with it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def label_of(name: str) -> str:
    """Return a name as the label of a span or a metric."""
    name = clean(redacted(name))
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def message_of(error: BaseException) -> str:
    """Return the class and the message of an error, with its secrets hidden."""
    return clean(error_text(error))


def cleaned(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Return attributes whose texts are valid Unicode."""
    return {
        name: clean(value)
        if isinstance(value, str)
        else [clean(one) for one in value]
        if isinstance(value, list | tuple)
        else value
        for name, value in attributes.items()
    }


def exception(error: BaseException) -> dict[str, str]:
    """Return what an event reports about an error: its type and message, without its secrets."""
    kind = type(error)
    return {
        "exception.type": clean(f"{kind.__module__}.{kind.__qualname__}"),
        "exception.message": message_of(error),
    }


class Labels:
    """The labels of nodes; a limited number, whatever the names."""

    def __init__(self, most: int = MOST_LABELS) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the label of a node."""
        label = self._known.get(name)
        if label is None:
            if len(self._known) >= self._most:
                return OTHERS
            label = self._known[name] = label_of(name)
        return label
