"""results/relion: the project as RELION's own, whatever of it is there, with numbers and links that stay."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import least_seconds

from stacycle.files import star
from stacycle.programs.command import Command
from stacycle.relion_project import kinds, texts
from stacycle.relion_project.options import options
from stacycle.relion_project.update import keep_up, show_new_files, update

STATE = "--i results/bin4/extract/optimisation_set.star"
REFINE = (
    "mpirun -n 3 relion_refine_mpi --o results/bin4/refine3d/run --auto_refine --split_random_halves "
    "--ios results/bin4/select/optimisation_set.star --ref results/bin4/select/reference.mrc --firstiter_cc "
    "--trust_ref_size --ini_high 50 --pad 2 --auto_ignore_angles --ctf --particle_diameter 460 --zero_mask "
    "--solvent_mask own/mask.mrc --oversampling 1 --healpix_order 3 --auto_local_healpix_order 4 --offset_range 2 "
    "--offset_step 2 --sym C4 --random_seed 1 --j 4"
)


def job(folder: str, command: str, names: str, minute: int, **more: object) -> None:
    """The folder of a program's job, with files of these names."""
    path = Path("results", folder)
    path.mkdir(parents=True, exist_ok=True)
    started = f"2026-01-01T10:{minute:02d}:00+0000"
    record = {"command": command, "runs": [{"started": started}], "ended_well": True} | more
    (path / "job.json").write_text(json.dumps(record))
    for name in names.split():
        (path / name).touch()


def decision(folder: str, parent: str | None, names: str, minute: int) -> None:
    """The folder of a decision that started from a state."""
    path = Path("results", folder)
    path.mkdir(parents=True, exist_ok=True)
    particles = [f"results/{folder}/particles.star", ""]
    record = {
        "parent": parent and {"path": f"results/{parent}"},
        "particles": particles,
        "tomograms": particles,
    }
    (path / "state.json").write_text(json.dumps(record))
    at = time.mktime((2026, 1, 1, 10, minute, 0, 0, 0, 0))
    os.utime(path / "state.json", (at, at))
    for name in names.split():
        (path / name).touch()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A round as far as its refinement, in the current folder; the mask is the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    Path("own").mkdir()
    Path("own/mask.mrc").touch()
    decision("inputs", None, "optimisation_set.star particles.star tomograms.star", 0)
    extract = (
        "--p results/inputs/particles.star --t results/inputs/tomograms.star --o results/bin4/extract/ --b 32"
    )
    job("bin4/extract", f"relion_tomo_subtomo {extract} --stack2d", "optimisation_set.star particles.star", 1)
    Path("results/bin4/extract/Subtomograms/TS_01").mkdir(parents=True)
    job(
        "bin4/reconstruct",
        f"relion_tomo_reconstruct_particle {STATE} --o results/bin4/reconstruct/",
        "merged.mrc",
        2,
    )
    for number, variant in enumerate(("T0.5_K2", "T1_K2")):
        names = " ".join(
            f"run_it{it:03d}_{one}"
            for it in (0, 1, 2)
            for one in (
                "data.star",
                "optimiser.star",
                "class001.mrc",
                "class002.mrc",
                "optimisation_set.star",
            )
        )
        line = f"relion_refine --o results/bin4/class3d/{variant}/run --ios results/bin4/extract/optimisation_set.star"
        job(
            f"bin4/class3d/{variant}",
            f"{line} --ref results/bin4/reconstruct/merged.mrc --K 2",
            names,
            3 + number,
        )
    decision("bin4/class3d", "bin4/extract", "optimisation_set.star particles.star decision.json", 6)
    decision(
        "bin4/select", "bin4/class3d", "optimisation_set.star particles.star reference.mrc decision.json", 7
    )
    job("bin4/refine3d", REFINE, "run_data.star run_class001.mrc run_optimisation_set.star", 8)
    return tmp_path


def pipeline(folder: str = "results/relion", name: str = "default") -> dict[str, list[tuple[str, ...]]]:
    """The tables of the pipeline, read with the parser of STAR files."""
    path = Path(folder, f"{name}_pipeline.star")
    tables = {name: star.columns(path, f"pipeline_{name}", labels) for name, labels in texts.LABELS.items()}
    return {
        name: list(zip(*(one[label] for label in texts.LABELS[name]), strict=True))
        for name, one in tables.items()
    }


