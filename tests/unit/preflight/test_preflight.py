"""What would cost hours is told before the first of them: in data, numbers, programs, flags, GPU, MPI and disk."""

import copy
import functools
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pandas as pd
import pytest
import yaml
from input_sets import change, write_set
from snakemake.resources import Resources

from stacycle.decisions import classes
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.inputs import merge
from stacycle.preflight import against_data, disk, environment, preflight
from stacycle.programs import software
from stacycle.recipe import config as configs
from stacycle.recipe import limits
from stacycle.recipe.rounds import Recipe
from stacycle.resources import gpus

ROOT = Path(__file__).parents[3]
FLAGS = json.loads((ROOT / "tests/golden/cli.json").read_text())
EVERY_RULE = (
    *("initial_model", "poses", "align_probe", "cycle_pilot", "tomogram"),
    *(
        "inputs",
        "extract",
        "reconstruct",
        "align_symmetry",
        "expand",
        "align",
        "class3d",
        "class3d_further",
        "class3d_aligned",
        "mask",
        "refine3d",
        "postprocess",
    ),
    *("local_resolution", "multibody"),
    *("cycle_reference", "cycle_mask", "cycle_postprocess", "score", "hand", "ctfrefine", "polish"),
    *("variant_reconstruct", "variant_postprocess"),
)
OWN_WORK = {"inputs", "score"}  # rules that run no program of RELION
ON_CPUS = {"engine": {"kind": "embedded", "bin": None, "scratch": None, "pool": 1}}
ALL_ASK = {rule: {"gpu": 0, "ranks": 3 if rule in ("refine3d", "multibody") else 1} for rule in EVERY_RULE}
ON_GPUS = ALL_ASK | {rule: ALL_ASK[rule] | {"gpu": 1} for rule in ("align_probe", "align", "refine3d")}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project folder, where nothing has been found out before, and a machine without RELION."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in (gpus.POOL, *gpus.VISIBLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "driver")
    monkeypatch.setattr(disk, "free", lambda folder: (10**15, float("inf")))
    flags = software.known_flags
    monkeypatch.setattr(
        software,
        "known_flags",
        lambda engine, programs: (
            of_the_engine(flags) if engine["kind"] == "embedded" else flags(engine, programs)
        ),
    )
    return folder


@functools.cache
def of_the_engine(flags):
    """The flags of the embedded engine, looked up once for all tests: that takes seconds."""
    return flags(ON_CPUS["engine"], software.all_names())


@pytest.fixture
def relion(tmp_path):
    """Install stand-ins for RELION's programs and mpirun, which know `--version`, `--help` and, each, some flags."""

    def install(version="5.0.1", build="VECTOR-ACC=single", without=(), programs=(), leaders=1):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        says = f"RELION version: {version} \\nPrecision: BASE=double, {build} \\n"
        for program in programs or software.all_names():
            told = "\\n".join(f"   {flag} (1) : text" for flag in FLAGS[program] if flag not in without)
            script(
                folder / program,
                f'case "$*" in --version) printf "{says}";; --help) printf -- "{told}\\n";; esac',
            )
        blocks = "Using Point-to-Point MPI Blocksize = 1\\n" * leaders
        script(folder / "mpirun", f'printf "{blocks}"; shift 2; "$@"')
        return {"kind": "relion", "bin": None, "scratch": None, "pool": 1}

    return install


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def settings(**changes):
    """The default config with one small set, a diameter that fits it, and these changes."""
    config = configs.load(configs.DEFAULT, overlay(inputs=[write_set("a", particles=200, tilts=21)]))
    config["particle"] = {"diameter": 80, "symmetry": "C1", "duplicates": "refuse"}
    return {**config, **ON_CPUS, **changes}


def overlay(**keys):
    path = Path("overlay.yaml")
    path.write_text(yaml.safe_dump(keys))
    return path


def run(config, asked=ALL_ASK, **how):
    return preflight.run(config, Recipe.from_config(config), asked, **how)


def found(report, level):
    return [f"{row.checked}: {row.found}; {row.todo}" for row in report.of(level)]


def problem(report):
    (one,) = found(report, preflight.PROBLEM)
    return one


def warning(report):
    (one,) = found(report, preflight.WARNING)
    return one


