"""Variants of a sweep whose program failed, or that were ended early: the sweep continues without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stacycle.errors import ProgramFailed
from stacycle.jobs import record
from stacycle.jobs.log import LOGGER

_CAUSE, ENDED = "cause", "ended_early"  # in a record: why a program failed, or a variant was ended early


class EndedEarly(ProgramFailed):
    """A variant was not run to its end, as it cannot win any more."""


@contextmanager
def tolerate_failure(
    folder: str | Path, expected_outputs: Sequence[str | Path], allowed: bool = True
) -> Iterator[None]:
    """One variant of a sweep, if `allowed`: should its program fail, or be ended early, the sweep continues without it.

    The job's record keeps the cause, and what should have been made becomes empty files, which no program takes for
    results. A mistake of the user's, which all variants would share, is still an error.
    """
    try:
        yield
    except ProgramFailed as error:
        if not allowed:
            raise
        ended = isinstance(error, EndedEarly)
        told = {key: value for key, value in record.read(folder).items() if key not in (_CAUSE, ENDED)}
        record.write(folder, told | {"ended_well": False, ENDED if ended else _CAUSE: str(error)})
        for path in map(Path, expected_outputs):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # it may be a hard link
            path.touch()
        if ended:
            LOGGER.info("Ended early: %s", error)
            return
        again = f"`stacycle redo {expected_outputs[0]}` tries it again"
        LOGGER.warning("FAILED: %s The sweep goes on without this variant (%s).", error, again)


def raise_if_upstream_failed(inputs: Sequence[str | Path]) -> None:
    """ProgramFailed, with the cause, if one of the inputs is what a failed variant left (see `tolerate_failure`);
    EndedEarly if the variant was ended."""
    for path in map(Path, inputs):
        if path.exists() and path.stat().st_size == 0:
            if ended := why_ended(path.parent):
                raise EndedEarly(ended)
            unknown = f"{path} is empty; delete it and run Snakemake again."
            raise ProgramFailed(cause_of_failure(path.parent) or unknown)


def cause_of_failure(folder: str | Path) -> str:
    """Why the program of a variant failed in `folder`; empty if it did not."""
    return record.read(folder).get(_CAUSE, "")


def why_ended(folder: str | Path) -> str:
    """Why a variant was ended early, by a `folder` of its; empty if it was not."""
    return record.read(folder).get(ENDED, "")
