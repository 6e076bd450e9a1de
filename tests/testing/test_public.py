"""What kaygraph.testing exports."""

import inspect

import pytest

from kaygraph import testing


def test_every_reexport_is_in_all_and_documented() -> None:
    """Each public name is there, once, with a docstring of its own."""
    assert sorted(set(testing.__all__)) == testing.__all__
    for name in testing.__all__:
        assert getattr(testing, name).__doc__.strip()


@pytest.mark.parametrize("name", ["simulate", "explore", "cancel_everywhere", "kill_everywhere"])
def test_every_setting_is_in_the_docstring(name: str) -> None:
    """Nobody has to read the code for a keyword."""
    function = getattr(testing, name)
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}:" in function.__doc__ or f"``{parameter}``" in function.__doc__


def test_the_tools_stand_in_the_table() -> None:
    """The package's docstring names every function and class that does something."""
    tools = [n for n in testing.__all__ if inspect.isfunction(getattr(testing, n))] + ["Faults"]
    for name in tools:
        assert f"``{name}``" in (testing.__doc__ or "")
