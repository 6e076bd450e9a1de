"""What kaygraph's own nodes and patterns return is recorded unchanged, and never refused."""

from dataclasses import replace
from typing import Any

import pytest

from kaygraph import Outcome, RecordedError
from kaygraph.errors import NotRecordableError
from kaygraph.journal.encoding import Encoding
from kaygraph.nodes import ChatReply
from kaygraph.patterns import Enrichment, ResilientResult, ValidationSummary
from kaygraph.patterns.splitting import Aggregation
from tests.journal.recorded import OutOfStock

LOST = OutOfStock("tea", left=0)

RESULTS: dict[str, Any] = {
    "outcome": Outcome("Buy", 0, "ok", value=(1, 2), item={"id": 1}),
    "reply": ChatReply("yes", data={"ok": True}, usage={"total_tokens": 3}),
    "resilient": ResilientResult("success", (1,), "primary", None, 1, 0.5),
    "enrichment": Enrichment({"a": 1}, {"b": "late"}, {}, 0.5, {"a": 1}, {"a": 0.1}, (1, 2)),
    "validation": ValidationSummary(("a",), {"b": ("short",)}, {}, {}, {"a": 1}, {"a": 0.1}, {}),
    "aggregation": Aggregation([1], (Outcome("Buy", 0, "failed"),)),
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_results_of_its_own_need_no_types(result: Any) -> None:
    """They are restored as equal values, even if nothing of the kind was recorded before."""
    back = Encoding().decode(Encoding().encode([result], "it"))[0]
    assert type(back) is type(result)
    assert back == result
    assert Encoding().fingerprint(back) == Encoding().fingerprint(result)


@pytest.mark.parametrize("name", ["outcome", "resilient"])
def test_an_error_of_any_class_is_no_reason_to_refuse_them(name: str) -> None:
    """Otherwise the first failing call would end the run."""
    result = replace(RESULTS[name], error=LOST)
    back = Encoding().decode(Encoding().encode(result, "it"))
    assert type(back.error) is RecordedError
    assert replace(back, error=None) == replace(result, error=None)
    known = Encoding([OutOfStock])
    assert type(known.decode(known.encode(result, "it")).error) is OutOfStock


@pytest.mark.parametrize("name", ["enrichment", "validation"])
def test_errors_by_name_are_no_reason_either(name: str) -> None:
    """Each comes back under its name."""
    result = replace(RESULTS[name], errors={"c": LOST, "d": ValueError(1)})
    errors = Encoding().decode(Encoding().encode(result, "it")).errors
    assert {key: type(error) for key, error in errors.items()} == {
        "c": RecordedError,
        "d": ValueError,
    }


def test_what_is_the_users_in_them_is_refused_as_elsewhere() -> None:
    """The place in the error leads to it."""
    with pytest.raises(NotRecordableError, match=r": \[0\]\.item\['a'\] is of"):
        Encoding().encode([replace(RESULTS["outcome"], item={"a": print})], "it")
