#!/usr/bin/env bash
# The SDKs of OpenAI (3.57.0) and Anthropic (2.14.0) hand over a streamed answer without its end.
#
# Expected: an answer whose end has not come, no finish_reason and no [DONE], no stop_reason and no
# message_stop, is an error, at least in the helpers that promise the final one. A proxy that gives
# up ends the response in order.
# Seen: the stream just ends. get_final_completion() and get_final_message() return what has come,
# with None as the reason, as if the model had said no more.
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

CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
PIECE = CHUNK | {"choices": [{"index": 0, "delta": {"content": "Do not"}}]}
MESSAGE = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": []}
USAGE = {"usage": {"input_tokens": 1, "output_tokens": 1}}
EVENTS = [
    {"type": "message_start", "message": MESSAGE | USAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Do not"}},
]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/messages"):
            events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS]
        else:
            events = [f"data: {json.dumps(PIECE)}\n\n"]
        body = "".join(events).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
question = {"model": "m", "messages": [{"role": "user", "content": "Shall I?"}]}

with openai.OpenAI(api_key="none", base_url=url) as client:
    with client.chat.completions.stream(**question) as stream:
        choice = stream.get_final_completion().choices[0]
    pieces = [piece for piece in client.chat.completions.create(**question, stream=True)]
print("openai:   ", choice.message.content, "| finish_reason:", choice.finish_reason)
with anthropic.Anthropic(api_key="none", base_url=url) as client:
    with client.messages.stream(**question, max_tokens=9) as stream:
        message = stream.get_final_message()
print("anthropic:", message.content[0].text, "| stop_reason:", message.stop_reason)
assert (choice.message.content, choice.finish_reason) == ("Do not", None), "openai has changed"
assert len(pieces) == 1, "openai has changed"
assert (message.content[0].text, message.stop_reason) == ("Do not", None), "anthropic has changed"
server.shutdown()
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
