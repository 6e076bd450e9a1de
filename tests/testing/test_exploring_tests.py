"""@pytest.mark.explore and --explore: async tests under many schedules, in a pytest of its own."""

from importlib.util import find_spec
from typing import Any

import pytest

pytest_plugins = ["pytester"]

PLUGINS = ["kaygraph.testing.plugin", "anyio.pytest_plugin"]

ACCOUNT = """
import asyncio

import anyio
import pytest


class Account:
    balance = 100

    async def withdraw(self, amount):
        if self.balance >= amount:
            await asyncio.sleep(0.01)
            self.balance -= amount


@pytest.fixture
async def account():
    await asyncio.sleep(1)
    yield Account()
    await asyncio.sleep(1)


async def withdraw_twice(account):
    async def later():
        await asyncio.sleep(0.0105)
        await account.withdraw(50)

    async with asyncio.TaskGroup() as group:
        group.create_task(later())
        group.create_task(account.withdraw(80))
    assert account.balance >= 0
"""


@pytest.fixture
def results(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run tests with nothing but pytest and these plugins; return what they came to."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(tests: str, *arguments: str, plugins: Any = PLUGINS) -> pytest.RunResult:
        pytester.makepyfile(ACCOUNT + tests)
        loaded = [part for name in plugins for part in ("-p", name)]
        return pytester.runpytest_inprocess(*loaded, "-p", "no:cacheprovider", *arguments)

    return run


def test_a_marked_test_fails_with_all_that_is_needed_to_understand_it(results: Any) -> None:
    """How many seeds break it, the assertion, both stacks, and the line that runs it again."""
    result = results(
        """
@pytest.mark.explore(seeds=100)
async def test_account(account):
    await withdraw_twice(account)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*assert -30 >= 0",
            "E*of 100 seeds break it; *: pytest *::test_account --explore-seed*",
            "*Captured explore call*",
            "at 1.01 s, timer of task-2 came before timer of task-3",
            "*withdraw_twice.<locals>.later (*  await asyncio.sleep(0.0105)",
            "*Account.withdraw (*  await asyncio.sleep(0.01)",
        ]
    )


def test_what_is_watched_in_a_test_fails_it_without_a_traceback_of_ours(results: Any) -> None:
    """In asyncio's own order already. A fixture may watch, too."""
    result = results(
        """
from kaygraph.testing import watch

@pytest.fixture
async def watched(account):
    return watch(account)

async def test_account(watched):
    async def sets(balance):
        await asyncio.sleep(balance)
        watched.balance = balance
    await asyncio.gather(sets(1), sets(2))
""",
        "--explore", "5",
    )  # fmt: skip
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "UnorderedAccessError: Account.balance is written by two tasks, with no order *",
            "  task-*, in test_account.<locals>.sets (*  watched.balance = balance",
            "  task-*, in test_account.<locals>.sets (*  watched.balance = balance",
            "it fails in asyncio's own order*",
        ]
    )
    result.stdout.no_fnmatch_line("*_ordering.py*")


def test_a_swallowed_cancellation_fails_only_a_test_that_asks_for_it(results: Any) -> None:
    """An existing test may rely on it."""
    test = """
{mark}
async def test_worker():
    async def worker():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(1)
    task = asyncio.create_task(worker())
    await asyncio.sleep(1)
    task.cancel()
    await task
"""
    results(test.format(mark=""), "--explore", "5").assert_outcomes(passed=1)
    asked = results(test.format(mark="@pytest.mark.explore(leftovers=False)"))
    asked.assert_outcomes(failed=1)
    asked.stdout.fnmatch_lines(["a cancellation of task-*, in test_worker.<locals>.worker (*"])


def test_the_line_that_is_shown_repeats_the_failure(results: Any) -> None:
    """The same seed, the same steps; other seeds pass."""
    test = """
@pytest.mark.explore(seeds=100)
async def test_account(account):
    await withdraw_twice(account)
"""
    shown = results(test).stdout.str()
    seed = shown.rpartition("--explore-seed ")[2].split()[0]
    again = results(test, "--explore-seed", seed)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*at 1.01 s, timer of task-2 came before timer of task-3"])
    results(test, "--explore-seed", "0").assert_outcomes(passed=1)


def test_tests_of_anyio_are_explored_as_they_are(results: Any) -> None:
    """With fixtures that hold a task group open, streams and threads."""
    tests = """
pytestmark = pytest.mark.anyio

@pytest.fixture
async def group():
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()

async def test_group(group):
    group.start_soon(anyio.sleep, 10_000)
    await anyio.sleep(3600)

async def test_threads_and_streams():
    send, receive = anyio.create_memory_object_stream(1)
    async with send, receive, anyio.create_task_group() as group:
        group.start_soon(send.send, await anyio.to_thread.run_sync(int, "7"))
        assert await receive.receive() == 7

async def test_account(account):
    await withdraw_twice(account)
"""
    arguments = ("--explore", "60", "-k", "asyncio")
    result = results(tests, *arguments)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E*of 60 seeds break it*"])


