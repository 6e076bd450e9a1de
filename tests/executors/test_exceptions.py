"""Exceptions of another process: as they were raised, whatever pickle makes of them."""

import asyncio
import io
import json
import subprocess
import threading
import urllib.error
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from kaygraph import Retry
from kaygraph.errors import CircuitOpenError, TooManyFailuresError, UnknownActionError
from kaygraph.executors.exceptions import LeftOut, pack
from kaygraph.executors.rebuilding import note, unpack
from tests.children import python
from tests.executors.failing import Busy, Fails, Frozen, Named, Slotted, Stamped, make

pytestmark = pytest.mark.anyio


def back(error: BaseException) -> Any:
    return unpack(pack(error))


def caught(work: Any) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def response_error() -> aiohttp.ClientResponseError:
    headers = CIMultiDictProxy(CIMultiDict({"Retry-After": "3"}))
    info = aiohttp.RequestInfo(URL("http://shop/a"), "GET", headers, URL("http://shop/a"))
    return aiohttp.ClientResponseError(info, (), status=503, message="busy")


ERRORS: dict[str, Any] = {
    **{kind: make(kind) for kind in ("busy", "frozen", "slots", "new", "unreduced", "misread")},
    "argument": ValueError("lock", 3),
    "system": caught(Path("/no/such/file").read_text),
    "decoding": caught(lambda: b"\xff".decode()),
    "syntax": caught(lambda: compile("a b", "<program>", "exec")),
    "import": caught(lambda: __import__("no_such_module")),
    "json": caught(lambda: json.loads("{")),
    "command": subprocess.CalledProcessError(3, ["ls"], b"out", b"err"),
    "expired": subprocess.TimeoutExpired(["ls"], 3.0),
    "msgspec": caught(lambda: msgspec.json.decode(b'{"a": 1}', type=dict[str, str])),
    "http": urllib.error.HTTPError("http://shop", 503, "busy", HTTPMessage(), io.BytesIO(b"x")),
    "aiohttp": response_error(),
    "exit": make("exit"),
    "action": UnknownActionError("Review", "aprove", ["approve"]),
    "circuit": CircuitOpenError("open", 3.0),
    "failures": TooManyFailuresError("2 of 3", [ValueError(1), Busy(503, "slow")]),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_exception_comes_back_as_it_was(error: BaseException) -> None:
    """Its class, its text and what it shows as are the same."""
    twin = back(error)
    assert type(twin) is type(error)
    assert (str(twin), repr(twin)) == (str(error), repr(error))


@pytest.mark.parametrize("kind", ["busy", "frozen", "slots"])
def test_attributes_come_back(kind: str) -> None:
    """Those of a dict, of a frozen dataclass, and of slots."""
    error: Any = make(kind)
    twin = back(error)
    assert (twin.code, twin.text) == (error.code, error.text)


def test_what_the_built_in_part_holds_comes_back() -> None:
    """The number of a system's error, the place of a decoder's."""
    assert back(ERRORS["system"]).filename == "/no/such/file"
    assert back(ERRORS["decoding"]).object == b"\xff"
    assert back(ERRORS["syntax"]).lineno == 1
    assert back(ERRORS["import"]).name == "no_such_module"
    assert back(StopIteration(4)).value == 4
    assert back(ERRORS["exit"]).code == 3


def test_errors_of_http_clients_keep_their_status() -> None:
    """So that a Retry can look at it; a body that was read is there."""
    assert back(ERRORS["http"]).code == 503
    assert back(ERRORS["http"]).read() == b"x"
    twin = back(ERRORS["aiohttp"])
    assert (twin.status, twin.message) == (503, "busy")
    assert str(twin.request_info.real_url) == "http://shop/a"


def test_class_that_says_how_it_is_pickled_has_its_way() -> None:
    """What it makes anew stays; what it makes otherwise than it was, is as it was."""
    error = Stamped("as raised")
    error.code = 503  # type: ignore[attr-defined]
    twin = back(error)
    assert (twin.number, twin.code) == (error.number, 503)
    assert twin.lock.acquire(blocking=False)
    assert not hasattr(twin, "__notes__")


def test_frozen_dataclass_with_slots_comes_back() -> None:
    """Made by keyword alone, so that it has no arguments."""
    assert back(Named(code=503)).code == 503


def test_cause_context_and_notes_come_back() -> None:
    """The whole chain, with the notes of each."""
    twin = back(make("cause"))
    assert isinstance(twin, Frozen)
    assert isinstance(twin.__cause__, Busy)
    assert twin.__cause__.code == 503
    assert twin.__cause__.__notes__ == ["a note of the cause"]
    assert twin.__context__ is twin.__cause__
    assert twin.__suppress_context__


def test_context_that_is_not_to_be_shown_is_not_shown() -> None:
    """``raise … from None`` stays that."""
    error = Busy(503, "slow")
    error.__context__ = ValueError("hidden")
    error.__suppress_context__ = True
    twin = back(error)
    assert twin.__cause__ is None
    assert isinstance(twin.__context__, ValueError)
    assert twin.__suppress_context__


def test_long_chain_comes_back() -> None:
    """A loop that failed thousands of times, each time while handling the last."""
    error = ValueError(0)
    for number in range(1, 5000):
        later = ValueError(number)
        later.__context__ = error
        error = later
    twin, length = back(error), 1
    while twin.__context__ is not None:
        twin, length = twin.__context__, length + 1
    assert length == 5000
    assert twin.args == (0,)


PACKS = """
import sys
from hashlib import sha256
from kaygraph.executors.exceptions import pack
from tests.children import python
from tests.executors.failing import make
errors = [ValueError("a"), OSError(2, "no such file"), make("busy"), make("group")]
for earlier, later in zip(errors, errors[1:]):
    later.__context__ = earlier
print(sha256(pack(errors[-1])).hexdigest())
"""


def test_exceptions_travel_in_the_same_way_once_distributed_is_imported() -> None:
    """It registers a function for all exceptions, which would pickle the whole chain with each."""
    pytest.importorskip("distributed")
    plain = python("-c", PACKS, check=True).stdout
    assert python("-c", f"import distributed\n{PACKS}", check=True).stdout == plain


def test_group_comes_back_with_its_members() -> None:
    """Of its own class, however it is made, and they of theirs."""
    twin = back(make("group"))
    assert type(twin).__name__ == "Several"
    assert twin.code == 9
    busy, frozen = twin.exceptions
    assert isinstance(busy, Busy)
    assert isinstance(frozen, Frozen)
    assert (busy.code, frozen.code) == (503, 3)


def test_what_cannot_be_pickled_is_left_out_and_named() -> None:
    """A lock, a socket: that attribute alone, and a note says which."""
    twin = back(make("with a lock"))
    assert (twin.code, twin.text) == (503, "slow")
    assert not hasattr(twin, "holds")
    assert twin.__notes__ == ["left out, as it cannot be pickled: holds"]


def test_argument_that_cannot_be_pickled_is_shown() -> None:
    """The text of the exception is made of its arguments."""
    lock = threading.Lock()
    twin = back(ValueError("held", lock))
    assert twin.args[0] == "held"
    assert isinstance(twin.args[1], LeftOut)
    assert str(twin) == str(ValueError("held", lock))


def test_text_that_needs_what_was_left_out_is_the_same() -> None:
    """A stand-in has the plain values of the object: its status, and not its connection."""
    twin = back(make("answered"))
    assert str(twin) == "answered 503"
    assert twin.response.status == 503


def test_exception_within_an_exception_is_one() -> None:
    """As an argument and as the context at once, as HTTP clients have it; also within itself."""
    inner = Busy(503, "slow", holds=threading.Lock())
    error = ConnectionError(inner)
    error.__context__ = inner
    twin = back(error)
    assert twin.args[0] is twin.__context__
    assert twin.args[0].code == 503
    error.reasons = [error]  # type: ignore[attr-defined]
    twin = back(error)
    assert twin.reasons[0] is twin


def test_class_that_cannot_be_looked_up_has_a_stand_in() -> None:
    """It has its name, its text and its bases, and a note says what to do."""
    twin = back(make("local"))
    assert type(twin).__name__ == "Local"
    assert isinstance(twin, ConnectionError)
    assert (str(twin), twin.code) == ("refused", 7)
    assert "at the top level of a module" in twin.__notes__[-1]
    assert back(twin).code == 7  # and may travel on


def test_exception_without_a_text_is_still_reported() -> None:
    """Its ``__str__`` fails here and there alike."""

    class Mute(ValueError):  # noqa: N818
        def __str__(self) -> str:
            raise KeyError

    twin = back(Mute(3))
    assert isinstance(twin, ValueError)
    assert type(twin).__name__ == "Mute"


def test_note_is_added_to_what_takes_none() -> None:
    """A frozen dataclass refuses ``add_note``."""
    frozen = Frozen(3)
    note(frozen, "one")
    note(frozen, "two")
    assert frozen.__notes__ == ["one", "two"]
    assert back(frozen).__notes__ == ["one", "two"]


# --- in a run ---


@pytest.mark.parametrize("kind", ["busy", "frozen", "slots", "with a lock", "cause"])
@pytest.mark.parametrize("place", ["process", "thread"])
async def test_retry_sees_the_class_of_an_error_wherever_exec_runs(kind: str, place: Any) -> None:
    """Three attempts in a process as in a thread."""
    retry = Retry(attempts=3, on=(Busy, Frozen, Slotted))
    shared: dict[str, Any] = {}
    async with asyncio.timeout(60):
        await Fails(kind, retry=retry, run_in=place).run_async(shared)
    assert shared == {"attempts": 3}


async def test_error_of_a_process_shows_where_it_was_raised() -> None:
    """Its notes have the traceback of the process, of a cause as well, also where it is frozen."""
    with pytest.raises(Frozen) as raised:
        await Fails("cause").run_async({})
    notes = "\n".join(raised.value.__notes__)
    assert "raise Frozen(3) from busy" in notes
    assert 'raise Busy(503, "slow")' in notes
