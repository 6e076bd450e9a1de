"""What all tests share."""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A model that the developer's own environment names has no part in a test.
for name in [name for name in os.environ if name.startswith("KAYGRAPH_LLM_")]:
    del os.environ[name]

# How long an example takes says nothing where the machine is busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A shell has what it runs in the background ignore Ctrl-C, and so would the programs of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def _young_garbage_alone() -> None:
    """Keep the collector away from what is there already: many short runs collect often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _no_notebook_for_the_next() -> Iterator[None]:
    """A run in a notebook looks at all classes of nodes first: here those of thousands of tests."""
    yield
    sys.modules.pop("IPython", None)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """No log is configured by the test before; ``structlog.testing.capture_logs`` configures it."""
    yield
    if "structlog" in sys.modules:
        sys.modules["structlog"].reset_defaults()


@pytest.fixture(autouse=True)
def _no_worker_outlives_its_test() -> Iterator[None]:
    """Worker processes have ended when a test has, and are killed where they have not."""
    yield
    left = multiprocessing.active_children()
    for process in left:
        process.kill()
        process.join()
    assert not left
