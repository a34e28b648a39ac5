"""`python -m stacycle`: the command `stacycle`."""

import sys

from stacycle.cli import main

if __name__ == "__main__":
    sys.exit(main())
