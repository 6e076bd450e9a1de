#!/usr/bin/env bash
# cantools 45.1.0 writes two signals of one name as one to SYM, with the scale of only one of them.
#
# Expected: a database that is read from DBC and written to SYM decodes frames as before, or is
# refused. Signals belong to messages; many databases have a Temperature or a Counter in several.
# Seen: SYM has signals for all messages together. One definition is written, and both messages
# refer to it: 20 degrees of the second message are 200. To KCD, the same database is written well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cantools==45.1.0

cat > "$folder/look.py" << 'PYTHON'
import cantools

DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 100 Engine: 8 ECU
 SG_ Temperature : 0|16@1+ (0.1,0) [0|6553.5] "" ECU
BO_ 101 Cabin: 8 ECU
 SG_ Temperature : 0|16@1+ (0.01,0) [0|655.35] "" ECU
"""
database = cantools.database.load_string(DBC, "dbc")
by_format = {
    "dbc": database,
    "kcd": cantools.database.load_string(database.as_kcd_string(), "kcd"),
    "sym": cantools.database.load_string(database.as_sym_string(), "sym"),
}
frame = (2000).to_bytes(2, "little") + bytes(6)
seen = {}
for kind, read in by_format.items():
    seen[kind] = [read.decode_message(name, frame)["Temperature"] for name in ("Engine", "Cabin")]
    print(kind, "engine and cabin:", seen[kind])
assert seen["dbc"] == seen["kcd"] == [200, 20]
assert seen["sym"] == [200, 200], "cantools has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
