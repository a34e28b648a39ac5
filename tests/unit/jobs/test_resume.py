"""Starting a job again: what is kept, what continues, what starts afresh, and that no cut-off file passes as whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import recorded_pid

from stacycle.diagnosis import explain
from stacycle.errors import ProgramFailed, UserError
from stacycle.jobs import job, kept_outputs, resume
from stacycle.jobs import record as job_record
from stacycle.jobs.failure import cause_of_failure
from stacycle.programs import mpi, refine, refine_iterations, shared, verify
from stacycle.programs import program as program_records
from stacycle.programs.command import Command
from stacycle.programs.program import Program
from stacycle.provenance import audit
from stacycle.provenance import record as state_record
from stacycle.resources import gpus

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("golden_project")]

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
EMBEDDED = {"kind": "embedded"}
# A program that notes each time that it is run, and does what the test says.
PROGRAM = """#!{python}
import os, sys, time
from pathlib import Path
argv = sys.argv[1:]
out = Path(argv[argv.index("--o") + 1])
with open("ran", "a") as ran:
    print(*argv, file=ran)
runs = len(open("ran").readlines())
{script}
"""
MAKE = '(out / "map.mrc").write_text(f"made by run {runs}")'
# Runs a job as a script of Snakemake's does, in a process of its own.
RUNNER = """
import json, sys
from stacycle.jobs import job, process
from stacycle.jobs.log import task
from stacycle.provenance import origin, record
origin.check = record.of_program = lambda *_: []
{more}
argv, engine, makes, grace = json.loads(sys.argv[1])
process.GRACE = grace
with task("job.log", "bin4/step"):
    job.run(argv, "job", engine=engine, expected_outputs=makes)
