"""The interface between a run and the processes that call ``exec``."""

from collections.abc import Mapping
from typing import Any, Protocol

from ..limits.permits import Permits
from ..limits.slots import Slot


class WorkerProcesses(Protocol):
    """Processes that call ``exec``; the run closes them when it ends."""

    async def call(
        self,
        node: Any,
        item: Any,
        params: Mapping[str, Any],
        attempt: int,
        memory_limit: int | None = None,
        place: Mapping[str, Any] = ...,
        limit_s: float | None = None,
        start_timeout: float | None = None,
        slot: Slot | None = None,
        measures: bool = False,
        held: list[Any] | None = None,
        receive: Any = None,
    ) -> Any: ...

    async def run(
        self, chunk: Any, limit_s: float | None, start_timeout: float | None, share_s: float
    ) -> None: ...

    async def let_go(self, held: list[Any], whole: bool) -> None: ...

    async def close(self) -> None: ...


class Session(Protocol):
    """The connection of a run to a cluster that calls ``exec``; the run closes it when it ends."""

    async def call(self, node: Any, item: Any, frame: Any, limit_s: float | None) -> Any: ...

    def permits(self, node: Any) -> Permits: ...

    async def close(self) -> None: ...
