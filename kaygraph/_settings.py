"""What may be set on a node, by keyword or as a class attribute, and what is refused."""

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any

from ._memory import check_memory
from .errors import closest


def check_count(name: str, value: Any) -> int:
    """Return ``value`` when it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def check_seconds(name: str, value: Any) -> float:
    """Return ``value`` when it is a number of seconds, 0 included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, got {value!r}")
    return float(value)


def check_limit(name: str, value: Any) -> float | None:
    """Return ``value`` when it is a number of seconds above 0, or None for no limit."""
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
        raise ValueError(f"{name} must be a string that is not empty, got {value!r}")
    return value


def check_on_error(name: str, value: Any) -> str | int | float:
    """Return ``value`` when it is a way to deal with failed items."""
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
    """Whether it has a method, and is not the class itself, given where ``()`` is missing."""
    return hasattr(value, method) and not isinstance(value, type)


def check_run_in(name: str, value: Any) -> Any:
    """Return ``value`` when it says where ``exec`` may run."""
    if value is None or value in ("loop", "thread", "process") or _can(value, "submit"):
        return value
    raise ValueError(
        f"{name} must be 'loop', 'thread', 'process' or an executor with submit(), got {value!r}."
        + (closest(value, ("loop", "thread", "process")) if isinstance(value, str) else "")
    )


def check_retry(name: str, value: Any) -> Any:
    if value is not None and not _can(value, "wait_after"):
        raise ValueError(f"{name} must be a Retry(attempts=..., wait=...), got {value!r}")
    return value


def check_workers(name: str, value: Any) -> Any:
    """Return ``value`` when it is a whole number of at least 1, or "auto"."""
    if value == "auto" and isinstance(value, str):
        return value
    if isinstance(value, str):
        raise ValueError(f"{name} must be a whole number or 'auto', got {value!r}")
    return check_count(name, value)


def check_choice(*choices: str) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if value in choices and isinstance(value, str):
            return value
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; got {value!r}.{closest(value, choices)}")

    return check


def check_rate(name: str, value: Any) -> Any:
    """Return ``value`` when it is a RateLimit, several of them, or None."""
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


def check_callable(name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be callable, as in lambda item: item.host; got {value!r}")
    return check_def(name, value)


def check_def(name: str, value: Any) -> Any:
    """Return ``value`` unless it is a function that would have to be awaited."""
    if iscoroutinefunction(getattr(value, "__func__", value)):  # of a static method, too
        raise ValueError(f"{name} must be written 'def': it is called between awaits")
    return value


def check_on(name: str, value: Any) -> Any:
    """Return ``value`` when it tells errors apart: classes, or ``(error) -> bool``."""
    classes = value if isinstance(value, tuple) else (value,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in classes):
        return value
    if callable(value) and not isinstance(value, type):
        return check_def(name, value)
    raise ValueError(f"{name} must be exception classes or (error) -> bool, got {value!r}")


Checks = Mapping[str, Callable[[str, Any], Any]]

CHECKS: Checks = {
    "name": check_name,
    "max_retries": check_count,
    "wait": check_seconds,
    "retry": check_retry,
    "timeout": check_limit,
    "deadline": check_limit,
    "run_in": check_run_in,
    "on_error": check_on_error,
    "ordered": check_flag,
    "max_workers": check_workers,
    "rate": check_rate,
    "limit_by": check_callable,
    "max_per_key": check_count,
    "breaker": check_breaker,
    "memory_limit": check_memory,
    "batch_deadline": check_limit,
    "max_parallel_tasks": check_count,
    "task_timeout": check_limit,
    "slow_hook_s": check_limit,
    "on_conflict": check_choice("warn", "raise", "ignore"),
    "buffer": check_count,
    "collect": check_flag,
    "map_workers": check_count,
    "reduce_workers": check_count,
    "partitions": check_count,
}


def check_together(owner: Any) -> None:
    """Refuse settings, of a class or an instance, of which one makes no sense without another."""
    graph = "run_in" not in owner._accepts  # it speaks for the nodes within it
    if owner.memory_limit is not None and owner.run_in != "process" and not graph:
        raise ValueError(
            "memory_limit needs run_in='process': what a thread uses cannot be told from what "
            "others use"
        )
    if owner.max_per_key != 1 and owner.limit_by is None:
        raise ValueError("max_per_key needs limit_by=, as in limit_by=lambda item: item.host")


def refuse_unknown(owner: str, given: Mapping[str, Any], accepted: frozenset[str]) -> None:
    """Raise a TypeError that names the nearest setting for the first one that is unknown."""
    for name in given:
        if name not in accepted:
            known = ", ".join(sorted(accepted))
            raise TypeError(
                f"{owner} got an unknown setting {name!r}; it takes: {known}."
                + closest(name, accepted)
            )
