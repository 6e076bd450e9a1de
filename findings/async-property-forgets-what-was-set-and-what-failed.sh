#!/usr/bin/env bash
# async-property 0.2.2 replaces a value that was set by an older one, and hides errors.
#
# Expected: after ``page.text = "new"`` the value is "new". ``await Page()``, which loads all cached
# properties of a class at once, raises the error of one that cannot be loaded.
# Seen: a load that was in flight when the value was set replaces it. ``await Page()`` returns as if
# all were loaded, and the error is only written to the log when the task is collected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check async-property==0.2.2

cat > "$folder/look.py" << 'PYTHON'
import asyncio

from async_property import AwaitLoader, async_cached_property


class Page:
    @async_cached_property
    async def text(self):
        await asyncio.sleep(0.01)
        return "old"


class Broken(AwaitLoader):
    @async_cached_property
    async def text(self):
        raise OSError("no connection")


async def main():
    page = Page()

    async def read():
        return await page.text

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.005)
    page.text = "new"
    await reading
    value = await page.text

    try:
        loaded = type(await Broken()).__name__
    except OSError as error:
        loaded = repr(error)
    print(f"set to 'new': {value!r}; a page that cannot be loaded: {loaded}")
    assert value == "old", "async-property has changed"
    assert loaded == "Broken", "async-property has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
