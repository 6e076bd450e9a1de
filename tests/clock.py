"""The test kit's loop whose clock jumps, for tests that anyio runs."""

from kaygraph.testing import VirtualClockLoop as VirtualClockLoop
from kaygraph.testing import run_virtually as run_virtually

VIRTUAL = ("asyncio", {"loop_factory": VirtualClockLoop})  # a value for `anyio_backend`
