"""``kaygraph explain``: say what a running or recorded run is waiting for."""

import os
import shlex
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

from .._addresses import shown
from .._formatting import redacted
from ..journal.journal import Journal
from ..journal.records import NodeRecord, RunRecord
from ..journal.waiting import answer_command, asked
from .arguments import Command, Options, takes
from .owners import owners
from .tables import since, times
from .wrong import WrongCommandError

PATIENCE_S = 10.0
PAGES = ("http://", "https://", "localhost:", "127.0.0.1:")
VARIABLE = "KAYGRAPH_JOURNAL"


def explain(options: Options) -> int:
    """Print what a run is waiting for."""
    where = options.where
    address = options.recorded or (None if _is_page(where) else os.environ.get(VARIABLE))
    if address is not None:
        print(redacted("\n".join(recorded(Journal(address), address, where))))
        return 0
    if not _is_page(where):
        raise WrongCommandError(
            f"which run? Type the address that --watch printed, or its port, as in kaygraph "
            f"explain 8765, or --journal runs.db and the id of a run; got {where!r}"
        )
    text = of_page(where, options.token, options.run)
    print(text, end="")
    return 0


def _is_page(where: str) -> bool:
    return where.isdecimal() or where.startswith(PAGES)


# --- a running run --------------------------------------------------------------------------------


def of_page(where: str, token: str | None, run: str | None) -> str:
    """Return what the page at an address, or at a port on this machine, says about its run.

    Raises:
        NoAnswerError: Nothing answers there.
        WrongCommandError: It is not such a page, or it needs its token.
    """
    address = f"http://127.0.0.1:{where}" if where.isdecimal() else where
    parts = urlsplit(address if "://" in address else f"http://{address}")
    token = token or next(iter(parse_qs(parts.query).get("token", [])), None)
    query = "" if run is None else urlencode({"run": run})
    url = urlunsplit((parts.scheme, parts.netloc, "/explain", query, ""))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    place = f"{parts.scheme}://{parts.netloc}"
    try:
        # Never through a proxy: the page is on this machine or a nearby one.
        opener = build_opener(ProxyHandler({}))
        with opener.open(Request(url, headers=headers), timeout=PATIENCE_S) as answer:
            text: str = answer.read().decode(errors="replace")
            if answer.headers.get_content_type() != "text/plain":
                raise _is_not_page(place)
            return text
    except HTTPError as error:
        with error:
            if error.code == 401:
                raise WrongCommandError(
                    f"the page at {place} needs its token: type the whole address that was printed "
                    "when the run began, in quotes"
                ) from None
            answered = error.read().decode(errors="replace").strip()
            if error.code == 404 and answered == "there is no such run here":
                raise NoAnswerError(f"{place}: {answered}") from None
            raise _is_not_page(place) from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise NoAnswerError(
            f"nothing answers at {place} ({reason}): the page exists only while a run started "
            "with --watch=PORT, or run(shared, watch=PORT), is running"
        ) from None


class NoAnswerError(ValueError):
    """Nothing answers at the address."""


def _is_not_page(place: str) -> WrongCommandError:
    return WrongCommandError(f"what answers at {place} is not the page of a kaygraph run")


# --- a recorded run -------------------------------------------------------------------------------


def recorded(journal: Journal, address: str, run: str) -> list[str]:
    """Return lines that say how far a recorded run is, and how to resume it."""
    record = journal.show(run)
    info = record.info
    lines = [f"run {info.run!r} of {info.graph!r}: {_state(record, address)}"]
    for node in record.nodes:
        if info.status != "done" and _goes_on(record, node):
            counts = [f"{node.results:,} results", f"{node.failed:,} failed" if node.failed else ""]
            listed = ", ".join(filter(None, counts))
            lines.append(f"{node.name!r} has not ended: {listed}, the last {since(node.last)}")
        lines += [f"{node.name!r}: {error}" for error in node.errors]
    for wait in record.waits:
        question = "" if wait.ask is None else f": {asked(wait.ask)}"
        lines.append(f"it waits for {wait.id!r}{question} (asked {since(wait.asked)})")
        lines.append(f"  to answer: {answer_command(address, info.run, wait.id)}")
    if info.status in ("failed", "interrupted") or (info.status == "waits" and not record.waits):
        lines.append(_how_to_resume(address, info.run))
    return lines


def _how_to_resume(address: str, run: str) -> str:
    words = shlex.join(("--journal", shown(address), run))
    return f"to resume: kaygraph runs resume {words} FILE:NAME"


def _state(record: RunRecord, address: str) -> str:
    info = record.info
    match info.status:
        case "done":
            action = "" if info.action is None else f" with the action {info.action!r}"
            return f"it ended{action}, {times(info.updated)}"
        case "failed":
            return f"it failed {since(info.updated)}: {info.error}"
        case "waits":
            return f"it has been waiting since {times(info.updated)}; no process is running it"
        case "interrupted":
            return f"it was interrupted {since(info.updated)}"
    found = owners(address)
    wrote = f"it last recorded something {since(info.updated)}"
    if found is None:
        return f"it is running, or its process was killed; {wrote}"
    if not found:
        return (
            f"no process on this machine has the journal open, so it was killed; {wrote}\n"
            f"{_how_to_resume(address, info.run)}"
        )
    return f"it is running: {' and '.join(found)} has the journal open; {wrote}"


def _goes_on(record: RunRecord, node: NodeRecord) -> bool:
    """Whether a node has recorded something since it last ended."""
    ends = [point.at for point in record.points if point.name == node.name]
    return bool(node.last) and (not ends or max(ends) < node.last)


EXAMPLES = """\
  kaygraph run flows.py:graph --watch=8765
  kaygraph explain 8765
  kaygraph explain 'http://10.0.0.7:8765/?token=…'
  kaygraph explain import-7 --journal runs.db
"""

COMMAND = Command(
    "explain",
    explain,
    "say what a run is waiting for",
    (
        takes(
            "where", "WHERE",
            help="the port or address of its page; with --journal, the id of a recorded run",
        ),
        takes("--journal", "ADDRESS", dest="recorded", help="a file, or postgresql://…"),
        takes("--token", "TEXT", help="the token of the page, if the address does not contain it"),
        takes("--run", "ID", help="which run, if the page shows several"),
    ),
    EXAMPLES,
)  # fmt: skip
