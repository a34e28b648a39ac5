"""How long each decision takes, and how much memory, in a process of its own, as a user's job has it.

`python benchmarks/decisions.py tutorial` (22,000 particles in 5 tomograms), `large` (100,000 in 1,000) or `small`;
sweeps of 4 variants x 25 iterations, maps of 96 and 336 px. Inputs are made up in FOLDER (--folder; else a temporary
one; large: 10 GB), and used again if they are there. `--only` takes the names of the first column.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SIZES = {"small": (1000, 5), "tutorial": (22_000, 5), "large": (100_000, 1000)}  # particles, tomograms
MADE = Path("made")  # what decisions write
START, INPUTS = "results/start/optimisation_set.star", "results/inputs"
SMALL, LARGE = "maps/96", "maps/336"
DIAMETER = 220.0


class Files(SimpleNamespace):
    """Files or settings by name, and by their number, as Snakemake gives them to a script."""

    def __getitem__(self, key: str | int) -> Any:
        return [*vars(self).values()][key] if isinstance(key, int) else vars(self)[key]

    def get(self, key: str, otherwise: Any = None) -> Any:
        return vars(self).get(key, otherwise)


def script(
    name: str, given: dict[str, Any], makes: dict[str, str], params: dict[str, Any], **wildcards: str
) -> None:
    """Run a script of the workflow; what it makes goes to the folder `made/NAME`."""
    folder = MADE / wildcards.pop("folder", name)
    made = {key: str(folder / file) for key, file in makes.items()}
    job = SimpleNamespace(
        input=Files(**given),
        output=Files(**made),
        params=Files(**params),
        wildcards=Files(**{"round": "bin4", **wildcards}),
        log=[str(folder / "job.log")],
        threads=1,
        config={"particle": {"diameter": DIAMETER}, "engine": {"kind": "embedded"}},
    )
    runpy.run_path(str(SCRIPTS / f"{name}.py"), {"snakemake": job})


def sweep(runs: str, classes: int = 0) -> dict[str, list[float]]:
    """The variants in a folder, as a rule tells them to the decision."""
    names = sorted(path.name for path in Path("results/bin4", runs).iterdir() if path.is_dir())
    return {name: [float(name[1:].partition("_")[0]), classes or 1] for name in names}


def linked(source: str, script_name: str) -> None:
    """A sweep's folder of its own for a decision, which lies beside its runs."""
    folder = MADE / script_name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in Path(source).iterdir():
        (folder / path.name).symlink_to(path.resolve())


def align() -> None:
    linked("results/bin4/align", "align_decision")
    params = {"sweep": sweep("align"), "iteration": "auto", "variant": "auto", "sampling": "auto"}
    script("align_decision", {}, {"decision": "decision.json"}, params)


def class3d() -> None:
    linked("results/bin4/class3d", "class3d_decision")
    params = {"sweep": sweep("class3d", 6), "iteration": "auto", "variant": "auto"}
    given = {"consensus": f"{SMALL}/merged.mrc", "resolution": ["results/bin1/reconstruct/state.json"]}
    makes = {"decision": "decision.json", "classes": "classes.tsv"}
    params |= {"lowpass": "auto", "diameter": DIAMETER}
    script("class3d_decision", given, makes, params, class3d="class3d")


def class_montage() -> None:
    given = {"classes": str(MADE / "class3d_decision/classes.tsv")}
    script("class_montage", given, {"montage": "classes.png"}, {}, select="select")


def select() -> None:
    before = MADE / "class3d_decision"
    given = {"classes": f"{before}/classes.tsv", "particles": f"{before}/particles.star"}
    given |= {"state": f"{before}/optimisation_set.star"}
    script("select_classes", given, {"decision": "decision.json"}, {"classes": "auto"}, select="select")


def initial_model() -> None:
    linked("results/bin4/initial_model", "initial_model_decision")
    settings = {"reference": None, "iterations": 25, "seed": 1, "seeds": 3, "agreement": "auto"}
    params = {"settings": settings, "diameter": DIAMETER}
    script("initial_model_decision", {}, {"decision": "decision.json"}, params)


def mask_bin4() -> None:
    mask(SMALL)


def mask_bin1() -> None:
    mask(LARGE)


