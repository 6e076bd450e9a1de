"""``kaygraph explain``: why a run does not go on, of one that runs and of one that is recorded."""

import os
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

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
    """Print why a run does not go on."""
    where = options.where
    address = options.recorded or (None if _is_page(where) else os.environ.get(VARIABLE))
    if address is not None:
        print(redacted("\n".join(recorded(Journal(address), address, where))))
        return 0
    if not _is_page(where):
        raise WrongCommandError(
            f"of which run? Type the address that --watch has printed, or its port, as in kaygraph "
            f"explain 8765; or --journal runs.db and the id of a run; got {where!r}"
        )
    text = of_page(where, options.token, options.run)
    print(text, end="")
    return 0


def _is_page(where: str) -> bool:
    return where.isdecimal() or where.startswith(
        ("http://", "https://", "localhost:", "127.0.0.1:")
    )


# --- a run that goes on ---------------------------------------------------------------------------


def of_page(where: str, token: str | None, run: str | None) -> str:
    """Return what the page at an address, or at a port of this machine, says of its run.

    Raises:
        NoAnswerError: Nothing answers there.
        WrongCommandError: It is no such page, or wants its token.
    """
    address = f"http://127.0.0.1:{where}" if where.isdecimal() else where
    parts = urlsplit(address if "://" in address else f"http://{address}")
    token = token or next(iter(parse_qs(parts.query).get("token", [])), None)
    query = "" if run is None else urlencode({"run": run})
    url = urlunsplit((parts.scheme, parts.netloc, "/explain", query, ""))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    place = f"{parts.scheme}://{parts.netloc}"
    try:
        # Not by way of a proxy: the page is that of a machine nearby.
        opener = build_opener(ProxyHandler({}))
        with opener.open(Request(url, headers=headers), timeout=PATIENCE_S) as answer:
            text: str = answer.read().decode(errors="replace")
            if answer.headers.get_content_type() != "text/plain":
                raise _is_no_page(place)
            return text
    except HTTPError as error:
        with error:
            if error.code == 401:
                raise WrongCommandError(
                    f"the page at {place} wants its token: type the whole address that was printed "
                    "where the run began, in quotes"
                ) from None
            told = error.read().decode(errors="replace").strip()
            if error.code == 404 and told == "there is no such run here":
                raise NoAnswerError(f"{place}: {told}") from None
            raise _is_no_page(place) from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise NoAnswerError(
            f"nothing answers at {place} ({reason}): it is there while a run goes on that was "
            "begun with --watch=PORT, or run(shared, watch=PORT)"
        ) from None


class NoAnswerError(ValueError):
    """There is nobody to ask."""


def _is_no_page(place: str) -> WrongCommandError:
    return WrongCommandError(f"what answers at {place} is no page of a kaygraph run")


# --- a run that is recorded -----------------------------------------------------------------------


def recorded(journal: Journal, address: str, run: str) -> list[str]:
    """Return what is recorded of what a run is at, a line each, and how to go on."""
    record = journal.show(run)
    info = record.info
    lines = [f"run {info.run!r} of {info.graph!r}: {_state(record, address)}"]
    for node in record.nodes:
        if info.status != "done" and _goes_on(record, node):
            counts = [f"{node.results:,} results", f"{node.failed:,} failed" if node.failed else ""]
            told = ", ".join(filter(None, counts))
            lines.append(f"{node.name!r} has not ended: {told}, the last {since(node.last)}")
        lines += [f"{node.name!r}: {error}" for error in node.errors]
    for wait in record.waits:
        question = "" if wait.ask is None else f": {asked(wait.ask)}"
        lines.append(f"it waits for {wait.id!r}{question} (asked {since(wait.asked)})")
        lines.append(f"  to answer: {answer_command(address, info.run, wait.id)}")
    if info.status in ("failed", "interrupted") or (info.status == "waits" and not record.waits):
        lines.append(f"to go on: kaygraph runs resume {info.run} FILE:NAME")
    return lines


def _state(record: RunRecord, address: str) -> str:
    info = record.info
    match info.status:
        case "done":
            action = "" if info.action is None else f" with the action {info.action!r}"
            return f"it ended{action}, {times(info.updated)}"
        case "failed":
            return f"it failed {since(info.updated)}: {info.error}"
        case "waits":
            return f"it waits, since {times(info.updated)}; no process runs it"
        case "interrupted":
            return f"it was interrupted {since(info.updated)}"
    found = owners(address)
    wrote = f"something was recorded {since(info.updated)}"
    if found is None:
        return f"it runs, or its process was killed; {wrote}"
    if not found:
        return (
            f"no process of this machine has the journal open, so it was killed; {wrote}\n"
            f"to go on: kaygraph runs resume {info.run} FILE:NAME"
        )
    return f"it runs, as {' and '.join(found)} has the journal open; {wrote}"


def _goes_on(record: RunRecord, node: NodeRecord) -> bool:
    """Whether something of a node was recorded after its last end."""
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
    "say why a run does not go on",
    (
        takes(
            "where", "WHERE",
            help="the port or the address of its page; with a journal, the id of a recorded run",
        ),
        takes("--journal", "ADDRESS", dest="recorded", help="a file, or postgresql://…"),
        takes("--token", "TEXT", help="of the page, where its address does not have it"),
        takes("--run", "ID", help="which of the page's runs, where it has several"),
    ),
    EXAMPLES,
)  # fmt: skip
