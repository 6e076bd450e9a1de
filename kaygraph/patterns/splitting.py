"""Items split into chunks, and the results of the chunks combined again."""

import copy
import json
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from itertools import islice
from numbers import Real
from typing import Any, ClassVar, Generic, NamedTuple, TypedDict, Unpack

from .._validation import check_callable, check_count
from ..aio.outlet import close
from ..node.keywords import Item
from ..node.node import Node
from ..node.settings import Checks
from ..nodes._store import Keys, Stored, configure, store
from ..outcome import Outcome
from ..streams.report import StageReport

WAYS = ("size", "count", "max_bytes")
NOT_GIVEN: Any = object()


class SplittingSettings(TypedDict, total=False):
    """The settings of a node that only reads and writes."""

    name: str
    reads: Keys
    writes: Keys


def bytes_of(item: Any) -> int:
    """Return the size of an item in bytes: of bytes, of a string in UTF-8, or of compact JSON.

    Raises:
        TypeError: The item cannot be encoded as JSON.
    """
    if isinstance(item, bytes | bytearray | memoryview):
        return memoryview(item).nbytes
    if not isinstance(item, str):
        try:
            item = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"the size of a {type(item).__name__} is unknown: pass size_of=function, which "
                "returns a number of bytes"
            ) from error
    return len(item.encode(errors="surrogatepass"))


class Chunks(Generic[Item]):
    """The chunks of an iterable, made lazily; each is a list of consecutive items.

    It can be iterated as often as the iterable: over a list many times, over a generator once.
    """

    def __init__(self, items: Iterable[Item], most: int, weigh: Callable[[Item], int]) -> None:
        self.items, self.most, self.weigh = items, most, weigh

    def __iter__(self) -> Generator[list[Item], None, None]:
        items, chunk = self.items, _Chunk(self.most, self.weigh)
        try:
            for item in items:
                yield from chunk.add(item)
            yield from chunk.rest()
        finally:
            if isinstance(items, Generator):
                items.close()


class AsyncChunks(Generic[Item]):
    """The chunks of an async iterable, made lazily."""

    def __init__(self, items: AsyncIterable[Item], most: int, weigh: Callable[[Item], int]) -> None:
        self.items, self.most, self.weigh = items, most, weigh

    def __aiter__(self) -> "_Chunking[Item]":
        return _Chunking(aiter(self.items), _Chunk(self.most, self.weigh))


class _Chunking(AsyncIterator[list[Item]], Generic[Item]):
    """Makes chunks of the items of an iterator, step by step, in the task of the consumer."""

    def __init__(self, items: AsyncIterator[Item], chunk: "_Chunk") -> None:
        self._items, self._chunk = items, chunk
        self._full: deque[list[Item]] = deque()
        self._over = False

    async def __anext__(self) -> list[Item]:
        while not self._full and not self._over:
            self._add(await anext(self._items, NOT_GIVEN))
        if not self._full:
            raise StopAsyncIteration
        return self._full.popleft()

    def _add(self, item: Any) -> None:
        self._over = item is NOT_GIVEN
        self._full += self._chunk.rest() if self._over else self._chunk.add(item)

    async def athrow(self, error: BaseException) -> list[Item]:
        """Raise an error in the source of the items, which may handle it and continue."""
        throw = getattr(self._items, "athrow", None)
        if throw is None:
            raise error
        try:
            self._add(await throw(error))
        except StopAsyncIteration:
            self._add(NOT_GIVEN)
        return await anext(self)

    async def aclose(self) -> None:
        await close(self._items)


class EvenChunks(Generic[Item]):
    """At most ``count`` chunks whose lengths differ by one item at most."""

    def __init__(self, items: Any, count: int) -> None:
        self.items, self.count = items, count

    def __len__(self) -> int:
        return min(self.count, len(self.items))

    def __iter__(self) -> Generator[list[Item], None, None]:
        least, larger = divmod(len(self.items), self.count)
        items = iter(self.items)
        for number in range(len(self)):
            yield list(islice(items, least + (number < larger)))


