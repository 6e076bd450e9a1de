#!/usr/bin/env bash
# With num_retries=2 LiteLLM 1.106.12 makes five calls, and asks three times with a key that is
# refused.
#
# Expected: two retries are three calls, and what will not be answered otherwise, a 400 or a 401, is
# not asked again: as the SDK of OpenAI (2.54.0) does it, which makes the calls, with max_retries=2.
# Seen: LiteLLM's retries and those of the SDK within it add up for a 500: num_retries=1 is three
# calls, and so is none at all. A 400 and a 401, which the SDK does not repeat, are repeated.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    litellm==1.106.12 openai==2.54.0 tenacity==9.2.1

cat > "$folder/look.py" << 'PYTHON'
import http.server
import logging
import os
import threading

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402
import openai  # noqa: E402

logging.disable(logging.CRITICAL)
litellm.suppress_debug_info = True
litellm.telemetry = False
calls = []


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        calls.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
messages = [{"role": "user", "content": "Shall I?"}]
client = openai.OpenAI(api_key="none", base_url=url, max_retries=2).chat.completions


def by_litellm(**retries):
    settings = {"api_key": "none", "api_base": url}
    return litellm.completion(model="openai/m", messages=messages, **settings, **retries)


ASKING = {
    "openai, max_retries=2": lambda: client.create(model="m", messages=messages),
    "litellm": by_litellm,
    "litellm, num_retries=0": lambda: by_litellm(num_retries=0),
    "litellm, num_retries=1": lambda: by_litellm(num_retries=1),
    "litellm, num_retries=2": lambda: by_litellm(num_retries=2),
}
seen = {}
for name, ask in ASKING.items():
    seen[name] = []
    for status in (500, 400, 401):
        calls.clear()
        try:
            ask()
        except openai.APIStatusError:  # LiteLLM's errors are of that class
            seen[name].append(len(calls))
    print(f"{name}: {seen[name]} calls for 500, 400, 401")
server.shutdown()
assert seen == {
    "openai, max_retries=2": [3, 1, 1],
    "litellm": [3, 1, 1],
    "litellm, num_retries=0": [1, 1, 1],
    "litellm, num_retries=1": [3, 2, 2],
    "litellm, num_retries=2": [5, 3, 3],
}, "LiteLLM has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
