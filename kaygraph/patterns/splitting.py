"""Items cut into chunks, and the chunks' results put together again."""

import copy
import json
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
    Sized,
)
from itertools import islice
from numbers import Real
from typing import Any, ClassVar, Generic, NamedTuple, TypedDict, Unpack

from .._validation import check_callable, check_count
from ..node.keywords import Item
from ..node.node import Node
from ..node.settings import Checks
from ..nodes._store import Keys, Stored, configure, store
from ..outcome import Outcome
from ..streams.stage import StageReport

WAYS = ("size", "count", "max_bytes")
UNTOLD: Any = object()


class SplittingSettings(TypedDict, total=False):
    """What a node takes that reads and writes, and does no work of its own."""

    name: str
    reads: Keys
    writes: Keys


def bytes_of(item: Any) -> int:
    """Return how many bytes an item has: a text in UTF-8, all else but bytes in compact JSON.

    Raises:
        TypeError: It cannot be written as JSON.
    """
    if isinstance(item, bytes | bytearray | memoryview):
        return memoryview(item).nbytes
    if not isinstance(item, str):
        try:
            item = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"cannot tell how many bytes a {type(item).__name__} has: give size_of=function"
            ) from error
    return len(item.encode(errors="surrogatepass"))


class Chunks(Generic[Item]):
    """Lists of items that follow each other in an iterable, made as they are asked for.

    It can be gone through as often as the iterable: a list again and again, a generator once.
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
    """The same of an async iterable."""

    def __init__(self, items: AsyncIterable[Item], most: int, weigh: Callable[[Item], int]) -> None:
        self.items, self.most, self.weigh = items, most, weigh

    async def __aiter__(self) -> AsyncGenerator[list[Item], None]:
        items, chunk = self.items, _Chunk(self.most, self.weigh)
        try:
            async for item in items:
                for full in chunk.add(item):
                    yield full
            for full in chunk.rest():
                yield full
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()


class EvenChunks(Generic[Item]):
    """So many chunks, of which none has more than one item more than another."""

    def __init__(self, items: Any, count: int) -> None:
        self.items, self.count = items, count

    def __len__(self) -> int:
        return min(self.count, len(self.items))

    def __iter__(self) -> Generator[list[Item], None, None]:
        least, larger = divmod(len(self.items), self.count)
        items = iter(self.items)
        for number in range(len(self)):
            yield list(islice(items, least + (number < larger)))


class _Chunk(Generic[Item]):
    """The chunk that is being filled, up to so much weight."""

    def __init__(self, most: int, weigh: Callable[[Item], int]) -> None:
        self.most, self.weigh = most, weigh
        self.items: list[Item] = []
        self.weight = 0

    def add(self, item: Item) -> list[list[Item]]:
        """Put an item in; return what is full now: the chunk before it, one with it, or both."""
        weight = self.weigh(item)
        full = self.rest() if self.weight + weight > self.most else []
        self.items.append(item)
        self.weight += weight
        return full + self.rest() if self.weight >= self.most else full

    def rest(self) -> list[list[Item]]:
        """Return the chunk as it is, unless it is empty, and begin another."""
        full = [self.items] if self.items else []
        self.items, self.weight = [], 0
        return full


class BatchSplitterNode(Stored, Node[Any, Any]):
    """Cut items into chunks, lazily and in order; each chunk is a list.

    ::

        split = BatchSplitterNode(reads="rows", size=100)
        Graph(split | Work(max_workers=8) | AggregationNode(writes="done"))

    It is the source of a pipeline, or writes the chunks where ``writes`` says, for a
    ParallelBatchNode that follows. Either pulls the next chunk when a worker is free, so that a
    worker with quick chunks does more of them. ``reads`` names any iterable or async iterable;
    nothing is read before a chunk is asked for, and no more than one chunk is held.

    One of these says how it cuts:

    Args:
        size: How many items a chunk has; the last may have fewer.
        count: How many chunks there are. They differ by one item at most, and none is empty: of
            fewer items there are fewer chunks. The items must have a length.
        max_bytes: How many bytes a chunk has at most. An item that has more by itself is a chunk
            by itself.
        size_of: With ``max_bytes``: ``(item) -> bytes``, a callable or a method. By default, the
            length of bytes, of a text in UTF-8, of anything else in compact JSON.

    Raises:
        TypeError: from a run, when ``reads`` names nothing that can be cut in this way.
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
        if any(way is not None for way in ways.values()):  # it stands above what the class says
            vars(self).update(ways)
        told = [way for way in WAYS if getattr(self, way) is not None]
        if len(told) != 1:
            raise TypeError(
                f"{type(self).__name__} needs one of size=, count= and max_bytes=, got "
                + (" and ".join(told) or "none")
            )
        if size_of is not None and self.max_bytes is None:
            raise TypeError("size_of= is for max_bytes=")

    def size_of(self, item: Any, /) -> int:
        """Return how many bytes an item counts for."""
        return bytes_of(item)

    def prep(self, shared: Any, /) -> Any:
        """Return the chunks."""
        return self.chunks_of(super().prep(shared))

    def chunks_of(self, items: Any, /) -> Any:
        """Return the chunks of an iterable, or as an async iterable those of one."""
        if isinstance(items, str | bytes | bytearray | Mapping) or not isinstance(
            items, Iterable | AsyncIterable
        ):
            raise TypeError(
                f"{self.name!r} cuts an iterable or async iterable of items, got a "
                f"{type(items).__name__}"
            )
        if self.count is not None:
            if not isinstance(items, Sized):
                raise TypeError(
                    f"{self.name!r} has count={self.count}, for which the items must have a "
                    f"length, and a {type(items).__name__} has none: use size= or list(items)"
                )
            return EvenChunks[Any](items, self.count)
        most, weigh = (self.size, _one) if self.size else (self.max_bytes, self._weight_of)
        if isinstance(items, AsyncIterable):
            return AsyncChunks(items, most or 1, weigh)
        return Chunks(items, most or 1, weigh)

    def _weight_of(self, item: Any) -> Any:
        weight = self.size_of(item)
        if not isinstance(weight, Real) or not weight >= 0:  # nan, say, would fill no chunk
            raise TypeError(
                f"size_of of {self.name!r} returned {weight!r:.100}: return how many bytes an item "
                "counts for"
            )
        return weight

    def post(self, shared: Any, chunks: Any, exec_res: Any, /) -> Any:
        """Write the chunks."""
        if not isinstance(exec_res, StageReport):  # a stream has taken them
            super().post(shared, chunks, chunks)


