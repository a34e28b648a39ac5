"""What a share of a job leaves when it has ended: the file by which Snakemake knows it, and of what it is a share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stacycle.errors import UserError
from stacycle.files.atomic import read_json, write_json
from stacycle.jobs import fingerprint
from stacycle.jobs.fingerprint import Fingerprint

DONE = "done"


def write(share: Path, tomograms: Sequence[str], whole: Fingerprint) -> None:
    """Note that these tomograms, a share of a job with the fingerprint `whole`, are done."""
    write_json(share / DONE, {"tomograms": list(tomograms), "whole": whole})


def tomograms(share: Path) -> list[str]:
    """The names of the tomograms that a share did; none if it is not done."""
    return list(read_json(share / DONE).get("tomograms", []))


def check(share: Path, whole: Fingerprint) -> None:
    """UserError if this is no share of the job with the fingerprint `whole`."""
    of = read_json(share / DONE).get("whole")
    if of is None or fingerprint.changes(of, whole):
        fault = f"{share}: was not made of what the whole is to be made of now"
        raise UserError(fault, f"delete {share.parent}, and run Snakemake again")
