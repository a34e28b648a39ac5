"""Profiles for clusters without SLURM, made from the settings of profiles/slurm.

`python -m stacycle.schedulers lsf` prints one for LSF; `pbs`, `sge` and `sbatch` show how any submit command is used.
With a folder at the end the profile is written there, with the two scripts that a submit command needs: `jobscript.sh`
notes how a job ended, and `status` tells Snakemake, which some schedulers cannot: a job that is no longer known, and
noted nothing, was killed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacycle.errors import UserError
from stacycle.resources.site import NUMBERS, OF_GPU_JOBS

SLURM = Path(__file__).parents[2] / "profiles/slurm/profile.yaml"
LSF = "lsf"
# Resources that mean the same everywhere, and those of SLURM's that have another name elsewhere.
ALIKE = ("gpu", "ranks", "mem_mb", "runtime", *NUMBERS)
OF_LSF = {"slurm_partition": "lsf_queue", "slurm_account": "lsf_project"}
OF_COMMANDS = {"slurm_partition": "queue", "slurm_account": "account"}
ENDED = ".snakemake/ended"  # in the project: one file per job with its exit status


@dataclass(frozen=True)
class Submitting:
    """A submit command. `account` is its option for an account; `known` succeeds for a job ($1) that waits or runs,
    `answers` if the scheduler answers at all; `job` and `folder` are the variables in which a job finds its id and the
    folder that it was submitted in."""

    command: str
    options: tuple[str, ...]
    account: str
    known: str
    answers: str
    cancel: str
    job: str
    folder: str


SECONDS = "$(( {resources.runtime} * 60 ))"
SUBMITTING = {
    "pbs": Submitting(
        command="qsub",
        options=(
            "-S /bin/sh -V -j oe -o logs/pbs/ -N sta-{rule} -q {resources.queue:q}",
            "-l select=1:ncpus={threads}:ngpus={resources.gpu}:mem={resources.mem_mb}mb",
            f"-l walltime={SECONDS}",
        ),
        account="-A",
        known='qstat "$1"',
        answers="qstat",
        cancel="qdel",
        job="PBS_JOBID",
        folder="PBS_O_WORKDIR",
    ),
    "sge": Submitting(
        command="qsub",
        options=(
            "-terse -V -S /bin/sh -j y -o logs/sge/ -N sta-{rule} -q {resources.queue:q}",
            "-pe smp {threads} -l gpu={resources.gpu}",
            f"-l mem_free=$(( {{resources.mem_mb}} / {{threads}} ))M,h_rt={SECONDS}",
        ),
        account="-P",
        known='qstat -j "$1"',
        answers="qstat",
        cancel="qdel",
        job="JOB_ID",
        folder="SGE_O_WORKDIR",
    ),
    "sbatch": Submitting(
        command="sbatch",
        options=(
            "--parsable --output=logs/sbatch/%x-%j.log --job-name=sta-{rule}",
            "--partition={resources.queue:q} --cpus-per-task={threads} --gpus={resources.gpu}",
            "--mem={resources.mem_mb} --time={resources.runtime}",
        ),
        account="--account",
        known='squeue --noheader --jobs="$1" | grep -q .',
        answers="squeue",
        cancel="scancel",
        job="SLURM_JOB_ID",
        folder="SLURM_SUBMIT_DIR",
    ),
}
NAMES = (LSF, *SUBMITTING)


def settings(path: Path = SLURM) -> dict[str, Any]:
    """The settings of a SLURM profile. UserError if it cannot be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {**found, "default-resources": dict(found["default-resources"])}
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a profile with default-resources: {error}") from None


def profile(name: str, slurm: Mapping[str, Any], folder: Path | None = None) -> str:
    """The text of profile.yaml for a scheduler (of `NAMES`), with the settings of a SLURM profile.

    Its scripts are in `folder`.
    """
    common = {key: value for key, value in slurm.items() if key != "executor" and "slurm" not in key}
    common["default-resources"] = defaults = _renamed(name, slurm["default-resources"])
    if "set-resources" in slurm:
        asked = slurm["set-resources"].items()
        common["set-resources"] = {rule: _renamed(name, resources) for rule, resources in asked}
    if name == LSF:
        own: dict[str, Any] = {"executor": LSF}
        gpus = defaults.get("gpus_per_job", 1)
        if gpus:  # the plugin does not look at the resource gpu
            defaults[f"{OF_GPU_JOBS}lsf_extra"] = f"-gpu num={gpus}:j_exclusive=yes"
    else:
        defaults.setdefault("gpu", 0)
        own = _submitting(name, folder or Path("FOLDER"), "account" in defaults)
    made = f"# Made by `python -m stacycle.schedulers {name}`; docs/schedulers.md explains it.\n"
    return made + yaml.safe_dump(own | common, sort_keys=False, width=100)


