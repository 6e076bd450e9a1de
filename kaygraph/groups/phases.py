"""The two phases of map-reduce, each of them a batch."""

from typing import Any, ClassVar

from ..batch.batch import ParallelBatchNode
from ..errors import Drop
from ..executors.kinds import kind_of
from .grouping import Groups, Part, add, combined, lists_of, part_of

# The settings of each call of map and of reduce.
SHARED = (
    "retry", "timeout", "deadline", "run_in", "memory_limit", "start_timeout", "chunksize", "rate",
    "breaker", "max_waiting",
)  # fmt: skip


class Phase(ParallelBatchNode[Any, Any]):
    """One phase as a batch: the settings are its owner's, and so is the way the hook is written.

    Args:
        owner: The MapReduceNode.
        on_error: As for a batch.
    """

    hook: ClassVar[str]

    def __init__(self, owner: Any, on_error: str | float = "raise") -> None:
        setting = f"{self.hook}_workers"
        is_told = owner._has_told(setting)
        workers = self._workers(getattr(owner, setting), is_told)
        super().__init__(owner.max_retries, owner.wait, max_workers=workers, on_error=on_error)
        self.owner = owner
        self.__dict__["_one_at_first"] = not is_told
        # The values of a generator are taken where it runs.
        kind = "async" if "async" in kind_of(getattr(owner, self.hook)) else "sync"
        self.__dict__["exec_kind"] = kind
        self.__dict__["keyed"] = owner.keyed
        self._set_all({name: getattr(owner, name) for name in SHARED})

    def _workers(self, setting: int, _: bool) -> Any:
        return setting

    def __getstate__(self) -> dict[str, Any]:
        """Its owner is pickled without what the engine reads here, like the node itself."""
        from ..executors.sending import stripped  # imported only when needed

        return {**super().__getstate__(), "owner": stripped(self.owner)}


class Map(Phase):
    name = "map"
    hook = "map"
    ordered = False  # each result is taken as soon as it is there

    def __init__(self, owner: Any) -> None:
        super().__init__(owner, owner.on_error)
        self._set_all({"limit_by": owner.limit_by, "max_per_key": owner.max_per_key})

    def exec(self, item: Any, /) -> Any:
        pairs = self.owner.map(item)
        if self.exec_kind == "async":
            return self._later(pairs)
        return self._made(self.owner._grouped(pairs))

    async def _later(self, pairs: Any) -> Any:
        if not hasattr(pairs, "__aiter__"):
            return self._made(self.owner._grouped(await pairs))
        groups: Groups = {}
        combine, refusal = self.owner._combine, self.owner._no_pairs
        async for pair in pairs:
            add(pair, groups, combine, refusal)
        return self._made(part_of(groups) if combine is None else combined(groups, combine))

    def _made(self, part: Part) -> Any:
        """Return the result of shuffling an item's pairs."""
        return self.owner._shuffled(part)


class Reduce(Phase):
    name = "reduce"
    hook = "reduce"

    def exec(self, part: Part, /) -> Any:
        if self.exec_kind == "async":
            return self._later(part)
        keys, results = [], []
        for key, values in lists_of(part):
            try:  # not suppress(), which raises a copy of a group from Python 3.12 on
                result = self.owner.reduce(key, values)
            except Drop:
                continue
            keys.append(key)
            results.append(result)
        return Part(keys, results)

    async def _later(self, part: Part) -> Part:
        keys, results = [], []
        for key, values in lists_of(part):
            try:
                result = await self.owner.reduce(key, values)
            except Drop:
                continue
            keys.append(key)
            results.append(result)
        return Part(keys, results)
