#!/usr/bin/env bash
# A notebook that papermill 2.7.0 runs gets the tuple (1, 2) as the text "(1, 2)".
#
# Expected: a parameter arrives as it was given, a tuple as a tuple or a list, or is refused, as a
# set and a date are.
# Seen: it is a text, with a length and an order, so that a loop goes on letter by letter; the
# metadata of the same notebook say that it was [1, 2]. On the command line, -p makes a number of
# whatever float() or int() take: 01234 is 1234, and 1_000 is 1000; true, which YAML and JSON have,
# is a text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    papermill==2.7.0 ipykernel==7.4.0 nbformat==5.11.1

cat > "$folder/look.py" << 'PYTHON'
import json
import logging
import subprocess
import sys

import nbformat
import papermill

logging.disable(logging.CRITICAL)
folder = sys.argv[1]
notebook = nbformat.v4.new_notebook()
notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python"}
notebook.cells = [
    nbformat.v4.new_code_cell("value = zip = number = flag = 0", metadata={"tags": ["parameters"]}),
    nbformat.v4.new_code_cell("print([value, zip, number, flag])"),
]
nbformat.write(notebook, f"{folder}/in.ipynb")
settings = {"progress_bar": False}
paths = (f"{folder}/in.ipynb", f"{folder}/out.ipynb")
ran = papermill.execute_notebook(*paths, parameters={"value": (1, 2)}, **settings)
said = ran.metadata.papermill.parameters["value"]
seen = ran.cells[-1].outputs[0].text.strip()
print("given (1, 2):", seen, "and the metadata say", said)
assert (seen, list(said)) == ("['(1, 2)', 0, 0, 0]", [1, 2]), "papermill has changed"

parameters = ["-p", "zip", "01234", "-p", "number", "1_000", "-p", "flag", "true"]
command = [sys.executable, "-m", "papermill", "--no-progress-bar", *paths, *parameters]
subprocess.run(command, check=True, capture_output=True)
with open(paths[1]) as file:
    seen = "".join(json.load(file)["cells"][-1]["outputs"][0]["text"]).strip()
print(" ".join(parameters), "->", seen)
assert seen == "[0, 1234, 1000, 'true']", "papermill has changed"
PYTHON
PATH="$folder/venv/bin:$PATH" IPYTHONDIR="$folder" JUPYTER_DATA_DIR="$folder" \
    JUPYTER_RUNTIME_DIR="$folder" "$folder/venv/bin/python" "$folder/look.py" "$folder" 2> /dev/null
