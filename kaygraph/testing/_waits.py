"""Who waits for whom: what each task waits for, who holds it, and which wake-up it has missed."""

import asyncio
from asyncio import locks
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._places import Loop, frames_of, path_of, place_of, tasks_of, users_frame

# Attributes that are added to the primitives of asyncio while something is simulated.
HOLDERS, UNHEARD = "_kaygraph_holders", "_kaygraph_unheard"

# What is waited for, as text, and the tasks that could end the wait, as far as they are known.
Awaited = tuple[str, list["asyncio.Task[Any]"]]


def waiting_tasks(loop: Loop) -> str:
    """Return, a line each, which tasks have not ended, where they wait, and for what.

    Where some wait for each other in a circle, a last line says so.
    """
    tasks = tasks_of(loop)
    lines = []
    waits: dict[str, list[str]] = {}
    for task in tasks:
        what, whom = _awaited(task)
        waits[task.get_name()] = [other.get_name() for other in whom if not other.done()]
        lines.append(f"\n  {place_of(task)}{what and f', waits for {what}'}")
    if circle := _circle(waits):
        lines.append(f"\n  a circle: {' → '.join(circle)}")
    return "".join(lines) or "the loop: it has no task"


def _circle(waits: dict[str, list[str]]) -> list[str]:
    """Return names that wait for each other, the first again as the last."""
    for start in waits:
        path, left = [start], [iter(waits[start])]
        while left:
            other = next(left[-1], None)
            if other == start:
                return [*path, start]
            if other is None:
                left.pop()
                path.pop()
            elif other not in path:
                path.append(other)
                left.append(iter(waits.get(other, ())))
    return []


# --- what a task waits for ------------------------------------------------------------------------


def _awaited(task: "asyncio.Task[Any]") -> Awaited:
    """Return what a task waits for."""
    found: Awaited = ("", [])
    for frame in frames_of(task.get_coro()):
        owner = frame.f_locals.get("self")
        if isinstance(owner, asyncio.Event) and found[0]:
            continue  # that of a queue that is joined
        describe = _DESCRIBED.get((type(owner).__module__, frame.f_code.co_name))
        if describe is not None and isinstance(owner, describe[0]):
            found = describe[1](owner, task)
    if found[0]:
        return found
    awaited: Any = getattr(task, "_fut_waiter", None)
    if isinstance(awaited, asyncio.Task):
        return awaited.get_name(), [awaited]
    children = [one for one in getattr(awaited, "_children", ()) if isinstance(one, asyncio.Task)]
    if children:  # asyncio.gather()
        return _names(children), [one for one in children if not one.done()]
    return "", []


def _names(tasks: list["asyncio.Task[Any]"]) -> str:
    names = [task.get_name() for task in tasks if not task.done()]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")


def _held(what: str) -> Callable[[Any, Any], Awaited]:
    def describe(owner: Any, task: Any) -> Awaited:
        holders = list(getattr(owner, HOLDERS, ()))
        if not holders:
            return f"{what} that nobody holds", []
        said = ", ".join(
            f"{'itself' if holder is task else holder.get_name()}"
            f"{', which has ended,' if holder.done() else ''} has held since {place}"
            for holder, place in holders
        )
        return f"{what} that {said}", [holder for holder, _ in holders]

    return describe


def _woken(what: str) -> Callable[[Any, Any], Awaited]:
    def describe(owner: Any, _: Any) -> Awaited:
        unheard = getattr(owner, UNHEARD, None)
        return what + ("" if unheard is None else f"; {unheard}: a lost wake-up"), []

    return describe


def _queued(what: str) -> Callable[[Any, Any], Awaited]:
    def describe(owner: Any, _: Any) -> Awaited:
        done = getattr(owner, "_unfinished_tasks", 0)
        return what.format(size=owner.qsize(), unfinished=done), []

    return describe


def _grouped(owner: Any, _: Any) -> Awaited:
    tasks = sorted(owner._tasks, key=lambda task: (len(task.get_name()), task.get_name()))
    return _names(tasks), tasks


