"""Ready-made nodes for common jobs, on top of well-maintained libraries.

A module, with the library that it needs, is imported when one of its names is first used:
``from kaygraph.nodes import MergeNode`` imports no HTTP client.

``kaygraph.nodes.types`` has the types that only annotations need, ``kaygraph.nodes.errors`` the
errors that mean that a program or its input needs a change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .._public import show_public

if TYPE_CHECKING:
    from ._fields import MissingFieldError as MissingFieldError
    from .chat._completion import ChatFormatError as ChatFormatError
    from .chat._completion import ChatRefusedError as ChatRefusedError
    from .chat._completion import ChatReply as ChatReply
    from .chat._completion import tokens_of as tokens_of
    from .chat.chat import ChatNode as ChatNode
    from .chat.chat import ParallelChatNode as ParallelChatNode
    from .files._lines import RowError as RowError
    from .files._paths import PathError as PathError
    from .files.file_map import FileMap as FileMap
    from .files.reading import ReadCSV as ReadCSV
    from .files.reading import ReadJSONLines as ReadJSONLines
    from .files.reading import ReadText as ReadText
    from .files.writing import WriteCSV as WriteCSV
    from .files.writing import WriteJSONLines as WriteJSONLines
    from .functions import FunctionNode as FunctionNode
    from .functions import ParallelFunctionNode as ParallelFunctionNode
    from .functions import node as node
    from .functions import parallel_node as parallel_node
    from .http._addresses import AddressRefusedError as AddressRefusedError
    from .http._addresses import HTTPRequestError as HTTPRequestError
    from .http._decoding import HTTPBodyError as HTTPBodyError
    from .http.asking import Asking as Asking
    from .http.auth import APIKey as APIKey
    from .http.auth import AuthError as AuthError
    from .http.auth import Basic as Basic
    from .http.auth import Bearer as Bearer
    from .http.auth import ClientCredentials as ClientCredentials
    from .http.messages import HTTPConnectionError as HTTPConnectionError
    from .http.messages import HTTPError as HTTPError
    from .http.messages import HTTPStatusError as HTTPStatusError
    from .http.messages import HTTPTimeoutError as HTTPTimeoutError
    from .http.messages import Request as Request
    from .http.pages import HTTPLines as HTTPLines
    from .http.pages import HTTPPages as HTTPPages
    from .http.pagination import Cursor as Cursor
    from .http.pagination import LinkHeader as LinkHeader
    from .http.pagination import Offset as Offset
    from .http.pagination import PageNumber as PageNumber
    from .http.requests import HTTPNode as HTTPNode
    from .http.requests import ParallelHTTPNode as ParallelHTTPNode
    from .http.rest import RESTNode as RESTNode
    from .merge import MergeNode as MergeNode
    from .merge import MissingInputsError as MissingInputsError
    from .notify._smtp import MailError as MailError
    from .notify.channels import Channel as Channel
    from .notify.channels import Delivery as Delivery
    from .notify.channels import Log as Log
    from .notify.mail import Email as Email
    from .notify.notify import Message as Message
    from .notify.notify import NotDeliveredError as NotDeliveredError
    from .notify.notify import NotifyNode as NotifyNode
    from .notify.sms import SMS as SMS
    from .notify.webhooks import ChatWebhook as ChatWebhook
    from .notify.webhooks import Webhook as Webhook
    from .sql._database import Database as Database
    from .sql.errors import DatabaseError as DatabaseError
    from .sql.errors import DatabaseLockedError as DatabaseLockedError
    from .sql.errors import DatabaseUnavailableError as DatabaseUnavailableError
    from .sql.errors import RowRefusedError as RowRefusedError
    from .sql.errors import RowUnreadableError as RowUnreadableError
    from .sql.queries import SQLExecute as SQLExecute
    from .sql.queries import SQLRead as SQLRead
    from .sql.queries import SQLWrite as SQLWrite
    from .switch import Case as Case
    from .switch import SwitchNode as SwitchNode
    from .transform import TransformNode as TransformNode
    from .waiting import ParallelWaitFor as ParallelWaitFor
    from .waiting import WaitFor as WaitFor

# The module of each public name.
_PLACES = {
    "APIKey": "http.auth",
    "AddressRefusedError": "http._addresses",
    "Asking": "http.asking",
    "AuthError": "http.auth",
    "Basic": "http.auth",
    "Bearer": "http.auth",
    "Case": "switch",
    "Channel": "notify.channels",
    "ChatFormatError": "chat._completion",
    "ChatNode": "chat.chat",
    "ChatRefusedError": "chat._completion",
    "ChatReply": "chat._completion",
    "ChatWebhook": "notify.webhooks",
    "ClientCredentials": "http.auth",
    "Cursor": "http.pagination",
    "Database": "sql._database",
    "DatabaseError": "sql.errors",
    "DatabaseLockedError": "sql.errors",
    "DatabaseUnavailableError": "sql.errors",
    "Delivery": "notify.channels",
    "Email": "notify.mail",
    "FileMap": "files.file_map",
    "FunctionNode": "functions",
    "HTTPBodyError": "http._decoding",
    "HTTPConnectionError": "http.messages",
    "HTTPError": "http.messages",
    "HTTPLines": "http.pages",
    "HTTPNode": "http.requests",
    "HTTPPages": "http.pages",
    "HTTPRequestError": "http._addresses",
    "HTTPStatusError": "http.messages",
    "HTTPTimeoutError": "http.messages",
    "LinkHeader": "http.pagination",
    "Log": "notify.channels",
    "MailError": "notify._smtp",
    "MergeNode": "merge",
    "Message": "notify.notify",
    "MissingFieldError": "_fields",
    "MissingInputsError": "merge",
    "NotDeliveredError": "notify.notify",
    "NotifyNode": "notify.notify",
    "Offset": "http.pagination",
    "PageNumber": "http.pagination",
    "ParallelChatNode": "chat.chat",
    "ParallelFunctionNode": "functions",
    "ParallelHTTPNode": "http.requests",
    "ParallelWaitFor": "waiting",
    "PathError": "files._paths",
    "RESTNode": "http.rest",
    "ReadCSV": "files.reading",
    "ReadJSONLines": "files.reading",
    "ReadText": "files.reading",
    "Request": "http.messages",
    "RowError": "files._lines",
    "RowRefusedError": "sql.errors",
    "RowUnreadableError": "sql.errors",
    "SMS": "notify.sms",
    "SQLExecute": "sql.queries",
    "SQLRead": "sql.queries",
    "SQLWrite": "sql.queries",
    "SwitchNode": "switch",
    "TransformNode": "transform",
    "WaitFor": "waiting",
    "Webhook": "notify.webhooks",
    "WriteCSV": "files.writing",
    "WriteJSONLines": "files.writing",
    "node": "functions",
    "parallel_node": "functions",
    "tokens_of": "chat._completion",
}

__all__ = sorted(_PLACES)


if not TYPE_CHECKING:  # so that type checkers report an unknown name

    def __getattr__(name):
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        thing = getattr(import_module(f".{_PLACES[name]}", __name__), name)
        globals()[name] = thing
        show_public()
        return thing


def __dir__() -> list[str]:
    return __all__