def _renamed(name: str, slurm: Mapping[str, Any]) -> dict[str, Any]:
    """Those resources of a SLURM profile that another scheduler's has too, under its names."""
    names = dict(zip(ALIKE, ALIKE, strict=True)) | (OF_LSF if name == LSF else OF_COMMANDS)
    found = {}
    for key, value in slurm.items():
        prefix = OF_GPU_JOBS if key.startswith(OF_GPU_JOBS) else ""
        plain = key.removeprefix(prefix)
        if plain in names and value is not None:
            found[prefix + names[plain]] = value
    return found


def _submitting(name: str, folder: Path, account: bool) -> dict[str, str]:
    """Settings of the plugin for any submit command; its scripts are in `folder`."""
    way = SUBMITTING[name]
    words = [f"mkdir -p logs/{name} {ENDED} &&", way.command, *way.options]
    return {
        "executor": "cluster-generic",
        "cluster-generic-submit-cmd": " ".join(
            [*words, *([f"{way.account} {{resources.account:q}}"] if account else [])]
        ),
        "cluster-generic-status-cmd": shlex.quote(str(folder / "status")),
        "cluster-generic-cancel-cmd": way.cancel,
        "jobscript": str(folder / "jobscript.sh"),
    }


def scripts(name: str) -> dict[str, str]:
    """The scripts beside a profile, by file name; none for LSF, whose plugin asks bjobs."""
    if name == LSF:
        return {}
    way = SUBMITTING[name]
    return {
        "jobscript.sh": f"""\
#!/bin/sh
# properties = {{properties}}
( {{exec_job}} )
status=$?
ended="${way.folder}/{ENDED}/${way.job}"
echo $status > "$ended.new" && mv "$ended.new" "$ended"
exit $status
""",
        "status": f"""\
#!/bin/sh
# Is the job of this id running, or how did it end? Started in the project's folder.
for look in 1 2 3 4; do
  if [ -e "{ENDED}/$1" ]; then
    if [ "$(cat "{ENDED}/$1")" = 0 ]; then echo success; else echo failed; fi
    exit
  fi
  if {{ {way.known}; }} >/dev/null 2>&1 || ! {way.answers} >/dev/null 2>&1; then
    echo running
    exit
  fi
  [ $look = 4 ] || sleep ${{STATUS_PAUSE:-15}}  # a file system may show late how it ended
done
echo failed
""",
    }


def write(name: str, folder: Path, slurm: Mapping[str, Any]) -> None:
    """Write the profile and its scripts into a folder. UserError if that is not possible."""
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in {"profile.yaml": profile(name, slurm, folder), **scripts(name)}.items():
            (folder / file).write_text(text, encoding="utf-8")
        for script in scripts(name):
            (folder / script).chmod(0o755)
    except OSError as error:
        raise UserError(f"{folder}: the profile cannot be written there: {error.strerror}") from None


def page() -> str:
    """The profiles and scripts as docs/schedulers.md shows them."""
    shown = [(f"profile.yaml for {name}", "yaml", profile(name, settings())) for name in NAMES]
    shown += [(f"{file} for pbs", "sh", text) for file, text in scripts("pbs").items()]
    return "\n".join(f"### {title}\n\n```{kind}\n{text}```\n" for title, kind, text in shown)


def main() -> int:
    """Print or write a profile. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stacycle.schedulers", description=__doc__)
    parser.add_argument("scheduler", choices=NAMES)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="where to write it (default: print profile.yaml)"
    )
    parser.add_argument(
        "--settings", type=Path, default=SLURM, help="the SLURM profile (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        slurm = settings(arguments.settings)
        if arguments.folder:
            write(arguments.scheduler, arguments.folder, slurm)
        else:
            print(profile(arguments.scheduler, slurm), end="")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
