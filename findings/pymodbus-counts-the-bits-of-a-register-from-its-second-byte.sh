#!/usr/bin/env bash
# To pymodbus 3.16.1 the first bit of a register is the ninth.
#
# Expected: of the bits that convert_from_registers gives for a register of value 1, the first is
# set: the lowest bit of a register is its bit 0, as in every table of a device, and as in coils.
# Seen: the ninth. The two bytes of a register change places; numbers in the same register do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pymodbus==3.16.1

cat > "$folder/look.py" << 'PYTHON'
from pymodbus.client.mixin import ModbusClientMixin as Client

bits = Client.convert_from_registers([1], Client.DATATYPE.BITS)
number = Client.convert_from_registers([1], Client.DATATYPE.UINT16)
print("number:", number, "bits that are set:", [place for place, bit in enumerate(bits) if bit])
assert number == 1
assert Client.convert_to_registers([True] + [False] * 15, Client.DATATYPE.BITS) == [256]
assert [place for place, bit in enumerate(bits) if bit] == [8], "pymodbus has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
