#!/usr/bin/env bash
# The default converter of temporalio 1.35.0 reads a dataclass of a union as the first that fits.
# 
# Expected: a value annotated Payment | Refund comes back as the class that was sent; where a
# converter cannot tell, it refuses, as cattrs and msgspec do.
# Seen: the first class whose required fields are there is made, and what it has no field for is
# dropped: a Refund arrives as a Payment, without its reason. Refund | Payment works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check temporalio==1.35.0

cat > "$folder/look.py" << 'PYTHON'
import asyncio
from dataclasses import dataclass

from temporalio.converter import DataConverter


@dataclass
class Payment:
    order: str
    cents: int


@dataclass
class Refund:
    order: str
    cents: int
    reason: str


async def sent(value, hint):
    payloads = await DataConverter.default.encode([value])
    return (await DataConverter.default.decode(payloads, [hint]))[0]


async def main():
    refund, payment = Refund("A-1", 500, "broken"), Payment("A-2", 700)
    assert await sent(refund, Refund) == refund
    assert await sent(refund, Refund | Payment) == refund
    assert await sent(payment, Refund | Payment) == payment
    seen = await sent(refund, Payment | Refund)
    print(f"{refund} arrives as {seen}")
    assert seen == Payment("A-1", 500), "temporalio has changed"


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
