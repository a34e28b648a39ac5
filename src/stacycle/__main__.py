"""`python -m stacycle`: the command `stacycle`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- whoever calls it so has not let pip see to that
    here = "%d.%d" % sys.version_info[:2]  # noqa: UP031 -- as old ones know
    sys.exit("stacycle: needs Python 3.11 or newer, and this is %s; call it with a newer one." % here)  # noqa: UP031

from stacycle.cli import main

if __name__ == "__main__":
    sys.exit(main())