@pytest.mark.skipif(find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed")
def test_tests_of_pytest_asyncio_are_explored_as_they_are(results: Any) -> None:
    """In both of its modes, with fixtures of any scope, whose loops are the simulation's."""
    tests = """
import pytest_asyncio

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lock():
    yield asyncio.Lock()

@pytest_asyncio.fixture
async def queue(lock):
    worker = asyncio.create_task(asyncio.sleep(10_000))
    yield asyncio.Queue()
    worker.cancel()

@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2])
async def test_fixtures(queue, lock, number, tmp_path, monkeypatch):
    async with lock:
        await queue.put(number)
        await asyncio.sleep(3600)
    assert await queue.get() == number

@pytest.mark.asyncio
async def test_account():
    await withdraw_twice(Account())

@pytest.mark.asyncio
@pytest.mark.xfail
async def test_expected():
    assert not await asyncio.sleep(1, True)
"""
    asyncio_plugin = [*PLUGINS, "pytest_asyncio.plugin"]
    options = ("--explore", "60", "-o", "asyncio_default_fixture_loop_scope=function")
    result = results(tests, *options, plugins=asyncio_plugin)
    result.assert_outcomes(passed=2, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["E*of 60 seeds break it*"])


def test_each_seed_has_new_fixtures_and_a_new_instance(results: Any) -> None:
    """Of the scope of a function, async or not; what a seed leaves in them is gone."""
    result = results(
        """
seeds = []

@pytest.fixture
def plain():
    return []

@pytest.fixture
async def made(plain):
    yield [*plain, "made"]
    ended.append(True)

ended = []

class TestClass:
    @pytest.fixture
    async def me(self):
        return self

    @pytest.mark.explore(seeds=5)
    async def test_method(self, me, plain, made, tmp_path):
        assert me is self
        assert not hasattr(self, "seen")
        self.seen = True
        assert plain == []
        plain.append("used")
        assert made == ["made"]
        seeds.append(tmp_path)

def test_afterwards():
    assert len(seeds) == len(set(seeds)) == len(ended) == 5
"""
    )
    result.assert_outcomes(passed=2)


def test_the_number_of_seeds_is_that_of_the_mark_or_of_the_command_line(results: Any) -> None:
    """A mark without a number has that of the command line."""
    tests = """
count = 0

@pytest.mark.explore
async def test_default():
    global count
    count += 1

def test_count():
    print("count", count)
"""
    assert "count 7\n" in results(tests, "-s", "--explore", "7").stdout.str()
    assert "count 9\n" in results(tests, "-s", "--kaygraph-seeds", "9").stdout.str()
    assert "count 1\n" in results(tests, "-s", "--explore-seed", "4").stdout.str()


ORDERED = """
async def starts():
    started = []

    async def child():
        started.append(True)

    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    assert started
    await task
"""


def test_existing_tests_keep_the_order_of_asyncio_unless_asked(results: Any) -> None:
    """`sleep(0)` lets a new task begin on asyncio's loop: no test of it is accused of a race."""
    plain = ORDERED + "\nasync def test_starts():\n    await starts()\n"
    marked = plain.replace("async def test_", "@pytest.mark.explore(seeds=50)\nasync def test_")
    results(plain, "--explore", "50").assert_outcomes(passed=1)
    results(plain, "--explore", "50", "--explore-order", "any").assert_outcomes(failed=1)
    results(marked).assert_outcomes(failed=1)
    results(marked, "--explore-order", "asyncio").assert_outcomes(passed=1)


def test_a_failure_in_asyncios_own_order_ends_the_search(results: Any) -> None:
    """It is not a race; nor is a deadlock, which says who waits where, without the loop's lines."""
    result = results(
        """
@pytest.mark.explore
async def test_wrong():
    assert await asyncio.sleep(3600, 1) == 2

@pytest.mark.explore
async def test_stuck():
    await asyncio.Event().wait()
"""
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["E*assert 1 == 2", "E*it fails in asyncio's own order, on the virtual clock; *"]
    )
    result.stdout.fnmatch_lines(
        ["DeadlockError: deadlock: nothing will ever wake*", "*in test_stuck (*"]
    )
    result.stdout.no_fnmatch_line("*def _wait*")


def test_what_a_test_leaves_behind_is_a_failure_where_asked(results: Any) -> None:
    """By default it is ended with the seed, as plugins do."""
    tests = """
@pytest.mark.explore(seeds=3)
async def test_allowed():
    asyncio.create_task(asyncio.sleep(9))

@pytest.mark.explore(seeds=3, leftovers=False)
async def test_refused():
    asyncio.create_task(asyncio.sleep(9))
"""
    result = results(tests)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["LeftoversError: the test has left behind", "a task: task-2, in sleep*"]
    )


def test_skips_errors_of_fixtures_and_plain_tests(results: Any) -> None:
    """A skip skips; a fixture that fails fails the test; a plain test cannot be explored."""
    result = results(
        """
@pytest.fixture
async def broken():
    raise OSError("no server")

@pytest.mark.explore
async def test_skip():
    pytest.skip("not today")

@pytest.mark.explore
async def test_fixture(broken):
    pass

@pytest.mark.explore
def test_plain():
    pass
"""
    )
    result.assert_outcomes(skipped=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["E*OSError: no server"])
    result.stdout.fnmatch_lines(["explore is for async tests: write 'async def test_plain'"])


def test_a_mark_makes_the_network_unreliable(results: Any) -> None:
    """``network=`` of the mark is that of ``explore``."""
    found = results(
        """
import asyncio
import pytest
from kaygraph.testing import Network

async def connect():
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 80):
        reader, writer = await asyncio.open_connection("localhost", 80)
        assert await reader.read() == b""
        writer.close()

@pytest.mark.explore(seeds=30, network=Network(refuse=0.3))
async def test_refused():
    await connect()

@pytest.mark.explore(seeds=30)
async def test_reliable():
    await connect()
"""
    )
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*ConnectionRefusedError*"])
