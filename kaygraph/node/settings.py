"""What may be set on a node, by keyword or as a class attribute, and what that means."""

from collections.abc import Callable, Mapping
from typing import Any

from .._validation import (
    check_breaker,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_limit,
    check_memory,
    check_name,
    check_on_error,
    check_rate,
    check_retry,
    check_run_in,
    check_seconds,
    check_workers,
)
from ..errors import closest

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


# What a graph may say of all that runs within it.
RULES = (
    "max_workers",
    "max_parallel_tasks",
    "task_timeout",
    "memory_limit",
    "deadline",
    "slow_hook_s",
    "on_conflict",
)


def note_plainness(owner: Any, called: bool, once: bool) -> None:
    """Note, on a class or an instance, whether ``exec`` may simply be awaited.

    That is so when no attempts, limits, fallback or executor are asked for. Found here, when a
    class is made or a setting changes, so that no run has to look at seven settings. ``called``:
    the node calls ``exec`` as every node does. ``once``: it has a single item, so that its
    lifecycle may await ``exec`` itself. Of a graph it is noted whether it says anything of what
    runs within it.
    """
    plain = (
        called
        and owner._exec_kind == "async"
        and owner.max_retries == 1
        and owner.retry is None
        and owner.timeout is None
        and owner.deadline is None
        and owner.rate is None
        and owner.limit_by is None
        and owner.breaker is None
        and getattr(owner, "max_workers", 1) != "auto"
        and owner.run_in in (None, "loop")
        and not owner._has_fallback
    )
    put = type.__setattr__ if isinstance(owner, type) else object.__setattr__
    put(owner, "_plain", plain)
    put(owner, "_bare", plain and once)
    put(owner, "_ruled", any(getattr(owner, rule, None) is not None for rule in RULES))
