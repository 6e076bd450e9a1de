"""A command that was typed wrong."""


class WrongCommandError(Exception):
    """What was typed cannot be done; the message says what to type."""
