"""A mistyped command."""


class WrongCommandError(Exception):
    """The command cannot be executed as typed; the message says what to type."""
