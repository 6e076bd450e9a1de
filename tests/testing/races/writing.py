"""Writes with no order: all is well in every order that there is today, and ``watch`` sees them."""

import asyncio

from kaygraph.testing import watch
from tests.testing.races.planting import MS, lock_if, race, together


class Job:
    """What has a state."""

    state = "new"


@race
async def time_limit_is_long_enough(fixed: bool) -> None:
    """A job and its time limit both write the state, and only the clock says which comes first."""
    job = watch(Job())

    async def work() -> None:
        await asyncio.sleep(2 * MS)
        job.state = "done"

    async def limit() -> None:
        await asyncio.sleep(500 * MS)
        job.state = "late" if job.state == "new" else "checked"

    if fixed:
        await work()
        await limit()
    else:
        await together(work(), limit())
    assert job.state == "checked", job.state


@race
async def loaded_twice(fixed: bool) -> None:
    """Two tasks load the same page and both store it; it happens to be the same for both."""
    pages: dict[str, str] = watch({})
    lock = lock_if(fixed)

    async def page(name: str) -> str:
        async with lock:
            if name not in pages:
                await asyncio.sleep(2 * MS)
                pages[name] = f"the page {name}"
        return pages[name]

    async def later() -> None:
        await asyncio.sleep(MS)
        await page("a")

    await together(page("a"), later())
    assert pages == {"a": "the page a"}, pages