def mask(maps: str) -> None:
    """What scripts/mask.py does but for relion_mask_create."""
    from stacycle.steps import mask as step

    settings = {"threshold": "auto", "lowpass": 10, "extend": "auto", "soft_edge": "auto"}
    settings |= {"file": None, "sphere": None, "difference": None}
    job = SimpleNamespace(
        input=Files(map=f"{maps}/merged.mrc", resolution=["results/bin1/reconstruct/state.json"], earlier=[]),
        output=Files(mask=str(MADE / "mask/mask.mrc")),
        params=Files(diameter=DIAMETER, key="mask", settings=settings),
        threads=1,
    )
    decision, found = step.decide(job)
    step.prepare(job, found)
    print(decision)


def diameter() -> None:
    """What scripts/reconstruct.py looks at when the average is there."""
    from stacycle.decisions.extent import extent
    from stacycle.files import mrc

    print(extent(mrc.voxels(f"{LARGE}/merged.mrc"), mrc.header(f"{LARGE}/merged.mrc").pixel))


def score() -> None:
    given = {"state": [START], "table": "results/bin1/score/scores.tsv"}
    makes = {"decision": "decision.json", "scores": "scores.star"}
    script("score_decision", given, makes, {"cut": "auto"})


def duplicates() -> None:
    makes = {"decision": "decision.json", "removed": "duplicates.star"}
    params = {"distance": "auto", "diameter": DIAMETER}
    script("duplicates", {"state": [START], "scores": []}, makes, params)


def poses_state() -> None:
    given = {"before": [START], "after": [f"{MADE}/align_decision/optimisation_set.star"]}
    for poses in ("before", "after"):
        makes = {"state": "optimisation_set.star"}
        script("poses_state", given, makes, {}, poses=poses, folder=f"poses_state/{poses}")


def poses() -> None:
    maps, state = "results/bin1/reconstruct", f"{MADE}/align_decision/optimisation_set.star"
    given = {f"average_{which}": f"{maps}/merged.mrc" for which in ("before", "after")}
    given |= {"after": [state], "reference": [f"{maps}/merged.mrc"], "mask": [f"{LARGE}/mask.mrc"]}
    given |= {"half_maps": [f"{maps}/half1.mrc", f"{maps}/half2.mrc"]}
    params = {"diameter": DIAMETER, "choose": "auto"}
    script("poses_decision", given, {"decision": "decision.json"}, params, moved="refine3d")


def hand_state() -> None:
    given = {"state": [START], "facts": f"{INPUTS}/preflight.json"}
    for hand in ("plus", "minus"):
        makes = {"state": "optimisation_set.star"}
        script("hand_state", given, makes, {}, set="a", hand=hand, folder=f"hand_decision/a/{hand}")


def hand() -> None:
    for hand in ("plus", "minus"):
        folder = MADE / f"hand_decision/a/{hand}/reconstruct"
        folder.mkdir(parents=True, exist_ok=True)
        for half in ("half1.mrc", "half2.mrc"):
            (folder / half).unlink(missing_ok=True)
            (folder / half).symlink_to(Path(LARGE, half).resolve())
    given = {"state": [START], "facts": f"{INPUTS}/preflight.json"}
    params = {"sets": ["a"], "diameter": DIAMETER, "choose": "auto"}
    script("hand_decision", given, {"decision": "decision.json"}, params)


def ctfrefine() -> None:
    cycle("ctfrefine", {"search_range": 4000, "defocus": True})


def polish() -> None:
    cycle("polish", {"max_error": 5})


def cycle(step: str, settings: dict[str, Any]) -> None:
    linked(f"results/bin1/cycle1/{step}", step)
    for name in ("tilt_series", "half1.mrc", "half2.mrc", "merged.mrc"):
        assert not (MADE / step / name).exists()
    before = "results/bin1/reconstruct"
    given = {"before_state": [START], "before_map": f"{before}/merged.mrc"}
    given |= {"before_half_maps": [f"{before}/half1.mrc", f"{before}/half2.mrc"]}
    given |= {"before_postprocess": f"{before}/postprocess.star"}
    variants = {path.name: settings for path in Path(f"results/bin1/cycle1/{step}").iterdir()}
    params = {"variants": variants, "choose": "auto", "key": step}
    script("cycle_decision", given, {"decision": "decision.json"}, params, folder=step)


