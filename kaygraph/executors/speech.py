"""What ``exec`` says in a worker process, on its way to the run."""

import os
from collections import deque
from multiprocessing.connection import Connection
from struct import Struct
from threading import Lock
from typing import Any

from ..run.saying import Receiver
from .pickling import dumps, loads

SAID = b"said"  # begins a message with what exec has said: the item's place, -1 where it has none
PLACE = Struct("<q")

MOST_KEPT = 10_000


class Speech:
    """The end in the process. What a thread of ``exec`` says when its item has ended is dropped.

    Attributes:
        lock: Held while anything is sent.
    """

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self.lock = Lock()
        self._connection = connection
        self._own = os.getpid()
        self._open = False
        # What a generator says between two requests for values. What a thread of an ended item
        # says is never requested, hence the bound.
        self._kept: deque[bytes] = deque(maxlen=MOST_KEPT)

    def begin(self, goes_on: bool = False) -> None:
        """Send what is said from now on; ``goes_on``: also what was said since the last end."""
        with self.lock:
            self._open = True
            if goes_on:
                for message in self._kept:
                    self._connection.send_bytes(message)
            self._kept.clear()

    def end(self) -> None:
        with self.lock:
            self._open = False

    def send(self, item: int | None, value: Any) -> None:
        """Send what was said of an item; in any thread.

        Raises:
            TypeError: It cannot be pickled.
        """
        pickled = said_pickled(value)
        if os.getpid() != self._own:  # exec has forked this process
            return
        message = SAID + PLACE.pack(-1 if item is None else item) + pickled
        with self.lock:
            if self._open:
                self._connection.send_bytes(message)
            else:
                self._kept.append(message)


class Incoming:
    """The end in the program, for one call or one chunk.

    What cannot be unpickled is an error of the item that has said it.

    Attributes:
        failed: These errors, by the place of the item.
    """

    def __init__(self, receive: Receiver | None) -> None:
        self._receive = receive
        self.failed: dict[int | None, BaseException] = {}

    def takes(self, message: bytes) -> bool:
        """Whether a message is what exec has said; it is passed on then."""
        if not message.startswith(SAID):
            return False
        at = len(SAID) + PLACE.size
        (place,) = PLACE.unpack(message[len(SAID) : at])
        item = None if place < 0 else place
        try:
            value = said_unpickled(message[at:])
        except BaseException as error:
            self.failed.setdefault(item, error)
        else:
            if self._receive is not None:
                self._receive(item, value)
        return True


def said_pickled(value: Any, *how: bool) -> bytes:
    """Return what was said as bytes.

    Raises:
        TypeError: It cannot be pickled.
    """
    try:
        return dumps(value, *how)
    except Exception as error:
        kind = type(value).__name__
        raise TypeError(
            f"say() in a process takes what can be pickled, and not this {kind}: {error}"
        ) from error


def said_unpickled(pickled: bytes) -> Any:
    return loads(pickled, "what exec said was unpickled, as it came from a process")
