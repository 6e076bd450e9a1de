"""The journal that ``--journal FILE,run=ID`` names."""

import os
import re
from secrets import token_hex
from time import gmtime, strftime
from typing import Any

from ..errors import RunUnknownError, closest
from ..journal.journal import Journal
from ..journal.log import means
from .loading import from_json
from .wrong import WrongCommandError

NAMES = ("run", "redo", "accept", "on_wait", "durable", "keep", "snapshot_every")
SEVERAL = ("redo", "accept")
# An id, a file name and an address with several hosts may contain commas.
SETTING = re.compile(rf"(?:^|,)(?=(?:{'|'.join(NAMES)})=)")
MISTYPED = re.compile(r",(\w+)=")
VARIABLE = "KAYGRAPH_JOURNAL"


def journal_of(written: str | None) -> Journal | None:
    """Return the journal, or None if none is given.

    By default, the address is that of the environment variable KAYGRAPH_JOURNAL, and the id of the
    run a new one.

    Raises:
        WrongCommandError: The settings are wrong, or ``redo`` or ``accept`` name what is not
            recorded.
        JournalUnavailableError: There are ``redo`` or ``accept``, and the journal cannot be read.
    """
    if written is None:
        return None
    address, *parts = SETTING.split(written)
    address = address or os.environ.get(VARIABLE, "")
    if not address:
        raise WrongCommandError(
            f"which journal? Type --journal runs.db,run=ID, or set {VARIABLE}=runs.db; "
            f"got {written!r}"
        )
    if "://" not in address and (found := MISTYPED.search(address)) is not None:
        raise WrongCommandError(
            f"--journal has no setting {found[1]!r}.{closest(found[1], NAMES)} "
            f"Settings: {', '.join(NAMES)}"
        )
    settings: dict[str, Any] = {}
    for part in parts:
        name, _, text = part.partition("=")
        if name in SEVERAL:
            settings.setdefault(name, []).append(text)
        elif name in ("durable", "snapshot_every"):
            settings[name] = from_json(text, f"--journal …,{name}=")
        else:
            settings[name] = int(text) if name == "keep" and text.isdecimal() else text
    named = [name for setting in SEVERAL for name in settings.get(setting, ())]
    if named and "run" not in settings:
        raise WrongCommandError(
            f"redo and accept need the id of a recorded run: add ,run=ID; got {written!r}"
        )
    if settings.get("redo") == ["failed"]:
        settings["redo"] = "failed"
    settings.setdefault("run", f"{strftime('%Y%m%d-%H%M%S', gmtime())}-{token_hex(2)}")
    try:
        journal = Journal(address, **settings)
    except (TypeError, ValueError) as error:
        raise WrongCommandError(f"--journal {written}: {error}") from None
    if named:
        check_recorded(journal, named)
    return journal


def check_recorded(journal: Journal, named: list[str], hint: str = "") -> None:
    """Refuse a run that is not recorded, and names of nodes of which it has recorded nothing.

    Raises:
        WrongCommandError: A name is wrong; the message has a similar one.
        JournalUnavailableError: The journal does not exist, or cannot be read.
    """
    try:
        known = [node.name for node in journal.show().nodes]
    except RunUnknownError as error:
        raise WrongCommandError(f"{error}{hint}") from None
    for name in named:
        if name != "failed" and not any(means(name, node) for node in known):
            raise WrongCommandError(
                f"run {journal.run!r} has recorded nothing of a node {name!r}."
                f"{closest(name, known)}"
            )
