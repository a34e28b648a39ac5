"""The log of a job: everything in its file, and on the terminal what matters to someone who waits.

Level DEBUG goes to the log file alone, INFO and above to both; a record with TERMINAL_ONLY to the terminal alone.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacycle.errors import Interrupted, UserError
from stacycle.relion_project.update import keep_up

LOGGER = logging.getLogger("stacycle")
TERMINAL_ONLY = {"terminal_only": True}


class _Named(logging.Formatter):
    """Puts the job's name before each line."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(f"[{self._name}] {line}" for line in record.getMessage().splitlines())


@contextmanager
def task(log: str, name: str, makes_results: bool = True) -> Iterator[logging.Logger]:
    """One script's work, logged to the file `log` and, as `name`, to the terminal. If it `makes_results`, RELION's own
    project is kept up with them. A UserError becomes one sentence and exit status 1, no traceback."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    file, terminal = logging.FileHandler(log, encoding="utf-8"), logging.StreamHandler(sys.stderr)
    Path(log).touch()  # status knows by it that the job has left its queue
    file.addFilter(lambda record: not hasattr(record, "terminal_only"))
    terminal.setLevel(logging.INFO)
    terminal.setFormatter(_Named(name))
    LOGGER.handlers, LOGGER.propagate = [file, terminal], False
    LOGGER.setLevel(logging.DEBUG)
    try:
        yield LOGGER
    except (UserError, Interrupted) as error:
        LOGGER.error("ERROR: %s", error)
        raise SystemExit(1) from None
    except OSError as error:  # a full disk, a file server that is gone, a folder that may not be written
        LOGGER.debug(traceback.format_exc())
        reason = f"{error.filename or name}: {error.strerror or error}"
        LOGGER.error("ERROR: %s; mend that, then start again.", reason)
        raise SystemExit(1) from None
    finally:
        if makes_results:
            keep_up()
        LOGGER.handlers, LOGGER.propagate = [], True
        file.close()
