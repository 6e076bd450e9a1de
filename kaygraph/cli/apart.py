"""Standard output for results alone."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def results_apart() -> Iterator[TextIO]:
    """Have whatever prints write to standard error; yield standard output.

    That holds for worker processes and other programs, too. It can be written to behind the block.
    """
    stdout = sys.stdout
    if stdout is None:  # whoever has started the command has closed it
        yield io.StringIO()
        return
    try:
        number, errors = stdout.fileno(), sys.stderr.fileno()
    except (AttributeError, OSError):  # no file: that of a test, say
        with redirect_stdout(sys.stderr):
            yield stdout
        return
    stdout.flush()
    kept = os.dup(number)
    try:
        os.dup2(errors, number)
        with redirect_stdout(sys.stderr):
            yield stdout
    finally:
        try:
            stdout.flush()  # what a module has written to it that knew it before
        finally:
            os.dup2(kept, number)
            os.close(kept)