def test_a_sound_project_has_neither_problem_nor_warning_and_says_what_was_looked_at():
    report = run(settings())
    assert found(report, preflight.PROBLEM) == found(report, preflight.WARNING) == []
    assert [row.checked for row in report.rows] == [
        *("data", "tilt series", "particles", "particles", "software", "flags", "disk")
    ]
    table = Path("results/preflight.tsv").read_text().splitlines()
    assert table[0] == "level\tchecked\tfound\twhat to do"
    assert len(table) == len(report.rows) + 1


def test_a_mistake_in_the_data_is_a_problem_that_comes_first_and_ends_the_run():
    config = settings()
    change("a/tomograms.star", lambda table: table.drop(columns="rlnTomoHand"))
    report = run(config)
    assert problem(report) == "data: a/tomograms.star: has no column rlnTomoHand; add it"
    lines = str(report).splitlines()
    assert lines[0].startswith("Preflight: 1 problem, 0 warnings")
    assert lines[2].startswith("problem  data")
    with pytest.raises(UserError, match="rlnTomoHand"):
        preflight.refuse(report)


def test_very_many_problems_are_cut_on_the_terminal_and_all_in_the_file():
    config = settings(inputs=[write_set("b", names=[f"TS_{i:02}" for i in range(70)], particles=1)])
    for series in Path("b").glob("TS_*.star"):
        series.unlink()
    report = run(config)
    assert len(report.of(preflight.PROBLEM)) == 70
    assert "20 more problems are in results/preflight.tsv" in str(report)
    assert Path("results/preflight.tsv").read_text().count("problem\t") == 70


def test_a_narrow_terminal_gets_the_table_too(monkeypatch):
    monkeypatch.setenv("COLUMNS", "7")
    assert "21 tilts" in str(run(settings()))


def test_a_project_folder_that_cannot_be_written_is_a_problem():
    config = settings()
    Path("results").write_text("")
    assert "results/preflight.tsv cannot be written (File exists); see to the rights" in problem(run(config))


def test_data_are_read_once_and_again_when_one_of_their_files_has_changed(monkeypatch):
    config = settings()
    read, times = merge.read, []
    monkeypatch.setattr(merge, "read", lambda *args: times.append(1) or read(*args))
    first, second = run(config), run(config)
    assert (len(times), first.rows) == (1, second.rows)
    image = Path("a/TS_02.mrcs")
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 1)
    assert "TS_02.mrcs is cut short" in problem(run(config))
    assert len(times) == 2


def test_a_problem_is_looked_at_anew_each_time():
    config = settings()
    Path("a/TS_01.mrcs").rename("a/away")
    assert "TS_01.mrcs is missing" in problem(run(config))
    Path("a/away").rename("a/TS_01.mrcs")
    assert found(run(config), preflight.PROBLEM) == []


def test_what_was_found_out_of_other_inputs_is_not_taken_for_these():
    config = settings()
    run(config)
    config["inputs"] = [{"tomograms": "a/tomograms.star", "particles": "no.star"}]
    assert "no.star: there is no such file; check the path, which starts at the project" in problem(
        run(config)
    )


def test_a_damaged_memory_is_no_problem():
    config = settings()
    Path("results").mkdir()
    for text in ("", "[", "[]", '{"data": 3}'):
        Path(preflight.MEMORY).write_text(text)
        assert found(run(config), preflight.PROBLEM) == []


def test_a_run_that_needs_neither_data_nor_programs_is_not_held_up_by_them():
    Path("a/tomograms.star").unlink(missing_ok=True)
    report = run(settings(inputs=[{"tomograms": "gone.star", "particles": "gone.star"}]), {"report": {}})
    assert report.rows == []
    assert not Path("results").exists()


# ------------------------------------------------------------------ numbers


def test_what_is_strange_is_reported_beside_what_is_wrong():
    config = settings()
    change("a/TS_01.star", lambda table: table.assign(rlnDefocusU=[0.0, 146012.0, *table.rlnDefocusU[2:]]))
    report = run(config)
    assert "rlnDefocusU is 0 in row 1" in problem(report)
    assert any("rlnDefocusU of 2 of 21 tilts of TS_01" in row.found for row in report.of(preflight.WARNING))


