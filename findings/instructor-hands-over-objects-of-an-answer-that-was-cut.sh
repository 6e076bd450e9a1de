#!/usr/bin/env bash
# instructor 1.17.0 hands over the objects of a streamed answer that the model did not end.
#
# Expected: an answer with the finish_reason "length" is an IncompleteOutputException, as it is
# where it is not streamed.
# Seen: create_partial() ends with the age 12, of 129, and create_iterable() with one user of two;
# neither raises anything.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check instructor==1.17.0 openai==2.54.0

cat > "$folder/look.py" << 'PYTHON'
import http.server
import json
import threading

import instructor
import openai
import pydantic
from instructor.core import IncompleteOutputException


class User(pydantic.BaseModel):
    name: str
    age: int


CUT_USER = '{"name": "Anna", "age": 12'
CUT_USERS = '{"tasks": [{"name": "Anna", "age": 29}, {"name": "Ben", "age": 3'
BASE = {"id": "1", "created": 1, "model": "m"}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if request.get("stream"):
            pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
            choices = [{"delta": {"content": piece}, "finish_reason": None} for piece in pieces]
            choices.append({"delta": {}, "finish_reason": "length"})
            events = [BASE | {"choices": [choice | {"index": 0}]} for choice in choices]
            lines = [*map(json.dumps, events), "[DONE]"]
            body, kind = "".join(f"data: {line}\n\n" for line in lines), "text/event-stream"
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "length"}
            body, kind = json.dumps(BASE | {"choices": [choice]}), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
openai_client = openai.OpenAI(api_key="none", base_url=url)
client = instructor.from_openai(openai_client, mode=instructor.Mode.JSON).chat.completions
question = {"messages": [{"role": "user", "content": "Who?"}], "model": "m", "response_model": User}

text = CUT_USER
try:
    client.create(**question, max_retries=0)
except IncompleteOutputException as error:
    print("create():", error)
else:
    raise AssertionError("instructor has changed")
*_, last = client.create_partial(**question)
print("create_partial():", repr(last))
text = CUT_USERS
users = list(client.create_iterable(**question))
print("create_iterable():", users)
server.shutdown()
assert (last.name, last.age) == ("Anna", 12), "instructor has changed"
assert [user.name for user in users] == ["Anna"], "instructor has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
