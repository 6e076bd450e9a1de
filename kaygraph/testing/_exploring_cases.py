"""Tests of ``unittest.IsolatedAsyncioTestCase`` on the loop of a simulation."""

import unittest
from collections.abc import Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Protocol

import pytest

Raised = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class RunsCoroutines(Protocol):
    def run(self, work: Coroutine[Any, Any, Any], context: Context | None = None) -> Any: ...


def run_case(case: unittest.IsolatedAsyncioTestCase, runner: RunsCoroutines) -> None:
    """Run a test with its ``setUp``, ``asyncSetUp`` and cleanups; raise the first error."""
    outcome = _Outcome()
    private: Any = case
    private._setupAsyncioRunner = lambda: setattr(case, "_asyncioRunner", _Runner(runner))
    case(outcome)
    if outcome.error is not None:
        raise outcome.error


class _Runner:
    """Has what unittest needs of an ``asyncio.Runner``."""

    def __init__(self, runner: RunsCoroutines) -> None:
        self._runner = runner

    def get_loop(self) -> None:
        """Make the loop, as asyncio's does: it is there."""

    def run(self, work: Coroutine[Any, Any, Any], *, context: Context) -> Any:
        return self._runner.run(work, context)

    def close(self) -> None:
        """Leave the loop to the simulation."""


class _Outcome(unittest.TestResult):
    """Keeps the first error."""

    error: BaseException | None = None

    def addError(self, test: unittest.TestCase, err: Raised) -> None:  # noqa: N802
        self.error = self.error or err[1]

    addFailure = addError  # noqa: N815

    def addSubTest(  # noqa: N802
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Raised | None
    ) -> None:
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self.error = self.error or pytest.skip.Exception(reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Raised) -> None:  # noqa: N802
        self.error = self.error or pytest.xfail.Exception("it is expected to fail")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.error = self.error or AssertionError("it is expected to fail, and it passes")
