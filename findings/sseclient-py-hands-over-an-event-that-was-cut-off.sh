#!/usr/bin/env bash
# sseclient-py 1.9.0 hands over an event whose end has not come.
#
# Expected: where a connection is lost in the middle of an event, that event is dropped, as the
# HTML standard (9.2.6) says: there was no blank line, so nobody knows whether it was whole.
# Seen: the number 1234567 arrives as 12, an event like any other. httpx-sse 0.4.3 drops it.
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

cut = b"data: 1000000\n\ndata: 1234567\n\n".partition(b"34567")[0]
headers = {"Content-Type": "text/event-stream"}
events = EventSource(httpx.Response(200, headers=headers, content=cut)).iter_sse()
by_httpx_sse = [event.data for event in events]
by_sseclient = [event.data for event in sseclient.SSEClient(iter([cut])).events()]
print("httpx-sse:   ", by_httpx_sse)
print("sseclient-py:", by_sseclient)
assert by_httpx_sse == ["1000000"]
assert by_sseclient == ["1000000", "12"], "sseclient-py has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
