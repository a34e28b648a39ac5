"""Whether a pilot of a sweep ends the variant that would have won, and what it saves.

`python benchmarks/pilot.py FOLDER --seeds 1 2 3` simulates a set for each seed, and runs a sweep of CTF refinement and
one of polishing on it, four variants each, both from the same state with the embedded engine: all tomograms, and
shares of 1/4 and 1/2 of them. For each pilot it prints how many variants were ended and whether the winner was among
them, the regret in shells of the FSC with the truth, and the CPU time saved. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from stacycle.decisions.cycle import BEFORE, Candidate, cycle_variant
from stacycle.decisions.pilot import pilot
from stacycle.files import mrc, relion_output, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs import align, postprocess, reconstruct_particle, refine_ctf, shares
from stacycle.programs.command import Command
from stacycle.recipe.step_settings import CtfRefine, Polish
from staengine.__main__ import PROGRAMS
from staengine.simulation import truth
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate
from staengine.tilt_series.particles import ParticleSet

BOX, ESTIMATION_BOX = 72, 96  # px
DIAMETER, PIXEL = 180, 3.5  # Å
TOMOGRAMS = 8
SHARES = (4, 2)  # a pilot is one of so many
SWEEPS = {
    "ctfrefine": (
        refine_ctf.argv,
        {
            "regularised": CtfRefine(defocus=True),
            "unregularised": CtfRefine(regularisation=None),
            "defocus_only": CtfRefine(scale=None),
            "scale_only": CtfRefine(defocus=False),
        },
    ),
    "polish": (
        align.argv,
        {
            "motion": Polish(motion=True),
            "no_motion": Polish(motion=False),
            "shift_only": Polish(shift_only=True),
            "narrow": Polish(motion=False, max_error=1),
        },
    ),
}


class Tried(NamedTuple):
    """One pilot of a sweep: the variants that were ended, whether the winner is one of them, the regret in shells; the
    CPU seconds of the sweep without it and with it, and of its refinements alone."""

    ended: list[str]
    lost: bool
    regret: float
    seconds: tuple[float, float]
    refining: tuple[float, float]


def saved(seconds: Sequence[tuple[float, float]]) -> str:
    """The share of CPU time saved, of sweeps without a pilot and with it."""
    without, using = map(sum, zip(*seconds, strict=True))
    return f"{1 - using / without:.0%}"


def settings_of(seed: int, folder: Path) -> SimulationSettings:
    """160 particles; SNR 0.08-1.5; defocus, shifts, angles and positions off by up to 1300 Å, 5 Å, 2 degrees, 3 Å."""
    rng = np.random.default_rng(seed)
    return SimulationSettings(
        o=folder,
        seed=seed,
        tomos=TOMOGRAMS,
        particles=20,
        junk=0,
        fraction_b=0,
        size=320,
        depth=160,
        angpix=PIXEL,
        diameter=DIAMETER,
        snr=round(float(np.exp(rng.uniform(np.log(0.08), np.log(1.5)))), 2),
        defocus_error=round(float(rng.uniform(0, 1300))),
        defocus_offset=0,
        shift_error=round(float(rng.uniform(0, 5)), 1),
        angle_error=round(float(rng.uniform(0, 2)), 1),
        position_error=round(float(rng.uniform(0, 3)), 1),
        j=1,
    )


def call(out: Path, program: str, *argv: str) -> float:
    """Run one of the engine's programs here, unless it has been; its CPU seconds, without those of a start."""
    done = out / f"{program}.seconds"
    if not done.exists():
        out.mkdir(parents=True, exist_ok=True)
        main = import_module(f"staengine.programs.{PROGRAMS[program]}").main
        before = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            if status := main(list(argv)):
                raise SystemExit(f"{program} ended with {status}")
        done.write_text(str(time.process_time() - before))
    return float(done.read_text())


def average(state: Path, out: Path) -> float:
    """Half maps of a state, their mean, and their FSC in the mask; CPU seconds."""
    maps: dict[str, Any] = {"box": BOX, "binning": 1, "symmetry": "C1", "threads": 1}
    used = call(out, *reconstruct_particle.argv(state=str(state), out=str(out), **maps))
    half, fsc = str(out / "half1.mrc"), str(out / "postprocess")
    return used + call(out, *postprocess.argv(half_map=half, mask="mask.mrc", out=fsc, bfactor=-100))


