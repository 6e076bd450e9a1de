"""Cells that are run by a real kernel."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]
LONGEST_S = 60
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Cell:
    """What a cell has shown.

    Attributes:
        printed: By the stream, ``stdout`` and ``stderr``.
        shown: What was displayed or returned, by type, in order.
        updates: What was displayed anew, in order.
        error: The name of its error, and ``traceback`` as it is shown, without colours.
    """

    printed: dict[str, str] = field(default_factory=lambda: {"stdout": "", "stderr": ""})
    shown: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    message: str = ""
    traceback: str = ""

    def add(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "stream":
                self.printed[content["name"]] += content["text"]
            case "execute_result" | "display_data":
                self.shown.append(content["data"])
            case "update_display_data":
                self.updates.append(content["data"])
            case "error":
                self.error, self.message = content["ename"], content["evalue"]
                self.traceback = _COLOUR.sub("", "\n".join(content["traceback"]))


class Kernel:
    """A kernel in a process of its own."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager, self._client = manager, client

    def run(self, code: str, stop_at: str | None = None) -> Cell:
        """Run a cell; press Stop when it prints or shows a text."""
        cell = Cell()
        asked = self._client.execute(code)
        while True:
            message = self._client.get_iopub_msg(timeout=LONGEST_S)
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            cell.add(message["msg_type"], content)
            # The cell itself comes back, too.
            if stop_at is not None and "code" not in content and stop_at in str(content):
                self._manager.interrupt_kernel()
                stop_at = None
            if content.get("execution_state") == "idle":
                return cell


def environment() -> dict[str, str]:
    """Return the environment of a kernel, which has this kaygraph."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def kernel() -> Iterator[Kernel]:
    """Start a kernel, and end it when the block ends."""
    manager, client = start_new_kernel(kernel_name="python3", env=environment(), cwd=str(ROOT))
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
