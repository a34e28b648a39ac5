"""A stand-in for RELION 5: it takes RELION's command lines, records them, and replays the tutorial's results.

`install(folder)` puts it under every program's name into a folder that `engine.bin` can name. Its files are small but
whole: the numbers in them are those that the tutorial shows (45 screenshots of "STA in RELION5"), and the maps are
as fine as the numbers say. Nothing is computed from images, and it knows no flag: tests look at the record.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
import zlib
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import starfile
import warm

PROGRAMS = (
    "relion_refine",
    "relion_refine_mpi",
    "relion_tomo_subtomo",
    "relion_tomo_subtomo_mpi",
    "relion_tomo_reconstruct_particle",
    "relion_tomo_reconstruct_particle_mpi",
    "relion_tomo_reconstruct_tomogram",
    "relion_mask_create",
    "relion_postprocess",
    "relion_postprocess_mpi",
    "relion_tomo_refine_ctf",
    "relion_tomo_refine_ctf_mpi",
    "relion_tomo_align",
    "relion_tomo_align_mpi",
)
FLAGS = json.loads((Path(__file__).parents[1] / "golden/cli.json").read_text())
TILTS = 3  # images in each particle's stack
REACHED = "fakeResolution"  # column of tomograms.star: how fine (Å) a bin1 map of these tilt series is
FIRST, FINEST = 9.55, 3.86835  # Å: of the first bin1 map, and of the tutorial's last
# Finer by so much, by flag: the tutorial's 9.55 -> 8.48 -> 5.65 Å, the other variants less.
GAINS = {"--do_reg_defocus": 8.48 / 9.55, "--do_defocus": 8.7 / 9.55, "--do_scale": 9.2 / 9.55}
POLISHING_GAINS = {"--motion": 5.65 / 8.48, "--r": 6.2 / 8.48}

NUMBERS = pd.read_csv(Path(__file__).parent / "data/tutorial_iterations.tsv", sep="\t", comment="#")
RESOLUTION, CHANGES = NUMBERS["resolution"].tolist(), NUMBERS["changes"].tolist()  # by iteration, from 0
# Of the six classes only the fifth's numbers are shown; the slices tell the others' kind: 1 is nearly empty, 4 a blob.
CLASSES = pd.DataFrame(
    [
        (0.031000, 10.725, 21.2, 101.866667, 0.411203),
        (0.152000, 2.1000, 2.84, 24.448, 0.942113),
        (0.210000, 1.9000, 2.61, 24.448, 0.951790),
        (0.124531, 7.3125, 14.9, 67.911111, 0.655410),
        (0.268469, 1.8000, 2.49828, 24.448, 0.958107),
        (0.214000, 1.9500, 2.66, 24.448, 0.950012),
    ],
    index=range(1, 7),
    columns=["share", "rotations", "translations", "resolution", "completeness"],
)
JUNK = (1, 4)
# Of the alignment, in degrees and Å: what its run.out shows of iteration 23.
ACCURACY = {"rotations": 3.128, "translations": 4.93544}
SERIES = "rlnTomoTiltSeriesStarFile"


def install(
    folder: Path, version: str = "5.0.1-commit-73f0a3", programs: tuple = PROGRAMS, **misbehaviour: dict
) -> Path:
    """Put the programs into `folder`; `misbehaviour` has, by program, `exit`, `says`, `leaves_out`, `only_junk`,
    `gain` (of CTF refinement or polishing), `seconds` that an iteration at the resolution reached takes (less where it
    is coarser), and `with`: a flag without which it behaves."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "maps").mkdir(exist_ok=True)
    (folder / "fake.json").write_text(json.dumps({"version": version, **misbehaviour}))
    for program in programs:
        words = [warm.python(), __file__, str(folder), program]
        (folder / program).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / program).chmod(0o755)
    return folder


