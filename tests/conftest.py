"""What all tests share."""

import os

import pytest

# A model that the developer's own environment names has no part in a test.
for name in [name for name in os.environ if name.startswith("KAYGRAPH_LLM_")]:
    del os.environ[name]


@pytest.fixture
def anyio_backend():
    return "asyncio"
