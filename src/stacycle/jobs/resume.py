"""What to do with what an earlier run left in a job folder: keep it, continue from it, or start afresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacycle.errors import some
from stacycle.files.earlier_results import FAILED, PREVIOUS
from stacycle.jobs import fingerprint, history, kept_outputs
from stacycle.jobs import record as job_record
from stacycle.jobs.fingerprint import Fingerprint
from stacycle.programs.command import Command

REDO = "redo"  # in a record: the result is to be made anew, though nothing has changed
HOW_FAR = "how_far"  # in a record: how many iterations there are, and why no more (`how_far.Iterations`)


@dataclass(frozen=True)
class Resumption:
    """`action` is keep, continue or fresh; `argv` is what to run, `why` a sentence.

    `start` is the iteration or the thing that it continues from. First, the files in `remove` are to be deleted; and
    the folder's files are to be moved to the folder with the suffix `aside` (`previous` or `failed`), if one is
    given. What is asked for was made before and lies in `earlier`, if that is given.
    """

    action: str
    argv: list[str]
    why: str = ""
    start: int | str | None = None
    remove: list[Path] = field(default_factory=list)
    aside: str | None = None
    earlier: Path | None = None


def examine(
    command: Command,
    folder: Path,
    record: dict[str, Any],
    current: Fingerprint,
    expected_outputs: Sequence[str | Path] = (),
    versions: bool = False,
    to_the_end: bool = False,
) -> Resumption:
    """What to do, given the record that an earlier run left in `folder` (empty if none), and the current fingerprint.
    A result of another version of the programs is another one if `versions` count; a run that was ended before its last
    iteration continues if it is to go `to_the_end`."""
    argv = command.argv
    aside = PREVIOUS if record.get("ended_well") else FAILED
    if not history.left_over(folder):
        return Resumption("fresh", argv)
    if REDO in record:
        return Resumption("fresh", argv, "it is to be made anew", aside=aside)
    if "fingerprint" not in record:
        return Resumption("fresh", argv, "it is not known how the files here were made", aside=aside)
    changed = fingerprint.changes(record["fingerprint"], current, versions)
    iterations = command.record.iterations_flag
    grown = _has_grown(iterations, record["fingerprint"], current, stopped(record))
    if grown:
        changed.remove(iterations)
    earlier = _earlier(folder, current, expected_outputs, versions) if changed or grown else None
    if changed:
        verb = "has" if len(changed) == 1 else "have"
        return Resumption("fresh", argv, f"{', '.join(changed)} {verb} changed", aside=aside, earlier=earlier)
    if record.get("ended_well") and (altered := kept_outputs.altered(folder, record)):
        verb = "is" if len(altered) == 1 else "are"
        return Resumption("fresh", argv, f"{some(altered, 3)} {verb} not what the program made", aside=aside)
    if earlier is not None:
        return Resumption("fresh", argv, f"{iterations} has changed", aside=aside, earlier=earlier)
    more = grown or (to_the_end and stopped(record))
    if record.get("ended_well") and not more and kept_outputs.is_there(folder, record, expected_outputs):
        finished = str(job_record.last_run(record).get("ended", "an unknown date"))[:16].replace("T", " ")
        return Resumption("keep", argv, f"nothing has changed since this finished on {finished}")
    if not record.get("ended_well") and job_record.last_run(record).get("exit_status") == 0:
        return Resumption("fresh", argv, "what was made here was not right", aside=aside)
    if go_on := command.record.go_on:
        found = go_on(command, folder, current["engine"])
        action = "fresh" if found.start is None else "continue"
        return Resumption(action, found.argv, found.why, found.start, found.remove)
    return Resumption("fresh", argv)


def _earlier(
    folder: Path, current: Fingerprint, expected_outputs: Sequence[str | Path], versions: bool
) -> Path | None:
    """The newest of the job's earlier results that is complete and what is asked for now."""
    for entry in history.entries(folder):
        record = job_record.read(entry)
        if (
            record.get("ended_well")
            and REDO not in record
            and not fingerprint.changes(record.get("fingerprint", {}), current, versions)
            and kept_outputs.is_there(folder, record, expected_outputs, entry)
            and not kept_outputs.altered(folder, record, entry)
        ):
            return entry
    return None


def stopped(record: dict[str, Any]) -> int:
    """The iteration at which a run was ended as more would have been in vain; 0 if it was not."""
    how_far = record.get(HOW_FAR, {})
    return how_far["iterations"] if how_far.get("why") else 0


def _has_grown(flag: str, before: Fingerprint, current: Fingerprint, done: int) -> bool:
    """Whether the number that a flag gives is larger than it was; of a run that was ended at an iteration, `done`, also
    if it is smaller but not less than that."""
    old, new = (int(one.get("arguments", {}).get(flag, ["0"])[0]) for one in (before, current))
    return new != old > 0 and new >= (done or old)
