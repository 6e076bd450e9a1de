"""What types a command, for the tests."""

from collections.abc import Callable

# Called with words; returns the exit code, the output and the errors.
Typed = Callable[..., tuple[int, str, str]]