"""


@pytest.fixture
def program(golden_project: Path):
    """Makes a stand-in for relion_tool from Python statements; returns the engine section that finds it."""

    def make(script: str = MAKE) -> dict:
        path = golden_project / "bin" / "relion_tool"
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROGRAM.format(python=sys.executable, script=script))
        path.chmod(0o755)
        return {"kind": "relion", "bin": str(path.parent)}

    return make


def tool(engine: dict, *flags: str) -> None:
    argv = ["relion_tool", "--o", "job/", *flags]
    job.run(argv, "job", engine=engine, expected_outputs=["job/map.mrc"])


def times_run() -> int:
    return len(Path("ran").read_text().splitlines())


def record() -> dict:
    return json.loads(Path("job/job.json").read_text())


def start(
    argv: list[str], makes: list[str], engine: dict, grace: float = 20, more: str = ""
) -> subprocess.Popen:
    """A job in a process of its own, which leads a process group; `more` are statements that change it."""
    words = json.dumps([argv, engine, makes, grace])
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER.format(more=more), words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not Path(path).exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.005)


# ---------------------------------------------------------------- kept, or made anew


def test_what_has_finished_is_not_run_again_and_its_deleted_files_are_put_back(program) -> None:
    engine = program()
    tool(engine)
    Path("job/map.mrc").unlink()  # as Snakemake does before it starts a job
    tool(engine)
    assert times_run() == 1
    assert Path("job/map.mrc").read_text() == "made by run 1"


def test_where_it_runs_and_how_fast_changes_nothing(program, monkeypatch) -> None:
    engine = program()
    tool_record = Program("relion_tool", ignored_flags=refine.PROGRAM.ignored_flags)
    monkeypatch.setattr(program_records, "all_programs", lambda: (tool_record,))
    tool(engine, "--b", "64", "--j", "4", "--pool", "3", "--dont_combine_weights_via_disc")
    tool(engine, "--b", "64", "--j", "8", "--gpu", "0:1", "--scratch_dir", "/scratch")
    assert times_run() == 1


def test_another_argument_moves_all_old_files_aside_the_deleted_ones_too(program) -> None:
    engine = program()
    tool(engine, "--b", "64")
    Path("job/run_it025_data.star").write_text("old")
    Path("job/map.mrc").unlink()
    tool(engine, "--b", "96")
    assert Path("job.previous1/run_it025_data.star").read_text() == "old"
    assert Path("job.previous1/map.mrc").read_text() == "made by run 1"
    assert sorted(path.name for path in Path("job").iterdir()) == [
        *(".lock", ".made", "job.json", "map.mrc", "run.out")
    ]


def test_content_counts_not_the_time_or_path_of_an_input(program) -> None:
    engine = program()
    Path("a.mrc").write_text("a")
    tool(engine, "--i", "a.mrc")
    os.utime("a.mrc", (0, 0))
    tool(engine, "--i", "a.mrc")
    shutil.copy("a.mrc", "b.mrc")
    tool(engine, "--i", "b.mrc")
    assert times_run() == 1
    Path("b.mrc").write_text("b")
    tool(engine, "--i", "b.mrc")
    assert times_run() == 2


def test_what_has_finished_is_kept_though_its_input_would_not_pass_any_more(program, monkeypatch) -> None:
    def refuse(_: Command) -> None:
        raise UserError("its stacks were tidied away")

    tool(program())
    monkeypatch.setattr(verify, "check_inputs", refuse)
    tool(program())
    assert times_run() == 1
    with pytest.raises(UserError, match="tidied"):
        tool(program(), "--b", "64")
    assert record()["ended_well"]  # nothing was moved aside


def test_a_result_that_was_damaged_since_is_not_put_back(program) -> None:
    engine = program()
    tool(engine)
    Path("job/map.mrc").write_text("")
    tool(engine)
    assert times_run() == 2


def test_without_its_record_a_job_starts_afresh(program) -> None:
    engine = program()
    tool(engine)
    Path("job/job.json").unlink()
    tool(engine)
    assert times_run() == 2
    assert Path("job.failed/map.mrc").exists()


def test_a_record_cut_short_at_any_byte_stops_nothing(program) -> None:
    tool(program())
    whole = Path("job/job.json").read_bytes()
    for length in range(0, len(whole) - 2, 7):
        Path("job/job.json").write_bytes(whole[:length])
        assert job_record.read("job") == {}
        assert cause_of_failure("job") == ""
    tool(program())
    assert record()["ended_well"]


def test_a_failed_program_is_tried_again_and_what_it_left_is_no_result(program) -> None:
    with pytest.raises(ProgramFailed, match="status 3"):
        tool(program(MAKE + "; sys.exit(3)"))
    assert "status 3" in cause_of_failure("job")
    tool(program())
    assert times_run() == 2
    assert [run["exit_status"] for run in record()["runs"]] == [3, 0]


def test_what_was_made_wrong_without_an_error_is_moved_aside_before_it_is_made_again(program) -> None:
    with pytest.raises(ProgramFailed, match="did not write"):
        tool(program('(out / "other").touch()'))
    tool(program())
    assert Path("job.failed/other").exists()
    assert not Path("job/other").exists()


def test_all_that_a_program_says_in_all_its_runs_is_in_run_out(program) -> None:
    script = 'print("   1/ 8 sec ..~~(,_\\r   8/ 8 sec ....~~(,_\\"> yum!\\nrun", runs); '
    with pytest.raises(ProgramFailed):
        tool(program(script + "sys.exit(1)"))
    tool(program(script + MAKE))
    said = Path("job/run.out").read_text()
    assert "run 1" in said
    assert "run 2" in said
    assert said.count("$ ") == 2


# ---------------------------------------------------------------- edited, made anew, taken back


def edit_in_place(path: str, text: str = "edited by hand") -> None:
    """As a program does that opens a file for writing, and sets its time back."""
    times = os.stat(path)
    with open(path, "r+") as file:
        file.write(text)
        file.truncate()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted by Snakemake", "still there"])
def test_what_was_edited_in_place_is_made_again_and_what_it_was_edited_to_is_kept(program, deleted, caplog):
    caplog.set_level("INFO")
    engine = program()
    tool(engine)
    edit_in_place("job/map.mrc", "made by run 9")  # as long as before
    if deleted:
        Path("job/map.mrc").unlink()
    tool(engine)
    assert times_run() == 2
    assert Path("job/map.mrc").read_text() == "made by run 2"
    assert Path("job.previous1/map.mrc").read_text() == "made by run 9"
    assert "job/map.mrc is not what the program made: what was here is now in job.previous1" in caplog.text
    tool(engine)
    assert times_run() == 2


def test_what_was_replaced_by_another_file_is_put_back_without_a_run(program) -> None:
    tool(program())
    Path("other").write_text("something else")
    os.replace("other", "job/map.mrc")
    assert [path for path, _ in kept_outputs.altered_outputs(".")] == ["job/map.mrc"]
    tool(program())
    assert times_run() == 1
    assert Path("job/map.mrc").read_text() == "made by run 1"
    assert kept_outputs.altered_outputs(".") == []


def test_a_file_beside_the_declared_ones_that_they_name_was_edited_too(program) -> None:
    table = "data_\n\nloop_\n_rlnReferenceImage #1\njob/class.mrc\n"
    script = f"(out / 'map.star').write_text({table!r}); (out / 'class.mrc').write_text('a class'); {MAKE}"
    makes = ["job/map.mrc", "job/map.star"]
    for text in ("a class", "a claim", "a class"):
        if Path("job/class.mrc").exists():
            edit_in_place("job/class.mrc", text)
        job.run(["relion_tool", "--o", "job/"], "job", engine=program(script), expected_outputs=makes)
    assert times_run() == 2
    assert Path("job/class.mrc").read_text() == "a class"


def test_the_date_in_the_label_of_a_map_is_no_edit_and_no_other_input(program) -> None:
    engine = program(f"import shutil; shutil.copy({str(GOLDEN / 'average/merged.mrc')!r}, out / 'map.mrc')")
    shutil.copy(GOLDEN / "average/merged.mrc", "a.mrc")
    tool(engine, "--i", "a.mrc")
    for path in ("a.mrc", "job/map.mrc"):
        with open(path, "r+b") as file:
            file.seek(224)
            file.write(b"Relion 30-Nov-26  23:59:59".ljust(80))
            file.seek(1000)
            file.write(b"\7")
    tool(engine, "--i", "a.mrc")
    assert times_run() == 1
    assert kept_outputs.altered_outputs(".") == []
    for at, path in ((40, "a.mrc"), (1024 + 4096, "job/map.mrc")):  # the cell, a voxel
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(b"\1\2\3\104")
        tool(engine, "--i", "a.mrc")
    assert times_run() == 3


def test_an_earlier_result_is_taken_back_however_often_and_only_if_it_is_whole(program) -> None:
    for box in ("64", "96", "128", "64", "96"):
        tool(program(), "--b", box)
        Path("job/map.mrc").unlink()
    assert times_run() == 3
    tool(program(), "--b", "128")
    assert Path("job/map.mrc").read_text() == "made by run 3"
    assert time.time() - os.stat("job/map.mrc").st_mtime < 60
    for aside in Path().glob("job.previous*"):
        edit_in_place(str(aside / "map.mrc"))
    tool(program(), "--b", "64")
    assert times_run() == 4


def test_of_earlier_results_the_newest_few_stay(program) -> None:
    for box in range(8):
        tool(program(), "--b", str(box))
    assert sorted(path.name for path in Path().glob("job.*")) == [f"job.previous{n}" for n in range(3, 8)]
    tool(program(), "--b", "2")  # the oldest that is left
    assert times_run() == 8


def test_a_move_that_was_cut_off_continues_wherever_it_was(program, monkeypatch) -> None:
    """Aside or back: after each file that was moved, the runner is killed."""
    script = "(out / 'a').touch(); (out / 'b').touch(); " + MAKE
    for steps in range(12):
        shutil.rmtree("job", ignore_errors=True)
        for aside in Path().glob("job.*"):
            shutil.rmtree(aside)
        Path("ran").unlink(missing_ok=True)
        for box in ("64", "96"):
            tool(program(script), "--b", box)
        rename, left = Path.rename, [steps]

        def killed(path: Path, to: Path, rename=rename, left=left) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return rename(path, to)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Path, "rename", killed)
            tool(program(script), "--b", "64")
        tool(program(script), "--b", "64")
        tool(program(script), "--b", "96")
        assert (steps, times_run()) == (steps, 2)
        assert Path("job/map.mrc").read_text() == "made by run 2"
        assert Path("job/a").exists()
        assert len(list(Path().glob("job.*"))) == 1


def test_what_is_marked_to_be_made_anew_is_not_kept_and_not_taken_back(program) -> None:
    for box in ("64", "96"):
        tool(program(), "--b", box)
    Path("job/job.json").write_text(json.dumps(record() | {resume.REDO: True}))
    with pytest.raises(ProgramFailed):
        tool(program("sys.exit(3)"), "--b", "96")  # cut off
    tool(program(), "--b", "96")
    assert times_run() == 4
    assert resume.REDO not in record()
    tool(program(), "--b", "96")
    assert times_run() == 4


def test_a_state_that_is_not_what_was_recorded_is_not_recorded_anew(program, monkeypatch, caplog) -> None:
    caplog.set_level("INFO")
    tool(program())
    monkeypatch.setattr(state_record, "of_program", lambda *_: pytest.fail("was recorded anew"))
    monkeypatch.setattr(audit, "altered", lambda folder: [f"{folder}/particles.star"])
    Path("job/state.json").touch()
    with pytest.raises(pytest.fail.Exception):  # by the run that follows
        tool(program())
    assert times_run() == 2
    assert "job/particles.star is not what was recorded" in caplog.text


# ---------------------------------------------------------------- one program per folder; ends that come from outside

SLOW = 'Path("started").touch(); time.sleep(1.5); ' + MAKE


def test_a_program_ends_when_its_runner_is_killed_and_leaves_nothing_that_looks_like_a_result(
    program,
) -> None:
    runner = start(["relion_tool", "--o", "job/"], ["job/map.mrc"], program(SLOW))
    wait_for("started")
    runner.kill()
    runner.wait()
    time.sleep(2)  # it would have ended by now
    assert not Path("job/map.mrc").exists()
    tool(program())
    assert record()["ended_well"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_program_never_begins_if_its_runner_is_killed_at_the_moment_of_its_start(program, moment) -> None:
    """Before or after the process that will be the program has asked to be ended with its runner."""
    wait = "Path('forked').touch(); time.sleep(1); "
    asks = f"{wait} asks(runner)" if moment == "before" else f"asks(runner); {wait}"
    more = (
        "import time; from pathlib import Path; asks = process._end_with_runner\n"
        f"def slow(runner): {asks}\n"
        "process._end_with_runner = slow"
    )
    runner = start(["relion_tool", "--o", "job/"], ["job/map.mrc"], program(), more=more)
    wait_for("forked")
    runner.kill()
    runner.wait()
    time.sleep(2)  # it would have started and ended by now
    assert not Path("ran").exists()


def test_a_second_start_is_refused_while_the_program_lives_though_its_runner_was_killed(program) -> None:
    engine = program("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLOW)
    runner = start(["relion_tool", "--o", "job/"], ["job/map.mrc"], engine)
    wait_for("started")
    pid = recorded_pid()
    runner.kill()
    runner.wait()
    with pytest.raises(UserError, match=rf"process {pid} on \S+ still runs here, since .*kill {pid}"):
        tool(engine)
    wait_for("job/map.mrc")
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)
    tool(program())
    assert record()["ended_well"]


def test_a_file_system_without_locks_is_reported_and_does_not_stop_the_work(
    program, monkeypatch, caplog
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    tool(program())
    assert "has no locks" in caplog.text
    assert record()["ended_well"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_to_the_program_and_reported_in_one_sentence(program, number) -> None:
    engine = program("import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); " + SLOW)
    runner = start(["relion_tool", "--o", "job/"], ["job/map.mrc"], engine)
    wait_for("started")
    runner.send_signal(number)
    _, told = runner.communicate(timeout=10)
    assert runner.returncode == 1
    assert f"relion_tool was stopped ({number.name})" in told
    assert "Traceback" not in told
    assert "was stopped" in record()["cause"]
    assert not record()["ended_well"]
    assert not Path("job/map.mrc").exists()


def test_a_program_that_does_not_end_when_asked_is_killed(program) -> None:
    engine = program("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLOW)
    runner = start(["relion_tool", "--o", "job/"], ["job/map.mrc"], engine, grace=0.2)
    wait_for("started")
    runner.terminate()
    runner.communicate(timeout=10)
    assert record()["runs"][-1]["exit_status"] == -signal.SIGKILL
    assert not Path("job/map.mrc").exists()


# ---------------------------------------------------------------- a second try


@pytest.mark.parametrize(
    ("retry", "flags"),
    [
        ("continue", "--o job/ --j 5 --dont_combine_weights_via_disc"),
        ("combine_via_disc", "--o job/ --j 5"),
        ("fewer_threads", "--o job/ --j 2 --dont_combine_weights_via_disc"),
    ],
)
def test_what_may_be_cured_is_tried_once_more_and_said_so(program, monkeypatch, caplog, retry, flags) -> None:
    monkeypatch.setattr(
        explain, "explain", lambda *_: explain.Diagnosis("It broke.", "Mend it.", None, retry)
    )
    tool(program("if runs == 1: sys.exit(1)\n" + MAKE), "--j", "5", "--dont_combine_weights_via_disc")
    assert Path("ran").read_text().splitlines()[1] == flags
    assert "It broke. Mend it. It is tried once more" in caplog.text
    assert [run["retry"] for run in record()["runs"]] == [None, retry]
    tool(program(), "--j", "5", "--dont_combine_weights_via_disc")
    assert times_run() == 2


@pytest.mark.parametrize(("ranks", "left"), [("16", "8"), ("3", "2")])
def test_ranks_that_share_tomograms_are_halved_where_memory_is_short(ranks: str, left: str) -> None:
    argv = ["mpirun", "-n", ranks, "relion_tomo_align_mpi", "--o", "job/", "--j", "1"]
    assert job.relaxed(Command.of(argv), "fewer_threads").argv == [*argv[:2], left, *argv[3:]]
    alone = ["mpirun", "-n", "3", "relion_refine_mpi", "--split_random_halves", "--o", "job/run", "--j", "4"]
    assert job.relaxed(Command.of(alone), "fewer_threads").argv == [*alone[:-1], "2"]


def test_a_second_failure_is_final(program, monkeypatch) -> None:
    monkeypatch.setattr(
        explain, "explain", lambda *_: explain.Diagnosis("It broke.", "Mend it.", None, "continue")
    )
    with pytest.raises(ProgramFailed, match=r"It broke\. Mend it\."):
        tool(program("sys.exit(1)"))
    assert times_run() == 2


# ---------------------------------------------------------------- refinements


def align(iterations: int = 3, tau: float = 1, *more: str) -> list[str]:
    words = (
        f"relion_refine --o job/run --ios extract/optimisation_set.star --ref average/merged.mrc --firstiter_cc"
        f" --trust_ref_size --ini_high 50 --dont_combine_weights_via_disc --pool 3 --pad 1 --ctf --iter {iterations}"
        f" --tau2_fudge {tau} --particle_diameter 330 --K 1 --flatten_solvent --zero_mask --strict_highres_exp 45"
        " --skip_align --sym C1 --norm --scale"
        " --random_seed 1 --j 1"
    )
    return [*words.split(), *more]


def declared(iterations: int = 3) -> list[str]:
    return [f"job/run_it{iterations:03d}_{name}" for name in ("data.star", "model.star", "class001.mrc")]


def run_align(iterations: int = 3, tau: float = 1, *more: str) -> None:
    job.run(align(iterations, tau, *more), "job", engine=EMBEDDED, expected_outputs=declared(iterations))


def continued() -> list:
    return [run["continued_from"] for run in record()["runs"]]


def stamp(iteration: int) -> int:
    return Path(f"job/run_it{iteration:03d}_optimiser.star").stat().st_mtime_ns


def test_only_more_iterations_continue_where_the_others_ended_and_their_files_stay() -> None:
    run_align(2)
    before = stamp(2)
    run_align(3)
    assert continued() == [None, 2]
    assert stamp(2) == before
    run_align(3)
    assert len(continued()) == 2
    run_align(3, 2)  # another T
    assert continued() == [None]
    assert Path("job.previous2/run_it003_data.star").exists()
    run_align(2)
    assert continued() == [None]
    run_align(3)
    assert continued() == [None, 2]  # both are taken back
    assert stamp(3) > before


@pytest.mark.slow
def test_a_refinement_killed_at_any_moment_repeats_no_finished_iteration() -> None:
    moments = random.Random(5)
    for killed in range(4):
        runner = start(align(6), declared(6), EMBEDDED)
        wait_for(f"job/run_it{killed + 1:03d}_class001.mrc", 60)  # the first file of an iteration
        time.sleep(moments.uniform(0, 0.05))
        os.killpg(runner.pid, signal.SIGTERM if killed == 3 else signal.SIGKILL)
        runner.communicate()
    whole = [n for n in range(7) if refine_iterations.is_complete("job/run", n, 56 + 8)]
    stamps = {n: stamp(n) for n in whole if n}
    run_align(6)
    assert {n: stamp(n) for n in stamps} == stamps
    assert continued()[-1] == max(stamps)
    assert all(refine_iterations.is_complete("job/run", n, 64) for n in range(1, 7))
    assert [path for path in Path("job").glob("*.part")] == []


@pytest.mark.slow
def test_a_refinement_continues_with_another_number_of_gpus_and_ranks(golden_project, monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0,1")
    monkeypatch.setattr(gpus, "LOCKS", golden_project / "slots")
    words = align(3, 1, "--gpu", "0")
    runner = start(words, declared(), EMBEDDED)
    wait_for("job/run_it002_class001.mrc", 60)
    os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()
    while Path(f"/proc/{recorded_pid()}").exists():
        time.sleep(0.01)
    argv = mpi.with_mpi(align(3, 1, "--gpu", "0:1"), 3)
    job.run(argv, "job", engine=EMBEDDED, expected_outputs=declared(), gpus=2)
    assert continued()[-1] in (1, 2)
    assert len(continued()) == 2
    assert record()["runs"][-1]["gpus"] == ["0", "1"]
    job.run(words, "job", engine=EMBEDDED, expected_outputs=declared(), gpus=1)
    assert len(continued()) == 2  # kept


def test_an_iteration_is_complete_only_with_all_of_its_files_whole(golden_project) -> None:
    os.unlink("align")
    shutil.copytree(GOLDEN / "align", "align")
    files = sorted(Path("align").glob("run_it003_*"))
    assert refine_iterations.is_complete("align/run", 3, 64)
    assert not refine_iterations.is_complete("align/run", 3, 65)
    moments = random.Random(1)
    for path in files:
        if path.name.endswith("optimisation_set.star"):
            continue
        whole, size = path.read_bytes(), path.stat().st_size
        tables = [at + 1 for at in range(size) if whole.startswith(b"\n\n# version", at)]
        offsets = {0, 1, size // 2, *range(size - 5, size), *(moments.randrange(size) for _ in range(30))}
        for offset in sorted({*offsets, *tables, *(at - 1 for at in tables)}):
            path.write_bytes(whole[:offset])
            assert not refine_iterations.is_complete("align/run", 3, 64), f"{path} cut at {offset}"
        path.write_bytes(whole[: size // 2] + bytes(size - size // 2))
        assert path.suffix == ".mrc" or not refine_iterations.is_complete("align/run", 3, 64), (
            f"zeros in {path}"
        )
        path.unlink()
        assert not refine_iterations.is_complete("align/run", 3, 64), f"without {path}"
        path.write_bytes(whole)
    assert refine_iterations.is_complete("align/run", 3, 64)


def test_what_relion_forgets_it_is_given_again_and_nothing_else(golden_project) -> None:
    os.unlink("align")
    shutil.copytree(GOLDEN / "align", "align")
    command = Command.of(["mpirun", "-n", "3", *align(9, 1, "--gpu", "0", "--solvent_mask", "mask/mask.mrc")])
    command.flags["--o"] = ["align/run"]
    plan = refine_iterations.go_on(command, Path(), "relion")
    assert plan.start == 5
    assert " ".join(plan.argv) == (
        "mpirun -n 3 relion_refine --continue align/run_it005_optimiser.star --o align/run --iter 9 --solvent_mask "
        "mask/mask.mrc --trust_ref_size --dont_combine_weights_via_disc --pool 3 --skip_align --j 1 --gpu 0"
    )


# ---------------------------------------------------------------- tomography programs


def extract() -> None:
    command = (
        "relion_tomo_subtomo --p input/particles.star --t input/tomograms.star --theme classic --o job/ --b 24 --bin 4"
        " --float16 --stack2d --j 1"
    )
    makes = ["job/particles.star", "job/optimisation_set.star"]
    job.run(command.split(), "job", engine=EMBEDDED, expected_outputs=makes)


def test_of_an_extraction_only_missing_and_cut_off_stacks_are_made_again() -> None:
    extract()
    stacks = sorted(Path("job").glob("Subtomograms/*/*.mrcs"))
    whole = {path: path.read_bytes() for path in stacks}
    for path, length in zip(stacks, (0, 500, 1024, len(whole[stacks[3]]) - 1), strict=False):
        path.write_bytes(whole[path][:length])
    stacks[4].unlink()
    unfinished = record() | {"ended_well": False}
    Path("job/job.json").write_text(json.dumps(unfinished | {"runs": []}))
    stamps = {path: path.stat().st_mtime_ns for path in stacks[5:]}
    extract()
    assert continued()[-1] == "unfinished tomograms"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    for path, before in whole.items():
        assert path.read_bytes()[1024:] == before[1024:]


def test_an_extraction_whose_stacks_were_deleted_since_makes_them_again() -> None:
    extract()
    for path in Path("job/Subtomograms/TS_01").iterdir():
        path.unlink()
    extract()
    assert len(list(Path("job/Subtomograms/TS_01").iterdir())) == 32


TABLE = "\n# version 50001\n\ndata_{}\n\nloop_ \n_rlnOriginXAngst #1 \n    1.000000 \n    2.000000 \n \n"
MAP = np.array([4, 4, 4, 2], "<i4").tobytes() + bytes(1024 - 16 + 4 * 64)
MOTION = "\n# version 50001\n\ndata_general\n\n_rlnParticleNumber 2\n \n" + TABLE.format("TS_1/1")
# As RELION 5.0.1 leaves them, for tomogram or step 1: by program, what it reads on --only_do_unfinished, whole.
LEFT = {
    "relion_tomo_reconstruct_particle": {
        f"temp/sum_1_{name}.mrc": MAP for name in ("data_half0", "ctf_half0", "data_half1", "ctf_half1")
    },
    "relion_tomo_refine_ctf --do_scale": {
        "temp/defocus/TS_1.star": TABLE.format(""),
        "temp/scale/TS_1.star": TABLE.format(""),
    },
    "relion_tomo_align --motion": {
        "temp/TS_1_motion.star": MOTION + TABLE.format("TS_1/2"),
        "temp/TS_1_positions.star": TABLE.format(""),
        "temp/TS_1_projections.star": TABLE.format(""),
    },
}


@pytest.mark.parametrize("command", LEFT)
def test_a_tomogram_of_which_anything_is_missing_or_cut_off_is_done_again(command) -> None:
    files = {
        Path("job", name): text if isinstance(text, bytes) else text.encode()
        for name, text in LEFT[command].items()
    }
    sign = list(files)[0 if "ctf" in command else 2]  # what RELION asks for
    for path, whole in files.items():
        for length in (
            None,
            *range(0, len(whole), 11 if len(whole) < 1000 else 211),
            len(whole) - 1,
            len(whole),
        ):
            for other, text in files.items():
                other.parent.mkdir(parents=True, exist_ok=True)
                other.write_bytes(text)
            if length is None:
                path.unlink()
            else:
                path.write_bytes(whole[:length])
            left = [Path("job/temp/other.star"), *files]
            removed = shared.cut_off(Command.of(command.split()), Path("job"))
            assert (sign in removed or not sign.exists()) == (length != len(whole)), f"{path} cut at {length}"
            assert set(removed) <= set(left)


def test_a_refinement_that_was_in_its_last_iteration_does_no_other_before_it(golden_project) -> None:
    os.unlink("align")
    shutil.copytree(GOLDEN / "align", "align")
    command = Command.of(align())
    command.flags["--o"] = ["align/run"]
    said = "".join(f" Auto-refine: Iteration= {n}\n Auto-refine: Resolution= 40\n" for n in (4, 5, 6))
    Path("align/run.out").write_text(said)
    assert "--force_converge" not in refine_iterations.go_on(command, Path(), "relion").argv
    Path("align/run.out").write_text(
        said + " Auto-refine: Refinement has converged, entering last iteration where\n"
    )
    assert "--force_converge" in refine_iterations.go_on(command, Path(), "relion").argv


@pytest.mark.slow
def test_a_job_at_its_time_limit_continues_from_its_last_whole_iteration() -> None:
    """SLURM's way: SIGTERM to all processes, and SIGKILL to those that are left."""
    runner = start(align(200), declared(200), EMBEDDED)
    wait_for("job/run_it002_optimiser.star", 60)
    os.killpg(runner.pid, signal.SIGTERM)
    _, told = runner.communicate(timeout=10)
    assert runner.returncode == 1
    assert "run Snakemake again" in told
    done = max(
        n for n in refine_iterations.iterations("job/run") if refine_iterations.is_complete("job/run", n, 64)
    )
    assert (
        resume.examine(Command.of(align(200)), Path("job"), record(), record()["fingerprint"]).start
        == done
        >= 2
    )
