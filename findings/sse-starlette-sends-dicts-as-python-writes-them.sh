#!/usr/bin/env bash
# sse-starlette 3.7.0 sends a dict in Python's notation.
#
# Expected: {"data": {"id": 1, "done": True}}, which an endpoint yields, is sent as JSON, as
# Starlette sends a dict that an endpoint returns; or it is refused.
# Seen: the data are {'id': 1, 'done': True}, which looks like JSON and is none, and None is "None".
# Nothing says so before a browser's JSON.parse() fails.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    sse-starlette==3.7.0 starlette==1.10.0 httpx==0.28.1

cat > "$folder/look.py" << 'PYTHON'
import asyncio
import json

import httpx
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route


async def events(request):
    async def steps():
        yield {"event": "step", "data": {"id": 1, "done": True}}
        yield None

    return EventSourceResponse(steps())


async def main():
    transport = httpx.ASGITransport(Starlette(routes=[Route("/", events)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
        return (await client.get("/")).text


lines = asyncio.run(main()).split("\r\n")
print(lines)
(step, nothing) = (line.removeprefix("data: ") for line in lines if line.startswith("data: "))
assert step == "{'id': 1, 'done': True}", "sse-starlette has changed"
assert nothing == "None", "sse-starlette has changed"
try:
    json.loads(step)
except ValueError as error:
    print("json.loads:", error)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
