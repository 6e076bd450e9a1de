"""Commands typed in this process, each test in its own folder."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kaygraph.cli import main
from tests.cli.commands import Typed


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Typed]:
    """Return a function that makes a command of its first words, a module and a journal."""

    def made(*first: str, flows: str = "", module: str = "flows", journal: str = "") -> Typed:
        monkeypatch.chdir(tmp_path)
        if journal:
            monkeypatch.setenv("KAYGRAPH_JOURNAL", journal)
        else:
            monkeypatch.delenv("KAYGRAPH_JOURNAL", raising=False)
        monkeypatch.setattr(sys, "path", [*sys.path])
        if flows:
            monkeypatch.delitem(sys.modules, module, raising=False)
            Path(f"{module}.py").write_text(flows, encoding="utf-8")

        def typed(*words: str) -> tuple[int, str, str]:
            capfd.readouterr()
            code = main([*first, *words])
            return code, *capfd.readouterr()

        return typed

    return made
