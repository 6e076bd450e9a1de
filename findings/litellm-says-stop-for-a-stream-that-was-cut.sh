#!/usr/bin/env bash
# LiteLLM 1.106.12 says finish_reason "stop" for a stream that ended without any.
#
# Expected: where the end of an answer did not come, no finish_reason and no [DONE], the last chunk
# has no finish_reason either, or there is an error, as there is for a connection that is lost.
# Seen: a last chunk is made up that says "stop", like that of a whole answer: code that looks
# at the finish_reason, to find out whether an answer was cut, sees that it was not. The error in
# an "event: error" is passed over in the same way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.106.12 openai==2.54.0

cat > "$folder/look.py" << 'PYTHON'
import http.server
import json
import logging
import os
import threading

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

logging.disable(logging.CRITICAL)
litellm.suppress_debug_info = True
litellm.telemetry = False
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def piece(text, reason=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return f"data: {json.dumps(CHUNK | {'choices': [choice]})}\n\n"


STREAMS = {
    "cut": piece("Do ") + piece("not"),
    "an error": piece("Do ") + 'event: error\ndata: {"message": "overloaded"}\n\n',
    "too long": piece("Do ") + piece("not", "length") + "data: [DONE]\n\n",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = STREAMS[name].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
settings = {"api_base": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "none"}
question = {"model": "openai/m", "messages": [{"role": "user", "content": "Shall I?"}]}
seen = {}
for name in STREAMS:
    chunks = list(litellm.completion(**question, **settings, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    seen[name] = chunks[-1].choices[0].finish_reason
    print(f"{name}: {text!r}, finish_reason {seen[name]!r}")
server.shutdown()
assert seen == {"cut": "stop", "an error": "stop", "too long": "length"}, "LiteLLM has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
