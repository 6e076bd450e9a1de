"""Caps, rates, retries and circuit breakers."""

from .breaker import CircuitBreaker as CircuitBreaker
from .rate import RateLimit as RateLimit
from .retry import Retry as Retry