def test_pairs_that_refine3d_would_refuse_are_a_problem_unless_select_comes_before_it():
    config = settings()
    config["rounds"] = {"bin4": config["rounds"]["bin4"]}
    picks = star.read("a/particles.star")["particles"]
    near = picks.head(20).assign(rlnCenteredCoordinateXAngst=picks.rlnCenteredCoordinateXAngst + 3)
    star.write("a/particles.star", {"particles": pd.concat([picks, near])})
    assert not run(config).of(preflight.PROBLEM), "select keeps one of each"
    steps = ["extract", "reconstruct", "mask", "refine3d", "postprocess"]
    bin4 = config["rounds"]["bin4"]
    filters = {step: {**bin4[step], "lowpass": 60} for step in ("mask", "refine3d")}
    config["rounds"]["bin4"] = {**bin4, "steps": steps, **filters}
    assert "picked twice, which refine3d refuses; set particle.duplicates: keep_one" in problem(run(config))
    assert len(pd.read_csv("results/duplicates.tsv", sep="\t")) >= 20
    config["particle"] = {**config["particle"], "duplicates": "keep_one"}
    assert not run(config).of(preflight.PROBLEM)


def test_the_tutorials_diameter_is_questioned_if_no_config_of_the_users_gives_one():
    config = settings()
    mine = overlay(particle={"symmetry": "C1"})
    assert "no config of yours says so" in warning(run(config, configfiles=[configs.DEFAULT, mine]))
    mine = overlay(particle={"diameter": 350})
    assert found(run(config, configfiles=[configs.DEFAULT, mine]), preflight.WARNING) == []


def test_a_particle_larger_than_its_tomogram_and_one_too_small_to_align_are_reported():
    tomogram_is_thin = settings(particle={"diameter": 130, "symmetry": "C1", "duplicates": "refuse"})
    assert "130 Å, is more than TS_01 measures, 120 Å; check" in warning(run(tomogram_is_thin))
    assert "too few to align" in problem(
        run(settings(particle={"diameter": 20, "symmetry": "C1", "duplicates": "refuse"}))
    )


@pytest.mark.parametrize(("particles", "level"), [(1, "problem"), (20, "warning"), (75, "fine")])
def test_particles_are_counted_for_each_class_and_half_set(particles, level):
    report = run(settings(inputs=[write_set("b", particles=particles, tilts=21)]))
    levels = {row.level for row in report.rows if "for each class" in row.found}
    assert levels == {level}


def test_the_largest_number_of_classes_counts():
    config = settings()
    config["rounds"]["bin4"]["class3d"] |= {"classes": [2, 40], "T": [1]}
    assert "10 of 400 for each class" in warning(run(config))


def test_the_limit_for_a_class_is_the_decisions_own():
    fewest = limits.FEWEST_PER_CLASS
    for particles, warned in ((3 * fewest - 1, True), (3 * fewest, False)):  # in each of two tomograms
        config = settings(inputs=[write_set(f"b{particles}", particles=particles, tilts=21)])
        config["rounds"]["bin4"]["class3d"]["classes"] = 6
        rows = [row for row in run(config).rows if "for each class" in row.found]
        assert [row.level == preflight.WARNING for row in rows] == [warned]
    assert classes.FEWEST_PER_CLASS is against_data.FEWEST_PER_CLASS is fewest


@pytest.mark.parametrize(
    ("round_", "told", "level"),
    [
        ({"align": {"lowpass": 12}}, "rounds.bin4.align.lowpass, 12 Å, is finer than images of", "problem"),
        ({"mask": {"lowpass": 5}}, "rounds.bin4.mask.lowpass, 5 Å, is finer than images of", "problem"),
        (
            {"cycle": {"mask": {"lowpass": 3}}},
            "rounds.bin4.cycle.mask.lowpass, 3 Å, is finer than images",
            "problem",
        ),
        (
            {"class3d": {"highres_limit": 8}},
            "rounds.bin4.class3d.highres_limit, 8 Å, is finer than im",
            "warning",
        ),
        (
            {"postprocess": {"bfactor": "auto", "autob_lowres": 10}},
            "rounds.bin4.postprocess.autob_lowres, 10 Å, is finer than images",
            "problem",
        ),
        (
            {"extract": {"min_frames": 22}},
            "rounds.bin4.extract.min_frames, 22, is more than the 21 tilts",
            "problem",
        ),
        ({"extract": {"crop": 200}}, "rounds.bin4.extract.crop, 200 px, is more than the box of", "problem"),
        (
            {"refine3d": {"mask_diameter": 900}},
            "rounds.bin4.refine3d.mask_diameter, 900 Å, is more than",
            "warning",
        ),
        ({"cycle": {"box": 16}}, "rounds.bin4.cycle.box, 16 px of", "warning"),
    ],
)
def test_what_the_pixel_size_and_the_box_contradict_is_reported(round_, told, level):
    config = settings()
    config["particle"]["diameter"] = 180
    for step, changes in round_.items():
        for key, value in changes.items():
            at = config["rounds"]["bin4"][step]
            at[key] = at[key] | value if isinstance(value, dict) else value
    rows = [row for row in run(config).rows if row.found.startswith(told)]
    assert [row.level for row in rows] == [level]


