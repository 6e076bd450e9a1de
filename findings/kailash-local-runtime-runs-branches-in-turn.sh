#!/usr/bin/env bash
# Kailash 2.65.0 runs the independent nodes of a workflow one after another.
#
# Expected: four nodes without edges between them, each of which waits for 0.3 s, take about 0.3 s
# in a LocalRuntime: the workflow says that they do not depend on each other.
# Seen: 1.2 s and more, the sum of all four.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kailash==2.65.0

cat > "$folder/look.py" << 'PYTHON'
import time

from kailash.runtime.local import LocalRuntime
from kailash.workflow.builder import WorkflowBuilder

CODE = """
import time
began = time.monotonic()
time.sleep(0.3)
result = {"began": began, "ended": time.monotonic()}
"""

workflow = WorkflowBuilder()
for number in range(4):
    workflow.add_node("PythonCodeNode", f"node{number}", {"code": CODE})
with LocalRuntime() as runtime:
    results, _ = runtime.execute(workflow.build())
times = sorted((one["result"]["began"], one["result"]["ended"]) for one in results.values())
print(f"4 nodes of 0.3 s: {times[-1][1] - times[0][0]:.2f} s")
overlaps = sum(later[0] < earlier[1] for earlier, later in zip(times, times[1:]))
assert len(times) == 4
assert overlaps == 0, "Kailash has changed: nodes run at once"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
