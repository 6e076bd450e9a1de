"""The test kit, tool by tool: each function is a page to read, and prints what it found.

    python -m examples.testing

Under pytest the same tools are fixtures (``simulate``, ``explore``, ``cancel_everywhere``,
``kill_everywhere``, ``faults``, ``assert_accounted``, ``captured_events``), wherever kaygraph is
installed::

    def test_no_booking_is_lost(explore):
        explore(bookings(Book), {"seats": 10}, check=lambda shared: shared["seats"] == 8)
"""

import asyncio
from typing import Any

from kaygraph import Graph, ItemRetried, Node, Outcome, ParallelBatchNode, RunReport
from kaygraph.testing import (
    Faults,
    assert_accounted,
    cancel_everywhere,
    capture_events,
    explore,
    kill_everywhere,
    simulate,
)

Shared = dict[str, Any]


# --- simulate: hours in milliseconds, and the same again ------------------------------------------


class Poll(Node[None, str]):
    """Asks every ten minutes whether a report is ready, for up to a day."""

    def __init__(self, ready_after_s: float) -> None:
        super().__init__(max_retries=144, wait=600)
        self.ready_after_s = ready_after_s

    async def exec(self, _: None, /) -> str:
        await asyncio.sleep(2)  # instead of a request
        if asyncio.get_running_loop().time() < self.ready_after_s:
            raise LookupError("not yet")
        return "the report"

    def post(self, shared: Shared, _: None, report: str, /) -> None:
        shared["report"] = report


def simulating() -> None:
    """The clock jumps from one wait to the next, and shows exactly how long the run would take."""
    run = simulate(Graph(Poll(ready_after_s=5 * 3600)))
    print(f"{run.shared['report']} after {run.seconds:,.0f} s and {run.report.retries} retries")
    assert run.seconds > 5 * 3600

    again = simulate(Graph(Poll(ready_after_s=5 * 3600)))
    assert again.trace == run.trace  # the same seed is the same run, event by event
    print("the first three of", len(run.trace), "lines of its trace:")
    print("\n".join(run.trace[:3]))


# --- explore: the orders in which things can happen -----------------------------------------------


class Book(Node[int, int]):
    """Reads in prep, writes in post: a booking in between is lost."""

    def prep(self, shared: Shared, /) -> int:
        seats: int = shared["seats"]
        return seats

    async def exec(self, seats: int, /) -> int:
        await asyncio.sleep(1)  # instead of a payment
        return seats - 1

    def post(self, shared: Shared, _: int, left: int, /) -> None:
        shared["seats"] = left


class BookSafely(Book):
    """Reads and writes in post, where nothing else runs in between."""

    def post(self, shared: Shared, _: int, left: int, /) -> None:
        shared["seats"] -= 1


class Pause(Node[None, None]):
    """A customer who comes a second later."""

    async def exec(self, _: None, /) -> None:
        await asyncio.sleep(1)


def bookings(kind: type[Book]) -> Graph:
    # Writing the same key in two branches gives a warning anyway; this shows the consequence.
    return Graph([kind(name="Ann"), Pause() >> kind(name="Bob")], on_conflict="ignore")


def exploring() -> None:
    """Bob begins in the second in which Ann ends: whether a seat is lost depends on the order."""
    found = explore(bookings(Book), {"seats": 10}, check=lambda shared: shared["seats"] == 8)
    print(found)
    assert found.shortest is not None
    assert found.shortest.deviations <= 1

    found = explore(bookings(BookSafely), {"seats": 10}, check=lambda shared: shared["seats"] == 8)
    print("written in post:", found)
    assert not found, str(found)


# --- cancel_everywhere: stopped at any moment, nothing is left ------------------------------------


class Lend(Node[None, None]):
    """Takes a book from the shelf and brings it back."""

    def __init__(self, shelf: list[str], tidy: bool) -> None:
        super().__init__()
        self.shelf, self.tidy = shelf, tidy

    async def exec(self, _: None, /) -> None:
        book = self.shelf.pop()
        try:
            await asyncio.sleep(5)
        finally:
            if self.tidy:
                self.shelf.append(book)
        if not self.tidy:
            self.shelf.append(book)  # not reached where the sleep is cancelled


def cancelling() -> None:
    """Every step is a moment at which somebody can press Ctrl-C."""

    async def lend(shelf: list[str], tidy: bool) -> None:
        await Graph([Lend(shelf, tidy), Lend(shelf, tidy)]).run_async({})

    def shelf() -> list[str]:
        return ["Emma", "Ulysses"]

    def all_back(books: list[str]) -> bool:
        return len(books) == 2

    points = cancel_everywhere(lambda books: lend(books, True), shelf, check=all_back)
    print(f"cancelled at {points} moments: every book is back")
    try:
        cancel_everywhere(lambda books: lend(books, False), shelf, check=all_back)
    except AssertionError as error:
        print("without the finally:", str(error).splitlines()[0])
    else:
        raise AssertionError("the missing book was not noticed")


