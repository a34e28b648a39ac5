"""Kill a run at random moments, start it again each time, and count what was done twice.

By hand: `python benchmarks/kills.py PROJECT --configfile CONFIG [--kills 24] [--seed 1]`, with the demo's data say.
Each kill waits for a kind of job that it has not hit yet to begin, and then for a random moment inside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stacycle.files.earlier_results import is_aside

ROOT = Path(__file__).parents[1]
PROGRAM = "-m staengine"
RUNNER = ".snakemake/scripts/"
PATIENCE = 10.0  # seconds


@dataclass
class Kill:
    """One kill: what began before it, how long after that, and what was killed how."""

    job: str
    after: float
    how: str

    def __str__(self) -> str:
        return f"{self.how} {self.after:.1f} s into '{self.job}'"


@dataclass
class Story:
    """What happened to a project until it was finished."""

    kills: list[Kill] = field(default_factory=list)
    hit: set[str] = field(default_factory=set)  # kinds of jobs
    starts: int = 0


def run_with_kills(
    command: Sequence[str], project: Path, most: int, seed: int, longest: float = 1.5
) -> Story:
    """Run a Snakemake command until it has finished, killing it up to `most` times, `longest` seconds into a job.

    RuntimeError if it fails by itself.
    """
    story, chance = Story(), random.Random(seed)
    while True:
        story.starts += 1
        log, before = project / f"snakemake{story.starts}.log", len(story.kills)
        run, session = _begin(command, log)
        while len(story.kills) < most and (job := _new_kind_of_job(run, log, story.hit)):
            after = chance.uniform(0, longest)
            if kill := _kill(run, session, job, after, chance, [kill.how for kill in story.kills]):
                story.hit.add(_kind(job))
                story.kills.append(kill)
        _wait_for_all(run, session)
        if run.returncode == 0:
            return story
        if len(story.kills) == before:
            raise RuntimeError(f"{log}: failed by itself:\n{log.read_text()[-4000:]}")
        for lock in (project / ".snakemake/locks").glob("*"):  # --unlock, without the start
            lock.unlink()


def _begin(command: Sequence[str], log: Path) -> tuple[subprocess.Popen, int]:
    """A command, started in a session of its own, and the session's number; a warm Python (tests/warm.py) notes it."""
    note = log.with_suffix(".session")
    with log.open("w") as stream:
        run = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd="/",
            env=os.environ | {"WARM_SESSION": str(note)},
        )
    if command[0] == sys.executable:
        return run, run.pid
    while not note.exists() or not note.read_text():
        time.sleep(0.02)
    return run, int(note.read_text())


def _kill(
    run: subprocess.Popen, session: int, job: str, after: float, chance: random.Random, used: list[str]
) -> Kill | None:
    """Kill something after so many seconds, in the way that was used least; None if the run has ended before.

    What that way needs may still be starting: it is waited for, `PATIENCE` seconds.
    """
    time.sleep(after)
    waited = time.monotonic()
    wanted = min(chance.sample(list(WAYS), len(WAYS)), key=used.count)
    while run.poll() is None and not _in_session(session, NEEDS[wanted]):
        if time.monotonic() - waited > PATIENCE:
            wanted = min(("SIGKILL of Snakemake", "SIGKILL of everything"), key=used.count)
        time.sleep(0.02)
    if run.poll() is not None:
        return None
    WAYS[wanted](session)
    return Kill(job, after + time.monotonic() - waited, wanted)


def _new_kind_of_job(run: subprocess.Popen, log: Path, hit: set[str]) -> str | None:
    while run.poll() is None:
        for job in re.findall(r"^Job \d+: (.*)$", log.read_text(), re.MULTILINE):
            if _kind(job) not in hit:
                return job
        time.sleep(0.05)
    return None


def _kind(job: str) -> str:
    """`bin4: align to one reference, T2` -> `bin4: align to one reference`."""
    return job.split(",")[0]


