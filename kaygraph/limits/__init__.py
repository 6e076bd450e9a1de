"""How many at once, how often, how many times, and when not at all."""

from .breaker import CircuitBreaker as CircuitBreaker
from .rate import RateLimit as RateLimit
from .retry import Retry as Retry
