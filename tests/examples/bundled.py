"""The data that come with the examples, as they stand in their files."""

import json
from pathlib import Path
from typing import Any

from examples.data import make_data
from examples.services import social_profile

DATA = Path(make_data.__file__).parent
PEOPLE: list[dict[str, Any]] = json.loads((DATA / "people.json").read_text("utf-8"))
COMPANIES: list[dict[str, Any]] = json.loads((DATA / "companies.json").read_text("utf-8"))
RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "records.jsonl").read_text("utf-8").splitlines()
]
FAULTS: dict[str, str] = json.loads((DATA / "faults.json").read_text("utf-8"))
# Of those people who have a social profile.
HANDLES = [p["handle"] for p in PEOPLE if social_profile(p["handle"]) is not None]