def names(of: dict) -> dict[str, str]:
    """The jobs' names by their aliases, without TYPE."""
    return {alias.split("/")[1]: name for name, alias, *_ in of["processes"] if alias != "None"}


def test_each_job_is_there_once_in_the_order_of_work_under_relions_kinds(project: Path):
    assert update() == Path("results/relion")
    assert [(name, label) for name, _, label, _ in pipeline()["processes"]] == [
        ("Import/job001/", "relion.importtomo"),
        ("Extract/job002/", "relion.pseudosubtomo"),
        ("Reconstruct/job003/", "relion.reconstructparticletomo"),
        ("Class3D/job004/", "relion.class3d"),
        ("Class3D/job005/", "relion.class3d"),
        ("External/job006/", "relion.external"),
        ("Select/job007/", "relion.select.interactive"),
        ("Refine3D/job008/", "relion.refine3d.tomo"),
    ]
    assert {status for *_, status in pipeline()["processes"]} == {"Succeeded"}
    assert star.columns("results/relion/default_pipeline.star", "pipeline_general")[texts.COUNTER] == ["9"]


def test_inputs_and_outputs_are_connected_and_every_file_is_found_from_there(project: Path):
    update()
    found = pipeline()
    edges = {}
    for node, process in found["input_edges"]:
        edges.setdefault(process, set()).add(node)
    assert edges["Refine3D/job008/"] == {
        "Select/job007/optimisation_set.star",
        "Select/job007/reference.mrc",
        "own/mask.mrc",
    }
    assert edges["External/job006/"] == {
        "Extract/job002/optimisation_set.star",
        "Class3D/job004/run_it002_optimisation_set.star",
        "Class3D/job005/run_it002_optimisation_set.star",
    }
    nodes = {node for node, *_ in found["nodes"]}
    assert {node for ends in edges.values() for node in ends} <= nodes
    assert {node for _, node in found["output_edges"]} <= nodes
    assert [node for node in nodes if not Path("results/relion", node).is_file()] == []
    of_class = {node for node in nodes if node.startswith("Class3D/job004/")}
    assert {Path(node).name[:9] for node in of_class} == {
        "run_it002"
    }  # the last iteration, as RELION keeps it
    assert Path(
        "results/relion/results/bin4/extract/particles.star"
    ).is_file()  # paths in STAR files begin there too


def test_a_candidate_is_read_by_its_decision_and_not_the_other_way_round(project: Path):
    decision("bin4/refine3d_poses", "bin4/select", "optimisation_set.star decision.json", 12)
    decision("bin4/refine3d_poses/after", "bin4/refine3d", "optimisation_set.star", 9)
    line = (
        "relion_tomo_reconstruct_particle --i results/bin4/refine3d_poses/after/optimisation_set.star --o x/"
    )
    job("bin4/refine3d_poses/after/reconstruct", line, "merged.mrc", 10)
    update()
    found = pipeline()
    by = names(found)
    made, after = by["bin4_refine3d_poses_after_reconstruct"], by["bin4_refine3d_poses_after"]
    edges = set(found["input_edges"])
    assert (f"{made}merged.mrc", by["bin4_refine3d_poses"]) in edges
    assert (f"{after}optimisation_set.star", made) in edges
    assert (f"{made}merged.mrc", after) not in edges


def test_stacycles_own_records_are_not_found_twice(project: Path):
    Path("results/bin4/class3d/T1_K2.previous1").mkdir()
    Path("results/bin4/class3d/view.cxc").touch()
    update()
    linked = {path.name for path in Path("results/relion").glob("*/job*/*") if path.is_symlink()}
    assert "T1_K2" in linked
    assert not [name for name in linked if name.endswith((".json", ".cxc", "previous1"))]


