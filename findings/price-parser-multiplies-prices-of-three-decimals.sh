#!/usr/bin/env bash
# price-parser 0.5.1 takes a price with three decimals for one that is a thousand times as high.
#
# Expected: 0.999 is less than one, 12,345.678 has two separators and so one decimal point, and -12
# € is a credit.
# Seen: 999, 12345678 and 12. Prices of petrol and electricity have three decimals.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check price-parser==0.5.1

cat > "$folder/look.py" << 'PYTHON'
from price_parser import Price

seen = {text: str(Price.fromstring(text).amount) for text in ("0.999 €", "12,345.678 €", "-12 €")}
print(seen)
assert Price.fromstring("12,345.67 €").amount_float == 12345.67
assert seen == {
    "0.999 €": "999",
    "12,345.678 €": "12345678",
    "-12 €": "12",
}, "price-parser has changed"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
