#!/usr/bin/env bash
# cbor2 6.3.0 writes re.compile("abc", re.IGNORECASE) as one that minds the case.
#
# Expected: a pattern comes back with its flags, or is refused when it is written: tag 35 has no
# place for them, but a pattern of Python can hold them itself, as (?i).
# Seen: the pattern is written without them. What is read matches other texts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cbor2==6.3.0

cat > "$folder/look.py" << 'PYTHON'
import re

import cbor2

pattern = re.compile("^yes.$", re.IGNORECASE | re.DOTALL)
seen = cbor2.loads(cbor2.dumps(pattern))
print(pattern, "->", seen)
assert pattern.match("YES\n")
assert not seen.match("YES\n"), "cbor2 has changed"
assert cbor2.loads(cbor2.dumps(re.compile("(?is)^yes.$"))).match("YES\n")
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
