#!/usr/bin/env bash
# Errors of HTTP clients go into a pickle, and do not come out of it.
#
# Expected: an error that can be pickled comes back, as process pools need it: with its class, its
# text and its response.
# Seen: the HTTPStatusError of httpx 0.28.1 and the NotFoundError of openai 3.57.0 are pickled
# without a word, and raise a TypeError when they are loaded, where the error that should be reported
# is lost. The ReadTimeoutError of urllib3 2.8.0 comes back without its host ("None: timed out"),
# and the ClientResponseError of aiohttp 3.14.5 is refused when it is pickled, for its request's
# headers. Only requests 2.34.2 keeps all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    urllib3==2.8.0 requests==2.34.2 httpx==0.28.1 openai==3.57.0 aiohttp==3.14.5

cat > "$folder/look.py" << 'PYTHON'
import pickle

import aiohttp
import httpx
import openai
import requests
import urllib3
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

url = "http://127.0.0.1/"
answer = requests.Response()
answer.status_code = 404
pool = urllib3.HTTPConnectionPool("127.0.0.1")
request = httpx.Request("GET", url)
response = httpx.Response(404, request=request)
about = aiohttp.RequestInfo(URL(url), "GET", CIMultiDictProxy(CIMultiDict()), URL(url))
ERRORS = {
    "aiohttp": aiohttp.ClientResponseError(about, (), status=404, message="not found"),
    "httpx": httpx.HTTPStatusError("not found", request=request, response=response),
    "openai": openai.NotFoundError("not found", response=response, body=None),
    "requests": requests.HTTPError("not found", response=answer),
    "urllib3": urllib3.exceptions.ReadTimeoutError(pool, "/", "timed out"),
}


def loaded(error):
    try:
        data = pickle.dumps(error)
    except TypeError as failure:
        return f"not pickled: {failure}"
    try:
        return str(pickle.loads(data))
    except TypeError as failure:
        return f"not loaded: {failure}"


seen = {name: loaded(error) for name, error in ERRORS.items()}
for name, text in seen.items():
    print(f"{name}: {ERRORS[name]}  ->  {text}")
assert seen["requests"] == str(ERRORS["requests"])
assert seen["aiohttp"].startswith("not pickled: "), "aiohttp has changed"
assert seen["urllib3"] == "None: timed out", "urllib3 has changed"
for name in ("httpx", "openai"):
    assert seen[name].startswith("not loaded: "), f"{name} has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
