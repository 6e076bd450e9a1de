#!/usr/bin/env bash
# The SDK of Anthropic (2.14.0) sleeps for as long as a Retry-After says, with any time limit.
#
# Expected: with timeout=5 a call does not take days; a Retry-After that is not reasonable is passed
# over, or the error is raised at once, as the SDK of OpenAI (3.57.0) does.
# Seen: of 86400 it makes a sleep of a day, and of 1000000 one of eleven. The sleeps are replaced
# here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 anthropic==2.14.0

cat > "$folder/look.py" << 'PYTHON'
import http.server
import threading
import time

import anthropic
import openai


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(429)
        self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
settings = {
    "api_key": "none",
    "base_url": f"http://127.0.0.1:{server.server_port}",
    "timeout": 5,
    "max_retries": 1,
}
question = {"model": "m", "messages": [{"role": "user", "content": "Shall I?"}]}
sleeps = []
time.sleep = lambda seconds: sleeps.append(round(seconds))
for retry_after in ("86400", "1000000"):
    for name, client in (
        ("openai", openai.OpenAI(**settings).chat.completions),
        ("anthropic", anthropic.Anthropic(**settings).messages),
    ):
        sleeps.clear()
        try:
            client.create(**question, **({"max_tokens": 9} if name == "anthropic" else {}))
        except (openai.RateLimitError, anthropic.RateLimitError):
            print(f"Retry-After: {retry_after}: {name} has slept {sleeps} seconds")
        expected = [int(retry_after)] if name == "anthropic" else []
        assert sleeps == expected, f"{name} has changed"
server.shutdown()
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
