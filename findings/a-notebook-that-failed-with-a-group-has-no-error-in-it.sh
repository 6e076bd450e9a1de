#!/usr/bin/env bash
# A cell that fails with an exception group has no error among its outputs (IPython 9.18.1).
#
# Expected: whatever a cell raises is an output of the type "error", by which a front end, nbconvert
# and anyone who looks through saved notebooks knows that it has failed.
# Seen: a group, which asyncio.TaskGroup raises, is text on stderr like any warning. The message of
# the error has no traceback, and nbclient 0.11.0 leaves it out: a notebook that was run with
# allow_errors looks as if it had worked.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ipython==9.18.1 ipykernel==7.4.0 nbclient==0.11.0 nbformat==5.11.1

cat > "$folder/look.py" << 'PYTHON'
import sys

import nbclient
import nbformat

SOURCES = {
    "an error": "raise ValueError(1)",
    "a group": 'raise ExceptionGroup("two", [ValueError(1), OSError(2)])',
}
notebook = nbformat.v4.new_notebook()
notebook.cells = [nbformat.v4.new_code_cell(source) for source in SOURCES.values()]
nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute()
seen = {}
for name, cell in zip(SOURCES, notebook.cells):
    seen[name] = [output.output_type for output in cell.outputs]
    print(f"{name}: {seen[name]}", [output.get("name") for output in cell.outputs])
assert seen == {"an error": ["error"], "a group": ["stream"]}, "IPython or nbclient has changed"
PYTHON
PATH="$folder/venv/bin:$PATH" IPYTHONDIR="$folder" JUPYTER_DATA_DIR="$folder" \
    JUPYTER_RUNTIME_DIR="$folder" "$folder/venv/bin/python" "$folder/look.py" 2> /dev/null