def test_a_filter_rounded_as_relion_rounds_it_is_not_questioned():
    config = settings()
    config["particle"]["diameter"] = 180
    pixel = 4 * disk_pixel(config)
    config["rounds"]["bin4"]["align"] |= {"lowpass": 2 * pixel * 0.95, "highres_limit": 2 * pixel * 0.95}
    assert not [row for row in run(config).rows if "finer than images" in row.found]


def disk_pixel(config):
    """The pixel size (Å) of the config's tilt series."""
    _, facts = preflight.check_data(config["inputs"], preflight.Cache(preflight.MEMORY), "refuse")
    return facts["pixel_size"]


def test_class3d_on_several_ranks_is_looked_up_as_the_program_that_will_run():
    config = settings()
    asked = ALL_ASK | {"class3d": {"gpu": 0, "ranks": 3}}
    known = environment.commands(Recipe.from_config(config), config, asked)
    assert {command.program for rule, command in known if rule == "class3d"} == {"relion_refine_mpi"}


@pytest.mark.parametrize(
    ("choice", "moved"), [("auto", True), ("motion", True), ("no_motion", False), ("before", False)]
)
def test_trajectories_are_looked_up_in_rounds_that_can_have_some(choice, moved):
    config = settings()
    config["rounds"]["bin4"]["cycle"]["choose"]["polish"] = choice
    del config["rounds"]["bin1"]
    known = environment.commands(Recipe.from_config(config), config, ALL_ASK)
    refined = ["--trajectories" in command.flags for rule, command in known if rule == "refine3d"]
    assert refined == [False, moved]


def test_tilt_series_with_few_tilts_are_listed():
    report = run(settings(inputs=[write_set("b", particles=200, tilts=9)]))
    assert "few tilts in 2 of 2 tilt series: TS_01 (9), TS_02 (9)" in warning(report)


def test_particles_in_no_tilt_are_reported_with_their_tomograms():
    config = settings()
    change("a/TS_02.star", lambda table: table.assign(rlnTomoXShiftAngst=table.rlnTomoXShiftAngst + 590))
    assert any(
        "200 of 400 particles (200 in TS_02)" in row.found for row in run(config).of(preflight.WARNING)
    )


def test_symmetry_i5_and_control_characters_in_the_config_are_reported():
    assert "I5" in problem(run(settings(particle={"diameter": 80, "symmetry": "I5", "duplicates": "refuse"})))
    assert "particle.symmetry, 'C1\\n'" in problem(
        run(settings(particle={"diameter": 80, "symmetry": "C1\n", "duplicates": "refuse"}))
    )


# ------------------------------------------------------------------ software


def test_a_machine_without_relion_gets_a_sentence_on_what_to_do(relion):
    assert "RELION was not found on the PATH; load RELION 5" in problem(run(settings(engine=RELION)))


RELION = {"kind": "relion", "bin": None, "scratch": None, "pool": 1}


def test_relion_5_passes_with_every_flag_of_every_program_in_its_help(relion):
    report = run(settings(engine=relion()))
    assert found(report, preflight.PROBLEM) == found(report, preflight.WARNING) == []
    assert [row.checked for row in report.rows][-4:] == ["software", "flags", "MPI", "disk"]


def test_a_program_that_only_a_picture_needs_may_be_missing_or_another_one_which_is_a_warning(
    relion, tmp_path
):
    engine, tomogram = relion(), "relion_tomo_reconstruct_tomogram"
    script(tmp_path / "bin" / tomogram, 'printf "   --t (1) : text\\n"')
    report = run(settings(engine=engine))
    assert found(report, preflight.PROBLEM) == []
    assert any(
        f"{tomogram} of RELION 5.0.1 does not know --binned_angpix" in one
        for one in found(report, preflight.WARNING)
    )
    (tmp_path / "bin" / tomogram).unlink()
    report = run(settings(engine=engine))
    assert found(report, preflight.PROBLEM) == []
    (warning,) = report.of(preflight.WARNING)
    assert warning.found == f"{tomogram} was not found beside RELION 5.0.1"
    assert "without it the page shows particles over a tilt image" in warning.todo


