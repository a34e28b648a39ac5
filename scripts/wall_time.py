"""How long a project's run took beside its critical path and its work: `python scripts/wall_time.py PROJECT`."""

from __future__ import annotations

import argparse
import os
import sys

from stacycle.errors import UserError
from stacycle.report import wall_time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", help="folder of a finished project")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count(), help="cores that the run had (default: all)"
    )
    arguments = parser.parse_args()
    try:
        print(wall_time.summary(arguments.project, arguments.cores))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