_DESCRIBED: dict[tuple[str, str], tuple[type, Callable[[Any, Any], Any]]] = {
    ("asyncio.locks", "acquire"): (object, lambda owner, task: _held(_kind(owner))(owner, task)),
    ("asyncio.locks", "wait"): (object, lambda owner, task: _woken(_signal(owner))(owner, task)),
    ("asyncio.queues", "get"): (asyncio.Queue, _queued("an item of a queue that is empty")),
    ("asyncio.queues", "put"): (asyncio.Queue, _queued("room in a queue of {size} items")),
    ("asyncio.queues", "join"): (
        asyncio.Queue,
        _queued("task_done() for {unfinished} items of a queue"),
    ),
    ("asyncio.taskgroups", "__aexit__"): (asyncio.TaskGroup, _grouped),
}


def _kind(owner: Any) -> str:
    return "a lock" if isinstance(owner, asyncio.Lock) else "a permit of a semaphore"


def _signal(owner: Any) -> str:
    kinds = {asyncio.Event: "an event to be set", asyncio.Condition: "a condition to be notified"}
    return next((said for kind, said in kinds.items() if isinstance(owner, kind)), "a barrier")


# --- what is noted meanwhile ----------------------------------------------------------------------


@contextmanager
def noted_waits(simulated: Callable[[], Any]) -> Iterator[None]:
    """Note who holds locks and semaphores, and which wake-ups nobody has heard, in simulations."""
    patches = [
        *_patches_of_holders(locks.Lock, simulated),
        *_patches_of_holders(locks.Semaphore, simulated),
        (locks.Event, "clear", _cleared(locks.Event.clear, simulated)),
        (locks.Condition, "notify", _notified(locks.Condition.notify, simulated)),
    ]
    before = [(cls, name, cls.__dict__[name]) for cls, name, _ in patches]
    for cls, name, function in patches:
        setattr(cls, name, function)
    try:
        yield
    finally:
        for cls, name, function in before:
            setattr(cls, name, function)


def _patches_of_holders(cls: Any, simulated: Callable[[], Any]) -> list[tuple[Any, str, Any]]:
    take, give = cls.acquire, cls.release

    async def acquire(self: Any) -> Any:
        taken = await take(self)
        loop = simulated()
        if loop is not None:
            task, place = asyncio.current_task(), _place()
            vars(self).setdefault(HOLDERS, []).append((task, place))
            if cls is locks.Lock:
                loop.lock_orders.took(task, self, place)
        return taken

    def release(self: Any) -> None:
        give(self)
        holders = vars(self).get(HOLDERS)
        if holders:
            within = asyncio._get_running_loop() is not None  # and not in a thread
            task = asyncio.current_task() if within else None
            own = (number for number, held in enumerate(holders) if held[0] is task)
            holder, _ = holders.pop(next(own, 0))
            if cls is locks.Lock and (loop := simulated()) is not None:
                loop.lock_orders.gave(holder, self)

    return [(cls, "acquire", acquire), (cls, "release", release)]


def _cleared(clear: Callable[[Any], None], simulated: Callable[[], Any]) -> Any:
    def patched(self: Any) -> None:
        if simulated() is not None and self.is_set():
            vars(self)[UNHEARD] = f"it was set, and cleared at {_place()}"
        clear(self)

    return patched


def _notified(notify: Callable[..., None], simulated: Callable[[], Any]) -> Any:
    def patched(self: Any, n: int = 1) -> None:
        if simulated() is not None:
            waits = any(not waiter.done() for waiter in self._waiters)
            vars(self)[UNHEARD] = None if waits else f"it was notified at {_place()}, unheard"
        notify(self, n)

    return patched


def _place() -> str:
    """Return the line of the user's own code that runs."""
    frame = users_frame()
    return f"{path_of(frame.f_code.co_filename)}:{frame.f_lineno}"