def test_a_flag_that_the_installed_program_does_not_know_is_a_problem(relion):
    config = settings(engine=relion(without=["--blush", "--stack2d"]))
    assert "relion_tomo_subtomo of RELION 5.0.1 does not know --stack2d" in problem(run(config))
    config["rounds"]["bin4"]["align"]["blush"] = True
    assert "relion_refine of RELION 5.0.1 does not know --blush" in found(run(config), "problem")[0]


def of_bodies(relion, mask):
    """A config of one round, whose multi-body refinement has a body in a mask of one's own."""
    steps = ["extract", "reconstruct", "class3d", "select", "refine3d", "mask_head", "multibody"]
    bodies = {"head": {"mask": "mask_head"}, "rest": {"mask": mask}}
    bin4 = {"steps": steps, "extract": {"stack2d": False}, "multibody": {"bodies": bodies}}
    bin4["class3d"] = {"lowpass": 60}
    sets = [write_set("a", particles=200, tilts=21)]
    loaded = configs.load(
        configs.DEFAULT, overlay(inputs=sets, rounds={"bin4": bin4, "bin2": None, "bin1": None})
    )
    particle = {"diameter": 80, "symmetry": "C1", "duplicates": "refuse"}
    return {**loaded, "particle": particle, "engine": relion()}


def test_flags_that_no_help_lists_are_not_missed_of_a_refinement_that_takes_bodies(relion):
    mrcfile.write("rest.mrc", np.ones((24, 24, 24), np.float32), voxel_size=20)
    report = run(of_bodies(relion, "rest.mrc"))
    assert found(report, preflight.PROBLEM) == []
    looked_at = next(row for row in report.rows if row.checked == "software")
    assert "relion_flex_analyse" in looked_at.found


def test_a_body_without_its_mask_is_a_problem_before_any_job(relion):
    said = found(run(of_bodies(relion, "masks/rest.mrc")), preflight.PROBLEM)
    assert [one.split(";")[0] for one in said] == [
        "config: rounds.bin4.multibody.bodies.rest.mask: masks/rest.mrc: there is no such file"
    ]


def test_the_embedded_engine_is_asked_for_its_flags_too():
    config = settings()
    config["rounds"]["bin2"]["refine3d"]["blush"] = True
    assert "relion_refine_mpi of embedded engine" in problem(run(config))
    assert "--blush" in problem(run(config))


def test_only_programs_that_will_be_used_are_asked_for(relion):
    config = settings(engine=relion(programs=["relion_tomo_subtomo", "relion_tomo_reconstruct_particle"]))
    asked = {rule: ALL_ASK[rule] for rule in ("extract", "reconstruct")}
    assert found(run(config, asked), preflight.PROBLEM) == []
    assert "not its relion_refine" in problem(run(config, asked | {"align": {}}))


def test_programs_are_asked_again_when_they_were_exchanged(relion):
    config = settings(engine=relion())
    run(config)
    relion(version="5.0.0", without=["--stack2d"])
    assert "--stack2d" in problem(run(config))


def test_what_jobs_elsewhere_will_use_is_missing_here_with_a_warning_only():
    report = run(settings(engine=RELION), ON_GPUS, local=False)
    assert found(report, preflight.PROBLEM) == []
    assert "RELION was not found on the PATH (here; jobs run elsewhere); load RELION 5" in warning(report)


def test_a_program_without_help_is_a_warning(relion, tmp_path):
    engine = relion()
    script(tmp_path / "bin/relion_refine", 'echo "RELION version: 5.0.1"')
    assert "flags: relion_refine --help tells no flags" in warning(run(settings(engine=engine)))


# ------------------------------------------------------------------ GPU and MPI


def test_a_gpu_that_the_build_cannot_use_is_a_warning_unless_none_is_asked_for(relion):
    config = settings(engine=relion())
    assert "align and refine3d ask for a GPU, which this RELION was built without (VECTOR build)" in warning(
        run(config, ON_GPUS)
    )
    assert found(run(config, ALL_ASK), preflight.WARNING) == []


