"""Nodes that say which context variables they see, in whatever process they run."""

import asyncio
import os
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

from structlog import get_context
from structlog.contextvars import bind_contextvars, get_contextvars

from kaygraph import Node, ParallelBatchNode

USER: ContextVar[str] = ContextVar("user", default="nobody")
TENANT: ContextVar[Any] = ContextVar("tenant", default=None)
HANDLE: ContextVar[Any] = ContextVar("handle", default=None)


def seen() -> tuple[str, Any, Any, dict[str, Any]]:
    return USER.get(), TENANT.get(), HANDLE.get(), get_contextvars()


class Looks(Node[Any, Any]):
    """Gives what it sees, and the process."""

    def exec(self, _: Any) -> Any:
        return os.getpid(), seen()

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared["pid"], shared["seen"] = result


class LooksAsync(Looks):
    async def exec(self, _: Any) -> Any:
        await asyncio.sleep(0)
        return os.getpid(), seen()


class Many(ParallelBatchNode[Any, Any]):
    """Sets what the next item is not to see; every other item fails first."""

    max_retries = 2

    def prep(self, _: Any) -> Any:
        return range(20)

    def exec(self, number: int) -> Any:
        found = seen()
        USER.set(f"user {number}")
        bind_contextvars(number=number)
        if number % 2 and self.attempt == 1:
            raise ValueError
        return found

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["seen"] = results


class Logs(Many):
    """Gives what its log is bound to."""

    def exec(self, number: int) -> Any:
        if number % 2 and self.attempt == 1:
            raise ValueError
        return get_context(self.log)


class Divides(Looks):
    def exec(self, _: Any) -> Any:
        return os.getpid(), str(Decimal(1) / 3)
