"""A job that does its share of the tomograms of another job; `job.run` with `shares` makes one result of all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stacycle.jobs import fingerprint, job, record, resume, share_record
from stacycle.jobs.log import LOGGER
from stacycle.programs import shares, software, verify
from stacycle.programs.command import Command
from stacycle.provenance import origin

_SHARE = re.compile(r"(\d+)of(\d+)")
_PARTICLES = "share.star"


def run(
    argv: Sequence[str],
    whole: Path,
    share: Path,
    engine: dict[str, Any],
    done: Sequence[Path] = (),
    ended: str = "",
) -> None:
    """Do a share of a command whose results go to the folder `whole`, in a folder `share`, named 2of4, of the tomograms
    that the shares `done` before it have not. Nothing is left to do if the result of all is there already, or if it is
    `ended` early, for this reason. Raises as `job.run`, for unfit inputs of the whole, too."""
    command = Command.of(argv)
    origin.check(command)
    before = record.read(whole)
    digests = fingerprint.Digests(before.get("digests"))
    current = fingerprint.take(command, whole, engine["kind"], digests, software.version(engine))
    versions = engine.get("new_version") == "redo"
    kept = before and resume.examine(command, whole, before, current, versions=versions).action == "keep"
    if kept or ended:
        LOGGER.info(
            "%s: no share of it is to be done, as %s", whole, "its result is there" if kept else ended
        )
        share_record.write(share, [], current)
        return
    verify.check_inputs(command)
    found = _SHARE.fullmatch(share.name)
    assert found is not None, share
    number, of = map(int, found.groups())
    particles = share.with_name(f"{share.name}.{_PARTICLES}")
    others = [name for one in done for name in share_record.tomograms(one)]
    names = shares.write_share(command.state().particles, number, of, particles, others)
    if names:
        own = shares.command_of_share(command, str(particles), share, len(names))
        job.run(own.argv, share, engine=engine, expected_outputs=[], lineage=False)
    share_record.write(share, names, current)