def test_a_file_that_another_job_reads_is_a_node_of_the_job_that_left_it(project: Path):
    earlier = "results/bin4/class3d/T1_K2/run_it001_class002.mrc"  # not of the last iteration
    job("bin4/mask", f"relion_mask_create --i {earlier} --o results/bin4/mask/mask.mrc", "mask.mrc", 9)
    update()
    found = pipeline()
    assert ("Class3D/job005/", "Class3D/job005/run_it001_class002.mrc") in found["output_edges"]
    assert ("Class3D/job005/run_it001_class002.mrc", "MaskCreate/job009/") in found["input_edges"]


def test_a_job_has_its_fields_its_command_and_the_marker_of_its_end(project: Path):
    update()
    folder = Path("results/relion/Refine3D/bin4_refine3d")  # by its alias
    (label,) = star.columns(folder / "job.star", "job")["rlnJobTypeLabel"]
    assert label == "relion.refine3d.tomo"
    table = star.columns(folder / "job.star", "joboptions_values")
    fields = dict(zip(table["rlnJobOptionVariable"], table["rlnJobOptionValue"], strict=True))
    assert fields["in_optimisation"] == "Select/job007/optimisation_set.star"
    assert fields["fn_mask"] == "own/mask.mrc"
    assert fields["sampling"] == "3.7 degrees"
    assert fields["auto_local_sampling"] == "1.8 degrees"
    assert fields["offset_step"] == "1"
    assert (fields["nr_mpi"], fields["nr_threads"], fields["sym_name"]) == ("3", "4", "C4")
    assert (fields["do_zero_mask"], fields["do_solvent_fsc"]) == ("Yes", "No")
    assert fields["other_args"] == "--random_seed 1"
    assert REFINE in (folder / "note.txt").read_text()
    own = pipeline(str(folder), "job")
    assert [row[0] for row in own["processes"]] == ["Refine3D/job008/"]
    assert {node for node, _ in own["input_edges"]} >= {"Select/job007/reference.mrc", "own/mask.mrc"}
    assert [
        path.name
        for path in Path("results/bin4/refine3d").iterdir()
        if "RELION" in path.name or path.suffix == ".txt"
    ] == []
    assert (folder / "RELION_JOB_EXIT_SUCCESS").exists()


def test_a_job_at_work_one_that_failed_and_one_that_was_stopped_are_told_apart(project: Path):
    folder = Path("results/relion/Refine3D/job008")
    for more, status, marker in (
        ({"ended_well": False}, "Running", None),
        (
            {"ended_well": False, "cause": "relion_refine failed: no memory."},
            "Failed",
            "RELION_JOB_EXIT_FAILURE",
        ),
        (
            {"ended_well": False, "cause": "relion_refine was stopped (SIGTERM)"},
            "Aborted",
            "RELION_JOB_EXIT_ABORTED",
        ),
        ({}, "Succeeded", "RELION_JOB_EXIT_SUCCESS"),
    ):
        job("bin4/refine3d", REFINE, "", 8, **more)
        update()
        assert {name: one for name, _, _, one in pipeline()["processes"]}["Refine3D/job008/"] == status
        assert [path.name for path in folder.glob("RELION_JOB_EXIT_*")] == ([marker] if marker else [])


def test_what_a_program_at_work_makes_is_linked_and_what_is_gone_is_not(project: Path):
    job("bin4/refine3d", REFINE, "run_it001_data.star", 8, ended_well=False)
    update()
    source, folder = Path("results/bin4/refine3d"), Path("results/relion/Refine3D/job008")
    assert (folder / "run_it001_data.star").samefile(source / "run_it001_data.star")
    (source / "run_it002_data.star").touch()
    (source / "run_it001_data.star").unlink()
    show_new_files(source, Command.of(REFINE.split()))
    assert (folder / "run_it002_data.star").is_file()
    assert not os.path.lexists(folder / "run_it001_data.star")
    assert (folder / "job.star").is_file()
    show_new_files(Path("elsewhere"), Command.of(REFINE.split()))
    show_new_files(Path("results/bin4/nothing"), Command.of(REFINE.split()))


