"""Types for annotations: what nodes write and report, and the bases of Auth and Pagination."""

from .files._lines import Row as Row
from .http.auth import Auth as Auth
from .http.messages import HTTPResult as HTTPResult
from .http.pagination import Pagination as Pagination
from .merge import Available as Available

__all__ = [
    "Auth",
    "Available",
    "HTTPResult",
    "Pagination",
    "Row",
]