def symmetry() -> None:
    given = {"map": f"{LARGE}/merged.mrc", "state": [START]}
    Path(LARGE, "run.out").write_text("The refined solution is ROT = 10 TILT = 20 PSI = 30\n")
    given |= {"resolution": ["results/bin1/reconstruct/state.json"]}
    params = {"symmetry": "C6", "diameter": DIAMETER, "settings": {"lowpass": "auto", "least": -2.0}}
    script("align_symmetry_decision", given, {"decision": "decision.json"}, params)


def local_resolution() -> None:
    """What scripts/local_resolution.py does when the program has ended."""
    from stacycle.decisions.local_resolution import inside, summary
    from stacycle.files import mrc
    from stacycle.report import local_resolution_figures as figures

    local = mrc.voxels(f"{LARGE}/locres.mrc")
    box, pixel = mrc.box_and_pixel(f"{LARGE}/locres.mrc")
    within = inside(mrc.voxels(f"{LARGE}/mask.mrc"), box, pixel, DIAMETER)
    found = summary(local, within, nyquist=2 * pixel, coarsest=30, reached=10, key="local_resolution")
    (MADE / "local_resolution").mkdir(parents=True, exist_ok=True)
    colours = figures.colour_range(found.choice)
    figures.histogram_figure(local[within], found.numbers, colours, MADE / "local_resolution/histogram.png")
    figures.slices_figure(f"{LARGE}/merged.mrc", local, within, colours, MADE / "local_resolution/slices.png")


def parts() -> None:
    given = {"consensus": f"{LARGE}/merged.mrc", "maps": [f"{LARGE}/half1.mrc", f"{LARGE}/half2.mrc"]}
    given |= {"masks": [f"{LARGE}/mask.mrc"] * 2}
    makes = {"map": "composite.mrc", "picture": "composite.png", "commands": "composite.cxc"}
    script("parts", given, makes, {"names": ["head", "tail"]})


def expand() -> None:
    """What scripts/expand.py does when the copies are there."""
    from stacycle.steps.expand import write_state

    (MADE / "expand").mkdir(parents=True, exist_ok=True)
    write_state(START, "data/copies", MADE / "expand", "C2")


DECISIONS: dict[str, Callable[[], None]] = {
    step.__name__: step
    for step in (
        *(align, class3d, class_montage, select, initial_model, mask_bin4, mask_bin1, diameter, poses_state, poses),
        *(score, duplicates, hand_state, hand, ctfrefine, polish, symmetry, local_resolution, parts, expand),
    )
}  # fmt: skip


def measured(arguments: list[str]) -> tuple[int, float, float, float]:
    """Exit status, wall time (s), processor time (s) and peak memory (GB) of this program with other arguments."""
    start = time.monotonic()
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=sys.stderr)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    return child.returncode, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


@contextlib.contextmanager
def project(folder: str | None) -> Iterator[None]:
    """Work in a folder, or in a temporary one."""
    with contextlib.ExitStack() as stack:
        where = folder or stack.enter_context(tempfile.TemporaryDirectory())
        Path(where).mkdir(parents=True, exist_ok=True)
        stack.enter_context(contextlib.chdir(where))
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--folder", help="where inputs are made, or are already")
    parser.add_argument("--only", nargs="+", choices=DECISIONS, default=list(DECISIONS))
    parser.add_argument("--do", choices=["write", *DECISIONS], help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.do == "write":
        import decision_inputs

        decision_inputs.write(decision_inputs.Size(*SIZES[parsed.size]))
    elif parsed.do:
        DECISIONS[parsed.do]()
    else:
        with project(parsed.folder):
            if not Path("complete").exists():
                if measured([parsed.size, "--do", "write"])[0]:
                    sys.exit("the inputs could not be made")
                Path("complete").touch()
            print(f"{'decision':18} wall time  processor  memory", flush=True)
            for name in parsed.only:
                status, wall, processor, memory = measured([parsed.size, "--do", name])
                failed = f"  failed with exit status {status}" if status else ""
                print(f"{name:18} {wall:7.1f} s {processor:8.1f} s {memory:6.2f} GB{failed}", flush=True)


if __name__ == "__main__":
    main()