def test_numbers_stay_when_jobs_are_added_or_gone_and_nothing_is_written_anew(project: Path):
    update()
    before = names(pipeline())
    written = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    update()
    assert written == {path: path.stat().st_mtime_ns for path in written}
    earlier = f"relion_tomo_reconstruct_particle {STATE} --o results/bin4/another/"
    job("bin4/another", earlier, "merged.mrc", 1)
    Path("results/bin4/reconstruct").rename("results/bin4/reconstruct.previous1")
    update()
    after = names(pipeline())
    assert after.pop("bin4_another") == "Reconstruct/job009/"
    assert after == {name: number for name, number in before.items() if name != "bin4_reconstruct"}
    assert not os.path.lexists("results/relion/Reconstruct/job003")  # which had nothing but links
    assert not os.path.lexists("results/relion/Reconstruct/bin4_reconstruct")
    Path("results/relion/.jobs.json").unlink()  # what was read before is not needed
    text = Path("results/relion/default_pipeline.star").read_text()
    update()
    assert Path("results/relion/default_pipeline.star").read_text() == text


def test_a_job_that_was_run_in_relions_gui_there_stays(project: Path):
    update()
    path = Path("results/relion/default_pipeline.star")
    text = re.sub(r"(_rlnPipeLineJobCounter +)9", r"\g<1>12", path.read_text())
    own = "MaskCreate/job009/"
    Path("results/relion", own).mkdir(parents=True)
    text = text.replace(
        "\nRefine3D/job008/  Refine3D/",
        f"\n{own} None relion.maskcreate Succeeded \nRefine3D/job008/  Refine3D/",
    )
    text = text.replace(
        "\nSelect/job007/reference.mrc  D",
        f"\n{own}mask.mrc Mask3D.mrc.relion 1 \nSelect/job007/reference.mrc  D",
    )
    text = text.replace(
        "\nSelect/job007/reference.mrc  R",
        f"\nSelect/job007/reference.mrc {own} \nSelect/job007/reference.mrc  R",
    )
    path.write_text(text)
    job(
        "bin4/postprocess",
        "relion_postprocess --i results/bin4/refine3d/run_class001.mrc",
        "postprocess.star",
        9,
    )
    update()
    found = pipeline()
    assert (own, "None", "relion.maskcreate", "Succeeded") in found["processes"]
    assert (f"{own}mask.mrc", "Mask3D.mrc.relion", "1") in found["nodes"]
    assert ("Select/job007/reference.mrc", own) in found["input_edges"]
    assert names(found)["bin4_postprocess"] == "PostProcess/job012/"  # no number that RELION gave


def test_the_users_own_relion_project_is_left_as_it_is_and_its_jobs_are_found(project: Path):
    for path in ("Refine3D/job041/run_data.star", "Tomograms/job007/tomograms.star"):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text("data_\n")
    Path("default_pipeline.star").write_text("theirs")
    update()
    assert Path("default_pipeline.star").read_text() == "theirs"
    assert Path("results/relion/Refine3D/job041/run_data.star").is_file()
    assert Path("results/relion/Tomograms/job007/tomograms.star").is_file()
    assert min(int(name[-4:-1]) for name, *_ in pipeline()["processes"]) == 42
    update()
    assert Path("Refine3D/job041/run_data.star").is_file()
    assert [path.name for path in Path("Refine3D").iterdir()] == ["job041"]


