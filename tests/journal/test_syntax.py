"""How the code of nodes is read."""

import ast

import pytest

from kaygraph.journal import syntax


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_is_read_again_where_another_thread_was_in_the_way(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 raises a SystemError where two threads parse at once."""
    parse, failures = ast.parse, [SystemError("AST constructor recursion depth mismatch")] * times

    def parsed(text: str) -> ast.Module:
        if failures:
            raise failures.pop()
        return parse(text)

    monkeypatch.setattr(ast, "parse", parsed)
    assert list(syntax._functions_in("def one(): pass")) == ["one"]
    assert failures == []
