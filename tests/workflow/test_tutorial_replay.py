"""The tutorial replayed: the default config, a stand-in for RELION with the tutorial's numbers, and its commands.

The whole workflow runs once. What it decides on those numbers must be what the tutorial's author decided, and each
command that it ran must be the tutorial's, flag by flag and in its order, with our file names in place of the author's.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import fake_relion
import pandas as pd
import pytest
import yaml
from conftest import ROOT, Project, overlay
from small_inputs import write_inputs

from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.preflight import environment
from stacycle.programs.command import Command
from stacycle.programs.scratch import scratch_folder
from stacycle.recipe import geometry
from stacycle.recipe.config import DEFAULT, validate
from stacycle.recipe.rounds import Recipe
from stacycle.resources.site import CPU
from stacycle.steps import registry

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("replay")]


def jobs(path: str) -> dict[str, str]:
    """Name -> command of a file of the tutorial's jobs."""
    lines = (ROOT / "tests" / path).read_text().splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


TUTORIAL, CYCLE = jobs("unit/data/tutorial_commands.txt"), jobs("workflow/data/cycle_commands.txt")
CLI = json.loads((ROOT / "tests/golden/cli.json").read_text())
BIN4 = "results/bin4/"
CYCLE1 = BIN4 + "cycle1/"
CTFREFINE, POLISH = CYCLE1 + "ctfrefine/", CYCLE1 + "polish/"
OURS = {  # file names of the tutorial's jobs -> ours; the first that fits is taken
    "particles_fuse_AreT.star": "results/inputs/particles.star",
    "tomograms_fuse_AreT.star": "results/inputs/tomograms.star",
    "tomograms_1n2.star": "results/inputs/tomograms.star",
    "Extract/job003/": BIN4 + "extract/",
    "Extract/job006/": BIN4 + "extract/",
    "Reconstruct/job005/": BIN4 + "reconstruct/",
    "Class3D/job009/run_it020_optimisation_set.star": BIN4 + "align_poses/optimisation_set.star",
    "Class3D/job009/run_it020_class001.mrc": BIN4 + "align_poses/reference.mrc",
    "Class3D/job009/": BIN4 + "align/T1/",
    "Class3D/job011/run_it019_class003.mrc": BIN4 + "select/reference.mrc",
    "Class3D/job011/": BIN4 + "class3d/T1_K6/",
    "Select/job014/": BIN4 + "select/",
    "MaskCreate/job010/": BIN4 + "mask/",
    # The cycle starts from the particles that the step between, which the tutorial has not, left in.
    "Refine3D/job017/run_optimisation_set.star": BIN4 + "score/optimisation_set.star",
    "Refine3D/job017/run_half": BIN4 + "refine3d_poses/run_half",
    "Refine3D/job017/": BIN4 + "refine3d/",
    "PostProcess/job019/": BIN4 + "postprocess/",
    "Reconstruct/job020/": CYCLE1 + "reference/",
    "MaskCreate/job021/": CYCLE1 + "mask/",
    "PostProcess/job022/": CYCLE1 + "postprocess/",
    "CtfRefine/job024/": CTFREFINE + "regularised/",
    "Reconstruct/job028/": CTFREFINE + "regularised/reconstruct/",
    "PostProcess/job031/": CTFREFINE + "regularised/postprocess/",
    "Polish/job/": POLISH + "motion/",
    "Reconstruct/polished/": POLISH + "motion/reconstruct/",
    "PostProcess/polished/": POLISH + "motion/postprocess/",
}
ONE_OF_EACH = {"ctfrefine": {"unregularised": None, "scale_only": None}, "polish": {"no_motion": None}}
# The winner's files, under the names that polishing knows them by.
KEPT = dict.fromkeys(("CtfRefine/job024/", "Reconstruct/job028/", "PostProcess/job031/"), CTFREFINE)
# What the tutorial does not give of the mask, in its order; elsewhere it is the B-factor, -100.
MASK = ["20", "THRESHOLD", "6", "6"]