def test_results_may_lie_on_another_disk(project: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("disk") / "results"
    Path("results").rename(elsewhere)
    Path("results").symlink_to(elsewhere)
    update()
    assert Path("results/relion/own/mask.mrc").is_file()
    assert [node for node, *_ in pipeline()["nodes"] if not Path("results/relion", node).is_file()] == []


def test_relions_lock_is_waited_for_and_one_that_was_left_is_removed(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stacycle.relion_project.update._PATIENCE", 0.3)
    update()
    lock = Path("results/relion/.relion_lock")
    assert not lock.exists()
    lock.mkdir()
    assert update() is None
    os.utime(lock, (1, 1))
    assert update() is not None
    assert not lock.exists()


def test_jobs_that_end_at_once_leave_one_whole_pipeline(project: Path):
    again = "from stacycle.relion_project.update import update; [update() for _ in range(5)]"
    at_once = [subprocess.Popen([sys.executable, "-c", again], stderr=subprocess.PIPE) for _ in range(4)]
    assert [(one.communicate()[1], one.returncode) for one in at_once] == [(b"", 0)] * 4
    assert sorted(name[-4:-1] for name, *_ in pipeline()["processes"]) == [f"{n:03d}" for n in range(1, 9)]
    assert not Path("results/relion/.relion_lock").exists()


def test_a_job_that_ends_among_six_hundred_takes_less_than_a_second(project: Path, record_property):
    """An update is made as each job starts and ends: nothing of it may grow with the jobs' squares."""
    for number in range(600):
        line = f"relion_tomo_reconstruct_particle {STATE} --o results/bin4/many{number}/"
        job(f"bin4/many{number}", line, "merged.mrc half1.mrc half2.mrc", 10)
    update()
    assert len(pipeline()["processes"]) == 608
    job("bin4/many7", "relion_postprocess --i results/bin4/many8/half1.mrc", "postprocess.star", 11)
    seconds = least_seconds(update, limit=1)
    record_property("RELION's project of 600 jobs, brought up to date (s)", f"{seconds:.2f}")
    assert seconds < 1


def test_a_damaged_record_and_a_folder_that_cannot_be_written_are_no_failure(project: Path):
    Path("results/bin4/extract/job.json").write_text("{")
    update()
    assert "bin4_extract" not in names(pipeline())
    assert "bin4_refine3d" in names(pipeline())
    os.rename("results/relion", "aside")
    Path("results/relion").write_text("a file")
    keep_up()
    assert Path("results/relion").read_text() == "a file"


def test_without_jobs_there_is_no_such_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert update() is None
    Path("results/bin4").mkdir(parents=True)
    assert update() is None
    assert list(Path("results").iterdir()) == [Path("results/bin4")]


def test_folders_of_particles_are_not_looked_through(project: Path, monkeypatch: pytest.MonkeyPatch):
    looked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (looked.append(str(path)), scandir(path))[1])
    update()
    assert not [path for path in looked if "Subtomograms" in path]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("relion_refine --o o --iter 25 --K 4", kinds.CLASS3D),
        ("relion_refine --o o --grad --denovo_3dref", kinds.INITIAL),
        ("relion_refine_mpi --o o --auto_refine", kinds.REFINE),
        ("relion_refine_mpi --o o --auto_refine --multibody_masks b.star", kinds.MULTIBODY),
        ("relion_postprocess --i half1.mrc --locres", kinds.LOCAL),
        ("relion_tomo_align --i o.star", kinds.POLISH),
        ("relion_tomo_reconstruct_tomogram --t t.star", kinds.TOMOGRAM),
        ("relion_align_symmetry --i m.mrc --sym C4", kinds.EXTERNAL),
    ],
)
def test_a_command_tells_its_kind(line: str, kind: kinds.Kind):
    assert kinds.kind_of(Command.of(line.split())) is kind


def test_the_slab_of_a_tomogram_has_the_guis_fields_and_its_inputs(project: Path):
    line = "relion_tomo_reconstruct_tomogram --t results/inputs/tomograms.star --tn TS_01 --o results/inputs/tomogram/"
    job("inputs/tomogram", f"{line} --w 400 --h 300 --d 50 --z0 -12.5 --binned_angpix 8 --j 2", "", 1)
    update()
    name = names(pipeline())["inputs_tomogram"]
    assert name.startswith("Tomograms/job")
    assert ("Import/job001/tomograms.star", name) in pipeline()["input_edges"]
    columns = star.columns(f"results/relion/{name}job.star", "joboptions_values")
    found = dict(zip(*columns.values(), strict=True))
    assert found["in_tiltseries"] == "Import/job001/tomograms.star"
    assert (found["tomo_name"], found["xdim"], found["ydim"], found["zdim"]) == ("TS_01", "400", "300", "50")
    assert (found["do_fourier"], found["do_proj"], found["other_args"]) == ("No", "No", "--z0 -12.5")


def test_what_has_no_field_is_an_additional_argument():
    command = Command.of(
        ["relion_tomo_align", "--i", "o.star", "--b", "144", "--motion", "--mix", "3", "--o", "out/"]
    )
    found = options(kinds.POLISH, command, lambda path: path)
    assert found["other_args"] == "--mix 3"
    assert (found["do_motion"], found["do_shift_align"], found["box_size"]) == ("Yes", "No", "144")
