#!/usr/bin/env bash
# ormsgpack 1.13.1 drops what its ext_hook raises.
#
# Expected: an exception in a hook reaches the caller of unpackb(), as it does with msgpack and
# msgspec, or is the cause of the one that does.
# Seen: whatever is raised, a ValueError("ext_hook failed") comes out, without a cause or a context.
# The text that says what was wrong with the value is gone, and a KeyboardInterrupt that arrives
# while the hook runs does not end the program.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ormsgpack==1.13.1 msgpack==1.2.1 msgspec==0.23.0

cat > "$folder/look.py" << 'PYTHON'
import msgpack
import msgspec
import ormsgpack

DATA = ormsgpack.packb(ormsgpack.Ext(1, b"2024-02-30"))


def caught(decode, error):
    def hook(tag, data):
        raise error

    try:
        decode(hook)
    except BaseException as seen:
        return seen


for error in (KeyError("no such day"), KeyboardInterrupt()):
    for name, decode in {
        "msgpack": lambda hook: msgpack.unpackb(DATA, ext_hook=hook),
        "msgspec": lambda hook: msgspec.msgpack.decode(DATA, ext_hook=hook),
    }.items():
        assert caught(decode, error) is error, f"{name} has changed"
        print(f"{name}: {error!r}")
    seen = caught(lambda hook: ormsgpack.unpackb(DATA, ext_hook=hook), error)
    print(f"ormsgpack: {seen!r}, cause {seen.__cause__!r}, context {seen.__context__!r}")
    assert type(seen) is ormsgpack.MsgpackDecodeError or type(seen) is ValueError, "has changed"
    assert seen.__cause__ is None and seen.__context__ is None, "ormsgpack has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
