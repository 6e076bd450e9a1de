"""Context variables, wherever exec runs: what was set before it, and not what it sets itself."""

import asyncio
import decimal
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import Context, ContextVar
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from kaygraph import Graph
from kaygraph.executors.dask import Dask
from kaygraph.executors.facts import Variables, facts_of
from kaygraph.executors.pickling import dumps
from kaygraph.run.frame import Frame
from kaygraph.run.place import CARRIED
from kaygraph.run.run import Run
from tests.children import python
from tests.executors.cluster import TestCluster
from tests.executors.seeing import HANDLE, TENANT, USER, Divides, Logs, Looks, LooksAsync, Many
from tests.observability.traces import LooksAtMany, Traces, attributes_of, context_of

pytestmark = pytest.mark.anyio

PLACES = ["threads", "process", "dask", pytest.param("pool", marks=pytest.mark.proofs)]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of the places where the context of the run does not reach by itself."""
    match request.param:
        case "threads":
            with ThreadPoolExecutor(2) as threads:
                yield threads
        case "pool":
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(2, mp_context=spawn) as pool:
                yield pool
        case "dask":
            cluster: TestCluster = request.getfixturevalue("dask_cluster")
            yield Dask(cluster.address)
        case _:
            yield request.param


async def found_by(node: Any) -> Any:
    """Return what a node sees, with variables set around its run."""
    USER.set("ann")
    TENANT.set({"id": 7})
    shared: dict[str, Any] = {}
    with bound_contextvars(request="r1"):
        await Graph(node).run_async(shared)
    return shared["seen"]


ITEM = "item LooksAtMany"  # a span

SEEN = ("ann", {"id": 7}, None, {"request": "r1"})


@pytest.mark.parametrize("kind", [Looks, LooksAsync])
async def test_exec_sees_what_was_set_before_it(place: Any, kind: type[Looks]) -> None:
    """Variables of modules, and what is bound to the log."""
    assert await found_by(kind(run_in=place)) == SEEN


async def test_items_do_not_see_what_others_set(place: Any) -> None:
    """In a chunk, one after another in the same process; nor do further attempts."""
    assert await found_by(Many(run_in=place, max_workers=2)) == [SEEN] * 20


async def test_precision_of_decimals_is_the_one_that_was_set(place: Any) -> None:
    """So that results are equal everywhere."""
    with decimal.localcontext() as context:
        context.prec = 5
        assert await found_by(Divides(run_in=place)) == "0.33333"


async def test_log_knows_its_place(place: Any) -> None:
    """The run, the node and the item, and the attempt from the second on."""
    bound = await found_by(Logs(run_in=place, max_workers=2))
    run = bound[0]["run"]
    assert bound == [
        {"run": run, "node": "Logs", "item": number, **({"attempt": 2} if number % 2 else {})}
        for number in range(20)
    ]


async def test_exec_runs_within_the_span_of_its_item(place: Any) -> None:
    """In a chunk of others: what it traces there is a child of that."""
    traces, shared = Traces(), {"items": list(range(20))}
    node = LooksAtMany(run_in=place)
    await Graph(node).run_async(shared, observers=[traces.observer()])
    spans = {attributes_of(one)["kaygraph.item.index"]: one for one in traces.named(ITEM)}
    contexts = [context_of(spans[number]) for number in range(20)]
    assert shared["seen"] == [(one.trace_id, one.span_id) for one in contexts]


async def test_value_that_cannot_be_pickled_stays_behind(dask_cluster: TestCluster) -> None:
    """And fails nothing; a thread of the program gets it as well."""
    lock = threading.Lock()
    HANDLE.set(lock)
    assert await found_by(Looks(run_in=Dask(dask_cluster.address))) == SEEN
    with ThreadPoolExecutor(1) as threads:
        assert (await found_by(Looks(run_in=threads)))[2] is lock


async def test_nothing_is_sent_where_nothing_is_set() -> None:
    """Nor what the engine and the event loop keep in variables."""
    sent = Context().run(facts_of, Looks(), Frame(Run()))[2]
    assert CARRIED not in sent
    found: list[Any] = []

    class Asks(Looks):
        async def exec(self, _: Any) -> Any:
            found.append(facts_of(self, Frame(Run()))[2].get(CARRIED))
            return 0, 0

    await asyncio.create_task(Graph(Asks()).run_async({}), context=Context())
    assert found == [None]


def test_variable_is_found_by_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the module that has one is not loaded, and another is."""
    sent = dumps(Variables({USER: "ann"}))
    monkeypatch.delitem(sys.modules, "tests.executors.seeing")
    context = Context()
    context.run(_loaded(sent))
    assert context[USER] == "ann"  # by the name that it has in this module


def test_variable_without_a_name_stays_behind() -> None:
    """As one that a function has made; and a name that means another variable by now."""
    context = Context()
    context.run(_loaded(dumps(Variables({ContextVar("local"): 1}))))
    assert len(context) == 0


def test_value_of_a_class_that_is_not_known_there_stays_behind() -> None:
    """The others are set."""
    sent = dumps(Variables({HANDLE: Vanishing(), USER: "ann"}))
    context = Context()
    context.run(_loaded(sent))
    assert HANDLE not in context
    assert context[USER] == "ann"


def _loaded(sent: bytes) -> Any:
    return pickle.loads(sent)


class Vanishing:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> Any:
        return _raise, ()


def _raise() -> None:
    raise ImportError


PROGRAM = dedent(
    """
    import os, sys
    from contextvars import ContextVar
    from kaygraph import Graph, Node
    from kaygraph.executors.dask import Dask

    USER = ContextVar("user", default="nobody")
    OTHER = ContextVar("other", default="default")

    class Looks(Node):
        def exec(self, _):
            return os.getpid(), USER.get(), OTHER.get()

        def post(self, shared, _, result):
            shared["result"] = result

    if __name__ == "__main__":
        shared = {}
        USER.set("ann")
        place = sys.argv[1]
        Graph(Looks(run_in="process" if place == "process" else Dask(place))).run(shared)
        pid, *seen = shared["result"]
        assert pid != os.getpid()
        print(*seen)
    """
)


@pytest.mark.proofs
@pytest.mark.parametrize("where", ["process", "dask"])
def test_variables_of_the_program_itself_are_found(
    where: str, dask_cluster: TestCluster, tmp_path: Path
) -> None:
    """Also where another program is ``__main__``."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    address = "process" if where == "process" else dask_cluster.address
    assert python(script, address, check=True).stdout == "ann default\n"
