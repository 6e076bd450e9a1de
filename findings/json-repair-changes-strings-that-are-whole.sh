#!/usr/bin/env bash
# json_repair 0.64.6 changes strings of a cut-off answer that came whole.
#
# Expected: where the end of an answer is missing, what stands before it is read as it stands, as
# json.loads reads it; only the end is guessed at.
# Seen: strings lose the line break at their end, as every text file has one. "\/" stays a backslash
# and a slash, so that URLs of PHP's json_encode break; an escaped backslash before a quote is lost,
# and of a code block in Markdown the first line. Whole answers are read by json.loads, and are
# right: tests with whole ones see nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check json_repair==0.64.6

cat > "$folder/look.py" << 'PYTHON'
import json

import json_repair

TEXTS = {
    "a line": ("one\n", "one"),
    "a program": ('def f():\n    return "x"\n', 'def f():\n    return "x"'),
    "a URL": ("http://a.example/b", "http:\\/\\/a.example\\/b"),
    "a quote": ('print("\\"")', 'print(""")'),
    "Markdown": ("```json\n{}\n```", "n{}\n```"),
}
for name, (text, expected) in TEXTS.items():
    answer = json.dumps({"text": text, "next": "end"})
    if name == "a URL":
        answer = answer.replace("/", "\\/")  # as PHP writes it
    assert json_repair.loads(answer) == {"text": text, "next": "end"}
    seen = json_repair.loads(answer[:-1])
    print(f"{name}: {text!r} is {seen['text']!r}")
    assert seen == {"text": expected, "next": "end"}, "json_repair has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
