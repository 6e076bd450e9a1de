"""Context variables: each item has its own, wherever it is worked on."""

import asyncio
import decimal
from collections.abc import Iterator
from contextvars import ContextVar, Token
from typing import Any

import pytest
import structlog

from kaygraph import (
    BatchGraph,
    BatchNode,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    Pipeline,
    Retry,
)
from kaygraph.testing import simulate

VAR: ContextVar[Any] = ContextVar("var", default="unset")


class Items:
    """Prep sets a variable; what each item finds and what post finds is noted."""

    found: Any = None

    def prep(self, shared: Any) -> Any:
        VAR.set("prep")
        return range(6)

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["found"], shared["after"] = results, VAR.get()


def seen(item: Any) -> Any:
    found = VAR.get()
    VAR.set(item)
    return found


class OnTheLoop(Items, ParallelBatchNode[Any, Any]):
    async def exec(self, item: int) -> Any:
        found = seen(item)
        await asyncio.sleep(0)
        assert VAR.get() == item
        return found


class InThreads(Items, ParallelBatchNode[Any, Any]):
    def exec(self, item: int) -> Any:
        return seen(item)


class OneByOne(Items, BatchNode[Any, Any]):
    async def exec(self, item: int) -> Any:
        await asyncio.sleep(0)
        return seen(item)


class Inline(Items, BatchNode[Any, Any]):
    def exec(self, item: int) -> Any:
        return seen(item)


class Fails(OnTheLoop):
    async def exec(self, item: int) -> Any:
        found = await super().exec(item)
        if item % 2:
            raise LookupError(found)
        return found


MANY = [{}, {"max_workers": 1}, {"max_workers": 2}, {"max_retries": 2}, {"limit_by": str}]


@pytest.mark.parametrize("settings", MANY, ids=str)
@pytest.mark.parametrize("kind", [OnTheLoop, InThreads])
def test_an_item_does_not_see_what_others_have_set(kind: Any, settings: Any) -> None:
    """It sees what prep has set, and so does post."""
    kind(**settings).run(shared := {})
    assert shared == {"found": ["prep"] * 6, "after": "prep"}


@pytest.mark.parametrize("settings", [{}, {"max_retries": 2}, {"timeout": 10}], ids=str)
@pytest.mark.parametrize("kind", [OneByOne, Inline])
def test_one_item_after_another_has_its_own_too(kind: Any, settings: Any) -> None:
    """In the batch's own task, and in the calling thread."""
    kind(**settings).run(shared := {})
    assert shared == {"found": ["prep"] * 6, "after": "prep"}


@pytest.mark.parametrize("workers", [1, 3])
def test_items_that_fail_leave_nothing_behind(workers: int) -> None:
    """Neither for the next item, nor for post."""
    Fails(max_workers=workers, on_error="collect").run(shared := {})
    found = [getattr(one, "error", None) or LookupError(one) for one in shared["found"]]
    assert [error.args for error in found] == [("prep",)] * 6
    assert shared["after"] == "prep"


def test_items_have_their_own_where_a_task_factory_passes_none_on() -> None:
    """Its tasks run in copies of another context than they were given."""

    class Many(OnTheLoop):
        def prep(self, shared: Any) -> Any:
            return range(3_000)

    async def run(shared: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, work, **_: asyncio.Task(work, loop=loop))
        await Many(max_workers=2).run_async(shared)

    asyncio.run(run(shared := {}))
    assert shared["found"] == ["unset"] * 3_000


def test_outcomes_of_a_stream_are_of_items_with_contexts_of_their_own() -> None:
    """As those of a batch."""

    async def read() -> list[Any]:
        return [outcome.value async for outcome in OnTheLoop(max_workers=1).stream({})]

    assert asyncio.run(read()) == ["prep"] * 6


def test_bound_loggers_do_not_see_the_fields_of_other_items() -> None:
    """Records of which some have a user: no other item logs it."""

    class Log(ParallelBatchNode[Any, Any]):
        max_workers = 1

        def prep(self, _: Any) -> Any:
            return [{"id": 1, "user": "ann"}, {"id": 2}, {"id": 3, "user": "bo"}, {"id": 4}]

        async def exec(self, record: Any) -> Any:
            structlog.contextvars.bind_contextvars(**record)
            await asyncio.sleep(0)
            return dict(structlog.contextvars.get_contextvars())

        def post(self, shared: Any, records: Any, bound: Any) -> None:
            assert bound == records

    Log().run()


def test_a_precision_that_was_set_is_that_of_the_item() -> None:
    """What ``decimal.getcontext()`` gives is changed for one item and not for the next."""

    class Precise(ParallelBatchNode[Any, Any]):
        max_workers = 1

        def prep(self, _: Any) -> Any:
            return [5, None, 7, None]

        async def exec(self, digits: int | None) -> int:
            if digits is not None:
                decimal.setcontext(decimal.Context(prec=digits))
            return decimal.getcontext().prec

        def post(self, _: Any, __: Any, results: Any) -> None:
            assert results == [5, 28, 7, 28]

    Precise().run()


def test_values_that_cannot_be_compared_are_distinguished() -> None:
    """Arrays have no truth value: two that differ are two."""

    class Array:
        def __eq__(self, other: object) -> Any:
            raise ValueError("the truth value of an array is ambiguous")

    class Arrays(OnTheLoop):
        max_workers = 1

        def prep(self, shared: Any) -> Any:
            self.first = Array()
            VAR.set(self.first)
            return [Array() for _ in range(4)]

        async def exec(self, item: Any) -> Any:
            return seen(item) is self.first

    Arrays().run(shared := {})
    assert shared["found"] == [True] * 4


