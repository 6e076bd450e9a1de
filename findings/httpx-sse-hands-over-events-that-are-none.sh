#!/usr/bin/env bash
# httpx-sse 0.4.3 hands over an event for a block that has no data.
#
# Expected: where a block of an event stream says only "retry: 10000", "id: 3" or "event: ping", as
# many servers begin or keep a stream alive, there is no event: the HTML standard (9.2.6) says that
# a block without data is dropped.
# Seen: each is an event whose data are empty, so that json.loads(event.data) ends the stream with
# an error. A block with an empty data field is an event by the standard, and cannot be distinguished from
# them. sseclient-py 1.9.0 drops them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    httpx==0.28.1 httpx-sse==0.4.3 sseclient-py==1.9.0

cat > "$folder/look.py" << 'PYTHON'
import httpx
import sseclient
from httpx_sse import EventSource

STREAM = b"retry: 10000\n\nevent: ping\n\nid: 3\n\ndata: one\n\n"
headers = {"Content-Type": "text/event-stream"}
events = EventSource(httpx.Response(200, headers=headers, content=STREAM)).iter_sse()
by_httpx_sse = [(event.event, event.data) for event in events]
events = sseclient.SSEClient(iter([STREAM])).events()
by_sseclient = [(event.event, event.data) for event in events]
print("httpx-sse:   ", by_httpx_sse)
print("sseclient-py:", by_sseclient)
assert by_sseclient == [("message", "one")]
empty = [("message", ""), ("ping", ""), ("message", "")]
assert by_httpx_sse == [*empty, ("message", "one")], "httpx-sse has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