def _wait_for_all(run: subprocess.Popen, session: int) -> None:
    """Until Snakemake and all that it started have ended: an orphan goes on, and its folder is locked."""
    run.wait()
    while _in_session(session):
        time.sleep(0.05)


def _in_session(session: int, words: str = "") -> list[int]:
    """The processes of a session whose command line has these words."""
    return [pid for pid, line in _processes(session) if words in line]


def _processes(session: int) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if int(after_name[3]) == session and after_name[0] != "Z":
                yield int(entry.name), line


def _send(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _time_out(session: int) -> None:
    """As SLURM ends a job: a warning to all of its processes, soon after that the end."""
    programs_and_runners = _in_session(session, PROGRAM) + _in_session(session, RUNNER)
    _send([*programs_and_runners, session], signal.SIGTERM)
    time.sleep(0.5)
    _send(_in_session(session), signal.SIGKILL)


# What is killed how, in a session; and the words of a process that must be running for it.
WAYS: dict[str, Callable[[int], None]] = {
    "SIGKILL of the programs": lambda session: _send(_in_session(session, PROGRAM), signal.SIGKILL),
    "SIGTERM of the programs": lambda session: _send(_in_session(session, PROGRAM), signal.SIGTERM),
    "SIGKILL of the runners": lambda session: _send(_in_session(session, RUNNER), signal.SIGKILL),
    "SIGKILL of Snakemake": lambda session: _send([session], signal.SIGKILL),
    "SIGKILL of everything": lambda session: _send(_in_session(session), signal.SIGKILL),
    "time-out": _time_out,
}
NEEDS = dict(zip(WAYS, (PROGRAM, PROGRAM, RUNNER, "", "", RUNNER), strict=True))


def job_records(results: Path) -> dict[str, dict]:
    """The record of each program's job, by its folder."""
    return {
        str(path.parent.relative_to(results)): json.loads(path.read_text())
        for path in sorted(results.rglob("job.json"))
        if not is_aside(path.parent)
    }


def run_again_though_finished(results: Path) -> list[str]:
    """The jobs whose program was started again after it had ended well."""
    return [
        folder
        for folder, record in job_records(results).items()
        if any(run.get("exit_status") == 0 for run in record["runs"][:-1])
    ]


def done_twice(results: Path) -> dict[str, int]:
    """How many iterations or tomograms each job's programs began more than once, if any.

    But for extraction, which announces every tomogram again and makes only the stacks that are missing.
    """
    counts = {}
    for folder in job_records(results):
        if folder.endswith("extract"):
            continue
        said = (results / folder / "run.out").read_text(errors="replace")
        starts = Counter(re.findall(r"Expectation iteration +(\d+)|\+ Tomogram (\d+) /", said))
        if repeated := sum(count - 1 for count in starts.values()):
            counts[folder] = repeated
    return counts


def started(results: Path) -> dict[str, int]:
    """How often each job's program was started."""
    return {folder: len(record["runs"]) for folder, record in job_records(results).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("project", type=Path, help="folder with the data, without results")
    parser.add_argument("--configfile", type=Path, required=True)
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles/demo")
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--longest", type=float, default=4, help="seconds into a job (default: 4)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    command += ["--profile", str(asked.profile.resolve()), "--directory", str(asked.project.resolve())]
    command += ["--configfile", str(asked.configfile.resolve())]
    command += ["--quiet", "host"]  # jobs are waited for by name
    before = time.monotonic()
    story = run_with_kills(command, asked.project, asked.kills, asked.seed, asked.longest)
    results = asked.project / "results"
    print(*story.kills, sep="\n")
    print(f"{len(story.kills)} kills, finished after {(time.monotonic() - before) / 60:.1f} minutes")
    print(f"iterations or tomograms done twice: {sum(done_twice(results).values())}: {done_twice(results)}")
    print(f"finished jobs run again: {run_again_though_finished(results) or 0}")


if __name__ == "__main__":
    main()
