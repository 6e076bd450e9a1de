"""The packages whose tests are explored: their releases on PyPI, whose sources hold the tests."""

from dataclasses import dataclass

AUTO = ("--asyncio-mode=auto",)


@dataclass(frozen=True)
class Package:
    """A release, and how its own tests are run.

    Attributes:
        name: As on PyPI.
        version: Pinned.
        tests: The folder or files of its tests within the sources.
        needs: What its tests import besides.
        options: For pytest.
    """

    name: str
    version: str
    tests: tuple[str, ...] = ("tests",)
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = AUTO

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


CACHES = (
    "tests/ut/backends/test_memory.py", "tests/ut/test_base.py", "tests/ut/test_decorators.py",
    "tests/ut/test_lock.py", "tests/ut/test_plugins.py",
)  # fmt: skip
ITERTOOLS = "asyncio", "builtins", "helpers", "itertools", "more_itertools"

PACKAGES = (
    Package("aiocache", "0.12.3", CACHES, ("pytest-mock", "msgpack")),
    Package("aiodataloader", "0.4.3", (".",)),
    Package("aioitertools", "0.13.0", tuple(f"aioitertools/tests/{name}.py" for name in ITERTOOLS)),
    Package("aiojobs", "1.4.0", ("tests",), ("aiohttp", "pytest-aiohttp")),
    Package("aiolimiter", "1.3.0", ("tests",), ("dunamai", "toml")),
    Package("aiometer", "1.0.0", ("tests",), ("trio",), ()),
    Package("aioretry", "6.3.1", (".",)),
    Package("aiosignal", "1.4.0"),
    Package("async-cache", "2.0.3"),
    Package("async-lru", "2.4.0"),
    Package("async-property", "0.2.2"),
    Package("async-timeout", "5.0.1"),
    Package("cachetools-async", "0.0.5"),
    Package("cashews", "7.6.0", ("tests",), ("hypothesis",)),
    Package("culsans", "0.11.0"),
    Package("janus", "2.0.0"),
    Package("pyee", "13.0.1", ("tests",), ("trio",)),
    Package("stamina", "26.1.0", ("tests",), (), ()),
    Package("tenacity", "9.2.1", ("tests",), ("tornado", "typeguard", "trio")),
    Package("throttler", "1.2.3"),
)