def test_a_token_may_be_given_back_in_the_same_item() -> None:
    """What is set and reset is as it was; no item pays for a context of its own."""

    class Resets(OnTheLoop):
        max_workers = 1

        async def exec(self, item: int) -> Any:
            token: Token[Any] = VAR.set(item)
            await asyncio.sleep(0)
            VAR.reset(token)
            return VAR.get()

    Resets().run(shared := {})
    assert shared["found"] == ["prep"] * 6


def test_a_source_keeps_what_it_sets_for_itself() -> None:
    """A generator that sets a variable between its items: it finds it again, they do not see it."""
    own: list[Any] = []

    class FromAGenerator(OnTheLoop):
        def prep(self, shared: Any) -> Iterator[int]:
            VAR.set("prep")
            return self.rows()

        def rows(self) -> Iterator[int]:
            for item in range(6):
                own.append(VAR.get())
                VAR.set(f"row {item}")
                yield item

    FromAGenerator(max_workers=1).run(shared := {})
    assert shared["found"] == ["prep"] * 6
    assert own == ["prep", *(f"row {item}" for item in range(5))]


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_an_attempt_does_not_see_what_the_one_before_has_set(where: Any) -> None:
    """Each begins with what the item began with."""
    found: list[Any] = []

    class Tries(ParallelBatchNode[Any, Any]):
        max_workers = 1
        retry = Retry(attempts=3)

        def prep(self, _: Any) -> Any:
            VAR.set("prep")
            return range(2)

    class OfTheLoop(Tries):
        async def exec(self, item: int) -> Any:
            found.append(seen(item))
            if self.attempt < 3:
                raise LookupError

    class OfAThread(Tries):
        def exec(self, item: int) -> Any:
            found.append(seen(item))
            if self.attempt < 3:
                raise LookupError

    (OfTheLoop() if where == "loop" else OfAThread(run_in="thread")).run()
    assert found == ["prep"] * 6


def test_a_stand_in_does_not_see_what_the_item_that_waits_has_set() -> None:
    """It is started where an item has come to wait, and belongs to the batch."""

    class Waits(OnTheLoop):
        async def exec(self, item: int) -> Any:
            found = await super().exec(item)
            if item < 2 and self.attempt == 1:
                raise LookupError
            return found

    node = Waits(max_workers=2, retry=Retry(attempts=2, wait=60))
    assert simulate(Graph(node), shared := {}).seconds == 60
    assert shared["found"] == ["prep"] * 6


def test_a_fallback_knows_the_last_attempt() -> None:
    """It runs where the item was, after attempts in contexts of their own."""

    class Falls(OnTheLoop):
        async def exec(self, item: int) -> Any:
            raise LookupError

        def exec_fallback(self, item: int, error: Exception) -> Any:
            return self.attempt, VAR.get()

    Falls(max_retries=3).run(shared := {})
    assert shared["found"] == [(3, "prep")] * 6


@pytest.mark.parametrize("settings", MANY, ids=str)
@pytest.mark.parametrize("kind", [OnTheLoop, InThreads])
def test_an_item_of_a_stage_has_its_own(kind: Any, settings: Any) -> None:
    """Whether its workers take items in runs or one by one."""

    class Numbers(Node[Any, Any]):
        def prep(self, _: Any) -> Any:
            VAR.set("prep")
            return range(6)

    class Keeps(Pipeline):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["found"], shared["after"] = results, VAR.get()

    class Stage(kind):  # type: ignore[misc]
        def prep(self, _: Any) -> None: ...

        def post(self, *_: Any) -> None: ...

    Keeps(Numbers(), Stage(**settings)).run(shared := {})
    assert shared == {"found": ["prep"] * 6, "after": "prep"}


def test_a_stage_that_yields_has_one_for_each_item() -> None:
    """From its first value to its last."""

    class Numbers(Node[Any, Any]):
        def prep(self, _: Any) -> Any:
            return range(3)

    class Yields(Node[Any, Any]):
        async def exec(self, item: int) -> Any:
            yield VAR.get()
            VAR.set(item)
            yield VAR.get()

    class Keeps(Pipeline):
        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["found"] = results

    Keeps(Numbers(), Yields()).run(shared := {})
    assert shared["found"] == ["unset", 0, "unset", 1, "unset", 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_round_has_its_own(workers: int) -> None:
    """What its nodes set is not seen in other rounds."""
    found: list[Any] = []

    class Sets(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            found.append(seen(self.params["round"]))

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            VAR.set("prep")
            return [{"round": number} for number in range(4)]

        def post(self, *_: Any) -> None:
            found.append(VAR.get())

    Rounds(Sets(), max_workers=workers).run()
    assert found == ["prep"] * 5


def test_an_item_that_is_mapped_has_its_own() -> None:
    """So has a partition that is reduced."""

    class Maps(MapReduceNode):
        def prep(self, _: Any) -> Any:
            VAR.set("prep")
            return range(6)

        async def map(self, item: int) -> Any:
            return [(item, seen(item))]

        async def reduce(self, key: int, values: Any) -> Any:
            return [*values, VAR.get()]

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["found"] = results

    Maps(map_workers=1).run(shared := {})
    assert shared["found"] == {item: ["prep", "prep"] for item in range(6)}


def test_a_def_has_a_copy_wherever_it_runs() -> None:
    """In the calling thread as in one of its own: what comes after it sees nothing of it."""

    class Sets(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            VAR.set("exec")

        def post(self, shared: Any, _: Any, __: Any) -> None:
            found.append(VAR.get())

    found: list[Any] = []
    Graph(Sets()).run()
    Graph([Sets(), Sets()]).run()
    Sets(run_in="thread").run()
    assert found == ["unset"] * 4