def _one(_: Any) -> int:
    return 1


class Aggregation(NamedTuple):
    """What the results of all chunks come to.

    ``writes=("rows", "failures")`` stores the two apart.
    """

    value: Any
    failures: tuple[Outcome[Any], ...]

    @property
    def complete(self) -> bool:
        """Whether no chunk has failed."""
        return not self.failures


class AggregationNode(Stored, Node[Any, Any]):
    """Put the results of chunks together, in order.

    It stands last in a pipeline, or ``reads`` the list of results that a batch has written. It
    writes an Aggregation: ``value``, and ``failures``, which are the Outcomes that stand in the
    place of chunks that failed (``on_error="collect"`` of the node that worked on them).

    Args:
        reduce: ``(total, result) -> total``, called for each result in order, on the loop and
            between awaits: a callable (``def``) or a method. By default, the results are lists,
            and ``value`` is one list of all that is in them.
        initial: The first total, copied for each run. By default it is the first result.

    Raises:
        TypeError: from a run, when a result is no list (tuple, set) and there is no ``reduce``;
            when there is no result and no ``initial``; when it is not the last stage.
    """

    reduce: Any = None
    initial: Any = UNTOLD

    _accepts: ClassVar[frozenset[str]] = frozenset({"name", "reads", "writes", "reduce"})
    _checks: ClassVar[Checks] = {"reduce": check_callable}

    def __init__(
        self,
        reduce: Callable[[Any, Any], Any] | None = None,
        initial: Any = UNTOLD,
        **settings: Unpack[SplittingSettings],
    ) -> None:
        configure(self, {"reduce": reduce}, settings)
        if initial is not UNTOLD:
            self.initial = initial
        if self.reduce is None and self.initial is not UNTOLD:
            raise TypeError("initial= is for reduce=")

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Put the results together and write them."""
        results = exec_res.results if isinstance(exec_res, StageReport) else prep_res
        if not isinstance(results, Iterable) or isinstance(results, str | bytes | Mapping):
            raise TypeError(
                f"{self.name!r} reads a list of results, or is the last stage of a pipeline that "
                f"collects them; got {type(results).__name__}"
            )
        if self.writes is not None:
            store(shared, self.writes, self.aggregated(results), self.name)

    def aggregated(self, results: Iterable[Any], /) -> Aggregation:
        """Return what the results come to, and those that are failures."""
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
        totals = results if self.initial is UNTOLD else [copy.deepcopy(self.initial), *results]
        if not totals:
            raise TypeError(f"{self.name!r} has no result to reduce: give initial=")
        total = totals[0]
        for result in totals[1:]:
            total = self.reduce(total, result)
        return total
