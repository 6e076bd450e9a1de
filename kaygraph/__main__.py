"""``python -m kaygraph``: the command."""

import sys

from kaygraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
