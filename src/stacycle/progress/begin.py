"""The start and the end of a run, as the Snakefile tells them: its jobs, and what comes of them, are noted."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stacycle import snakemake_api
from stacycle.jobs import redo
from stacycle.progress import hooks, journal, status, text
from stacycle.progress.journal import Job, Writer
from stacycle.recipe.config import DEFAULT
from stacycle.steps.registry import command_of


def begin(workflow: Any, config: Mapping[str, Any]) -> Writer:
    """Note how Snakemake was called, and begin the run's journal, in the project's folder; `config` is the whole."""
    start, files = snakemake_api.start_folder(workflow), snakemake_api.configfiles(workflow)
    configs = [_here(path) for one in files if (path := Path(start, one).resolve()) != DEFAULT.resolve()]
    redo.note_command(sys.argv[1:], _here(Path(start).resolve()), config=config, files=configs)
    binnings = {name: float(given["binning"]) for name, given in config["rounds"].items() if given}
    numbers: dict[Any, int] = {}
    jobs: list[Job] = []
    for job, needed, asked in snakemake_api.jobs_with_needs(workflow):
        if not job.output:
            continue
        key = snakemake_api.job_key(job.rule.name, job.wildcards_dict)
        numbers[key] = len(jobs)
        keys = (snakemake_api.job_key(one.rule.name, one.wildcards_dict) for one in needed)
        before = tuple(sorted(numbers[one] for one in set(keys) if one in numbers))
        jobs.append(_job(job, before, asked, binnings, snakemake_api.stays_here(workflow, job.rule)))
    scheduler = snakemake_api.scheduler(workflow)
    writer = Writer(".", jobs, scheduler=scheduler)
    snakemake_api.listen(journal.hears(writer, numbers))
    return writer


def _here(path: Path) -> str:
    """A path in the project from its folder, which may be copied or moved with what is noted; any other one whole."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _job(job: Any, needs: Sequence[int], asked: bool, binnings: Mapping[str, float], local: bool) -> Job:
    """`binnings` are those of the rounds, by name."""
    output = str(job.output[0])
    folder = os.path.dirname(output)
    binning = next((binnings[part] for part in Path(folder).parts if part in binnings), 1.0)
    program = job.rule.params.get("step", "") if command_of(job) else ""
    log = str(job.log[0]) if job.log else ""
    return Job(job.rule.name, folder, output, tuple(needs), program, asked, log, binning, local)


def end(writer: Writer | None, well: bool, config: Mapping[str, Any]) -> list[str]:
    """Note the end of a run whose journal was begun, and do what the config has it do then. Returns warnings."""
    if writer is None:
        return []
    writer.add(journal.WELL if well else journal.ENDED)
    name = "onsuccess" if well else "onerror"
    if not config.get(name):
        writer.close()
        return []
    found = status.collect()
    assert found is not None
    causes = [text.failure(job) for job in found.failed] or [text.headline(found)]
    folder = Path.cwd()
    message = f"{folder.name}: {text.headline(found) if well else causes[0].splitlines()[0]}"
    page = folder / "results/report.html"
    facts = {"project": str(folder), "status": found.state, "message": message}
    facts |= {"page": str(page) if page.exists() else ""}
    failed = hooks.run(config[name], facts)
    writer.close()
    return [f"{name} failed: {failed}"] if failed else []
