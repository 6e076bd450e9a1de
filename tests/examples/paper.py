"""A screen for an example to print on, whose text can be read."""

import io
from typing import Any

from rich.console import Console


class Paper:
    """A Screen whose text can be read."""

    def __init__(self) -> None:
        self.console = Console(width=200, markup=False, record=True, file=io.StringIO())

    def print(self, *things: Any) -> None:
        self.console.print(*things)

    @property
    def text(self) -> str:
        return self.console.export_text(clear=False)
