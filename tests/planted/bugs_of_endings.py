"""Runs that end before all of their work has, and errors that are not reported."""

# ruff: noqa: E501 - a line of a diff is longer than the line that it changes

from kaygraph.aio import buffer, contexts, tasks
from kaygraph.batch import failures
from kaygraph.executors import elsewhere
from kaygraph.graph import walk
from kaygraph.groups import branches
from kaygraph.limits import slots
from kaygraph.node import call
from kaygraph.run import launch, place
from kaygraph.run.lifespan import Lifespan
from kaygraph.run.run import Run
from tests.planted.checks_of_endings import (
    a_cancellation_of_others_is_an_error,
    error_routes_are_taken_in_clean_up_code,
    every_error_is_reported,
    nothing_is_left_after_a_failure,
    nothing_is_left_wherever_it_is_cancelled,
    runs_end_whatever_their_nodes_make_of_it,
)
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "gather leaves the siblings of a failure running",
        nothing_is_left_wherever_it_is_cancelled,
        "a task: ",
        {
            tasks.Gathering.ended: """
                - await stop(tasks)
                + tasks = [task for task in tasks if task.done()]  # as asyncio's own does
            """
        },
    ),
    Bug(
        "gather cancels the siblings and does not wait for them",
        nothing_is_left_after_a_failure,
        "begun, .* ended|a task: ",
        {
            tasks.stop: """
                - await outlast(tasks)
                + await asyncio.sleep(0)  # the finally of some takes longer
            """,
            tasks._ends_of: """
                - errors: dict[int, BaseException] = {}
                + tasks, errors = [task for task in tasks if task.done()], {}
            """,
        },
    ),
    Bug(
        "gather passes a cancellation on twice",
        nothing_is_left_wherever_it_is_cancelled,
        r"check\(shared\) returned False",
        {
            tasks.Gathering.ended: """
                - await self._over
                + try:
                +     await self._over
                + finally:
                +     for task in self._tasks:
                +         task.cancel()  # and again by stop()
                +     await asyncio.sleep(0)
            """
        },
    ),
    Bug(
        "the branches of a group that are no longer needed run on",
        nothing_is_left_wherever_it_is_cancelled,
        "a task: ",
        {
            branches.BranchGroup._exec: """
                - finally:
                -     await stop(tasks)
                + finally:
                +     await asyncio.wait(tasks)
            """
        },
    ),
    Bug(
        "a thread that has begun is not waited for",
        nothing_is_left_wherever_it_is_cancelled,
        "thread",
        {
            elsewhere.submitted: """
                -     await outlast([waiting])
                +     pass
            """
        },
    ),
    Bug(
        "a second cancellation cuts the cleaning up short",
        nothing_is_left_wherever_it_is_cancelled,
        "a task: ",
        {
            tasks.outlast: """
                - cancelled = error
                + raise error  # there are some that have not ended
            """
        },
    ),
    Bug(
        "a permit is lost when it is handed to one who is cancelled in that step",
        nothing_is_left_wherever_it_is_cancelled,
        "permits not given back",
        {
            slots._admitted: """
                - held = caps[: waiter.kept] if waiter.future.cancelled() else caps
                + held = caps[: waiter.kept]
            """
        },
    ),
    Bug(
        "a permit is lost when it is kept in the line for a rate by one who is cancelled",
        nothing_is_left_wherever_it_is_cancelled,
        "permits not given back",
        {
            slots._admitted: """
                - held = caps[: waiter.kept] if waiter.future.cancelled() else caps
                + held = () if waiter.future.cancelled() else caps
            """
        },
    ),
    Bug(
        "a permit is not given back by a worker that fails",
        nothing_is_left_after_a_failure,
        "permits not given back",
        {
            place.Working.__exit__: """
                - if self._worker.slot is not None:
                + if error is None or isinstance(error, CancelledError):
            """
        },
    ),
    Bug(
        "a cancelled item has no event that says so",
        nothing_is_left_wherever_it_is_cancelled,
        "was begun and has not ended",
        {
            call.Calls._settled: """
                - except BaseException as raised:
                + except Exception as raised:  # which a CancelledError is not
            """
        },
    ),
    Bug(
        "a cancelled attempt is tried again",
        nothing_is_left_wherever_it_is_cancelled,
        "which was cancelled, has ended with ",
        {
            call.Calls._retried: """
                - assert isinstance(failure, Exception)
                ...
                - except Exception as error:
                + except BaseException as error:
            """,
            call.Calls._wait_after: """
                - if not isinstance(error, Exception) or isinstance(error, Drop | CircuitOpenError):
                -     return None  # exec was not called, or did not fail
                - if is_cancelled(error):  # exec turned its cancellation into an error
                -     return None
                + if isinstance(error, Exception) and is_cancelled():
                +     return None
            """,
        },
    ),
    Bug(
        "a cancellation is given to the fallback",
        nothing_is_left_wherever_it_is_cancelled,
        "which was cancelled, has ended with ",
        {
            call.Calls._settled: """
                - except Exception as raised:
                -     if not node._has_fallback or is_cancelled(raised):
                + except BaseException as raised:
                +     if not node._has_fallback:
            """
        },
    ),
    Bug(
        "a cancelled item becomes an outcome, and the batch goes on",
        nothing_is_left_wherever_it_is_cancelled,
        "which was cancelled, has ended with ",
        {
            failures.Failures.bear: """
                - if not isinstance(error, Exception):
                + if False:
            """,
            contexts.settled: """
                - if cancelled() and is_cancelled():
                + if False:
            """,
        },
    ),
    Bug(
        "a batch goes on where exec has made a result of its cancellation",
        nothing_is_left_wherever_it_is_cancelled,
        "which was cancelled, has ended with a result",
        {
            contexts.settled: """
                - if cancelled() and is_cancelled():
                + if False:
            """
        },
    ),
    Bug(
        "a worker that has swallowed its cancellation waits for room that nobody makes",
        runs_end_whatever_their_nodes_make_of_it,
        "has ended with DeadlockError",
        {
            buffer.Buffer.room: """
                - await raise_if_cancelled()  # the reader may be gone
            """
        },
    ),
    Bug(
        "a run in clean-up code takes an earlier cancellation for its own",
        error_routes_are_taken_in_clean_up_code,
        "in_except, in_finally_after_a_timeout, under_a_shield, in_a_worker_that_has_swallowed_one",
        {
            tasks.is_cancelling: """
                - return task.cancelling() > (caller.cancellations if caller and is_callers else 0)
                + return task.cancelling() > 0
            """,
            tasks.is_cancelled: """
                - return task.cancelling() > caller.cancellations
                + return task.cancelling() > 0
            """,
        },
    ),
    Bug(
        "what is held open for a run stays open when the run fails",
        nothing_is_left_after_a_failure,
        "begun, .* ended",
        {
            launch.launched: """
                - if run.opened:
                + if run.opened and error is None:
            """
        },
    ),
    Bug(
        "a second cancellation reaches those who close what a run has opened",
        nothing_is_left_wherever_it_is_cancelled,
        "a task: ",
        {
            Run.close: """
                - closing = loop.create_task(self._close(error, closed))
                - closing.add_done_callback(lambda _: _end(closed))  # also if it has not started
                - try:
                -     await closed  # one iteration of the loop less than to wait for the task
                - except asyncio.CancelledError:
                -     await outlast([closing])
                -     raise
                - closing.result()
                + await self._close(error, closed)  # in a task that may be cancelled again
            """,
            Lifespan.leave: """
                - await outlast([self._task])
                + await asyncio.wait([self._task])
            """,
        },
    ),
    Bug(
        "gather drops all errors but the first",
        every_error_is_reported,
        "errors that were not reported",
        {
            tasks.Gathering.ended: """
                - if len(errors) == 1:
                -     raise errors[0]
                - raise BaseExceptionGroup(f"{len(errors)} {self._what} failed", errors)
                + raise errors[0]
            """
        },
    ),
    Bug(
        "what others have cancelled is taken for a cancellation of the run",
        a_cancellation_of_others_is_an_error,
        "has cancelled nobody",
        {
            tasks.awaited_cancelled: """
                - if not isinstance(error, asyncio.CancelledError) or is_cancelling() or _scope_is_cancelled():
                + if True:
            """
        },
    ),
    Bug(
        "an outcome has lost its error",
        every_error_is_reported,
        "errors that were not reported",
        {
            failures.Failures.bear: """
                - return Outcome(self.name, index, status, None, error, slot.attempts, slot.seconds, item)
                + return Outcome(self.name, index, status, None, None, slot.attempts, slot.seconds, item)
            """
        },
    ),
    Bug(
        "errors that come while the others are stopped are not counted",
        every_error_is_reported,
        "errors that were not reported",
        {
            failures.Failures.whole: """
                - whole = self.too_many() if len(error.exceptions) < len(self.errors) else error
                + whole = error
            """
        },
    ),
    Bug(
        "an error route hands over the first of several errors",
        every_error_is_reported,
        "errors that were not reported",
        {
            walk.Walk._taken: """
                - error, left = ExceptionGroup(f"{len(errors)} nodes failed", errors), ()
                + left = ()
            """
        },
    ),
]