# --- kill_everywhere: a recorded run is resumed wherever its process has ended --------------------


class Visit(Node[int, str]):
    """Greets each guest, by a number that must be the same in the next process."""

    counter = 0  # of this process

    def __init__(self, name: str, in_shared: bool) -> None:
        super().__init__(name=name)
        self.in_shared = in_shared

    def prep(self, shared: Shared, /) -> int:
        guests = shared.setdefault("guests", [])
        Visit.counter += 1
        return len(guests) if self.in_shared else Visit.counter

    async def exec(self, number: int, /) -> str:
        await asyncio.sleep(1)
        return f"{self.name}, number {number}"

    def post(self, shared: Shared, _: int, guest: str, /) -> None:
        shared["guests"].append(guest)


def killing() -> None:
    """Nothing acknowledged is lost, nothing runs twice, and shared has the same result."""

    def party(in_shared: bool) -> Graph:
        return Graph(Visit("Emma", in_shared) >> Visit("Leo", in_shared))

    print(f"killed at {kill_everywhere(party(True))} moments, and resumed")
    try:
        kill_everywhere(party(False))
    except AssertionError as error:
        print("with a counter of the process:", str(error).splitlines()[1].strip()[:80])
    else:
        raise AssertionError("the counter that is not in shared was not noticed")


# --- Faults: what can go wrong, on purpose --------------------------------------------------------


class Fetch(ParallelBatchNode[str, str]):
    """Gets pages: two seconds a page at most, three attempts, outcomes for failures."""

    def prep(self, shared: Shared, /) -> list[str]:
        urls: list[str] = shared["urls"]
        return urls

    async def exec(self, url: str, /) -> str:
        return f"the page at {url}"

    def post(self, shared: Shared, _: Any, pages: list[str], /) -> None:
        shared["pages"] = pages


URLS = [f"/page/{number}" for number in range(8)]


def breaking() -> None:
    """By chance: other faults with every seed. By script: exactly these."""
    fetch = Fetch(max_workers=3, timeout=2, max_retries=3, wait=1, on_error="collect")
    graph = Graph(fetch)

    def each_page_has_its_place(shared: Shared) -> bool:
        return len(shared["pages"]) == len(URLS)

    faults = Faults(fail=0.2, hang=0.05, delay=(0.0, 2.5))
    found = explore(faults.wrap(graph), {"urls": URLS}, check=each_page_has_its_place, seeds=200)
    print("failing, hanging and slow:", found)
    assert not found, str(found)

    script = Faults(script={"/page/3": [ConnectionError, "hang", "ok"], "/page/5": ["hang"] * 3})
    run = simulate(script.wrap(graph), {"urls": URLS})
    page_3, page_5 = run.shared["pages"][3], run.shared["pages"][5]
    print("page 3:", page_3)
    print("page 5:", page_5.status, "after", page_5.attempts, "attempts:", page_5.error)
    assert page_3 == "the page at /page/3"
    assert isinstance(page_5, Outcome)
    assert page_5.status == "timed_out"


# --- assert_accounted: every item has ended, exactly once -----------------------------------------


def accounting() -> None:
    """Whatever goes wrong, the books balance."""
    node = Fetch(max_workers=3, timeout=2, on_error="skip")
    report = RunReport()
    graph = Faults(fail=0.3, hang=0.1).wrap(Graph(node))
    simulate(graph, {"urls": URLS * 5}, seed=4, observers=[report])
    assert_accounted(report)
    print(f"{report.submitted} items submitted:", report.items)


# --- capture_events: the events of runs -----------------------------------------------------------


def capturing() -> None:
    """No observers to pass: good for code that runs graphs somewhere deep inside."""
    graph = Faults(script=[ValueError("first"), "ok"]).wrap(Graph(Fetch(max_retries=2)))

    def code_under_test() -> None:
        graph.run({"urls": ["/a", "/b"]})

    with capture_events() as events:
        code_under_test()
    assert_accounted(events)
    retried = [event.item for event in events if isinstance(event, ItemRetried)]
    print(f"{len(events)} events; items retried: {sorted(retried)}")
    assert sorted(retried) == [0, 1]


PAGES = (simulating, exploring, cancelling, killing, breaking, accounting, capturing)


def main() -> None:
    for page in PAGES:
        print(f"\n== {page.__name__}: {page.__doc__}")
        page()


if __name__ == "__main__":
    main()
