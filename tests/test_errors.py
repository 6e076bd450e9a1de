"""The tree of errors: what catches what, what they say, and that they travel."""

import asyncio
import copy
import pickle
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    Drop,
    Graph,
    GraphDefinitionError,
    KayGraphError,
    Node,
    NodeDefinitionError,
    TooManyFailuresError,
    UnknownActionError,
    WorkerDiedError,
)
from kaygraph.errors import closest

PARENTS: list[tuple[type[Exception], type[BaseException]]] = [
    (NodeDefinitionError, TypeError),
    (GraphDefinitionError, ValueError),
    (UnknownActionError, LookupError),
    (AttemptTimeoutError, TimeoutError),
    (TooManyFailuresError, ExceptionGroup),
]


@pytest.mark.parametrize(("error", "parent"), [*PARENTS, (WorkerDiedError, Exception)])
def test_every_error_is_a_kaygraph_error_and_a_familiar_one(
    error: type[Exception], parent: type[BaseException]
) -> None:
    """One except clause catches all of ours, and the usual one catches each."""
    assert issubclass(error, KayGraphError)
    assert issubclass(error, parent)


def test_drop_is_no_kaygraph_error() -> None:
    """It is an instruction: `except KayGraphError` around an exec must not catch it."""
    assert not issubclass(Drop, KayGraphError)


def test_an_unknown_action_names_the_known_ones_and_the_closest() -> None:
    """What happened, what was expected, what to type next; the facts are attributes."""
    error = UnknownActionError("Review", "aprove", ["approve", "reject"])
    assert str(error) == (
        "Node 'Review' returned action 'aprove', which leads nowhere. "
        "Known actions: 'approve', 'reject'. Did you mean 'approve'?"
    )
    assert (error.node, error.action, error.known) == ("Review", "aprove", ("approve", "reject"))


def test_an_action_that_is_no_string_is_explained() -> None:
    """A post that returns its results by mistake is told what an action is."""
    text = str(UnknownActionError("Sum", 42, ["next"]))
    assert "returned action 42" in text
    assert "post() returns the name of an action (a string) or None" in text


def test_an_unknown_action_is_raised_by_the_walk() -> None:
    """With the name of the node that returned it."""

    class Review(Node[Any, Any]):
        def post(self, *_: Any) -> str:
            return "aprove"

    node = Review()
    node - "approve" >> Node()
    with pytest.raises(UnknownActionError, match="Did you mean 'approve'"):
        Graph(node).run({})


@pytest.mark.parametrize(
    "error",
    [
        UnknownActionError("Review", "aprove", ["approve"]),
        AttemptTimeoutError("too slow"),
        WorkerDiedError("gone"),
        TooManyFailuresError("2 failed", [ValueError(1), KeyError(2)]),
        NodeDefinitionError("no"),
        GraphDefinitionError("no"),
        Drop(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("how", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_errors_come_through_a_pickle_whole(error: Exception, how: Any) -> None:
    """They may have to travel between processes."""
    error.add_note("in node 'a'")
    again = how(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__notes__ == error.__notes__


def test_too_many_failures_can_be_taken_apart_as_a_group() -> None:
    """except* and split give groups of the same kind."""
    error = TooManyFailuresError("3 failed", [ValueError(1), KeyError(2), ValueError(3)])
    values, rest = error.split(ValueError)
    assert isinstance(values, TooManyFailuresError)
    assert [inner.args for inner in values.exceptions] == [(1,), (3,)]
    assert rest is not None
    assert len(rest.exceptions) == 1


def test_a_suggestion_is_only_made_when_it_is_close() -> None:
    """Nothing is better than something far off."""
    assert closest("aprove", ["approve", "reject"]) == " Did you mean 'approve'?"
    assert closest("banana", ["approve", "reject"]) == ""
    assert closest("x", []) == ""
    assert closest("aprove", [1, ("a", "b"), "approve"]) == " Did you mean 'approve'?"


def test_a_timeout_error_can_be_caught_as_the_builtin_one() -> None:
    """`except TimeoutError` works around a run."""

    class Slow(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        Slow(timeout=0.001).run({})
