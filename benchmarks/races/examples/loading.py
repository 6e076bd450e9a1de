"""Examples of loading and gathering: aiodataloader, aioitertools and async-property."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.races.examples.documented import MS, Inside, Source, cancelled, ends, example

# --- aiodataloader ------------------------------------------------------------------------------


def loader_of(aiodataloader: Any, batches: list[list[int]], **options: Any) -> Any:
    async def load(keys: list[int]) -> list[int]:
        batches.append(list(keys))
        await asyncio.sleep(5 * MS)
        return [key * 10 for key in keys]

    return aiodataloader.DataLoader(load, **options)


@example("aiodataloader")
async def loads_become_one_batch(aiodataloader: Any) -> None:
    """Loads within a single frame of execution are one batch; a key is asked for once."""
    batches: list[list[int]] = []
    loader = loader_of(aiodataloader, batches)
    loads = [loader.load(1), loader.load(2), loader.load(1), loader.load_many([2, 3])]
    assert await asyncio.gather(*loads) == [10, 20, 10, [20, 30]]
    assert batches == [[1, 2, 3]]


@example("aiodataloader")
async def batches_have_a_size(aiodataloader: Any) -> None:
    """max_batch_size=2: no batch is larger, and each caller gets its value."""
    batches: list[list[int]] = []
    loader = loader_of(aiodataloader, batches, max_batch_size=2)

    async def load(key: int) -> None:
        assert await loader.load(key) == key * 10

    await ends(load(key) for key in (1, 2, 3, 4, 5))
    assert max(map(len, batches)) <= 2


@example("aiodataloader")
async def cleared_while_it_loads(aiodataloader: Any) -> None:
    """clear(): later loads ask again; an older batch that ends does not come in between."""
    batches: list[list[int]] = []
    loader = loader_of(aiodataloader, batches)
    first = loader.load(1)
    await asyncio.sleep(3 * MS)
    loader.clear(1)
    second = loader.load(1)
    assert first is not second
    assert await first == await second == 10
    assert loader.load(1) is second


@example("aiodataloader")
async def another_caller_of_the_key_is_cancelled(aiodataloader: Any) -> None:
    """A caller gets its value when another, who asked for the same key, is cancelled."""
    batches: list[list[int]] = []
    loader = loader_of(aiodataloader, batches)

    async def load() -> int:
        return int(await loader.load(1))

    first, second = (asyncio.create_task(load()) for _ in range(2))
    await cancelled(first, 3 * MS)
    await asyncio.wait([second])
    assert not second.cancelled(), "the other was cancelled as well"
    assert second.result() == 10


@example("aiodataloader")
async def loaded_again_after_a_cancellation(aiodataloader: Any) -> None:
    """A key can be loaded after a caller was cancelled that had asked for it."""
    batches: list[list[int]] = []
    loader = loader_of(aiodataloader, batches)

    async def load() -> int:
        return int(await loader.load(1))

    await cancelled(asyncio.create_task(load()), 3 * MS)
    again = asyncio.create_task(load())
    await asyncio.wait([again])
    await asyncio.sleep(10 * MS)
    assert not again.cancelled(), "the cancellation was kept"


# --- aioitertools -------------------------------------------------------------------------------


async def counting(numbers: range, fails: bool = False) -> AsyncIterator[int]:
    for number in numbers:
        await asyncio.sleep(MS)
        yield number
    if fails:
        await asyncio.sleep(MS)
        raise OSError(numbers)


@example("aioitertools", "aioitertools.asyncio")
async def generators_are_mixed(tools: Any) -> None:
    """as_generated(): the results of all the iterables, those of each in its order."""
    both = [counting(range(5)), counting(range(10, 14))]
    seen = [number async for number in tools.as_generated(both)]
    assert [number for number in seen if number < 10] == list(range(5))
    assert [number for number in seen if number >= 10] == list(range(10, 14))


@example("aioitertools", "aioitertools.asyncio")
async def generators_that_fail(tools: Any) -> None:
    """as_generated(return_exceptions=True): any exceptions are yielded as results."""
    both = [counting(range(2), fails=True), counting(range(10, 12), fails=True)]
    seen = [one async for one in tools.as_generated(both, return_exceptions=True)]
    assert sum(isinstance(one, OSError) for one in seen) == 2, f"seen: {seen}"


@example("aioitertools", "aioitertools.asyncio")
async def a_timeout_around_generators(tools: Any) -> None:
    """A timeout around as_generated() raises TimeoutError, as around any other iteration."""
    seen = []
    try:
        async with asyncio.timeout(10.5 * MS):
            async for number in tools.as_generated([counting(range(100))]):
                seen.append(number)
    except TimeoutError:
        return
    raise AssertionError(f"no TimeoutError, and {len(seen)} of 100 results")


@example("aioitertools", "aioitertools.asyncio")
async def no_more_than_the_limit_are_gathered(tools: Any) -> None:
    """gather(limit=2): results in the order of the arguments, two running at once."""
    inside = Inside()

    async def work(number: int) -> int:
        await inside.visit((5 - number) * MS)
        return number

    assert await tools.gather(*map(work, range(5)), limit=2) == list(range(5))
    assert inside.most <= 2


@example("aioitertools", "aioitertools.asyncio")
async def a_gathering_is_cancelled(tools: Any) -> None:
    """If gather() is cancelled, all tasks that it has made are cancelled as well."""
    inside = Inside()
    visits = [inside.visit(20 * MS) for _ in range(3)]
    await cancelled(asyncio.create_task(tools.gather(*visits)), 3 * MS)
    assert inside.now == 0


@example("aioitertools", "aioitertools.asyncio")
async def results_as_they_complete(tools: Any) -> None:
    """as_completed(): every result, as it completes."""

    async def work(number: int) -> int:
        await asyncio.sleep(number * 10 * MS)
        return number

    assert [n async for n in tools.as_completed(map(work, (3, 1, 2)))] == [1, 2, 3]


# --- async-property -----------------------------------------------------------------------------


def page_of(async_property: Any) -> Any:
    """Return a page whose text is loaded once, by a call that takes a while."""
    source = Source()

    class Page:
        @async_property.async_cached_property
        async def text(self) -> str:
            return await source()

    return Page()


async def text_of(page: Any) -> str:
    return str(await page.text)


@example("async-property", "async_property")
async def loaded_only_once(async_property: Any) -> None:
    """@async_cached_property: the function is called only once, by however many tasks."""
    page = page_of(async_property)
    assert set(await ends(text_of(page) for _ in range(3))) == {"key, call 1"}


@example("async-property", "async_property")
async def the_first_reader_is_cancelled(async_property: Any) -> None:
    """The others get the value when the first reader is cancelled."""
    page = page_of(async_property)
    first, second, third = (asyncio.create_task(text_of(page)) for _ in range(3))
    await cancelled(first, 3 * MS)
    assert await asyncio.wait_for(second, 1) == await asyncio.wait_for(third, 1)


@example("async-property", "async_property")
async def set_while_it_loads(async_property: Any) -> None:
    """``page.text = "abc"``: from then on the value is "abc"."""
    page = page_of(async_property)
    reading = asyncio.create_task(text_of(page))
    await asyncio.sleep(3 * MS)
    page.text = "abc"
    await reading
    assert await page.text == "abc", f"the value is {await page.text!r}"


@example("async-property", "async_property")
async def fields_are_loaded_together(async_property: Any) -> None:
    """``await Page()`` loads all fields concurrently."""
    inside = Inside()

    class Page(async_property.AwaitLoader):
        @async_property.async_cached_property
        async def text(self) -> str:
            await inside.visit()
            return "text"

        @async_property.async_cached_property
        async def title(self) -> str:
            await inside.visit()
            return "title"

    page = await Page()
    assert (page.text, page.title) == ("text", "title")
    assert inside.most == 2


@example("async-property", "async_property")
async def a_field_cannot_be_loaded(async_property: Any) -> None:
    """``await Page()`` raises what the loading of a field has raised."""

    class Page(async_property.AwaitLoader):
        @async_property.async_cached_property
        async def text(self) -> str:
            await asyncio.sleep(MS)
            raise OSError

    try:
        await Page()
    except OSError:
        return
    raise AssertionError("a page without its text, and no error")


@example("async-property", "async_property")
async def cancelled_while_fields_load(async_property: Any) -> None:
    """``await Page()`` that is cancelled leaves nothing running."""
    inside = Inside()

    class Page(async_property.AwaitLoader):
        @async_property.async_cached_property
        async def text(self) -> str:
            await inside.visit(20 * MS)
            return "text"

    async def load() -> None:
        await Page()

    await cancelled(asyncio.create_task(load()), 5 * MS)
    assert inside.now == 0, "a field is still being loaded"
