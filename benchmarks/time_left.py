"""How right the time left is that `stacycle status` tells: in a run, what was told is held against what came.

`python benchmarks/time_left.py FOLDER` runs the demo in a new folder, `--tutorial` the tutorial's first round replayed,
with a stand-in for RELION whose iterations take their time, the longer the finer. Each second the status is collected,
as any terminal would. The table has, for each step that takes ten seconds or more, what was told after a third of it.
`--finished` runs nothing: of a finished project in FOLDER the files of iterations tell what would have been told when.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from stacycle.files.job_folder import PROGRAM_OUTPUT
from stacycle.jobs import record as job_record
from stacycle.progress import forecast, status, timeline
from stacycle.progress.status import RUNNING, Status

ROOT = Path(__file__).resolve().parents[1]
LEAST = 10.0  # s that a step takes; of shorter ones nobody asks
AFTER = (1 / 3, 1 / 2, 2 / 3)  # of a step
FIRST_ROUND = ["extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess"]


@dataclass
class Told:
    """What was told of a program: (when, seconds left) as long as it ran."""

    times: list[tuple[float, float | None]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.times[-1][0] - self.times[0][0]

    def error(self, share: float) -> float | None:
        """How far off it was after that share of its time, relative to what was left; None if nothing was told."""
        begin, end = self.times[0][0], self.times[-1][0]
        at, left = next((one for one in self.times if one[0] >= begin + share * (end - begin)), (0, None))
        return None if left is None else left / (end - at) - 1


def follow(folder: Path, environment: dict[str, str], picture: Path | None) -> tuple[dict[str, Told], Told]:
    """Run `stacycle run` in a folder, and note what is told each second of each program and of the whole run."""
    words = [sys.executable, "-m", "stacycle", "run"]
    with open(folder / "run.txt", "w", encoding="utf-8") as out:
        running = subprocess.Popen(words, cwd=folder, stdout=out, stderr=out, env=os.environ | environment)
        told: dict[str, Told] = {}
        whole = Told()
        while running.poll() is None:
            time.sleep(1)
            now = time.time()
            found = status.collect(folder, now)
            if found is None or found.state != RUNNING:
                continue
            whole.times.append((now, found.left))
            for step in found.steps:
                for job in step.jobs:
                    if job.state == RUNNING and job.program:
                        name = f"{job.step} {job.name}".strip()
                        told.setdefault(name, Told()).times.append((now, job.left))
            if picture and _is_worth_a_picture(found):
                draw(found, picture)
                picture = None
    if running.returncode:
        sys.exit((folder / "run.txt").read_text())
    return told, whole


def _is_worth_a_picture(found: Status) -> bool:
    """Whether a refinement of a later round is at its fourth iteration."""
    jobs = [job for step in found.steps for job in step.jobs if step.step == "bin2/refine3d"]
    return any(job.state == RUNNING and job.iteration == 4 and job.left for job in jobs)


def draw(found: Status, path: Path) -> None:
    """The live table as a picture, for the documentation."""
    from rich.console import Console

    from stacycle.cli.table import table

    console = Console(record=True, width=96, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print("[dim]$[/dim] stacycle run")
    console.print(table(found, 30))
    svg = console.export_svg(title="stacycle run", unique_id="terminal")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")  # fetched


def demo(folder: Path) -> dict[str, str]:
    """The demo's data and config in a folder."""
    flags = yaml.safe_load((ROOT / "config/demo_data.yaml").read_text())
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "staengine", "simulate", "--o", str(folder), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (folder / "config.yaml").write_text((ROOT / "config/demo.yaml").read_text())
    return {}


