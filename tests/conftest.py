"""What all tests share."""

import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest

# A model that the developer's own environment names has no part in a test.
for name in [name for name in os.environ if name.startswith("KAYGRAPH_LLM_")]:
    del os.environ[name]

# A shell has what it runs in the background ignore Ctrl-C, and so would the programs of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_worker_outlives_its_test() -> Iterator[None]:
    """Worker processes have ended when a test has, and are killed where they have not."""
    yield
    left = multiprocessing.active_children()
    for process in left:
        process.kill()
        process.join()
    assert not left