def recorded(folder: Path) -> list[list[str]]:
    """The command lines that the programs of `folder` were called with, in order."""
    record = folder / "commands.jsonl"
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def main(folder: Path, program: str, argv: list[str]) -> int:
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") != "0":  # of a real mpirun: rank 0 does the work
        return 0
    behaviour = json.loads((folder / "fake.json").read_text())
    if argv == ["--version"]:
        print(f"RELION version: {behaviour['version']} \nPrecision: BASE=double")
        return 0
    if argv == ["--help"]:
        known = FLAGS.get(program) or FLAGS[program.removesuffix("_mpi")]
        print(*(f"{flag:>30} : as RELION 5.0.1 has it" for flag in known), sep="\n")
        return 0
    with (folder / "commands.jsonl").open("a") as record:
        record.write(json.dumps([program, *argv]) + "\n")
    if program == "mpirun":  # rank 0 of -n M does the work
        return os.execv(argv[2], argv[2:])
    if program.startswith("relion_tomo"):
        program = program.removesuffix("_mpi")
    plan = behaviour.get(program, {})
    plan = plan if plan.get("with", program) in [program, *argv] else {}
    print(plan.get("says", ' 0/ 0 sec ....~~(,_,"> yum!'))
    if plan.get("exit"):
        return plan["exit"]
    told = {f"fake {key}": str(plan[key]) for key in ("only_junk", "gain", "seconds") if plan.get(key)}
    WORK[program](options(argv) | told | {"fake maps": str(folder / "maps")})
    for path in plan.get("leaves_out", []):
        Path(path).unlink()
    return 0


def options(argv: list[str]) -> dict[str, str]:
    """Flags and their values; a switch has the value ""."""
    found: dict[str, str] = {}
    for word in argv:
        if word.startswith("--"):
            flag = word
            found[flag] = ""
        else:
            found[flag] = word
    return found


