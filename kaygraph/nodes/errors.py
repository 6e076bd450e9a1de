"""Errors of nodes that mean that a program or its input needs a change; others: kaygraph.nodes."""

from ._joins import KeyConflictError as KeyConflictError
from ._joins import RepeatedKeyError as RepeatedKeyError
from ._references import FunctionReferenceError as FunctionReferenceError
from ._store import MissingInputError as MissingInputError
from .notify.notify import MessageError as MessageError
from .sql.errors import StatementError as StatementError
from .switch import ComparisonError as ComparisonError

__all__ = [
    "ComparisonError",
    "FunctionReferenceError",
    "KeyConflictError",
    "MessageError",
    "MissingInputError",
    "RepeatedKeyError",
    "StatementError",
]
