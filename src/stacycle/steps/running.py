"""A job of a step whose tomograms several jobs may share: it does its share, or makes one result of all shares."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stacycle.jobs import job, share, share_record
from stacycle.jobs.failure import raise_if_upstream_failed
from stacycle.steps.step import folder_of, is_share


def own_folder(snakemake_job: Any) -> Path:
    """The folder that a job's program works in: that of its result, or of its share."""
    return Path(snakemake_job.output[0]).parent


def run(snakemake_job: Any, argv: Sequence[str], engine: dict[str, Any]) -> bool:
    """Run a job's command line, or its share. Returns whether the whole is there now. Raises as `jobs.job.run`, and
    ProgramFailed if one of its shares failed."""
    whole = folder_of(snakemake_job)
    tried, ended = _pilot(snakemake_job)
    if is_share(snakemake_job):
        share.run(argv, whole, own_folder(snakemake_job), engine, tried, ended)
        return False
    done = list(snakemake_job.input.get("shares", []))
    raise_if_upstream_failed(done)
    folders = [*tried, *(Path(path).parent for path in done)]
    used = [folder for folder in folders if share_record.tomograms(folder)]
    job.run(argv, whole, engine=engine, expected_outputs=snakemake_job.output, shares=used, ended=ended)
    for folder in folders:
        for path in (*folder.iterdir(), *folder.parent.glob(f"{folder.name}.*")):
            if path.name != share_record.DONE:  # which Snakemake removes
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in tried:
        shutil.rmtree(folder)
    return True


def _pilot(snakemake_job: Any) -> tuple[list[Path], str]:
    """The folder of the share that a variant's pilot left, as long as it is there, and why the variant is ended early;
    [] and "" of a job without a pilot."""
    from stacycle.decisions.decision import read_decision

    for path in snakemake_job.input.get("pilot", []):
        decision, variant = read_decision(path), snakemake_job.wildcards.variant
        ended = decision.candidates.set_index("variant")["ended"]
        share = Path(path).parent / variant / f"1of{decision.numbers['of']:.0f}"
        return [share] if share_record.tomograms(share) else [], ended[variant]
    return [], ""