def subtomo(flags: dict[str, str]) -> None:
    out, box, binning = flags["--o"], int(flags.get("--crop", flags["--b"])), float(flags["--bin"])
    particles = read(flags["--p"])
    particles = particles["particles"] if isinstance(particles, dict) else particles
    tomograms = read(flags["--t"]).set_index("rlnTomoName")
    pixel = tomograms["rlnTomoTiltSeriesPixelSize"].iloc[0]
    groups = list(dict.fromkeys(tomograms["rlnOpticsGroupName"]))
    number = particles.groupby("rlnTomoName").cumcount() + 1
    if "rlnTomoParticleName" not in particles:
        particles["rlnTomoParticleName"] = particles["rlnTomoName"] + "/" + number.astype(str)
    name, in_3d = f"{out}Subtomograms/" + particles["rlnTomoParticleName"], "--stack2d" not in flags
    particles["rlnImageName"] = name + ("_data.mrc" if in_3d else "_stack2d.mrcs")
    if in_3d:
        particles["rlnCtfImage"] = name + "_weights.mrc"
    particles["rlnTomoVisibleFrames"] = f"[{','.join('1' * TILTS)}]"
    of_each = tomograms["rlnOpticsGroupName"].loc[particles["rlnTomoName"]]
    particles["rlnOpticsGroup"] = [groups.index(name) + 1 for name in of_each]
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": range(1, len(groups) + 1),
            "rlnOpticsGroupName": groups,
            **{name: tomograms[name].iloc[0] for name in ("rlnVoltage", "rlnSphericalAberration")},
            "rlnAmplitudeContrast": tomograms["rlnAmplitudeContrast"].iloc[0],
            "rlnTomoTiltSeriesPixelSize": pixel,
            "rlnCtfDataAreCtfPremultiplied": 1,
            "rlnImageDimensionality": 3 if in_3d else 2,
            "rlnTomoSubtomogramBinning": binning,
            "rlnImagePixelSize": pixel * binning,
            "rlnImageSize": box,
        }
    )
    for path in particles["rlnImageName"]:
        write_hollow(path, (box if in_3d else TILTS, box, box), pixel * binning, mode=12)
    for path in particles.get("rlnCtfImage", []):
        write_hollow(path, (2 * box, box, box // 2 + 1), pixel * binning)
    write_particles(f"{out}particles.star", particles, optics)
    write_set(f"{out}optimisation_set.star", f"{out}particles.star", flags["--t"], flags.get("--mot", ""))


def reconstruct_particle(flags: dict[str, str]) -> None:
    """The map of all particles, and of each half set if there are any; only their labels tell half maps apart."""
    state, out, box = read(flags["--i"]), flags["--o"], int(flags["--b"])
    tables = read(state["rlnTomoParticlesFile"])
    pixel = tables["optics"]["rlnTomoTiltSeriesPixelSize"].iloc[0] * float(flags["--bin"])
    if Path(out).parent.parent.name in ("ctfrefine", "polish"):  # nothing looks into it, and it is large
        write_hollow(f"{out}merged.mrc", (box, box, box), pixel)
    else:
        show_particle(flags, f"{out}merged.mrc", box, pixel, 30)
    if "rlnRandomSubset" in tables["particles"]:
        made_of = zlib.crc32(Path(state["rlnTomoParticlesFile"]).read_bytes())
        for half in (1, 2):
            label = f"{reached(state['rlnTomoTomogramsFile']):.6g} A of {made_of:x}"
            write_hollow(f"{out}half{half}.mrc", (box, box, box), pixel, label)


def reconstruct_tomogram(flags: dict[str, str]) -> None:
    """Noise."""
    write_map(
        f"{flags['--o']}tomograms/rec_{flags['--tn']}.mrc",
        np.random.default_rng(0).normal(size=(6, 40, 40)).astype(np.float32),
        float(flags["--binned_angpix"]),
    )


def refine_ctf(flags: dict[str, str]) -> None:
    """Tilt series whose maps are as much finer than the FSC given as the tutorial says, or the plan."""
    tilts_refined(flags, GAINS)


def align(flags: dict[str, str]) -> None:
    """The same for polishing, with particles that moved and, if asked for, trajectories."""
    state, out, motion = state_of(flags), flags["--o"], ""
    tilts_refined(flags, POLISHING_GAINS)
    tables = read(state["rlnTomoParticlesFile"])
    for axis in "XYZ":
        tables["particles"][f"rlnCenteredCoordinate{axis}Angst"] += np.arange(len(tables["particles"])) % 3
    write_particles(f"{out}particles.star", tables["particles"], tables["optics"])
    if "--motion" in flags:
        motion = f"{out}motion.star"
        path = pd.DataFrame({f"rlnOrigin{axis}Angst": np.linspace(0, 1, TILTS) for axis in "XYZ"})
        names = tables["particles"]["rlnTomoParticleName"]
        general = {"rlnParticleNumber": len(names)}
        starfile.write({"general": general} | dict.fromkeys(names, path), motion, overwrite=True)
    write_set(f"{out}optimisation_set.star", f"{out}particles.star", f"{out}tomograms.star", motion)


def tilts_refined(flags: dict[str, str], gains: dict[str, float]) -> None:
    """Write tomograms, tilt series and state; half maps, FSC and state must be of one make, as RELION cannot tell."""
    state, out = state_of(flags), flags["--o"]
    tomograms = read(state["rlnTomoTomogramsFile"])
    now = reached(state["rlnTomoTomogramsFile"])
    told = [float(label_of(flags[ref]).split()[0]) for ref in ("--ref1", "--ref2")]
    told.append(read(flags["--fsc"])["general"]["rlnFinalResolution"])
    if not np.allclose(told, now, rtol=1e-3):
        sys.exit(f"ERROR: the state gives {now} Å, but its half maps and FSC say {told}")
    gain = float(flags.get("fake gain", next(gain for flag, gain in gains.items() if flag in flags)))
    tomograms[REACHED] = max(round(now * gain, 2), FINEST)
    series = [f"{out}tilt_series/{name}.star" for name in tomograms["rlnTomoName"]]
    for name, old, new in zip(tomograms["rlnTomoName"], tomograms[SERIES], series, strict=True):
        tilts = read(old)
        for column in ("rlnDefocusU", "rlnDefocusV"):
            tilts[column] += 100.0 * (1 - gain)
        Path(new).parent.mkdir(parents=True, exist_ok=True)
        starfile.write({name: tilts}, new, overwrite=True)
    tomograms[SERIES] = series
    starfile.write({"global": tomograms}, f"{out}tomograms.star", overwrite=True)
    files = (state[f"rlnTomo{kind}File"] for kind in ("Particles", "Trajectories"))
    particles, trajectories = files
    write_set(f"{out}optimisation_set.star", particles, f"{out}tomograms.star", trajectories)


def state_of(flags: dict[str, str]) -> dict[str, str]:
    """The files of the state that is given, by its optimisation set or one by one."""
    named = {"Particles": "--p", "Tomograms": "--t", "Trajectories": "--mot"}
    files = {f"rlnTomo{kind}File": flags.get(flag, "") for kind, flag in named.items()}
    return read(flags["--i"]) if "--i" in flags else files


def reached(tomograms: str) -> float:
    """How fine (Å) a bin1 map of these tilt series is."""
    table = read(tomograms)
    return float(table[REACHED].iloc[0]) if REACHED in table else FIRST


def refine(flags: dict[str, str]) -> None:
    if "--ios" in flags:
        state = read(flags["--ios"])
        files = {"--i": "Particles", "--tomograms": "Tomograms", "--trajectories": "Trajectories"}
        flags |= {flag: state[f"rlnTomo{kind}File"] for flag, kind in files.items()}
    tables, files = read(flags["--i"]), (flags["--tomograms"], flags.get("--trajectories", ""))
    optics, particles = tables["optics"], tables["particles"]
    box, pixel = int(optics["rlnImageSize"].iloc[0]), float(optics["rlnImagePixelSize"].iloc[0])
    Path(flags["--o"]).parent.mkdir(parents=True, exist_ok=True)
    if "--auto_refine" in flags:
        auto_refine(flags, particles, optics, files, box, pixel)
    else:
        class3d(flags, particles, optics, files, box, pixel)


def class3d(flags: dict, particles: pd.DataFrame, optics: pd.DataFrame, files: tuple, box: int, pixel: float):
    """Iterations 0 to --iter of the tutorial's alignment (K = 1) or its classification."""
    tau, count = float(flags["--tau2_fudge"]), int(flags["--K"])
    final = final_classes(len(particles), tau).clip(max=count) if count > 1 else np.ones(len(particles), int)
    for iteration in range(int(flags["--iter"]) + 1):
        if iteration:
            print(f" Expectation iteration {iteration} of {flags['--iter']}", flush=True)
            finer = RESOLUTION[-1] / RESOLUTION[min(iteration, len(RESOLUTION) - 1)]
            time.sleep(float(flags.get("fake seconds", 0)) * finer)
        start = f"{flags['--o']}_it{iteration:03d}"
        classes = (
            CLASSES[:count]
            if count > 1
            else CLASSES.loc[[5]].assign(share=1.0, **ACCURACY, resolution=RESOLUTION[iteration])
        )
        names = [f"{start}_class{k:03d}.mrc" for k in range(1, count + 1)]
        for k, (name, resolution) in enumerate(zip(names, classes["resolution"], strict=True), 1):
            junk = count > 1 and (k in JUNK or "fake only_junk" in flags)
            fine = resolution if np.isfinite(resolution) else 60
            Path(name).unlink(missing_ok=True)
            os.link(drawn(flags, box, pixel, fine, seed=10 + k if junk else 0), name)
        write_model(f"{start}_model.star", names, classes, box, pixel, tau)
        drift = sum(CHANGES[iteration + 1 :]) if iteration else 1
        particles = particles.assign(
            rlnClassNumber=still_changing(final, drift, count),
            rlnOriginXAngst=float(iteration),
            rlnMaxValueProbDistribution=0.9,
            rlnLogLikeliContribution=1e4,
        )
        write_particles(f"{start}_data.star", particles, optics)
        write_set(f"{start}_optimisation_set.star", f"{start}_data.star", *files)
        write_optimiser(start, CHANGES[iteration] if count > 1 else 0.0)
        if iteration:
            write_sampling(start)


def final_classes(number: int, tau: float) -> np.ndarray:
    """A class for each particle, in the proportions of `CLASSES`; only T = 1 has the junk where it belongs."""
    share = CLASSES["share"].to_numpy().copy()
    if tau != 1:
        share[[0, 3]] /= 5
    edges = np.cumsum(share / share.sum())
    return np.searchsorted(edges, (np.arange(number) + 0.5) / number) + 1


def still_changing(final: np.ndarray, fraction: float, count: int) -> np.ndarray:
    """The final classes, but for this fraction of the particles, spread evenly, which are in the next class."""
    at = np.linspace(0, len(final) - 1, round(min(fraction, 0.9) * len(final))).astype(int)
    classes = final.copy()
    classes[at] = classes[at] % count + 1
    return classes


def auto_refine(
    flags: dict, particles: pd.DataFrame, optics: pd.DataFrame, files: tuple, box: int, pixel: float
):
    root = flags["--o"]
    for name, fine in {"class001": 16, "half1_class001_unfil": 16, "half2_class001_unfil": 16.1}.items():
        show_particle(flags, f"{root}_{name}.mrc", box, pixel, fine)
    best = CLASSES.loc[[5]].assign(share=1.0, resolution=15.6718)
    write_model(f"{root}_model.star", [f"{root}_class001.mrc"], best, box, pixel, 1)
    halves = particles.get("rlnRandomSubset", np.arange(len(particles)) % 2 + 1)
    mask = flags.get("--solvent_mask")  # other masks give other poses
    turn = zlib.crc32(Path(mask).read_bytes()) % 1000 / 1000 if mask else 0.0
    refined = {"rlnAngleRot": particles["rlnAngleRot"] + turn, "rlnRandomSubset": halves}
    write_particles(f"{root}_data.star", particles.assign(rlnClassNumber=1, **refined), optics)
    write_set(f"{root}_optimisation_set.star", f"{root}_data.star", *files)
    write_optimiser(root, 0.0)
    write_sampling(root)


def mask_create(flags: dict[str, str]) -> None:
    with mrcfile.open(flags["--i"]) as file:
        density, pixel = file.data, float(file.voxel_size.x)
    mask = (density > float(flags["--ini_threshold"])).astype(np.float32)
    edge = [flags.get(flag, "") for flag in ("--extend_inimask", "--width_soft_edge")]
    mask[0, 0, 0] = zlib.crc32(str(edge).encode()) % 1000 / 2000  # tells masks of other edges apart
    write_map(flags["--o"], mask, pixel)


def postprocess(flags: dict[str, str]) -> None:
    with mrcfile.open(flags["--i"], header_only=True) as file:
        box, pixel = int(file.header.nx), float(file.voxel_size.x)
    label = label_of(flags["--i"])  # none at a refinement's half maps: they reach Nyquist, as the tutorial's
    of_cycle = " A of " in label
    for path in (f"{flags['--o']}.mrc", f"{flags['--o']}_masked.mrc"):
        if of_cycle:
            write_hollow(path, (box, box, box), pixel)
        else:
            show_particle(flags, path, box, pixel, 16)
    shells = np.arange(box // 2 + 1)
    frequency = shells / (box * pixel)
    resolution = float(label.split()[0]) if of_cycle else 2 * pixel
    curve = 1 - 0.857 * frequency * resolution if of_cycle else np.linspace(1, 0.6, len(shells))
    curve = curve.clip(0)
    fsc = pd.DataFrame(
        {
            "rlnSpectralIndex": shells,
            "rlnResolution": frequency,
            "rlnAngstromResolution": [999.0, *1 / frequency[1:]],
            "rlnFourierShellCorrelationCorrected": curve,
            "rlnFourierShellCorrelationUnmaskedMaps": curve**2,
            "rlnFourierShellCorrelationMaskedMaps": curve,
            "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": 0 * curve,
        }
    )
    general = {
        "rlnFinalResolution": resolution,
        "rlnBfactorUsedForSharpening": float(flags.get("--adhoc_bfac", 0)),
        "rlnUnfilteredMapHalf1": flags["--i"],
        "rlnUnfilteredMapHalf2": flags["--i"].replace("half1", "half2"),
        "rlnPostprocessedMap": f"{flags['--o']}.mrc",
        **({"rlnMaskName": flags["--mask"]} if "--mask" in flags else {}),
        "rlnRandomiseFrom": 24.448,
        "rlnPostprocessedMapMasked": f"{flags['--o']}_masked.mrc",
    }
    starfile.write({"general": general, "fsc": fsc}, f"{flags['--o']}.star", overwrite=True)
    print(f" + FINAL RESOLUTION: {resolution:.2f}")


def show_particle(flags: dict, path: str, box: int, pixel: float, fine: float, seed: int = 0) -> None:
    """A map at `path`."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(drawn(flags, box, pixel, fine, seed), path)


def drawn(flags: dict, box: int, pixel: float, fine: float, seed: int = 0) -> Path:
    """A file with such a `particle_map`; it is drawn once."""
    path = Path(flags["fake maps"]) / f"{box}_{pixel:g}_{fine:g}_{seed}.mrc"
    if not path.exists():
        new = path.with_suffix(f".{os.getpid()}")
        write_map(str(new), particle_map(box, pixel, fine, seed), pixel)
        new.rename(path)
    return path


def particle_map(box: int, pixel: float, resolution: float, seed: int = 0) -> np.ndarray:
    """A particle of 30 lobes within 350 Å, as fine as `resolution` (Å); with a seed, lobes and hollows at random."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(box) - box // 2) * pixel
    centres = rng.normal(0, 40, (30, 3)).clip(-110, 110)
    width = np.hypot(20, resolution / 3)
    lobes = np.exp(-((axis - centres[..., None]) ** 2) / (2 * width**2)).astype(np.float32)  # (30, 3, box)
    height = (0.004 * (rng.choice([-1, 1], 30) if seed else np.ones(30))).astype(np.float32)
    planes = (lobes[:, 1, :, None] * lobes[:, 2, None, :]).reshape(30, -1)
    density = ((height[:, None] * lobes[:, 0]).T @ planes).reshape(box, box, box)
    noise = np.random.default_rng((seed, round(100 * resolution)))  # half maps have two resolutions here
    return density + np.float32(2e-5) * noise.standard_normal(density.shape, np.float32)


def write_model(
    path: str, maps: list[str], classes: pd.DataFrame, box: int, pixel: float, tau: float
) -> None:
    frequency = np.arange(box // 2 + 1) / (box * pixel)
    general = {
        "rlnReferenceDimensionality": 3,
        "rlnOriginalImageSize": box,
        "rlnCurrentResolution": classes["resolution"].min(),
        "rlnPixelSize": pixel,
        "rlnNrClasses": len(maps),
        "rlnTau2FudgeFactor": tau,
        "rlnLogLikelihood": 1.8e6,
        "rlnAveragePmax": 0.9,
    }
    table = pd.DataFrame(
        {
            "rlnReferenceImage": maps,
            "rlnClassDistribution": classes["share"],
            "rlnAccuracyRotations": classes["rotations"],
            "rlnAccuracyTranslationsAngst": classes["translations"],
            "rlnEstimatedResolution": classes["resolution"],
            "rlnOverallFourierCompleteness": classes["completeness"],
        }
    )
    blocks = {"model_general": general, "model_classes": table}
    for number, resolution in enumerate(classes["resolution"], 1):
        blocks[f"model_class_{number}"] = pd.DataFrame(
            {
                "rlnSpectralIndex": range(len(frequency)),
                "rlnResolution": frequency,
                "rlnSsnrMap": np.exp(8 * (1 / resolution - frequency) * 30) * 1.000001,
            }
        )
    starfile.write(blocks, path, overwrite=True)


def write_sampling(start: str) -> None:
    starfile.write({"sampling_general": {"rlnHealpixOrder": 2}}, f"{start}_sampling.star", overwrite=True)


def write_optimiser(start: str, changes: float) -> None:
    number = re.search(r"_it(\d{3})$", start)
    general = {
        "rlnOutputRootName": start.removesuffix(number[0]) if number else start,
        "rlnModelStarFile": f"{start}_model.star",
        "rlnExperimentalDataStarFile": f"{start}_data.star",
        "rlnCurrentIteration": int(number[1]) if number else -1,
        "rlnOverallAccuracyRotations": 1.8,
        "rlnOverallAccuracyTranslationsAngst": 2.49828,
        "rlnChangesOptimalOrientations": 1.0,
        "rlnChangesOptimalOffsets": 1.0,
        "rlnChangesOptimalClasses": changes,
    }
    starfile.write({"optimiser_general": general}, f"{start}_optimiser.star", overwrite=True)


def write_particles(path: str, particles: pd.DataFrame, optics: pd.DataFrame) -> None:
    in_2d = int("rlnCtfImage" not in particles)
    blocks = {"general": {"rlnTomoSubTomosAre2DStacks": in_2d}, "optics": optics, "particles": particles}
    starfile.write(blocks, path, overwrite=True)


def write_set(path: str, particles: str, tomograms: str, trajectories: str = "") -> None:
    row = {"rlnTomoParticlesFile": particles, "rlnTomoTomogramsFile": tomograms}
    starfile.write({"": row | {"rlnTomoTrajectoriesFile": trajectories}}, path, overwrite=True)


def write_map(path: str, data: np.ndarray, pixel: float) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, data.astype(np.float32), overwrite=True) as file:
        file.voxel_size = pixel


def write_hollow(path: str, shape: tuple, pixel: float, label: str = "", mode: int = 2) -> None:
    """An MRC file of zeros, a hole in the disk, with a label, and four voxels per section that tell it from others."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new_mmap(path, shape, mrc_mode=mode, overwrite=True) as file:
        file.voxel_size = pixel
        digest = zlib.crc32(f"{path} {label}".encode()).to_bytes(4, "big")
        file.data[:, shape[1] // 2, :4] = np.frombuffer(digest, np.uint8)
        if label:
            file.add_label(label)


def label_of(path: str) -> str:
    """What `write_hollow` labelled a map with; else mrcfile's own label."""
    with mrcfile.open(path, header_only=True) as file:
        return file.get_labels()[-1]


def read(path: str):
    """The tables of a STAR file, or its only one; names like 001 stay text."""
    return starfile.read(path, parse_as_string=["rlnTomoName", "rlnOpticsGroupName", SERIES])


WORK = {
    "relion_refine": refine,
    "relion_refine_mpi": refine,
    "relion_tomo_subtomo": subtomo,
    "relion_tomo_reconstruct_particle": reconstruct_particle,
    "relion_tomo_reconstruct_tomogram": reconstruct_tomogram,
    "relion_mask_create": mask_create,
    "relion_postprocess": postprocess,
    "relion_tomo_refine_ctf": refine_ctf,
    "relion_tomo_align": align,
}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
