"""A job: one program in its folder, its output cleaned, its failures in a sentence, its products checked."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from stacycle.errors import Interrupted, UserError
from stacycle.jobs import job
from stacycle.jobs.failure import cause_of_failure, raise_if_upstream_failed, tolerate_failure
from stacycle.jobs.log import task
from stacycle.jobs.output import clean_lines, milestone
from stacycle.jobs.record import versions
from stacycle.programs.scratch import scratch_folder
from stacycle.provenance import record

GOLDEN = Path(__file__).parents[2] / "golden" / "data"


@pytest.fixture
def relion(tmp_path: Path):
    """Makes a stand-in for a RELION program from a shell script; returns the engine section that finds it."""

    def make(name: str, script: str) -> dict:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return {"kind": "relion", "bin": str(folder)}

    return make


def run(engine: dict, folder: Path, made: str = "map.mrc") -> None:
    job.run(["relion_tool", "--o", f"{folder}/"], folder, engine=engine, expected_outputs=[folder / made])


def test_a_job_leaves_a_record_of_its_command_and_how_it_ended(tmp_path, relion) -> None:
    run(relion("relion_tool", 'echo hello; echo x > "$2/map.mrc"'), tmp_path / "job")
    record = json.loads((tmp_path / "job/job.json").read_text())
    assert record["command"] == f"relion_tool --o {tmp_path}/job/"
    assert record["runs"][-1]["exit_status"] == 0


def test_the_versions_that_made_a_projects_results_are_reported_but_not_of_earlier_results(tmp_path) -> None:
    for folder, version, commit in (
        *(("a", "5.0.1", "73f0a3"), ("b", "5.0.0", None), ("c", None, None)),
        ("d.previous1", "4.0", None),
    ):
        (tmp_path / folder).mkdir()
        record = {"relion": {"version": version, "commit": commit}}
        (tmp_path / folder / "job.json").write_text(json.dumps(record))
    assert versions(tmp_path) == ["5.0.0", "5.0.1, commit 73f0a3"]
    (tmp_path / "b/tomogram.json").touch()  # a picture of the page
    assert versions(tmp_path) == ["5.0.1, commit 73f0a3"]


def test_a_failing_program_is_reported_with_its_status_and_last_words(tmp_path, relion) -> None:
    engine = relion(
        "relion_tool", "echo 'ERROR: '; echo 'Cannot read file a.mrc It does not exist' >&2; exit 3"
    )
    with pytest.raises(UserError, match=r"relion_tool failed with exit status 3: .*a\.mrc"):
        run(engine, tmp_path / "job")


def test_exit_status_zero_is_not_enough_if_a_file_is_missing_or_empty(tmp_path, relion) -> None:
    with pytest.raises(UserError, match=r"did not write .*map\.mrc"):
        run(relion("relion_tool", 'touch "$2/map.mrc"'), tmp_path / "job")


def test_a_program_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match="relion_tool"):
        run({"kind": "relion", "bin": str(tmp_path)}, tmp_path / "job")


def test_progress_bars_and_blank_lines_are_cleaned_from_a_log() -> None:
    text = '000/??? sec ~~(,_,">      [oo]\r   1/   8 sec ....~~(,_,">o]\r   8/   8 sec ......~~(,_,"> yum!\n\n Done\n'
    assert list(clean_lines(io.StringIO(text))) == [" Done"]


@pytest.mark.parametrize("log", sorted((GOLDEN / "logs").glob("*.log")), ids=lambda path: path.stem)
def test_of_relions_own_logs_no_progress_bar_is_left(log: Path) -> None:
    lines = list(clean_lines(io.StringIO(log.read_text(errors="replace"))))
    assert lines
    assert not any("~~(" in line for line in lines)


def test_someone_who_waits_sees_iterations_and_resolutions() -> None:
    log = (GOLDEN / "logs/align.log").read_text()
    told = [text for line in clean_lines(io.StringIO(log)) if (text := milestone(line))]
    assert "iteration 3 of 5" in told
    assert "resolution 53.3 Å" in told


def test_scratch_is_left_out_when_its_variable_is_not_set(monkeypatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    assert scratch_folder("$TMPDIR") is None
    monkeypatch.setenv("TMPDIR", "/scratch/me")
    assert scratch_folder("$TMPDIR") == "/scratch/me"
    assert scratch_folder(None) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("   !Particles were found belonging to the following undefined tomograms: TS_98", True),
        ("WARNING: Option --lowpas\tis not a valid RELION argument", True),
        ("WARNING: The pixel size (--angpix) was not specified.", False),
        ("    - Backprojecting:", False),
    ],
)
def test_warnings_are_reported_but_for_the_pixel_size_that_is_left_to_the_header(
    line: str, told: bool
) -> None:
    assert (milestone(line) is not None) == told


def test_tomograms_that_ranks_share_are_told_as_those_of_the_first() -> None:
    assert milestone(" + Tomogram 1 / 2:", ranks=2) == "tomogram 1 of 2 of the first of 2 ranks"
    assert milestone(" + Tomogram 1 / 2:") == "tomogram 1 of 2"


def test_a_variant_that_fails_leaves_its_cause_and_files_that_nothing_takes_for_results(tmp_path, relion):
    folder, made = tmp_path / "variant", tmp_path / "variant/map.mrc"
    with tolerate_failure(folder, [made]):
        run(relion("relion_tool", "echo ERROR:; echo ERROR: no memory; exit 1"), folder)
    assert "no memory" in cause_of_failure(folder)
    assert made.stat().st_size == 0
    with pytest.raises(UserError, match="no memory"):
        raise_if_upstream_failed([made])


@pytest.mark.parametrize("end", ["kill -TERM $$", "kill -KILL $$", "echo No space left on device; exit 1"])
def test_a_variant_whose_program_was_ended_from_outside_has_not_failed(end, tmp_path, relion):
    folder, made = tmp_path / "variant", tmp_path / "variant/map.mrc"
    with pytest.raises(UserError, match="relion_tool"), tolerate_failure(folder, [made]):
        run(relion("relion_tool", end), folder)
    assert not made.exists(), "the sweep would be decided without this variant"


def test_a_request_to_end_is_no_failure_of_a_variant(tmp_path, relion):
    folder, made = tmp_path / "variant", tmp_path / "variant/map.mrc"
    with pytest.raises(Interrupted, match="SIGTERM"), tolerate_failure(folder, [made]):
        run(relion("relion_tool", f"kill -TERM {os.getpid()}; sleep 5; kill $$"), folder)
    assert not made.exists(), "the sweep would be decided without this variant"


def test_what_a_failed_variant_had_written_already_is_no_result_either(tmp_path, relion):
    folder, made = tmp_path / "variant", tmp_path / "variant/map.mrc"
    with tolerate_failure(folder, [made]):
        run(relion("relion_tool", 'echo half > "$2/map.mrc"; exit 1'), folder)
    assert made.stat().st_size == 0


def test_what_depends_on_a_failed_variant_fails_with_the_same_cause_and_does_not_run(tmp_path, relion):
    test_a_variant_that_fails_leaves_its_cause_and_files_that_nothing_takes_for_results(tmp_path, relion)
    after = tmp_path / "variant/reconstruct"
    with tolerate_failure(after, [after / "half1.mrc"]):
        raise_if_upstream_failed([tmp_path / "variant/map.mrc"])
        raise AssertionError("went on without what it needs")
    assert "no memory" in cause_of_failure(after)


def test_a_variant_that_ends_well_after_it_had_failed_is_no_failure_any_more(tmp_path, relion):
    test_a_variant_that_fails_leaves_its_cause_and_files_that_nothing_takes_for_results(tmp_path, relion)
    folder = tmp_path / "variant"
    with tolerate_failure(folder, [folder / "map.mrc"]):
        run(relion("relion_tool", 'echo x > "$2/map.mrc"'), folder)
    assert cause_of_failure(folder) == ""
    raise_if_upstream_failed([folder / "map.mrc"])


def test_a_mistake_that_all_variants_would_share_is_still_an_error(tmp_path, relion):
    with pytest.raises(UserError, match="mistake"), tolerate_failure(tmp_path, []):
        raise UserError("a mistake")
    with pytest.raises(UserError, match="exit status 1"), tolerate_failure(tmp_path, [], allowed=False):
        run(relion("relion_tool", "exit 1"), tmp_path / "job")


def test_a_disk_or_folder_that_refuses_is_reported_in_one_sentence(tmp_path, capsys) -> None:
    (tmp_path / "full").touch()
    with pytest.raises(SystemExit) as ended, task(str(tmp_path / "log"), "bin4/step"):
        (tmp_path / "full/map.mrc").write_text("x")
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert (
        told == f"[bin4/step] ERROR: {tmp_path}/full/map.mrc: Not a directory; mend that, then start again.\n"
    )
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_job_costs_little_more_than_its_program(tmp_path, monkeypatch, record_property) -> None:
    for source in ("input", "extract", "average"):
        shutil.copytree(GOLDEN / source, tmp_path / source)
    monkeypatch.chdir(tmp_path)
    record.adopt("extract/optimisation_set.star")
    program = tmp_path / "bin/relion_refine"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncp {GOLDEN}/align/run_it005* align\n")
    program.chmod(0o755)
    options = "--ctf --iter 5 --K 1 --tau2_fudge 1 --particle_diameter 330 --trust_ref_size --ini_high 50"
    argv = (
        f"relion_refine --o align/run --ios extract/optimisation_set.star --ref average/merged.mrc {options}"
    )
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        job.run(
            argv.split(" "),
            "align",
            engine={"kind": "relion", "bin": str(program.parent)},
            expected_outputs=[
                f"align/run_it005_{made}.star" for made in ("data", "model", "optimiser", "optimisation_set")
            ],
        )
        seconds.append(time.perf_counter() - started)
        (tmp_path / "align/job.json").unlink()
    record_property("job runner, overhead of a job that does nothing (s)", f"{min(seconds):.2f}")
    assert min(seconds) < 0.3