def tutorial(folder: Path) -> dict[str, str]:
    """The tutorial's first round in a folder, as tests/workflow/test_tutorial_replay.py has it, in slow motion."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/workflow")]
    import fake_relion
    from small_inputs import write_inputs

    from stacycle.recipe import geometry

    slow: dict[str, Any] = {"seconds": 1.2}
    relion = fake_relion.install(folder / "relion", relion_refine=slow, relion_refine_mpi=slow)
    mpi = fake_relion.install(folder / "mpi", programs=("mpirun",))
    classes = geometry.classification(22_372, 350) | {"highres_limit": 15}
    config = {
        "inputs": [write_inputs(folder, f"gain{one}", particles=110, seed=one) for one in (1, 2)],
        "particle": {"diameter": 350, "symmetry": "C1"},
        "engine": {"kind": "relion", "bin": str(relion)},
        "rounds": {"bin4": {"steps": FIRST_ROUND, "class3d": classes}, "bin2": None, "bin1": None},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return {"PATH": f"{mpi}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "0"}


def replayed(project: Path) -> dict[str, Told]:
    """What would have been told of each program with iterations, each tenth of a second, by its files' times."""
    ended = []
    for folder, record in job_record.of_project(project / "results"):
        if (found := forecast.ended_of(folder, record)) and found.each:
            ended.append((timeline.seconds(record["runs"][-1]["started"]), folder, record, found))
    told: dict[str, Told] = {}
    for start, folder, record, found in ended:
        work = timeline.of_job(folder, record)
        assert work
        step, name = status.place_of(str(folder.relative_to(project)))
        like = [
            (begin + one.seconds, replace(one, nearness=int(other.parent != folder.parent)))
            for begin, other, _, one in ended
            if kind_of(other) == kind_of(folder) and other != folder
        ]
        moments = told.setdefault(f"{step} {name}".strip(), Told()).times
        for tenth in range(int(found.seconds * 10) + 1):
            now = start + tenth / 10
            seen = _at(work, folder, now)
            moments.append((now, forecast.of_program(seen, now, [one for end, one in like if end <= now])))
    return told


def kind_of(folder: Path) -> str:
    """By what programs are alike: the step's name, without round and variant."""
    return (
        status.place_of(f"results/{'/'.join(folder.parts[folder.parts.index('results') + 1 :])}")[0]
        .split("/")[-1]
        .removesuffix("_probe")
    )


def _at(work: timeline.Timeline, folder: Path, now: float) -> timeline.Timeline:
    """A program's work as it was at a moment: the iterations written by then, and what was said until then."""
    ends = tuple(one for one in work.ends if one <= now)
    text = (folder / PROGRAM_OUTPUT).read_text(errors="replace")
    begins = [match.start() for match in re.finditer("Expectation iteration", text)]
    said = timeline.parse(text[: begins[len(ends)]] if len(ends) < len(begins) else text)
    begun = work.begun if work.begun and work.begun <= now else None
    search = said.get("search", timeline.Search())
    return replace(work, ends=ends, done=len(ends), fraction=0.0, begun=begun, search=search)


def table(told: dict[str, Told], whole: Told | None) -> list[str]:
    """A line for each step, of what was told after a third, half and two thirds of it; then of the run, and the sum."""
    lines = ["| step | took | after 1/3 | 1/2 | 2/3 |", "|---|---|---|---|---|"]
    long = {name: one for name, one in told.items() if one.seconds >= LEAST}
    for name, one in [*long.items(), *([("the whole run", whole)] if whole else [])]:
        errors = (one.error(share) for share in AFTER)
        cells = ("nothing yet" if error is None else f"{error:+.0%}" for error in errors)
        lines.append(f"| {name} | {one.seconds:.0f} s | {' | '.join(cells)} |")
    found = [one.error(AFTER[0]) for one in long.values()]
    within = sum(error is not None and abs(error) <= 0.3 for error in found)
    return [
        *lines,
        "",
        f"Within 30 % after a third: {within} of {len(found)} steps of {LEAST:.0f} s and more.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--tutorial", action="store_true", help="the tutorial's first round, not the demo")
    parser.add_argument("--picture", type=Path, help="the live table in the middle of it, as SVG")
    parser.add_argument("--finished", action="store_true", help="the folder is a finished project's")
    arguments = parser.parse_args()
    if arguments.finished:
        print("\n".join(table(replayed(arguments.folder.resolve()), None)))
        return
    arguments.folder = arguments.folder.resolve()
    arguments.folder.mkdir(parents=True)
    environment = (tutorial if arguments.tutorial else demo)(arguments.folder)
    told, whole = follow(arguments.folder, environment, arguments.picture)
    noted = {name: one.times for name, one in told.items()} | {"": whole.times}
    (arguments.folder / "told.json").write_text(json.dumps(noted))
    print("\n".join(table(told, whole)))


if __name__ == "__main__":
    main()
