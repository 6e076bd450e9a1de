"""A circuit breaker: it refuses calls that would fail anyway."""

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
    """An admitted call, until it ends.

    Attributes:
        generation: The generation of the breaker at admission. Each change of state begins a new
            generation.
        moved: Whether the admission has moved the breaker to ``half_open``.
    """

    __slots__ = ("generation", "moved")

    def __init__(self, generation: int, moved: bool = False) -> None:
        self.generation, self.moved = generation, moved


class CircuitBreaker:
    """Stop calling a service that fails, then try one call at a time until it works again.

    - *closed*: every call is admitted. The breaker opens after ``failures`` failures in a row, or
      when at least the fraction ``share`` of the last ``window`` calls has failed, counted once
      there have been that many calls. When both rules are set, either opens it.
    - *open*: for ``reset_after`` seconds, every call fails at once with a CircuitOpenError.
    - *half open*: the first call after that is the probe; all other calls are refused while it
      runs. If the probe succeeds, the breaker closes and resets its counts. If it fails, the
      breaker is open for another ``reset_after`` seconds. If it is cancelled, the next call is
      the probe.

    A call counts when it ends. Cancelled calls do not count, nor do calls that were admitted
    before the breaker last changed its state. Nodes, runs and threads may share one object; it
    counts their calls together.

    The pattern is Michael Nygard's (*Release It!*, Pragmatic Bookshelf, 2007).

    Args:
        failures: How many failures in a row open the breaker, at least 1; None disables this rule.
        share: The fraction of failures that opens the breaker, above 0 and up to 1; None disables
            this rule.
        window: The number of latest calls from which ``share`` is computed.
        reset_after: How long the breaker stays open, in seconds.
        on: What counts as a failure: exception classes, or ``(error) -> bool``. Any other error
            means that the service has answered, and counts as a success; so does ``Drop``.
        name: The name to show in errors.

    Raises:
        ValueError: An argument is out of range, or both rules are disabled.
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
        self._circuits = Clocked(Circuit)

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

        After ``reset_after`` seconds, it is still ``open`` until the next call becomes the probe.
        """
        return self._here()[0].state

    def admit(self) -> Ticket:
        """Admit a call. The caller calls ``leave`` when the call ends, however it ends.

        Raises:
            CircuitOpenError: The call must not be made. ``retry_after`` is in seconds; while a
                probe runs, it assumes that the probe fails now.
        """
        circuit, now = self._here()
        with circuit.lock:
            if circuit.ticket is not None:
                return circuit.ticket
            moved = circuit.state == "open" and now >= circuit.until
            if moved:
                circuit.move("half_open")
            if circuit.state == "half_open" and not circuit.probing:
                circuit.probing = True
                return Ticket(circuit.generation, moved)
            raise self._refusal(circuit, now)

    def circuit(self) -> "Circuit":
        """Return its state for the running loop, which others may change at any time."""
        return self._here()[0]

    def check(self) -> None:
        """Raise the CircuitOpenError that ``admit`` would raise now; do not change the state."""
        circuit, now = self._here()
        if circuit.state != "closed":
            with circuit.lock:
                if circuit.probing or (circuit.state == "open" and now < circuit.until):
                    raise self._refusal(circuit, now)

    def status(self) -> tuple[State, str, float | None]:
        """Return the state, why it is not closed, and in how many seconds a call is admitted."""
        circuit, now = self._here()
        with circuit.lock:
            if circuit.state == "closed":
                return "closed", "", None
            left = max(0.0, circuit.until - now) if circuit.state == "open" else None
            return circuit.state, circuit.reason, left

    def _refusal(self, circuit: "Circuit", now: float) -> CircuitOpenError:
        probing, reason, wait = circuit.probing, circuit.reason, circuit.until - now
        who = "the circuit breaker" if self.name is None else f"circuit breaker {self.name!r}"
        if probing:
            wait = self.reset_after
            text = f"half open after {reason}: one call checks whether it works again; try again"
        else:
            text = f"open after {reason}: the next call is admitted"
        return CircuitOpenError(f"{who} is {text} in {max(wait, 0.1):.1f} s", wait)

    def leave(self, ticket: Ticket, error: BaseException | None) -> State | None:
        """Record how a call has ended, and return the new state, or None if it has not changed.

        ``error`` is what the call raised, or None for a success. An ``error`` that is not an
        ``Exception`` (a cancellation) does not change the state.
        """
        try:
            failed = self._is_failure(error)
        except BaseException:
            self._count(ticket, None, None)  # on= has failed, not the call; the probe is over
            raise
        return self._count(ticket, failed, error)

    def _is_failure(self, error: BaseException | None) -> bool | None:
        """Return whether a call counts as a failure; None when it does not count at all."""
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
                circuit.generation += probe  # the ticket of a probe cannot be used twice
                return None
            if probe and not failed:
                return circuit.move("closed")
            reason = "a probe that failed" if probe else self._reason_to_open(circuit, failed)
            if reason is None:
                return None
            circuit.reason = f"{reason} ({type(error).__name__})" if failed else reason
            circuit.until = now + self.reset_after
            return circuit.move("open")

    def _reason_to_open(self, circuit: "Circuit", failed: bool) -> str | None:
        """Count a call on a closed circuit; return why it must open, or None."""
        circuit.streak = circuit.streak + 1 if failed else 0
        if circuit.streak == self.failures:
            return f"{self.failures} failures in a row" if self.failures > 1 else "a failure"
        if self.share is not None:
            circuit.results.append(failed)
            circuit.failed += failed
            if len(circuit.results) > self.window:
                circuit.failed -= circuit.results.popleft()
            # Divide, since 0.07 * 100 is greater than 7 in floating point.
            if len(circuit.results) == self.window and circuit.failed / self.window >= self.share:
                return f"{circuit.failed} failures in {self.window} calls"
        return None

    def _here(self) -> "tuple[Circuit, float]":
        try:
            return self._circuits.here()
        except RuntimeError:  # no loop runs in this thread
            return self._circuits._real, time.monotonic()


class Circuit:
    """The state of a breaker on one clock. Hold ``lock`` to change it.

    Attributes:
        ticket: What admits every call while it is closed; None while it is not.
    """

    __slots__ = (
        "failed", "generation", "lock", "probing", "reason", "results", "state", "streak", "ticket",
        "until",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.results: deque[bool] = deque()  # whether each call in the window has failed
        self.generation = 0
        self.probing = False
        self.reason = ""
        self.until = 0.0
        self.move("closed")

    def move(self, state: State) -> State:
        """Change the state: begin a new generation and reset all counts."""
        self.state = state
        self.generation += 1
        self.ticket = Ticket(self.generation) if state == "closed" else None
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
