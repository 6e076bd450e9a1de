"""Values that Dask's workers keep for a run, as Dask's own data.

It moves them, counts them and spills them to disk, and frees them when no ``Future`` of the run's
client stands for them any more.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from distributed import Client


class DaskLeaves(NamedTuple):
    """Keeps values on a worker of Dask's.

    Attributes:
        client: The identifier of the client for which they are kept.
    """

    client: str

    def size_of(self, value: Any) -> int:
        from distributed.sizeof import safe_sizeof

        return int(safe_sizeof(value))

    def leave(self, bundles: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        # As Client.scatter does it in a task; but these are the run's, and not the worker's own,
        # whose client would take them along when the worker retires.
        from distributed import get_worker
        from distributed.utils import sync

        worker = cast(Any, get_worker())

        async def left() -> None:
            worker.update_data(data=bundles)
            who_has = {bundle: [worker.address] for bundle in bundles}
            await worker.scheduler.update_data(
                who_has=who_has, nbytes=dict(sizes), client=self.client
            )

        sync(worker.loop, left)


class DaskValues:
    """The values of one run, as its client knows them."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._scheduler = cast(Any, client.scheduler)
        self.leaves = DaskLeaves(client.id)

    def hold(self, bundle: str) -> Any:
        from distributed import Future

        future: Any = Future(bundle, self._client)
        self._client.futures[bundle].finish()
        return future

    async def fetch(self, handle: Any) -> Any:
        answer = await self._scheduler.gather(keys=[handle.key])
        return answer["data"][handle.key] if answer["status"] == "OK" else None

    async def lost(self, handles: Collection[Any]) -> Collection[str]:
        who_has = await self._scheduler.who_has(keys=[handle.key for handle in handles])
        return [bundle for bundle, workers in who_has.items() if not workers]

    def release(self, bundles: Collection[str]) -> None:
        for bundle in bundles:
            self.hold(bundle).release()
