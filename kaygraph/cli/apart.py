"""Standard output for results only."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def results_apart() -> Iterator[TextIO]:
    """Redirect everything that prints to standard error; yield the real standard output.

    Worker processes and other programs are redirected, too. The yielded file stays writable after
    the block.
    """
    stdout = sys.stdout
    if stdout is None:  # the caller closed it
        yield io.StringIO()
        return
    try:
        number, errors = stdout.fileno(), sys.stderr.fileno()
    except (AttributeError, OSError):  # not a file, as in a test
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
            stdout.flush()  # written by a module that kept a reference
        finally:
            os.dup2(kept, number)
            os.close(kept)
