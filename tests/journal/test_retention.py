"""Which runs are kept: no running one is removed."""

import pytest

from kaygraph.journal.memory import MemoryStore
from kaygraph.journal.retention import check_keep, prune


def test_a_run_that_goes_on_is_never_removed() -> None:
    """Even when runs that did not end well are removed."""
    store = MemoryStore()
    for status in ("running", "done", "failed", "interrupted", "waits"):
        epoch = store.claim(status, "g").epoch
        store.finish(status, epoch, status, None, None)
    assert prune(store, 0) == ["done"]
    assert sorted(prune(store, 0, unfinished=True)) == ["failed", "interrupted", "waits"]
    assert [run.run for run in store.runs()] == ["running"]


@pytest.mark.parametrize("keep", [-1, True, "d", "", -1.0, float("nan"), None])
def test_keep_is_a_number_or_a_duration(keep: object) -> None:
    """Anything else says what to type."""
    with pytest.raises((ValueError, TypeError), match="'30d'"):
        check_keep(keep)  # type: ignore[arg-type]
