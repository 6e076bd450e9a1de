"""The command ``kaygraph``, and ``python -m kaygraph``.

Exit codes: 0 success, 1 failure, 2 wrong command, 75 the run waits for an answer, 130 or 143
interrupted.
"""

from .main import main as main