def test_a_gpu_build_wants_a_gpu_in_the_machine(relion, tmp_path, monkeypatch):
    config = settings(engine=relion(build="CUDA-ACC=single"))
    assert "shows none; run where there is one, or set gpus_per_job: 0" in problem(run(config, ON_GPUS))
    script(tmp_path / "bin/nvidia-smi", 'echo "GPU 0: NVIDIA A100 (UUID: GPU-1)"')
    assert "CUDA build; 1 x NVIDIA A100" in str(run(config, ON_GPUS))
    assert found(run(config, ON_GPUS), preflight.PROBLEM) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "shows none" in problem(run(config, ON_GPUS))
    assert found(run(config, ON_GPUS, local=False), preflight.WARNING) == []


def test_steps_that_could_use_gpus_but_found_none_are_a_warning_unless_cpus_were_asked_for(
    relion, monkeypatch
):
    monkeypatch.setenv(gpus.POOL, "")  # nothing was found at the start
    engine = relion(build="HIP-ACC=single")
    assert "align and refine3d compute on CPUs: no GPU was found; if there are any, say how many" in warning(
        run(settings(engine=engine), ALL_ASK)
    )
    assert list(environment.check_gpu(engine, ALL_ASK, local=True, limit=0)) == []
    assert list(environment.check_gpu(engine, ALL_ASK, local=False)) == []
    assert list(environment.check_gpu(relion(), ALL_ASK, local=True)) == []  # it is built for CPUs
    monkeypatch.delenv(gpus.POOL)
    assert list(environment.check_gpu(engine, ALL_ASK, local=True)) == []  # gpus_per_job: 0


