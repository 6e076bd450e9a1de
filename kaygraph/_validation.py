"""Checks of settings. An error says what to write instead."""

import re
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from .errors import closest

# No interpreter starts with less; a smaller number, such as 512, was meant as megabytes.
MIN_MEMORY = 1_000_000

UNITS = {"kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}

SIZE = r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kmg]i?b)"


def check_memory(name: str, value: Any) -> int | None:
    """Return a size in bytes, at least 1 MB, or None for no limit.

    A whole number is in bytes. A string has a unit: KB, MB and GB are powers of 1000, KiB, MiB
    and GiB powers of 1024.
    """
    if value is None:
        return None
    size = value
    if isinstance(value, str) and (found := re.fullmatch(SIZE, value.strip(), re.IGNORECASE)):
        size = round(float(found[1]) * UNITS[found[2].lower()])
    if isinstance(size, bool) or not isinstance(size, int):
        raise ValueError(
            f"{name} must be a size such as '512 MB' or '2 GiB', or a whole number of bytes, got "
            f"{value!r}"
        )
    if size < MIN_MEMORY:
        raise ValueError(f"{name} must be at least '1 MB' (a number is bytes), got {value!r}")
    return size


def human(size: int) -> str:
    """Return a size in a readable unit: ``256 MB``, ``1.5 GB``."""
    unit = "GB" if size >= UNITS["gb"] else "MB" if size >= UNITS["mb"] else "KB"
    return f"{size / UNITS[unit.lower()]:.4g} {unit}"


def check_count(name: str, value: Any) -> int:
    """Return ``value`` if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def check_number(name: str, value: Any) -> int:
    """Return ``value`` if it is a whole number, 0 included."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, got {value!r}")
    return value


def check_seconds(name: str, value: Any) -> float:
    """Return ``value`` if it is a number of seconds, 0 included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, got {value!r}")
    return float(value)


def check_limit(name: str, value: Any) -> float | None:
    """Return ``value`` if it is a number of seconds above 0, or None for no limit."""
    if value is None:
        return None
    if not check_seconds(name, value):
        raise ValueError(f"{name} must be more than 0 seconds (None for no limit), got {value!r}")
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def check_name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a non-empty string, got {value!r}")
    return value


def check_on_error(name: str, value: Any) -> str | int | float:
    """Return ``value`` if it is a valid ``on_error``."""
    if value in ("raise", "collect", "skip") and isinstance(value, str):
        return value
    if not isinstance(value, bool):
        if isinstance(value, int) and value >= 1:
            return value
        if isinstance(value, float) and 0 < value < 1:
            return value
    raise ValueError(
        f"{name} must be 'raise', 'collect', 'skip', a number of failures to tolerate (1 or more) "
        f"or a share of them (between 0.0 and 1.0), got {value!r}"
    )


def _can(value: Any, method: str) -> bool:
    """Return whether an object has a method. A class does not count: its ``()`` was forgotten."""
    return hasattr(value, method) and not isinstance(value, type)


def check_run_in(name: str, value: Any) -> Any:
    """Return ``value`` if it is a valid ``run_in``."""
    if _can(value, "get_executor"):
        raise ValueError(
            f"{name} must be an executor, and a {type(value).__name__} is not one: give {name}="
            "Dask(client), from kaygraph.executors.dask"
        )
    is_place = value is None or (isinstance(value, str) and value in ("loop", "thread", "process"))
    if is_place or _can(value, "submit") or _can(value, "open"):
        return value
    raise ValueError(
        f"{name} must be 'loop', 'thread', 'process', an executor with submit() or Dask(...), got "
        f"{value!r}."
        + (closest(value, ("loop", "thread", "process")) if isinstance(value, str) else "")
    )


def check_retry(name: str, value: Any) -> Any:
    if value is not None and not _can(value, "wait_after"):
        raise ValueError(f"{name} must be a Retry(attempts=..., wait=...), got {value!r}")
    return value


def check_workers(name: str, value: Any) -> Any:
    """Return ``value`` if it is a whole number of at least 1, or "auto"."""
    if value == "auto" and isinstance(value, str):
        return value
    if isinstance(value, str):
        raise ValueError(f"{name} must be a whole number or 'auto', got {value!r}")
    return check_count(name, value)


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Return a check that also accepts None, which means not set."""

    def check_or_none(name: str, value: Any) -> Any:
        return None if value is None else check(name, value)

    return check_or_none


def check_choice(*choices: str) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if value in choices and isinstance(value, str):
            return value
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; got {value!r}.{closest(value, choices)}")

    return check


def check_rate(name: str, value: Any) -> Any:
    """Return a RateLimit or several of them as a tuple; None when there is none."""
    several = value if isinstance(value, list | tuple) else () if value is None else (value,)
    for rate in several:
        if not _can(rate, "claim"):
            raise ValueError(
                f"{name} must be a RateLimit(calls, per=seconds) or a list of them, got {rate!r}"
            )
    if len({id(rate) for rate in several}) < len(several):
        raise ValueError(f"{name} holds the same RateLimit twice: give each once")
    return tuple(several) or None


def check_breaker(name: str, value: Any) -> Any:
    if value is not None and not _can(value, "admit"):
        raise ValueError(f"{name} must be a CircuitBreaker(failures=...), got {value!r}")
    return value


def check_cache(name: str, value: Any) -> Any:
    if value is not None and not _can(value, "cached"):
        raise ValueError(f"{name} must be a Cache('cache.db', ttl='7d'), got {value!r}")
    return value


def check_callable(name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be callable, as in lambda item: item.host; got {value!r}")
    return check_def(name, value)


def check_def(name: str, value: Any) -> Any:
    """Return ``value`` if it is not a coroutine function."""
    if iscoroutinefunction(getattr(value, "__func__", value)):  # of a static method, too
        raise ValueError(f"{name} must be written 'def': it is called between awaits")
    return value


def check_on(name: str, value: Any) -> Any:
    """Return ``value`` if it selects errors: exception classes, or ``(error) -> bool``."""
    classes = value if isinstance(value, tuple) else (value,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in classes):
        return value
    if callable(value) and not isinstance(value, type):
        return check_def(name, value)
    raise ValueError(f"{name} must be exception classes or (error) -> bool, got {value!r}")
