#!/usr/bin/env bash
# Four HTTP clients do not find the next page in Link headers that RFC 8288 allows.
#
# Expected: response.links["next"] of requests 2.34.2, httpx 0.28.1, niquests 3.21.2 and aiohttp
# 3.14.5 is there when a header says so: several relations in one rel (section 3.3), names of
# parameters in any case (section 2.2 of RFC 9110 for such lists), and a semicolon within quotes.
# Seen: rel="next last" is one relation called "next last" to all four, REL= is none, and a title
# with a semicolon hides the rel behind it from all but aiohttp. A program that pages until there
# is no "next" ends early, without an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    requests==2.34.2 httpx==0.28.1 niquests==3.21.2 aiohttp==3.14.5

cat > "$folder/look.py" << 'PYTHON'
import asyncio

import aiohttp
import httpx
import niquests
import requests
from aiohttp import web

HEADERS = {
    "plain": '</2>; rel="next"',
    "two relations": '</2>; rel="next last"',
    "upper case": '</2>; REL="next"',
    "semicolon": '</2>; title="a; b"; rel="next"',
}


async def answer(request):
    return web.Response(headers={"Link": HEADERS[request.query["form"]]})


async def found(base, form):
    url = httpx.URL(base, params={"form": form})
    async with aiohttp.ClientSession() as session, session.get(str(url)) as response:
        links = {"aiohttp": response.links}
    async with httpx.AsyncClient(trust_env=False) as client:
        links["httpx"] = (await client.get(url)).links
    for library in (niquests, requests):
        session = library.Session()
        session.trust_env = False
        response = await asyncio.to_thread(session.get, str(url))
        links[library.__name__] = response.links
        session.close()
    return sorted(name for name, known in links.items() if "next" in known)


async def main():
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        seen = {form: await found(f"http://{host}:{port}/", form) for form in HEADERS}
    finally:
        await runner.cleanup()
    for form, names in seen.items():
        print(f"{form}: the next page is found by {names or 'none'}")
    assert seen == {
        "plain": ["aiohttp", "httpx", "niquests", "requests"],
        "two relations": [],
        "upper case": [],
        "semicolon": ["aiohttp"],
    }, "one of them has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