def test_a_limit_of_more_gpus_than_were_found_is_a_problem(relion, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    engine = relion(build="CUDA-ACC=single")
    (row,) = environment.check_gpu(engine, ON_GPUS, local=True, limit=3)
    assert row.level == preflight.PROBLEM
    assert "limit is 3 GPUs" in row.found
    assert "shows 2" in row.found
    (row,) = environment.check_gpu(engine, ON_GPUS, local=True, limit=2)
    assert (row.level, row.found) == (preflight.FINE, "CUDA build; 2 x GPU")


def test_mpirun_must_be_there_start_and_be_of_relions_mpi(relion, tmp_path):
    config = settings(engine=relion())
    assert "mpirun starts relion_refine_mpi on 3 ranks" in " ".join(str(run(config)).split())
    relion(leaders=3)
    assert "3 processes that do not find each other: it is of another MPI" in problem(run(config))
    script(tmp_path / "bin/mpirun", 'echo "----"; echo "There are not enough slots available"; exit 1')
    assert "did not run (There are not enough slots available)" in problem(run(config))
    (tmp_path / "bin/mpirun").unlink()
    assert "mpirun was not found on the PATH" in problem(run(config))
    without = {rule: asks | {"ranks": 1} for rule, asks in ALL_ASK.items() if rule != "refine3d"}
    assert found(run(config, without), preflight.PROBLEM) == []
    for step in ("align", "class3d"):
        on_several = without | {step: {"gpu": 0, "ranks": 3}}
        assert "mpirun was not found on the PATH" in problem(run(config, on_several))


def test_the_launcher_of_the_step_with_the_most_ranks_is_tried(relion):
    asked = ALL_ASK | {"align": {"gpu": 0, "ranks": 4}}
    rows = run(settings(engine=relion()), asked).rows
    assert [row.found.split(" starts ")[1] for row in rows if row.checked == "MPI"] == [
        "relion_refine_mpi on 4 ranks"
    ]


def test_mpirun_is_tried_with_the_settings_that_jobs_start_it_with(relion, tmp_path, monkeypatch):
    monkeypatch.delenv("OMPI_MCA_rmaps_base_oversubscribe", raising=False)
    config = settings(engine=relion())
    works = (tmp_path / "bin/mpirun").read_text().removeprefix("#!/bin/sh\n")
    script(tmp_path / "bin/mpirun", f'[ "$OMPI_MCA_rmaps_base_oversubscribe" = 1 ] || exit 1\n{works}')
    assert found(run(config), preflight.PROBLEM) == []
    assert "OMPI_MCA_rmaps_base_oversubscribe" not in os.environ


def test_two_ranks_are_too_few_for_two_half_sets():
    few = ALL_ASK | {"refine3d": {"ranks": 2}}
    report = run(settings(), few)
    assert "refine3d needs at least 3 MPI ranks but was given 2" in problem(report)
    assert report.rows[0].level == preflight.PROBLEM, "though it was looked at late"


# ------------------------------------------------------------------ scratch and disk


def test_a_scratch_folder_must_be_one_that_relions_own_shell_commands_survive(tmp_path):
    def with_scratch(folder):
        return run(settings(engine=ON_CPUS["engine"] | {"scratch": str(folder)}))

    assert "is not a folder that can be written to" in problem(with_scratch(tmp_path / "none"))
    (tmp_path / "my scratch").mkdir()
    assert "RELION would remove more than the folder" in problem(with_scratch(tmp_path / "my scratch"))
    (tmp_path / "scratch").mkdir()
    assert found(with_scratch(tmp_path / "scratch"), preflight.PROBLEM) == []


def test_a_scratch_disk_that_is_too_small_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(
        disk, "free", lambda folder: (11e9 if folder == str(tmp_path) else 1e15, float("inf"))
    )
    engine = ON_CPUS["engine"] | {"scratch": str(tmp_path)}
    assert found(run(settings(engine=engine)), preflight.WARNING) == []
    monkeypatch.setattr(disk, "free", lambda folder: (9e9 if folder == str(tmp_path) else 1e15, float("inf")))
    assert "9.0 GB free" in warning(run(settings(engine=engine)))


@pytest.mark.parametrize(("bytes_part", "files_part"), [(0.9, 2), (2, 0.9)])
def test_a_full_disk_is_reported_before_it_is_full(monkeypatch, bytes_part, files_part):
    config = settings(cleanup={"stacks": "current"})
    needs = needs_of(config)
    bytes_needed, files = disk.peak(needs, config["cleanup"]), sum(need.files for need in needs)
    for factor, level in ((1, "warning"), (0.5, "problem")):
        monkeypatch.setattr(
            disk, "free", lambda _, f=factor: (bytes_needed * bytes_part * f, files * files_part * f)
        )
        (row,) = [row for row in run(config).rows if row.checked == "disk"]
        assert row.level == level
        assert "files are needed at most" in row.found
        assert re.search(r"set .*cleanup\.iterations \(\d+ MB\).* to remove what is done with", row.todo)
        assert "cleanup.stacks" not in row.todo, "that is done already"


def test_what_the_run_has_written_already_is_not_needed_again(monkeypatch):
    config = settings()
    needed = disk.peak(needs_of(config))
    monkeypatch.setattr(disk, "free", lambda _: (needed / 2, float("inf")))
    monkeypatch.setattr(disk, "used", lambda _: (needed // 2 + 1, 10))
    assert found(run(config), preflight.PROBLEM) == found(run(config), preflight.WARNING) == []


def needs_of(config):
    _, facts = preflight.check_data(config["inputs"], preflight.Cache(preflight.MEMORY), "refuse")
    return disk.needed(Recipe.from_config(config), config, against_data.numbers_of(facts))


# ------------------------------------------------------------------ with the rules


def test_every_rule_that_runs_a_program_is_known_and_every_program_is_used():
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    of_programs = set(re.findall(r'\bstep="(\w+)"', rules)) - OWN_WORK
    tutorial = yaml.safe_load(configs.DEFAULT.read_text())["rounds"]
    first, *bin4 = tutorial["bin4"]["steps"]
    modelled = {
        "steps": [first, "initial_model", *bin4],
        "align": {"local_range": None},
        "cycle": {"pilot": 0.25},
    }
    *bin2, cycle = tutorial["bin2"]["steps"]
    bin2.insert(bin2.index("reconstruct") + 1, "align_symmetry")
    aligned = {
        "steps": [*bin2, "local_resolution", "multibody", "expand_head", cycle],
        "class3d": {"alignment": "local"},
    }
    aligned |= {
        "extract": {"stack2d": False},
        "multibody": {"bodies": {"a": {"mask": "a"}, "b": {"mask": "b"}}},
    }
    aligned |= {"symmetry": "C6", "parts": ["head"]}
    rounds = {"bin4": modelled, "bin2": aligned}
    mine = overlay(inputs=[{**write_set("a"), "hand": "auto"}], rounds=rounds)
    config = configs.load(configs.DEFAULT, mine) | ON_CPUS
    known = [
        one
        for ranks in (1, 2)
        for one in environment.commands(
            Recipe.from_config(config), config, {rule: {"ranks": ranks} for rule in EVERY_RULE}
        )
    ]
    assert {rule for rule, _ in known} == of_programs == set(EVERY_RULE) - OWN_WORK
    assert {command.program for _, command in known} == set(software.all_names())


def test_an_estimated_b_factor_is_asked_for_by_its_own_flags():
    config = settings()
    config["rounds"]["bin4"]["postprocess"]["bfactor"] = "auto"
    known = environment.commands(Recipe.from_config(config), config, {"postprocess": {}})
    assert "--auto_bfac" in next(command.flags for _, command in known)


@pytest.mark.parametrize(
    ("program", "added"),
    [
        ("relion_postprocess", {"--randomize_at_A"}),  # of half maps whose FSC does not fall
        ("relion_refine", {"--continue"}),  # of a run that was cut off
        (
            "relion_tomo_subtomo",
            {"--p", "--t", "--mot", "--only_do_unfinished"},
        ),  # of a share, and what goes on from it
        ("relion_tomo_reconstruct_particle", {"--p", "--t", "--mot", "--only_do_unfinished", "--no_recon"}),
    ],
)
def test_what_a_job_may_add_to_its_command_line_is_looked_up_too(program, added):
    config = settings()
    known = environment.commands(Recipe.from_config(config), config, {rule: {} for rule in EVERY_RULE})
    assert added <= environment.flags(known)[program]


def test_what_rules_and_jobs_ask_for_is_read_alike():
    asks = {"gpu": 1, "ranks": 3, "mem_mb": 100}
    rule = rule_of("refine3d", Resources.from_mapping(asks))
    job = SimpleNamespace(rule=rule, resources=asks)
    assert (
        preflight.asked_by([rule])
        == preflight.asked_by([job])
        == {"refine3d": {"gpu": 1, "ranks": 3, "launcher": "mpirun", "given": True}}
    )
    assert preflight.asked_by([rule_of("mask", {})]) == {"mask": {"gpu": 0, "ranks": 1, "launcher": "mpirun"}}
    depends = Resources.from_mapping({"gpu": lambda wildcards: 4})
    assert preflight.asked_by([rule_of("align", depends)])["align"]["gpu"] == 1
    assert preflight.asked_by([rule_of(None, {})]) == {}, "a decision"


def rule_of(step, resources):
    """As much of a rule of Snakemake's as tells what it asks for."""
    return SimpleNamespace(params={"step": step} if step else {}, resources=resources)


def test_flags_follow_from_the_settings_and_resources():
    config = copy.deepcopy(settings())
    config["rounds"]["bin4"]["align"] |= {"seed": 7, "blush": True}
    for asked, gpu in ((ALL_ASK, False), (ON_GPUS, True)):
        known = environment.commands(Recipe.from_config(config), config, asked)
        flags = next(command.flags for rule, command in known if rule == "align")
        assert {"--random_seed", "--blush", "--sigma_ang"} <= set(flags)
        assert ("--gpu" in flags) == gpu


@pytest.mark.slow
def test_500_tomograms_and_50_000_particles_take_less_than_30_seconds_and_2_GB(record_property):
    names = [f"{i:03}" for i in range(500)]
    config = settings(inputs=[write_set("many", names=names, particles=100, tilts=41, image=(4, 4))])
    Path("config.json").write_text(json.dumps(config))
    code = """
        import json, resource, sys, time
        start = time.monotonic()
        from stacycle.preflight import preflight
        from stacycle.recipe.rounds import Recipe
        config = json.load(open("config.json"))
        report = preflight.run(config, Recipe.from_config(config), json.loads(sys.argv[1]))
        assert not report.of("problem"), str(report)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(time.monotonic() - start, memory, time.process_time())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), json.dumps(ALL_ASK)]
    first, again = (
        [
            float(word)
            for word in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        ]
        for _ in range(2)
    )
    for name, (seconds, memory, of_processor) in (
        ("500 tomograms x 50,000 particles", first),
        ("again", again),
    ):
        told = f"{seconds:.1f} s ({of_processor:.1f} s of a core), {memory:.2f} GB"
        record_property(f"preflight, {name}", told)
    assert first[2] < 30, "of a core, as the clock goes on while others use it"
    assert first[1] < 2
    assert again[2] < 3
