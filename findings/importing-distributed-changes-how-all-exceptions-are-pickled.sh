#!/usr/bin/env bash
# To import distributed 2026.8.0 changes what pickle makes of exceptions, everywhere in the
# process.
#
# Expected: pickle.dumps(error) depends on the error, and not on what else is imported.
# Seen: from then on the exceptions of all classes that exist travel with their tracebacks and
# their causes (tblib 3.2.2 registers a function for each class): twelve times as many bytes. Those
# of classes that are made later travel as before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    distributed==2026.8.0 dask==2026.8.0 tblib==3.2.2

cat > "$folder/look.py" << 'PYTHON'
import pickle


def failed():
    try:
        try:
            raise OSError("first")
        except OSError as error:
            raise ValueError("second") from error
    except ValueError as error:
        return error


error = failed()
before = pickle.dumps(error)
assert pickle.loads(before).__cause__ is None

import distributed  # noqa: E402, F401

after = pickle.dumps(error)
print(f"{len(before)} bytes before, {len(after)} after the import")
print("cause:", repr(pickle.loads(after).__cause__))
assert str(pickle.loads(after).__cause__) == "first", "distributed has changed"
assert pickle.loads(after).__traceback__ is not None, "distributed has changed"


class LaterError(Exception):
    pass


later = LaterError()
later.__cause__ = error
assert pickle.loads(pickle.dumps(later)).__cause__ is None, "distributed has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
