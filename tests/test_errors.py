"""The tree of errors: what catches what, what they say, and that they travel."""

import asyncio
import copy
import copyreg
import pickle
import time
from dataclasses import dataclass
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    AwaitedCancelledError,
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
from kaygraph._formatting import item_place
from kaygraph.errors import closest, copied

PARENTS: list[tuple[type[Exception], type[BaseException]]] = [
    (NodeDefinitionError, TypeError),
    (GraphDefinitionError, ValueError),
    (UnknownActionError, LookupError),
    (AttemptTimeoutError, TimeoutError),
    (TooManyFailuresError, ExceptionGroup),
]


@pytest.mark.parametrize(
    ("error", "parent"),
    [*PARENTS, (WorkerDiedError, Exception), (AwaitedCancelledError, Exception)],
)
def test_every_error_is_a_kaygraph_error_and_a_familiar_one(
    error: type[Exception], parent: type[BaseException]
) -> None:
    """One except clause catches all of ours, and the usual one catches each."""
    assert issubclass(error, KayGraphError)
    assert issubclass(error, parent)


def test_drop_is_not_a_kaygraph_error() -> None:
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


def test_an_action_that_resembles_no_other_comes_with_its_wiring() -> None:
    """Nothing was mistyped: an edge is missing, and the message says how to add it."""
    text = str(UnknownActionError("Sum", "done", ["default"]))
    assert text.endswith("Known actions: 'default'. To add it, type: node - 'done' >> next_node")


def test_an_action_that_is_not_a_string_is_explained() -> None:
    """The error for a post that returns its results by mistake says what an action is."""
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
    assert closest("Approve", ["Disapprove"]) == closest("valid", ["invalid"]) == ""
    assert closest("Approve", ["Disapprove", "approved"]) == " Did you mean 'approved'?"
    assert closest("aprove", [1, ("a", "b"), "approve"]) == " Did you mean 'approve'?"


def test_a_timeout_error_can_be_caught_as_the_builtin_one() -> None:
    """`except TimeoutError` works around a run."""

    class Slow(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        Slow(timeout=0.001).run({})


def test_an_item_is_shown_without_secrets_that_the_cut_would_have_torn() -> None:
    """The name of a secret may stand in the part that is left out; its value is hidden still."""

    @dataclass
    class Login:
        page: str
        token: str

    secret = "s3cr3t" * 20
    items: list[Any] = [
        Login("x" * 60, secret),
        f"{'x' * 60}, token={secret}".encode(),
        f"{'x' * 60}, token={secret}",
        [Login("x" * 60, secret)],
    ]
    for item in items:
        assert "3cr3t" not in item_place("Fetch", 0, item)
        assert len(item_place("Fetch", 0, item)) < 100


def test_an_item_of_megabytes_does_not_hold_the_loop() -> None:
    """What is not shown is not looked at for secrets."""
    page = "token=abc&" * 500_000
    item = {"pages": [page] * 5, "password": "s3cr3t"}
    began = time.process_time()
    text = item_place("Fetch", 3, item)
    assert time.process_time() - began < 1
    assert text.startswith("'Fetch', item 3 ({'pages': ['token=***")
    assert "abc" not in text
    assert "s3cr3t" not in text


def test_an_item_that_cannot_be_shown_is_named_by_its_class() -> None:
    """What its own repr raises hides no error."""

    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert item_place("Fetch", 0, Broken()) == "'Fetch', item 0 (a Broken)"


class Numbered(Exception):  # noqa: N818
    """Has more than its message."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message, number)
        self.number = number


@pytest.mark.parametrize("registers", [False, True])
def test_a_copy_of_an_error_has_notes_of_its_own(
    registers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a library has registered how it is pickled, for copies share them then."""
    error = Numbered("refused", 7)
    error.extra = [1]  # type: ignore[attr-defined]
    error.add_note("first")
    if registers:
        monkeypatch.setitem(copyreg.dispatch_table, Numbered, lambda e: (Numbered, e.args, vars(e)))
    other = copied(error)
    other.add_note("second")
    assert (type(other), other.args, other.number) == (Numbered, ("refused", 7), 7)
    assert other.extra == [1]  # type: ignore[attr-defined]
    assert (error.__notes__, other.__notes__) == (["first"], ["second"])
    assert isinstance(copied(OSError(2, "gone", "a.txt")), FileNotFoundError)
    assert copied(OSError(2, "gone", "a.txt")).filename == "a.txt"
