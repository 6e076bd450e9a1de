#!/usr/bin/env bash
# ormsgpack 1.13.1 writes arrays of the other byte order as other numbers.
# 
# Expected: an array of dtype ">i4", as files of FITS, NetCDF 3 and many instruments give it, is
# written with its numbers or refused, as orjson 3.13.0 does.
# Seen: its bytes are taken for those of this machine: 0, 1, 2 are 0, 16777216, 33554432, and 1.5 is
# 3.1e-319, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ormsgpack==1.13.1 orjson==3.13.0 numpy==2.4.6

cat > "$folder/look.py" << 'PYTHON'
import sys

import numpy
import orjson
import ormsgpack

other = ">" if sys.byteorder == "little" else "<"
for dtype, numbers in (("i2", [0, 1, 2]), ("i4", [0, 1, 2]), ("f8", [1.5, 2.5])):
    native, swapped = numpy.array(numbers, dtype), numpy.array(numbers, other + dtype)
    assert (native == swapped).all() and swapped.tolist() == numbers
    option = ormsgpack.OPT_SERIALIZE_NUMPY
    assert ormsgpack.unpackb(ormsgpack.packb(native, option=option)) == numbers
    seen = ormsgpack.unpackb(ormsgpack.packb(swapped, option=option))
    print(f"{swapped!r} is {seen}")
    assert seen == swapped.view(dtype).tolist() != numbers, "ormsgpack has changed"
    try:
        orjson.dumps(swapped, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        print("orjson:", error)
    else:
        raise AssertionError("orjson has changed")
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
