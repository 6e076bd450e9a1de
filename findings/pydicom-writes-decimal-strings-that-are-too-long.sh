#!/usr/bin/env bash
# pydicom 3.0.2 writes 0.1 + 0.2 as a decimal string of 19 characters, where DICOM allows 16.
#
# Expected: a float for an element of VR DS is rounded to what fits, or refused, or there is a
# warning, as there is for a text of that length.
# Seen: repr() of the float is written, without a word. It is 16 characters or fewer only for
# numbers that are short.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2

cat > "$folder/look.py" << 'PYTHON'
import io
import warnings

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

warnings.simplefilter("error")  # there is none
meta = FileMetaDataset()
meta.TransferSyntaxUID = ExplicitVRLittleEndian
meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2", "1.2.3"
data = Dataset()
data.file_meta = meta
data.SliceThickness = 0.1 + 0.2
file = io.BytesIO()
pydicom.dcmwrite(file, data, enforce_file_format=True)
written = b"0.30000000000000004"
print(f"{len(written)} characters in the file:", written in file.getvalue())
assert written in file.getvalue(), "pydicom has changed"
try:
    data.SliceThickness = "0.30000000000000004"
except UserWarning as warning:
    print("as a text:", str(warning).splitlines()[0])
else:
    raise AssertionError("pydicom has changed")
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
