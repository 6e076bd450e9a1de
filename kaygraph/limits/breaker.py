"""A circuit breaker: calls that would fail anyway are not made."""

import threading
import time
from collections import deque
from typing import Any, Literal

from .._validation import check_count, check_name, check_on, check_seconds
from ..errors import CircuitOpenError, Drop
from .clock import Clocked
from .retry import On

State = Literal["closed", "open", "half_open"]


class Ticket:
    """What a call that was let through holds until it ends.

    Attributes:
        generation: Of the breaker, when the call was let through; every move begins another.
        moved: Whether letting it through has moved the breaker to ``half_open``.
    """

    __slots__ = ("generation", "moved")

    def __init__(self, generation: int, moved: bool = False) -> None:
        self.generation, self.moved = generation, moved


class CircuitBreaker:
    """Stop calling what does not work, and try it with one call at a time until it does.

    - *closed*: every call is let through. It opens after ``failures`` failures in a row, or when
      at least the share ``share`` of the last ``window`` calls has failed, as soon as there have
      been so many. Where both rules are given, either opens it.
    - *open*: no call is let through for ``reset_after`` seconds; each is a CircuitOpenError, at
      once.
    - *half open*: the first call after that is the probe; all others are refused while it runs.
      When it works the breaker closes and counts from nothing, when it fails the breaker is open
      for ``reset_after`` seconds more, and when it is cancelled the next call is the probe.

    A call counts when it ends. A call that is cancelled does not count, nor does one that was let
    through before the breaker last moved. One object may be shared by many nodes, runs and
    threads; it counts them together.

    The pattern is Michael Nygard's (*Release It!*, Pragmatic Bookshelf, 2007).

    Args:
        failures: So many failures in a row open it, at least 1; None: this rule is off.
        share: This share of failures opens it, above 0 and up to 1; None: this rule is off.
        window: Of how many calls ``share`` is taken, the latest ones.
        reset_after: For how many seconds it stays open.
        on: What counts as a failure: exception classes, or ``(error) -> bool``. With any other
            error the service has answered: a success, as ``Drop`` always is.
        name: Stands in its errors.

    Raises:
        ValueError: An argument is out of range, or both rules are off.
    """

    def __init__(
        self,
        failures: int | None = 5,
        *,
        share: float | None = None,
        window: int = 20,
        reset_after: float = 30.0,
        on: On = Exception,
        name: str | None = None,
    ) -> None:
        if failures is None and share is None:
            raise ValueError(
                "CircuitBreaker would never open: give failures=5 (in a row), or share=0.5 (of "
                "the last calls)"
            )
        self.failures = None if failures is None else check_count("failures", failures)
        self.share = None if share is None else _check_share(share)
        self.window = check_count("window", window)
        self.reset_after = check_seconds("reset_after", reset_after)
        self.on = check_on("on", on)
        self.name = None if name is None else check_name("name", name)
        self._circuits = Clocked(_Circuit)

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.failures, self.share, self.window, self.reset_after, self.on, self.name)
        return _circuit_breaker, settings

    def __repr__(self) -> str:
        rules = [] if self.failures is None else [f"failures={self.failures}"]
        rules += [] if self.share is None else [f"share={self.share:g}", f"window={self.window}"]
        rules += [f"reset_after={self.reset_after:g}"]
        rules += [] if self.name is None else [f"name={self.name!r}"]
        return f"<CircuitBreaker({', '.join(rules)}) {self.state}>"

    @property
    def state(self) -> State:
        """``closed``, ``open`` or ``half_open``.

        It stays ``open`` after ``reset_after`` seconds, until a call comes that can be the probe.
        """
        return self._here()[0].state

    def admit(self) -> Ticket:
        """Let a call through; ``leave`` follows when it ends, however it ends.

        Raises:
            CircuitOpenError: The call is not to be made. ``retry_after`` is in seconds; while a
                probe runs, as if it failed now.
        """
        circuit, now = self._here()
        with circuit.lock:
            if circuit.state == "closed":
                return Ticket(circuit.generation)
            moved = circuit.state == "open" and now >= circuit.until
            if moved:
                circuit.move("half_open")
            if circuit.state == "half_open" and not circuit.probing:
                circuit.probing = True
                return Ticket(circuit.generation, moved)
            raise self._refusal(circuit, now)

    def check(self) -> None:
        """Raise the CircuitOpenError that ``admit`` would raise now, and change nothing."""
        circuit, now = self._here()
        if circuit.state != "closed":
            with circuit.lock:
                if circuit.probing or (circuit.state == "open" and now < circuit.until):
                    raise self._refusal(circuit, now)

    def _refusal(self, circuit: "_Circuit", now: float) -> CircuitOpenError:
        probing, reason, wait = circuit.probing, circuit.reason, circuit.until - now
        who = "the circuit breaker" if self.name is None else f"circuit breaker {self.name!r}"
        if probing:
            wait = self.reset_after
            text = f"half open after {reason}: one call tries whether it works again; come back"
        else:
            text = f"open after {reason}: the next call is let through"
        return CircuitOpenError(f"{who} is {text} in {max(wait, 0.1):.1f} s", wait)

    def leave(self, ticket: Ticket, error: BaseException | None) -> State | None:
        """Take note of how a call has ended, and return the state to which that has moved it.

        ``error`` is what the call raised; None for a success. What is no ``Exception`` (a
        cancellation) moves nothing.
        """
        try:
            failed = self._is_failure(error)
        except BaseException:
            self._count(ticket, None, None)  # on= has failed, not the call; no probe runs now
            raise
        return self._count(ticket, failed, error)

    def _is_failure(self, error: BaseException | None) -> bool | None:
        """Return whether an end of a call counts as a failure; None when it does not count."""
        if error is None or isinstance(error, Drop):
            return False
        if not isinstance(error, Exception):
            return None
        if isinstance(self.on, (type, tuple)):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def _count(
        self, ticket: Ticket, failed: bool | None, error: BaseException | None
    ) -> State | None:
        circuit, now = self._here()
        with circuit.lock:
            if ticket.generation != circuit.generation:
                return None
            probe, circuit.probing = circuit.probing, False
            if failed is None:
                circuit.generation += probe  # its ticket is used up
                return None
            if probe and not failed:
                return circuit.move("closed")
            reason = "a probe that failed" if probe else self._reason_to_open(circuit, failed)
            if reason is None:
                return None
            circuit.reason = f"{reason} ({type(error).__name__})" if failed else reason
            circuit.until = now + self.reset_after
            return circuit.move("open")

    def _reason_to_open(self, circuit: "_Circuit", failed: bool) -> str | None:
        """Count a call on a closed circuit and return why it has to open, if it has to."""
        circuit.streak = circuit.streak + 1 if failed else 0
        if circuit.streak == self.failures:
            return f"{self.failures} failures in a row" if self.failures > 1 else "a failure"
        if self.share is not None:
            circuit.results.append(failed)
            circuit.failed += failed
            if len(circuit.results) > self.window:
                circuit.failed -= circuit.results.popleft()
            # Divided, not multiplied: 7 of 100 are a share of 0.07, but 0.07 * 100 is above 7.
            if len(circuit.results) == self.window and circuit.failed / self.window >= self.share:
                return f"{circuit.failed} failures in {self.window} calls"
        return None

    def _here(self) -> "tuple[_Circuit, float]":
        try:
            return self._circuits.here()
        except RuntimeError:  # no loop runs in this thread
            return self._circuits._real, time.monotonic()


class _Circuit:
    """What is known of the calls on one clock. Whoever changes it holds its lock."""

    __slots__ = (
        "failed", "generation", "lock", "probing", "reason", "results", "state", "streak", "until",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.results: deque[bool] = deque()  # of the calls in the window: whether they failed
        self.generation = 0
        self.probing = False
        self.reason = ""
        self.until = 0.0
        self.move("closed")

    def move(self, state: State) -> State:
        """Begin another generation, with nothing counted."""
        self.state = state
        self.generation += 1
        self.streak = self.failed = 0
        self.results.clear()
        return state


def _circuit_breaker(
    failures: int | None, share: float | None, window: int, reset_after: float, on: On,
    name: str | None,
) -> CircuitBreaker:  # fmt: skip
    return CircuitBreaker(
        failures, share=share, window=window, reset_after=reset_after, on=on, name=name
    )


def _check_share(share: Any) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share!r}")
    return float(share)
