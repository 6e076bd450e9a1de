#!/usr/bin/env bash
# xarray 2026.9.0 writes 400 degrees to NetCDF as -255.36.
#
# Expected: a number that does not fit the packed type of its variable is refused, as one that does
# not fit NetCDF 3 is ("could not safely cast").
# Seen: it is divided by scale_factor and cut to 16 bits, without a word. The packing comes with the
# file that the data were read from: a program that opens it, changes one value or appends to it, and saves
# it, has not asked for any. What comes to the fill value is read as missing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6

cat > "$folder/look.py" << 'PYTHON'
import sys
import warnings

import xarray

warnings.simplefilter("error")  # there is none
folder = sys.argv[1]
packing = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}
measured = xarray.Dataset({"degrees": ("time", [20.0, 31.5])})
measured.to_netcdf(f"{folder}/a.nc", encoding={"degrees": packing})

data = xarray.load_dataset(f"{folder}/a.nc")
assert data.degrees.values.tolist() == [20.0, 31.5]
data.degrees[1] = 400.0
more = xarray.Dataset({"degrees": ("time", [-327.68])})
xarray.concat([data, more], "time").to_netcdf(f"{folder}/b.nc")
seen = xarray.load_dataset(f"{folder}/b.nc").degrees.values.tolist()
print("20.0, 400.0, -327.68 are read as", seen)
assert seen[:2] == [20.0, -255.36], "xarray has changed"
assert seen[2] != seen[2], "xarray has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
