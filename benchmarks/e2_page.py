"""E2: what a page costs the run that it shows; the readers are processes of their own."""

import asyncio
import atexit
import gc
import json
import multiprocessing
import resource
import socket
import time
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import Connection
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from kaygraph import Graph, Node, ParallelBatchNode, Watch

from .harness import ROUNDS, Figure

PAGES = 50


def cases(size: int) -> Iterator[Figure]:
    items = 1_000_000 // size
    yield shown("E2", "a page open on a run of no-op items", items, 1, 1.03)
    yield shown("E2-nobody", "a page that nobody opens", items, 0, 1.02)
    yield shown("E2-pages", f"{PAGES} pages and a stalled reader", items, PAGES, 1.1)
    yield Figure(
        name="E2-memory", what=f"memory that grows with {PAGES} pages and a stalled reader",
        measure=lambda: memory(items), target=4096.0, unit="KiB",
    )  # fmt: skip


class Opened(Node[Any, None]):
    """Waits until all readers have opened the page."""

    def prep(self, shared: dict[str, Any]) -> Any:
        return shared["pages"]

    async def exec(self, pages: int) -> None:
        async with asyncio.timeout(60):
            while pages and page().hubs()[-1].readers < pages:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


class Idle(ParallelBatchNode[int, int]):
    """Does nothing with each of its items, and notes how long that took."""

    max_workers = 100

    def prep(self, shared: dict[str, Any]) -> range:
        shared["began"] = time.process_time(), time.perf_counter()
        return range(shared["items"])

    async def exec(self, item: int) -> int:
        return item

    def post(self, shared: dict[str, Any], prep_res: Any, exec_res: list[int]) -> None:
        assert len(exec_res) == shared["items"]
        cpu, wall = shared["began"]
        shared["took"] = time.process_time() - cpu, time.perf_counter() - wall


def read(orders: Connection) -> None:
    """Read the streams of pages, on request: how many, and where."""

    async def one(client: aiohttp.ClientSession, address: str) -> int:
        async with client.get(address) as answer:
            lines = 0
            async for line in answer.content:
                lines += line.startswith(b"data: {")
            return lines

    async def main(pages: int, address: str) -> int:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), read_bufsize=1 << 20
        ) as client:
            while True:
                async with client.get(f"{address}state") as answer:
                    state = json.loads(await answer.read())
                if "state" in state and not state["over"]:
                    break
                await asyncio.sleep(0.01)
            stream = f"{address}events/{state['state']['run']}"
            parts = urlsplit(stream)
            stalled = socket.create_connection((parts.hostname, parts.port))
            if pages > 1:  # a reader that requests the page and never reads
                request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
                stalled.sendall(request.encode())
            read = await asyncio.gather(*(one(client, stream) for _ in range(pages)))
            stalled.close()
            return min(read)

    orders.send("ready")
    while True:
        orders.send(asyncio.run(main(*orders.recv())))


@cache
def reader() -> Connection:
    """Start the readers on first use, and return the pipe to control them."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=read, args=(theirs,), daemon=True)
    process.start()
    atexit.register(process.terminate)
    assert ours.recv() == "ready"
    return ours


@cache
def page() -> Watch:
    """Open a page that stays open."""
    watch = Watch()
    watch.__enter__()
    return watch


def took(graph: Graph, items: int, pages: int | None) -> tuple[float, float]:
    """Return the processor time and the wall time of the items, in seconds."""
    shared: dict[str, Any] = {"items": items, "pages": pages}
    gc.collect()
    if pages:
        shared["pages"] = pages + (pages > 1)
        reader().send((pages, page().address))
    if pages is None:
        graph.run(shared)
    else:
        graph.run(shared, watch=page())
    if pages:
        assert reader().poll(60)
        assert reader().recv() >= 1
    cpu, wall = shared["took"]
    return cpu, wall


def graph_of_items() -> Graph:
    opened = Opened(name="Opened")
    opened >> Idle(name="Idle")
    return Graph(opened, name="Idle items")


def shown(name: str, what: str, items: int, pages: int, target: float) -> Figure:
    """The processor time of the items, against a run without a page."""

    def measure() -> tuple[float, dict[str, Any]]:
        graph = graph_of_items()
        took(graph, items, None)
        took(graph, items, pages)
        rounds = [(took(graph, items, None), took(graph, items, pages)) for _ in range(ROUNDS)]
        cpu = median(ours[0] / floor[0] for floor, ours in rounds)
        wall = median(ours[1] / floor[1] for floor, ours in rounds)
        return cpu, {"wall": round(wall, 3)}

    return Figure(name=name, what=what, measure=measure, target=target)


def memory(items: int) -> tuple[float, dict[str, Any]]:
    """Return by how much the peak memory has grown, against a run with one page."""
    graph = graph_of_items()
    for pages in (1, 1, 1):
        took(graph, items, pages)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took(graph, items, PAGES)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, {}
