"""All planted races."""

import importlib

from tests.testing.races.planting import RACES as RACES

MODULES = (
    "checking", "updating", "cancelling", "closing", "waking", "timing", "networking", "writing"
)  # fmt: skip

for _module in MODULES:
    importlib.import_module(f"tests.testing.races.{_module}")
