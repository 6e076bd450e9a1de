#!/usr/bin/env bash
# The SDK of OpenAI (3.57.0) hands over an event of the type "error" as a piece of the answer.
#
# Expected: "event: error" in a stream is an APIError, as it is where the data have a key "error".
# Seen: {"message": "overloaded"} is a ChatCompletionChunk whose choices are None, and the stream
# goes on; a text is a JSONDecodeError, which is no error of the SDK's. The SDK of Anthropic
# (2.14.0) raises an APIStatusError for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 anthropic==2.14.0

cat > "$folder/look.py" << 'PYTHON'
import http.server
import threading

import anthropic
import openai


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = f"event: error\ndata: {data}\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
settings = {"api_key": "none", "base_url": f"http://127.0.0.1:{server.server_port}"}
question = {"model": "m", "messages": [{"role": "user", "content": "Shall I?"}], "stream": True}
seen = []
for data in ('{"error": {"message": "overloaded"}}', '{"message": "overloaded"}', "overloaded"):
    for name, client in (
        ("openai", openai.OpenAI(**settings).chat.completions),
        ("anthropic", anthropic.Anthropic(**settings).messages),
    ):
        limit = {"max_tokens": 9} if name == "anthropic" else {}
        try:
            (piece,) = client.create(**question, **limit)
            outcome = f"{type(piece).__name__} with choices={piece.choices}"
        except Exception as error:
            outcome = type(error).__name__
        print(f"{name}, {data}: {outcome}")
        seen.append(outcome)
server.shutdown()
assert seen == [
    "APIError",
    "APIStatusError",
    "ChatCompletionChunk with choices=None",
    "APIStatusError",
    "JSONDecodeError",
    "APIStatusError",
], "one of them has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