@dataclass(frozen=True)
class Replay:
    """The finished project, the scratch folder, and the commands that it ran; those of mpirun apart, and those of the
    tomography programs as the GUI has them for one process."""

    folder: Path
    scratch: Path
    commands: list[list[str]]
    mpi_commands: list[list[str]]

    def decision(self, step: str, round_: str = "bin4") -> dict:
        return json.loads((self.folder / "results" / round_ / step / "decision.json").read_text())

    def particles(self, name: str) -> star.Tables:
        return star.read(self.folder / BIN4 / name)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    root = tmp_path_factory.mktemp("tutorial")
    relion = fake_relion.install(root / "relion")
    mpi = fake_relion.install(root / "mpi", programs=("mpirun",))
    scratch, folder = root / "scratch", root / "project"
    scratch.mkdir()
    sets = [write_inputs(folder, f"gain{number}", particles=110, seed=number) for number in (1, 2)]
    config = {
        "inputs": sets,
        "particle": {"diameter": 350, "symmetry": "C1"},
        "engine": {"kind": "relion", "bin": str(relion)},
        # The stand-in's few particles are not to make other runs than the tutorial's 22,372. The later rounds have no
        # numbers in the tutorial: one run of each sweep is enough, and small boxes: with those of `auto`, preflight
        # asks for 45 GB of disk in place of 17 GB.
        "rounds": {
            "bin4": {"class3d": geometry.classification(22_372, 350) | {"highres_limit": 15}},
            "bin2": {"box": 96, "class3d": {"T": [1], "classes": 6}, "cycle": ONE_OF_EACH},
            "bin1": {"box": 160, "cycle": {"box": 96, **ONE_OF_EACH}},
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        patch.setenv("PATH", str(mpi), prepend=":")
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")  # a stand-in
        done = Project(folder, config).snakemake(*("--cores", "8", "--max-threads", "2"), timeout=3600)
    assert done.returncode == 0, done.stderr[-6000:]
    commands = [as_one_process(line) for line in fake_relion.recorded(relion)]
    yield Replay(folder, scratch, commands, fake_relion.recorded(mpi))
    shutil.rmtree(root)  # several GB


def as_one_process(line: list[str]) -> list[str]:
    """A command line as the GUI has it without MPI: two ranks of a thread each are a job of two threads."""
    if not re.fullmatch(r"relion_tomo_\w+_mpi", line[0]):
        return line
    threads = {flag: line.index(flag) + 1 for flag in ("--j", "--j_out") if flag in line}
    assert {line[at] for at in threads.values()} == {"1"}
    words = {at: "2" for at in threads.values()} | {0: line[0].removesuffix("_mpi")}
    return [words.get(at, word) for at, word in enumerate(line)]


def test_steps_that_share_tomograms_run_on_a_rank_for_each(replay: Replay) -> None:
    shared = [line for line in replay.mpi_commands if "relion_tomo" in line[3]]
    assert {Path(line[3]).name for line in shared} == {
        f"relion_tomo_{name}_mpi" for name in ("subtomo", "reconstruct_particle", "refine_ctf", "align")
    }
    assert {tuple(line[:3]) for line in shared} == {("mpirun", "-n", "2")}


def ours(word: str, replay: Replay, names: Mapping[str, str] = OURS) -> str:
    """A word of the tutorial's command as it must read in ours: jobs have 2 threads, and the one GPU is named."""
    for theirs, here in names.items():
        if word.startswith(theirs):
            return here + word.removeprefix(theirs)
    threshold = f"{replay.decision('mask')['choice']['threshold']:g}"
    return {"$TMPDIR": str(replay.scratch), "0.00294": threshold, "N": "2", "M": "3", "": "0"}.get(word, word)


def command(program: str, out: str, replay: Replay) -> list[str]:
    """The one recorded command of a program whose --o starts with `out`."""
    found = [line for line in replay.commands if line[0] == program and f" --o {out}" in " ".join(line)]
    assert len(found) == 1, f"{program} --o {out} was run {len(found)} times"
    return found[0]


@pytest.mark.parametrize("step", [step for step in TUTORIAL if step != "refine3d"])
def test_each_step_runs_the_tutorials_command_flag_by_flag(step: str, replay: Replay) -> None:
    expected = [ours(word, replay) for word in shlex.split(TUTORIAL[step])]
    assert command(expected[0], expected[expected.index("--o") + 1], replay) == expected


def test_refine3d_runs_the_tutorials_command_on_three_ranks(replay: Replay) -> None:
    expected = [ours(word, replay) for word in shlex.split(TUTORIAL["refine3d"])]
    assert refinement("bin4", replay) == shared_by_two_ranks(expected)


def shared_by_two_ranks(line: list[str]) -> list[str]:
    """A command line whose threads and GPU the ranks of the two halves share."""
    line[line.index("--j") + 1], line[line.index("--gpu") + 1] = "1", "0:0"
    return line


def refinement(round_: str, replay: Replay) -> list[str]:
    """The command of a round's refine3d, its program without the folder."""
    (run,) = (run for run in replay.mpi_commands if f"results/{round_}/refine3d/run" in run)
    return [*run[:3], Path(run[3]).name, *run[4:]]


@pytest.mark.parametrize("step", CYCLE)
def test_each_step_of_the_cycle_runs_the_tutorials_command_flag_by_flag(step: str, replay: Replay) -> None:
    names = OURS | KEPT if step == "polish" else OURS
    expected = [ours(word, replay, names) for word in shlex.split(CYCLE[step])]
    threshold = f"{replay.decision('cycle1/mask')['choice']['threshold']:g}"
    for word in MASK if step == "mask" else ["-100"] * expected.count("?"):
        expected[expected.index("?")] = threshold if word == "THRESHOLD" else word
    assert command(expected[0], expected[expected.index("--o") + 1], replay) == expected


def test_the_cycles_sweeps_differ_from_the_tutorials_picture_only_by_what_its_text_varies(
    replay: Replay,
) -> None:
    def variant(program: str, folder: str, picture: str) -> tuple[str, ...]:
        line = command(program, folder + "/", replay)
        of_picture = command(program, f"{Path(folder).parent}/{picture}/", replay)
        assert set(line) - {folder + "/"} <= set(of_picture)
        return tuple(word for word in of_picture[1:] if word not in line and "/" not in word)

    ctf, align = "relion_tomo_refine_ctf", "relion_tomo_align"
    regularisation = ("--do_reg_defocus", "--lambda", "0.1")
    assert variant(ctf, CTFREFINE + "unregularised", "regularised") == regularisation
    defocus = ("--do_defocus", "--d0", "-4000", "--d1", "4000", *regularisation)
    assert variant(ctf, CTFREFINE + "scale_only", "regularised") == defocus
    motion = ("--motion", "--s_vel", "0.2", "--s_div", "5000")
    assert variant(align, POLISH + "no_motion", "motion") == motion


def test_every_variant_is_reconstructed_and_postprocessed_alike(replay: Replay) -> None:
    for program in ("relion_tomo_reconstruct_particle", "relion_postprocess"):
        lines = {
            re.sub(r"(ctfrefine|polish)/\w+/", "VARIANT/", " ".join(line))
            for line in replay.commands
            if line[0] == program and re.search(rf" --o {CYCLE1}(ctfrefine|polish)/", " ".join(line))
        }
        assert len(lines) == 1, lines


WHAT_COMES_NEXT = {  # re-extract from the best Polish job, generate a bin2 reference, refine, classify, select; cycle
    "extract": f"relion_tomo_subtomo --p {POLISH}motion/particles.star --t {POLISH}tomograms.star "
    f"--mot {POLISH}motion/motion.star --theme classic --o results/bin2/extract/ --b 96 --bin 2 --min_frames 1 "
    "--float16 --stack2d --j 2",
    "reconstruct": "relion_tomo_reconstruct_particle --i results/bin2/extract/optimisation_set.star --theme classic "
    "--o results/bin2/reconstruct/ --b 96 --bin 2 --j 2 --j_out 2 --j_in 1 --sym C1",
    "postprocess": "relion_postprocess --mask results/bin2/mask/mask.mrc "
    "--i results/bin2/refine3d_poses/run_half1_class001_unfil.mrc --o results/bin2/postprocess/postprocess --angpix -1 "
    "--adhoc_bfac -100",
    "cycle": "relion_tomo_reconstruct_particle --i results/bin2/select/optimisation_set.star --theme classic "
    "--o results/bin2/cycle1/reference/ --b 192 --bin 1 --j 2 --j_out 2 --j_in 1 --sym C1",
    "bin1": "relion_tomo_subtomo --p results/bin2/cycle1/polish/motion/particles.star "
    "--t results/bin2/cycle1/polish/tomograms.star --mot results/bin2/cycle1/polish/motion/motion.star "
    "--theme classic --o results/bin1/extract/ --b 160 --bin 1 --min_frames 1 --float16 --stack2d --j 2",
}


@pytest.mark.parametrize("step", WHAT_COMES_NEXT)
def test_what_comes_next_starts_from_the_best_polishing_with_its_trajectories(
    step: str, replay: Replay
) -> None:
    expected = WHAT_COMES_NEXT[step].split()
    assert command(expected[0], expected[expected.index("--o") + 1], replay) == expected


def test_bin2_is_refined_with_the_trajectories_in_small_steps(replay: Replay) -> None:
    expected = shared_by_two_ranks([ours(word, replay) for word in shlex.split(TUTORIAL["refine3d"])])
    bin2 = [word.replace(BIN4, "results/bin2/") for word in expected]
    changed = {
        "--i": "results/bin2/extract/particles.star",
        "--tomograms": f"{POLISH}tomograms.star",
        "--ref": "results/bin2/reconstruct/merged.mrc",
        "--ini_high": "10",
        "--particle_diameter": "330",
        "--healpix_order": "3",  # refined to 1.8 degrees
        "--auto_local_healpix_order": "3",
    }
    for flag, value in changed.items():
        bin2[bin2.index(flag) + 1] = value
    at = bin2.index("--tomograms") + 2
    assert refinement("bin2", replay) == [
        *bin2[:at],
        "--trajectories",
        f"{POLISH}motion/motion.star",
        *bin2[at:],
    ]


def classifications(replay: Replay, round_: str = "bin4") -> list[list[str]]:
    start = f"--o results/{round_}/class3d/"
    return [line for line in replay.commands if "--skip_align" in line and start in " ".join(line)]


def test_the_sweep_runs_the_tutorials_classification_with_each_T(replay: Replay) -> None:
    at = "--tau2_fudge"
    runs = {line[line.index(at) + 1]: line for line in classifications(replay)}
    assert set(runs) == {"0.5", "1", "2", "4"}
    for tau, line in runs.items():
        expected = [word.replace("/T1_K6/", f"/T{tau}_K6/") for word in runs["1"]]
        expected[expected.index(at) + 1] = tau
        assert line == expected


def test_every_program_ran_as_often_as_the_tutorial_wants_it(replay: Replay) -> None:
    names = [line[0] for line in replay.commands]
    variants = (3 + 2) + 2 * (1 + 1)  # of CTF refinement and of polishing, in bin4 and in the later rounds
    assert {name: names.count(name) for name in names} == {
        "relion_refine": (1 + 1) + 4 + 1,  # a short alignment first
        "relion_refine_mpi": 3,
        "relion_tomo_subtomo": 3,
        # with poses before and after: two for align and bin4's refine3d, one where `reconstruct` is that before
        "relion_tomo_reconstruct_particle": 3 + 3 + variants + (2 + 2 + 1 + 1),
        "relion_mask_create": 3 + 3,
        "relion_postprocess": 3 + 3 + variants,
        "relion_tomo_refine_ctf": 3 + 2 * 1,
        "relion_tomo_align": 2 + 2 * 1,
        "relion_tomo_reconstruct_tomogram": 1,
    }


def test_preflight_looks_up_the_programs_and_flags_that_run_and_no_others(replay: Replay) -> None:
    """All of a whole run: of each sweep's variants, of trajectories that only later rounds have, and of MPI builds."""
    shown = yaml.safe_load((replay.folder / "config.yaml").read_text())
    config = validate(overlay(yaml.safe_load(DEFAULT.read_text()), shown))
    rules = {rule for rule, _ in registry.command_lines(Recipe.from_config(config), config, {})}
    on_gpus = {name for name, step in registry.all_steps().items() if step.device != CPU}
    asked = {rule: {"gpu": int(rule in on_gpus)} for rule in rules}
    looked_up = environment.commands(Recipe.from_config(config), config, asked)
    expected = {(command.program, frozenset(command.flags)) for _, command in looked_up}
    ran = [Command.of(line) for line in replay.commands]
    assert {(command.program, frozenset(command.flags)) for command in ran} == expected


def test_no_flag_is_emitted_that_relion_would_ignore(replay: Replay) -> None:
    for program, *words in replay.commands:
        flags = [word for word in words if word.startswith("--")]
        assert set(flags) <= set(CLI[program])
        assert len(flags) == len(set(flags)), f"a flag of {program} stands there twice"


def test_the_tutorials_numbers_lead_to_its_authors_choices(replay: Replay) -> None:
    assert replay.decision("align")["choice"] == {"variant": "T1", "iteration": 20}
    assert replay.decision("align_poses")["choice"] == {"poses": "after"}
    assert replay.decision("refine3d_poses")["choice"] == {"poses": "after"}
    assert replay.decision("class3d")["choice"] == {"variant": "T1_K6", "iteration": 19}
    assert replay.decision("select")["choice"]["classes"] == [2, 3, 5, 6]
    assert replay.decision("select")["numbers"]["resolution"] == pytest.approx(24.448)


def test_the_ladder_is_the_tutorials(replay: Replay) -> None:
    ladder = pd.read_csv(replay.folder / "results/ladder.tsv", sep="\t")
    bin4 = ladder[ladder["round"] == "bin4"]["resolution"]
    assert list(bin4) == pytest.approx([15.28, 9.55, 8.48, 5.65], abs=0.005)
    assert ladder["resolution"].iloc[-1] == pytest.approx(3.868, abs=0.001)


def test_the_cycle_keeps_what_the_tutorial_shows(replay: Replay) -> None:
    assert replay.decision("cycle1/ctfrefine")["choice"] == {"variant": "regularised"}
    assert replay.decision("cycle1/polish")["choice"] == {"variant": "motion"}
    kept, won = (replay.folder / POLISH / name for name in (".", "motion"))
    for name, made in {
        "optimisation_set.star": "optimisation_set.star",
        "half1.mrc": "reconstruct/half1.mrc",
        "half2.mrc": "reconstruct/half2.mrc",
        "postprocess.star": "postprocess/postprocess.star",
    }.items():
        if name == "optimisation_set.star":
            ours, theirs = (OptimisationSet.read(path) for path in (kept / name, won / made))
            assert (ours.particles, ours.trajectories) == (theirs.particles, theirs.trajectories)
        else:
            assert (kept / name).read_bytes() == (won / made).read_bytes()


def test_when_nothing_gets_finer_any_more_the_cycle_goes_back(replay: Replay) -> None:
    for sweep in ("ctfrefine", "polish"):
        decision = replay.decision(f"cycle1/{sweep}", "bin1")
        assert decision["choice"] == {"variant": "before"}
        assert decision["reason"].startswith("Rolled back")
    refined, kept = (
        OptimisationSet.read(replay.folder / "results/bin1" / name)
        for name in ("refine3d/run_optimisation_set.star", "cycle1/polish/optimisation_set.star")
    )
    assert kept == refined


def test_classification_starts_from_the_chosen_iteration_of_the_alignment(replay: Replay) -> None:
    align = replay.folder / BIN4 / "align"
    reference = (align / "reference.mrc").read_bytes()
    assert reference == (align / "T1/run_it020_class001.mrc").read_bytes()
    assert reference != (align / "T1/run_it019_class001.mrc").read_bytes()
    assert set(replay.particles("align/particles.star")["particles"]["rlnOriginXAngst"]) == {20}


def test_refinement_starts_from_the_good_classes_of_the_chosen_iteration(replay: Replay) -> None:
    classified = replay.particles("class3d/T1_K6/run_it019_data.star")
    selected = replay.particles("select/particles.star")
    good = classified["particles"]["rlnClassNumber"].isin([2, 3, 5, 6])
    assert 0 < good.sum() < len(good)
    classified["particles"] = classified["particles"][good].reset_index(drop=True)
    for table in ("general", "optics", "particles"):
        pd.testing.assert_frame_equal(
            selected[table], classified[table], check_dtype=False, obj=f"data_{table}"
        )


def test_the_box_and_pixel_are_those_of_the_tutorials_text(replay: Replay) -> None:
    optics = replay.particles("select/particles.star")["optics"]
    assert set(optics["rlnImageSize"]) == {84}
    assert set(optics["rlnImagePixelSize"]) == {7.64}


def test_two_gain_references_are_fused_under_unique_names(replay: Replay) -> None:
    tomograms = star.read(replay.folder / "results/inputs/tomograms.star")["global"]
    assert list(tomograms["rlnTomoName"]) == ["TS_01", "set2_TS_01"]
    assert tomograms["rlnOpticsGroupName"].is_unique


def test_particles_are_copied_to_the_systems_tmp_only_if_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")  # as Snakemake sets it for its jobs where it was not set
    assert scratch_folder("$TMPDIR") is None
    assert scratch_folder("/tmp") == "/tmp"
    assert scratch_folder("$TMPDIR/mine") == "/tmp/mine"
