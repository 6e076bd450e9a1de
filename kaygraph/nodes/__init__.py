"""Ready-made nodes: a job each, over a well-kept library.

A module loads when one of its names is asked for, and with it the library that it stands on:
``from kaygraph.nodes import MergeNode`` imports no HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._addresses import AddressRefusedError as AddressRefusedError
    from ._addresses import HTTPRequestError as HTTPRequestError
    from ._completion import ChatFormatError as ChatFormatError
    from ._completion import ChatRefusedError as ChatRefusedError
    from ._completion import ChatReply as ChatReply
    from ._completion import tokens_of as tokens_of
    from ._database import Database as Database
    from ._decoding import HTTPBodyError as HTTPBodyError
    from ._fields import MissingFieldError as MissingFieldError
    from ._joins import KeyConflictError as KeyConflictError
    from ._joins import RepeatedKeyError as RepeatedKeyError
    from ._paths import PathError as PathError
    from ._references import FunctionReferenceError as FunctionReferenceError
    from ._rows import Row as Row
    from ._rows import RowError as RowError
    from ._smtp import MailError as MailError
    from ._sql_errors import DatabaseError as DatabaseError
    from ._sql_errors import DatabaseLockedError as DatabaseLockedError
    from ._sql_errors import DatabaseUnavailableError as DatabaseUnavailableError
    from ._sql_errors import RowRefusedError as RowRefusedError
    from ._sql_errors import StatementError as StatementError
    from ._store import MissingInputError as MissingInputError
    from .auth import APIKey as APIKey
    from .auth import Auth as Auth
    from .auth import AuthError as AuthError
    from .auth import Basic as Basic
    from .auth import Bearer as Bearer
    from .auth import ClientCredentials as ClientCredentials
    from .channels import Channel as Channel
    from .channels import Delivery as Delivery
    from .channels import Log as Log
    from .chat import ChatNode as ChatNode
    from .chat import ParallelChatNode as ParallelChatNode
    from .file_map import FileMap as FileMap
    from .functions import FunctionNode as FunctionNode
    from .functions import node as node
    from .http import HTTPNode as HTTPNode
    from .http import ParallelHTTPNode as ParallelHTTPNode
    from .mail import Email as Email
    from .merge import Available as Available
    from .merge import MergeNode as MergeNode
    from .merge import MissingInputsError as MissingInputsError
    from .messages import HTTPConnectionError as HTTPConnectionError
    from .messages import HTTPError as HTTPError
    from .messages import HTTPResult as HTTPResult
    from .messages import HTTPStatusError as HTTPStatusError
    from .messages import HTTPTimeoutError as HTTPTimeoutError
    from .messages import Request as Request
    from .notify import Message as Message
    from .notify import MessageError as MessageError
    from .notify import NotDeliveredError as NotDeliveredError
    from .notify import NotifyNode as NotifyNode
    from .pages import HTTPLines as HTTPLines
    from .pages import HTTPPages as HTTPPages
    from .pagination import Cursor as Cursor
    from .pagination import LinkHeader as LinkHeader
    from .pagination import Offset as Offset
    from .pagination import PageNumber as PageNumber
    from .pagination import Pagination as Pagination
    from .reading import ReadCSV as ReadCSV
    from .reading import ReadJSONLines as ReadJSONLines
    from .reading import ReadText as ReadText
    from .rest import RESTNode as RESTNode
    from .sms import SMS as SMS
    from .sql import SQLExecute as SQLExecute
    from .sql import SQLRead as SQLRead
    from .sql import SQLWrite as SQLWrite
    from .switch import Case as Case
    from .switch import ComparisonError as ComparisonError
    from .switch import SwitchNode as SwitchNode
    from .transform import TransformNode as TransformNode
    from .webhooks import ChatWebhook as ChatWebhook
    from .webhooks import Webhook as Webhook
    from .writing import WriteCSV as WriteCSV
    from .writing import WriteJSONLines as WriteJSONLines

# The module that each public name stands in.
_PLACES = {
    "APIKey": "auth",
    "AddressRefusedError": "_addresses",
    "Auth": "auth",
    "AuthError": "auth",
    "Available": "merge",
    "Basic": "auth",
    "Bearer": "auth",
    "Case": "switch",
    "Channel": "channels",
    "ChatFormatError": "_completion",
    "ChatNode": "chat",
    "ChatRefusedError": "_completion",
    "ChatReply": "_completion",
    "ChatWebhook": "webhooks",
    "ClientCredentials": "auth",
    "ComparisonError": "switch",
    "Cursor": "pagination",
    "Database": "_database",
    "DatabaseError": "_sql_errors",
    "DatabaseLockedError": "_sql_errors",
    "DatabaseUnavailableError": "_sql_errors",
    "Delivery": "channels",
    "Email": "mail",
    "FileMap": "file_map",
    "FunctionNode": "functions",
    "FunctionReferenceError": "_references",
    "HTTPBodyError": "_decoding",
    "HTTPConnectionError": "messages",
    "HTTPError": "messages",
    "HTTPLines": "pages",
    "HTTPNode": "http",
    "HTTPPages": "pages",
    "HTTPRequestError": "_addresses",
    "HTTPResult": "messages",
    "HTTPStatusError": "messages",
    "HTTPTimeoutError": "messages",
    "KeyConflictError": "_joins",
    "LinkHeader": "pagination",
    "Log": "channels",
    "MailError": "_smtp",
    "MergeNode": "merge",
    "Message": "notify",
    "MessageError": "notify",
    "MissingFieldError": "_fields",
    "MissingInputError": "_store",
    "MissingInputsError": "merge",
    "NotDeliveredError": "notify",
    "NotifyNode": "notify",
    "Offset": "pagination",
    "PageNumber": "pagination",
    "Pagination": "pagination",
    "ParallelChatNode": "chat",
    "ParallelHTTPNode": "http",
    "PathError": "_paths",
    "RESTNode": "rest",
    "ReadCSV": "reading",
    "ReadJSONLines": "reading",
    "ReadText": "reading",
    "RepeatedKeyError": "_joins",
    "Request": "messages",
    "Row": "_rows",
    "RowError": "_rows",
    "RowRefusedError": "_sql_errors",
    "SMS": "sms",
    "SQLExecute": "sql",
    "SQLRead": "sql",
    "SQLWrite": "sql",
    "StatementError": "_sql_errors",
    "SwitchNode": "switch",
    "TransformNode": "transform",
    "Webhook": "webhooks",
    "WriteCSV": "writing",
    "WriteJSONLines": "writing",
    "node": "functions",
    "tokens_of": "_completion",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    thing = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return __all__
