"""The journal that ``--journal FILE,run=ID`` means."""

import os
import re
from secrets import token_hex
from time import gmtime, strftime
from typing import Any

from ..errors import closest
from ..journal.journal import Journal
from .loading import from_json
from .wrong import WrongCommandError

NAMES = ("run", "redo", "accept", "on_wait", "durable", "keep", "snapshot_every")
SEVERAL = ("redo", "accept")
# A comma may be part of an id, of a file's name, and of an address with several hosts.
SETTING = re.compile(rf"(?:^|,)(?=(?:{'|'.join(NAMES)})=)")
MISTYPED = re.compile(r",(\w+)=")
VARIABLE = "KAYGRAPH_JOURNAL"


def journal_of(written: str | None) -> Journal | None:
    """Return the journal; None where there is to be none.

    The address is left out where the environment variable KAYGRAPH_JOURNAL has it; without an id,
    the run gets a new one.

    Raises:
        WrongCommandError: It cannot be meant so.
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
            f"There are: {', '.join(NAMES)}"
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
    if settings.get("redo") == ["failed"]:
        settings["redo"] = "failed"
    settings.setdefault("run", f"{strftime('%Y%m%d-%H%M%S', gmtime())}-{token_hex(2)}")
    try:
        return Journal(address, **settings)
    except (TypeError, ValueError) as error:
        raise WrongCommandError(f"--journal {written}: {error}") from None
