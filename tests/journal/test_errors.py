"""The messages of journal errors."""

import copy
import pickle
from typing import Any

import pytest

from kaygraph import RunUnknownError


def test_an_unknown_run_names_the_newest_runs_and_the_closest() -> None:
    """The requested run, the known ones, and a similar one."""
    error = RunUnknownError("import-8", ["import-7", "b", "c", "d", "e", "f"], "'runs.db'")
    assert str(error) == (
        "'runs.db' has no run 'import-8'. Known runs: 'import-7', 'b', 'c', 'd', 'e' and 1 more. "
        "Did you mean 'import-7'?"
    )
    assert str(RunUnknownError("a", [])) == "the journal has no run 'a'. It has no runs."


@pytest.mark.parametrize("how", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_an_unknown_run_comes_through_a_pickle_whole(how: Any) -> None:
    """It may have to travel between processes."""
    again = how(RunUnknownError("import-8", ["import-7"], "'runs.db'"))
    assert (again.run, again.known) == ("import-8", ("import-7",))
    assert str(again).startswith("'runs.db' has no run 'import-8'")
