"""The command ``kaygraph``, and ``python -m kaygraph``.

Exit codes: 0 it worked, 1 it failed, 2 the command was wrong, 75 the run waits for an answer,
130 or 143 it was interrupted.
"""

from .main import main as main
