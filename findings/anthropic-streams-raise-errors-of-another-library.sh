#!/usr/bin/env bash
# A lost connection in a stream of the SDK of Anthropic (2.14.0) is no error of Anthropic's.
#
# Expected: what fails while a stream is read is an APIConnectionError or an APITimeoutError, as it
# is before the first event, and as it is in the SDK of OpenAI (3.57.0) throughout.
# Seen: it is an error of the HTTP client within, whose package has even another name than it used
# to (httpx2). "except anthropic.APIError" catches none of them, and max_retries does not count
# there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 anthropic==2.14.0

cat > "$folder/look.py" << 'PYTHON'
import http.server
import json
import threading

import anthropic
import openai

MESSAGE = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": []}
USAGE = {"usage": {"input_tokens": 1, "output_tokens": 1}}
START = {"type": "message_start", "message": MESSAGE | USAGE}
PIECE = {"id": "1", "choices": [{"index": 0, "delta": {"content": "Do not"}}]}
over = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/messages"):
            event = f"event: message_start\ndata: {json.dumps(START)}\n\n".encode()
        else:
            event = f"data: {json.dumps(PIECE)}\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(event) + 1))
        self.end_headers()
        self.wfile.write(event)
        if silent:
            over.wait(30)
        self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
settings = {"api_key": "none", "base_url": f"http://127.0.0.1:{server.server_port}", "timeout": 1}
question = {"model": "m", "messages": [{"role": "user", "content": "Shall I?"}], "stream": True}
seen = {}
for silent in (False, True):
    for name, client in (
        ("openai", openai.OpenAI(**settings).chat.completions),
        ("anthropic", anthropic.Anthropic(**settings).messages),
    ):
        try:
            list(client.create(**question, **({"max_tokens": 9} if name == "anthropic" else {})))
        except Exception as error:
            kind = type(error)
            of_the_sdk = isinstance(error, (openai.OpenAIError, anthropic.AnthropicError))
            print(f"{'silent' if silent else 'closed'}: {kind.__module__}.{kind.__name__}")
            seen[name, silent] = (kind.__name__, of_the_sdk)
over.set()
server.shutdown()
assert seen["openai", False] == ("APIConnectionError", True)
assert seen["openai", True] == ("APITimeoutError", True)
assert seen["anthropic", False] == ("RemoteProtocolError", False), "anthropic has changed"
assert seen["anthropic", True] == ("ReadTimeout", False), "anthropic has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