def prepare(seed: int) -> None:
    """A simulated set with half sets, averaged, in the working folder."""
    if not Path("optimisation_set.star").exists():
        with contextlib.redirect_stdout(io.StringIO()):
            simulate(settings_of(seed, Path()))
        tables = star.read("particles.star")
        number = len(tables["particles"])
        tables["particles"]["rlnRandomSubset"] = np.random.default_rng(seed).permutation(number) % 2 + 1
        star.write("halves.star", tables)
        axis = (np.arange(BOX) - BOX // 2) * PIXEL
        away = np.sqrt(sum(np.square(np.meshgrid(axis, axis, axis))))
        sphere = (1 - (away - DIAMETER / 2 - 10) / 15).clip(0, 1)
        mrc.write_map("mask.mrc", sphere.astype(np.float32), PIXEL)
        OptimisationSet("halves.star", "tomograms.star", None).write("optimisation_set.star")
    average(Path("optimisation_set.star"), Path("before"))


def refine(sweep: str, name: str, of: int) -> tuple[Candidate, float, float]:
    """A variant on one `of` so many shares, with its FSC; the CPU seconds of its program, and of its average."""
    argv, variants = SWEEPS[sweep]
    out = Path(sweep) / name / f"1of{of}"
    compared: dict[str, Any] = {
        "state": "optimisation_set.star",
        "half_maps": ["before/half1.mrc", "before/half2.mrc"],
        "mask": "mask.mrc",
        "postprocess": "before/postprocess.star",
        "box": ESTIMATION_BOX,
    }
    command = Command.of(argv(**compared, out=str(out), threads=1, **variants[name].model_dump()))
    out.mkdir(parents=True, exist_ok=True)
    particles = f"{out}.star"
    names = shares.write_share("halves.star", 1, of, Path(particles))
    used = call(out, *shares.command_of_share(command, particles, out, len(names)).argv)
    rest = average(out / "optimisation_set.star", out / "average")
    return Candidate(name, relion_output.fsc(out / "average/postprocess.star")), used, rest


def truly(state: Path, density: Path, known: truth.Truth) -> float:
    """The FSC of a state's map with the phantom, summed over all shells."""
    error = truth.pose_error(ParticleSet.read(OptimisationSet.read(state).particles), known)
    return float(sum(truth.compare_map([str(density)], known, error)["A"]["fsc"][1:]))


def results(sweep: str) -> Iterator[tuple[int, str, Tried]]:
    """The pilots of a sweep, each with its number of shares and the choice of the whole sweep."""
    names = list(SWEEPS[sweep][1])
    known, before = truth.read_truth("."), Candidate(BEFORE, relion_output.fsc("before/postprocess.star"))
    whole = {name: refine(sweep, name, 1) for name in names}
    gains = {BEFORE: truly(Path("optimisation_set.star"), Path("before/merged.mrc"), known)}
    for name in names:
        out = Path(sweep) / name / "1of1"
        gains[name] = truly(out / "optimisation_set.star", out / "average/merged.mrc", known)
    chosen = kept(before, [whole[name][0] for name in names])
    for of in SHARES:
        tried = {name: refine(sweep, name, of) for name in names}
        on = pilot([one for one, _, _ in tried.values()], of).choice["variants"]
        ended = [name for name in names if name not in on]
        then = kept(before, [whole[name][0] for name in on])
        refining = sum(whole[name][1] for name in on) + sum(tried[name][1] for name in ended)
        averages = sum(whole[name][2] for name in on) + sum(rest for _, _, rest in tried.values())
        of_all, of_averages = (sum(one[part] for one in whole.values()) for part in (1, 2))
        seconds = (of_all + of_averages, refining + averages)
        regret = gains[chosen] - gains[then]
        yield of, chosen, Tried(ended, chosen in ended, regret, seconds, (of_all, refining))


def kept(before: Candidate, variants: Sequence[Candidate]) -> str:
    """What a sweep of these variants keeps."""
    return str(cycle_variant(before, variants).choice["variant"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the sets are, or will be")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 7)), help="default: 1 to 6")
    asked = parser.parse_args()
    print(
        "| set | SNR | sweep | kept | pilot | ended | regret, shells | CPU time saved | of the refinement |"
    )
    print("|---" * 9 + "|", flush=True)
    found: dict[int, list[Tried]] = {of: [] for of in SHARES}
    for seed in asked.seeds:
        place = asked.folder / f"set{seed:02d}"
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(place):
            prepare(seed)
            for sweep in SWEEPS:
                for of, chosen, one in results(sweep):
                    found[of].append(one)
                    cells = [
                        seed,
                        settings_of(seed, Path()).snr,
                        sweep,
                        chosen,
                        f"1/{of}",
                        ", ".join(one.ended),
                    ]
                    cells += [f"{one.regret:+.3f}", saved([one.seconds]), saved([one.refining])]
                    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    for of, each in found.items():
        lost, ended = sum(one.lost for one in each), mean(len(one.ended) for one in each)
        regret = [one.regret for one in each]
        print(
            f"1/{of}: {ended:.1f} of 4 variants ended, the winner in {lost} of {len(each)} sweeps; regret "
            f"{mean(regret):.3f} shells, at worst {max(regret):.3f}; {saved([one.seconds for one in each])} of the CPU "
            f"time saved, {saved([one.refining for one in each])} of that of the refinement"
        )


if __name__ == "__main__":
    main()
