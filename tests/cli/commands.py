"""The type of a function that types a command."""

from collections.abc import Callable

# Called with words; returns the exit code, the output and the errors.
Typed = Callable[..., tuple[int, str, str]]