class Unread(Iterable[Any]):
    """The items of a splitter that reads none; iterating over it is an error."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"{self.name!r} has no items: reads= names the key of the shared store with "
            "them, or it follows the stage that emits them, as in ReadCSV(…) | "
            f"{self.name}(…)"
        )


class _Chunk(Generic[Item]):
    """The chunk that is being filled, up to the weight ``most``."""

    def __init__(self, most: int, weigh: Callable[[Item], int]) -> None:
        self.most, self.weigh = most, weigh
        self.items: list[Item] = []
        self.weight = 0

    def add(self, item: Item) -> list[list[Item]]:
        """Add an item; return the chunks that are full now: without it, with it, or both."""
        weight = self.weigh(item)
        full = self.rest() if self.weight + weight > self.most else []
        self.items.append(item)
        self.weight += weight
        return full + self.rest() if self.weight >= self.most else full

    def rest(self) -> list[list[Item]]:
        """Return the current chunk if it is not empty, and begin a new one."""
        full = [self.items] if self.items else []
        self.items, self.weight = [], 0
        return full


class BatchSplitterNode(Stored, Node[Any, Any]):
    """Split items into chunks, lazily and in order; each chunk is a list.

    ::

        split = BatchSplitterNode(reads="rows", size=100)
        Graph(split | Work(max_workers=8) | AggregationNode(writes="done"))

    It is a stage of a pipeline, or it writes the chunks under ``writes`` for the next
    ParallelBatchNode. In both cases a free worker pulls the next chunk, so a worker with quick
    chunks takes more of them. ``reads`` names any iterable or async iterable; after another stage,
    as in ``ReadCSV("rows.csv") | BatchSplitterNode(size=1000) | …``, there is no ``reads``, and the
    items are those of the previous stage. Items are read only when a chunk is needed, and at most
    one chunk is held. Outcomes of items that failed before are in no chunk, and are passed on.

    Give exactly one of ``size``, ``count`` and ``max_bytes``.

    Args:
        size: The number of items in a chunk; the last chunk may have fewer.
        count: The number of chunks. Their lengths differ by one item at most, and none is empty:
            with fewer items there are fewer chunks. The items must have a length.
        max_bytes: The maximum size of a chunk in bytes. A larger item is a chunk of its own.
        size_of: With ``max_bytes``: ``(item) -> bytes``, a callable or a method. By default, the
            length of bytes, of a string in UTF-8, or of anything else in compact JSON.

    Raises:
        TypeError: from a run, when the value under ``reads`` cannot be split in this way.
    """

    size: int | None = None
    count: int | None = None
    max_bytes: int | None = None

    _accepts: ClassVar[frozenset[str]] = frozenset({"name", "reads", "writes", "size_of", *WAYS})
    _checks: ClassVar[Checks] = {**dict.fromkeys(WAYS, check_count), "size_of": check_callable}

    def __init__(
        self,
        *,
        size: int | None = None,
        count: int | None = None,
        max_bytes: int | None = None,
        size_of: Callable[[Any], int] | None = None,
        **settings: Unpack[SplittingSettings],
    ) -> None:
        ways = {"size": size, "count": count, "max_bytes": max_bytes}
        configure(self, {**ways, "size_of": size_of}, settings)
        if any(way is not None for way in ways.values()):  # it overrides the setting of the class
            vars(self).update(ways)
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            raise TypeError(
                f"{type(self).__name__} needs one of size=, count= and max_bytes=, got "
                + (" and ".join(given) or "none")
            )
        if size_of is not None and self.max_bytes is None:
            raise TypeError(
                "size_of= has no effect without max_bytes=: pass both, or leave out size_of="
            )

    def size_of(self, item: Any, /) -> int:
        """Return the size of an item in bytes."""
        return bytes_of(item)

    def prep(self, shared: Any, /) -> Any:
        """Return the chunks."""
        items = super().prep(shared)
        if (
            self.reads is None and items is None
        ):  # a later stage gets its items from the previous one
            return Unread(self.name)
        return self.chunks_of(items)

    def regroup(self, items: AsyncGenerator[Any, None]) -> AsyncIterable[Any]:
        """Return the chunks of a stream; for the engine."""
        if self.reads is not None:
            raise TypeError(
                f"{self.name!r} reads {self.reads!r} but gets the items of the previous stage: "
                "leave reads= out, or put it first"
            )
        chunks: AsyncIterable[Any] = self.chunks_of(items)
        return chunks

    def chunks_of(self, items: Any, /) -> Any:
        """Return the chunks of an iterable; those of an async iterable are an async iterable."""
        if isinstance(items, str | bytes | bytearray | Mapping) or not isinstance(
            items, Iterable | AsyncIterable
        ):
            raise TypeError(
                f"{self.name!r} cuts an iterable or async iterable of items, got a "
                f"{type(items).__name__}"
            )
        if self.count is not None:
            if not isinstance(items, Sized):
                kind = "stream" if isinstance(items, AsyncIterable) else type(items).__name__
                raise TypeError(
                    f"{self.name!r} has count={self.count}, for which the items must have a "
                    f"length, and a {kind} has none: use size= or list(items)"
                )
            return EvenChunks[Any](items, self.count)
        most, weigh = (self.size, _one) if self.size else (self.max_bytes, self._weight_of)
        if isinstance(items, AsyncIterable):
            return AsyncChunks(items, most or 1, weigh)
        return Chunks(items, most or 1, weigh)

    def _weight_of(self, item: Any) -> Any:
        weight = self.size_of(item)
        if not isinstance(weight, Real) or not weight >= 0:  # nan, for example, would fill no chunk
            raise TypeError(
                f"size_of of {self.name!r} returned {weight!r:.100}: return how many bytes an item "
                "counts for"
            )
        return weight

    def post(self, shared: Any, chunks: Any, exec_res: Any, /) -> Any:
        """Write the chunks."""
        if isinstance(chunks, Unread) and not isinstance(exec_res, StageReport):
            iter(chunks)
        if not isinstance(exec_res, StageReport):  # a pipeline has consumed them
            super().post(shared, chunks, chunks)


def _one(_: Any) -> int:
    return 1


class Aggregation(NamedTuple):
    """The combined result of all chunks, and the failures.

    ``writes=("rows", "failures")`` stores the two separately.
    """

    value: Any
    failures: tuple[Outcome[Any], ...]

    @property
    def complete(self) -> bool:
        """Whether no chunk has failed."""
        return not self.failures


class AggregationNode(Stored, Node[Any, Any]):
    """Combine the results of chunks, in order.

    It is the last stage of a pipeline, or ``reads`` the list of results of a batch. It writes an
    Aggregation: ``value``, and ``failures`` with the Outcomes of the chunks that failed (with
    ``on_error="collect"`` on the node that worked on them).

    Args:
        reduce: ``(total, result) -> total``, called on the event loop for each result in order: a
            plain ``def``, as a callable or a method. By default, the results must be lists, and
            ``value`` is one list with all their elements.
        initial: The first total, copied for each run. By default it is the first result.

    Raises:
        TypeError: from a run, when a result is not a list (tuple, set) and there is no ``reduce``;
            when there is neither a result nor ``initial``; when it is not the last stage.
    """

    reduce: Any = None
    initial: Any = NOT_GIVEN

    _accepts: ClassVar[frozenset[str]] = frozenset({"name", "reads", "writes", "reduce"})
    _checks: ClassVar[Checks] = {"reduce": check_callable}

    def __init__(
        self,
        reduce: Callable[[Any, Any], Any] | None = None,
        initial: Any = NOT_GIVEN,
        **settings: Unpack[SplittingSettings],
    ) -> None:
        configure(self, {"reduce": reduce}, settings)
        if initial is not NOT_GIVEN:
            self.initial = initial
        if self.reduce is None and self.initial is not NOT_GIVEN:
            raise TypeError(
                "initial= has no effect without reduce=: pass both, or leave out initial="
            )

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Combine the results and write them."""
        results = exec_res.results if isinstance(exec_res, StageReport) else prep_res
        if not isinstance(results, Iterable) or isinstance(results, str | bytes | Mapping):
            raise TypeError(
                f"{self.name!r} reads a list of results, or is the last stage of a pipeline that "
                f"collects them; got {type(results).__name__}"
            )
        if self.writes is not None:
            store(shared, self.writes, self.aggregated(results), self.name)

    def aggregated(self, results: Iterable[Any], /) -> Aggregation:
        """Return the combined results, and the failures."""
        failures: list[Outcome[Any]] = []
        done: list[Any] = []
        for result in results:
            if isinstance(result, Outcome):
                failures.append(result)
            else:
                done.append(result)
        value = self._joined(done) if self.reduce is None else self._reduced(done)
        return Aggregation(value, tuple(failures))

    def _joined(self, results: Sequence[Any]) -> list[Any]:
        for result in results:
            if not isinstance(result, list | tuple | set | frozenset):
                raise TypeError(
                    f"{self.name!r} joins lists, and the result of a chunk is a "
                    f"{type(result).__name__}: give reduce=function"
                )
        return [item for result in results for item in result]

    def _reduced(self, results: Sequence[Any]) -> Any:
        totals = results if self.initial is NOT_GIVEN else [copy.deepcopy(self.initial), *results]
        if not totals:
            raise TypeError(f"{self.name!r} has no result to reduce: give initial=")
        total = totals[0]
        for result in totals[1:]:
            total = self.reduce(total, result)
        return total
