"""The status of a run, from the files that it leaves: whatever has become of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stacycle.jobs.log import task
from stacycle.progress import forecast, journal, status, text, timeline
from stacycle.progress.job_state import DONE, KEPT, QUEUED, REMOVED, RUNNING, STOPPED, WAITING
from stacycle.progress.journal import FAILED, FINISHED, STARTED, Job, Writer
from stacycle.resources import lock
from stacycle.resources.lock import locked

ALIGN, CLASSES, REPORT = "results/bin4/align/T1", "results/bin4/class3d/T1_K6", "results"
ALIGN_JOB = Job("align", ALIGN, f"{ALIGN}/run_it025_data.star", program="align", log="logs/bin4/align/T1.log")
SCORES = Job("score", "results/bin4/score", "results/bin4/score/scores.tsv", (0,), log="logs/bin4/score.log")
JOBS = [
    ALIGN_JOB,
    Job("class3d", CLASSES, f"{CLASSES}/iterations.json", (0,), "class3d"),
    Job("report", REPORT, "results/report.html", (1,)),
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Writer:
    return Writer(".", JOBS)


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(seconds))


def job(folder: str, ago: float = 10, **facts: Any) -> None:
    """The record of a job whose program was started so long ago."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    run = {"started": stamp(time.time() - ago)} | (
        {"ended": stamp(time.time())} if "ended_well" in facts else {}
    )
    record = {"command": "relion_refine --o run --iter 25", "runs": [run], **facts}
    Path(folder, "job.json").write_text(json.dumps(record))


def iterations(folder: str, ago: list[float], bar: int = 0) -> None:
    """Tables of iterations that ended so many seconds ago, and what the program said since."""
    for number, seconds in enumerate(ago):
        table = Path(folder, f"run_it{number:03d}_data.star")
        table.write_text("")
        os.utime(table, (time.time() - seconds,) * 2)
    line = f" CurrentResolution= 21.3 Angstroms\n Expectation iteration {len(ago)} of 25\n"
    Path(folder, "run.out").write_text(line + (f" 1/   4 sec {'.' * bar}~~(,_," if bar else ""))


def states() -> dict[str, str]:
    found = status.collect()
    assert found
    return {step.step: step.state for step in found.steps}


def test_a_project_without_a_run_has_no_status() -> None:
    assert status.collect() is None


def test_jobs_wait_run_and_end(run: Writer) -> None:
    assert states() == {"bin4/align": WAITING, "bin4/class3d": WAITING, "report": WAITING}
    run.add(STARTED, 0)
    job(ALIGN, 100)
    iterations(ALIGN, [90, 80, 70, 60, 50, 40, 30, 20], bar=30)
    found = status.collect()
    assert found
    (align,) = found.steps[0].jobs
    assert (found.state, align.state, align.iteration, align.iterations) == (RUNNING, RUNNING, 8, 25)
    assert align.resolution == pytest.approx(21.3)
    assert align.left == pytest.approx(170 + 10, rel=0.2)  # 17 more of 10 s each, and the rest of this one
    assert found.at_least, "nothing tells of class3d yet"
    run.add(FINISHED, 0)
    job(ALIGN, 0, ended_well=True)
    assert states()["bin4/align"] == DONE


def test_what_an_earlier_run_made_is_kept(run: Writer) -> None:
    job(ALIGN, 3600, ended_well=True)
    run.add(STARTED, 0)
    run.add(FINISHED, 0)
    assert states()["bin4/align"] == KEPT


def test_a_bar_of_an_iteration_that_was_written_tells_nothing_of_the_next() -> None:
    job(ALIGN, 100)
    iterations(ALIGN, [90, 80, 70], bar=60)
    record = json.loads(Path(ALIGN, "job.json").read_text())
    assert timeline.of_job(ALIGN, record).fraction == 1
    table = Path(ALIGN, "run_it003_data.star")
    table.write_text("")
    assert timeline.of_job(ALIGN, record).fraction == 0


def test_the_same_step_of_a_finer_round_takes_longer() -> None:
    """By as much as iterations become longer with the pixels; a program without iterations does not."""
    steps = ["extract", "refine3d"]
    jobs = [
        Job(step, f"results/{round_}/{step}", f"results/{round_}/{step}/x", (), step, binning=binning)
        for round_, binning in (("bin4", 4.0), ("bin2", 2.0))
        for step in steps
    ]
    run = Writer(".", jobs)
    for number, one in enumerate(jobs[:2]):
        run.add(STARTED, number)
        job(one.folder, 100, ended_well=True)
    iterations("results/bin4/refine3d", [99, 66, 33, 0.1])
    for number in range(2):
        run.add(FINISHED, number)
    forecast.forget()
    found = status.collect()
    assert found
    left = {step.step: step.jobs[0].left for step in found.steps}
    assert left["bin2/extract"] == pytest.approx(100, abs=3)
    assert left["bin2/refine3d"] == pytest.approx(100 * 2**1.3, abs=5)


def test_a_result_that_was_removed_since_is_not_called_done(
    run: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, one in enumerate(JOBS):
        run.add(STARTED, number)
        Path(one.output).parent.mkdir(parents=True, exist_ok=True)
        Path(one.output).write_text("")
        run.add(FINISHED, number)
    run.add(journal.WELL)
    monkeypatch.setattr(journal, "holder", lambda project: None)  # it has ended
    assert set(states().values()) == {DONE}
    Path(JOBS[1].output).unlink()
    assert states() == {"bin4/align": DONE, "bin4/class3d": REMOVED, "report": DONE}
    found = status.collect()
    assert found
    assert "results of 1 were removed" in text.headline(found)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"ended_early": "on 1/4 of the tomograms it is worse."}, "ended early, by its pilot"),
        ({"cause": "relion_tomo_align was killed."}, "failed, and left out of its sweep"),
    ],
)
def test_a_variant_that_its_sweep_goes_on_without_is_not_called_kept(
    run: Writer, facts: dict[str, str], said: str
) -> None:
    job(ALIGN, 0 if "cause" in facts else 1000, ended_well=False, **facts)
    for what in (STARTED, FINISHED):
        run.add(what, 0)
    found = status.collect()
    assert found
    (one,) = found.steps[0].jobs
    assert (one.state, one.decided) == (DONE, said)


def test_a_job_that_failed_says_why_and_where_to_read_on(run: Writer) -> None:
    run.add(STARTED, 0)
    job(ALIGN, cause="relion_refine failed with exit status 1: out of memory.")
    Path(ALIGN, "run.out").write_text("ERROR\n")
    run.add(FAILED, 0)
    run.add("ended")
    found = status.collect()
    assert found
    assert (found.state, found.steps[0].state) == (FAILED, FAILED)
    told = text.failure(found.failed[0])
    assert "bin4/align T1: relion_refine failed with exit status 1: out of memory." in told
    assert f"Read on: {ALIGN}/run.out" in told


def test_a_script_that_failed_says_what_its_log_says(run: Writer) -> None:
    Path("logs/bin4/align").mkdir(parents=True)
    Path("logs/bin4/align/T1.log").write_text("before\nERROR: results/a.star: has no rows; look there.\n")
    run.add(STARTED, 0)
    run.add(FAILED, 0)
    found = status.collect()
    assert found
    assert found.failed[0].cause == "results/a.star: has no rows; look there."


def test_what_is_tried_again_has_not_failed(run: Writer) -> None:
    run.add(STARTED, 0)
    before = status.collect()
    assert before
    for what in (FAILED, STARTED):
        run.add(what, 0)
    assert states()["bin4/align"] == RUNNING
    again = status.collect()
    assert again
    assert again.steps[0].jobs[0].attempt == 2
    waited = {key: ("queued", None) for key in text.seen(before)}
    assert "bin4/align T1: running, attempt 2" in text.events(waited, again)


@pytest.fixture
def queued() -> Writer:
    """A run whose jobs have been given to SLURM: one with a program, one without, and one that stays here."""
    mine = [ALIGN_JOB, SCORES, Job("report", REPORT, "results/report.html", (1,), local=True)]
    run = Writer(".", mine, scheduler="slurm")
    for number in range(3):
        run.add(STARTED, number)
    return run


def test_what_waits_in_a_queue_is_not_called_running(queued: Writer) -> None:
    job(ALIGN, 1000, ended_well=True)  # an earlier run's
    log = Path(SCORES.log)
    log.parent.mkdir(parents=True)
    log.write_text("of an earlier run")
    os.utime(log, (time.time() - 1000,) * 2)
    assert states() == {"bin4/align": QUEUED, "bin4/score": QUEUED, "report": RUNNING}
    with task(SCORES.log, "bin4/score", makes_results=False), locked(ALIGN, "relion_refine"):
        assert states() == {"bin4/align": QUEUED, "bin4/score": RUNNING, "report": RUNNING}, (
            "it waits for a GPU"
        )
        job(ALIGN, 0)
        assert states() == {"bin4/align": RUNNING, "bin4/score": RUNNING, "report": RUNNING}


@pytest.mark.parametrize(
    ("facts", "lock_file", "state"),
    [
        ({"ended_well": True}, "", DONE),
        ({"ended_well": False, "cause": "relion_refine was stopped (SIGTERM)."}, "", STOPPED),
        ({"ended_well": False, "cause": "relion_refine failed."}, "", FAILED),
        ({}, '{"runner": 4194305, "host": "HERE"}', STOPPED),
        ({}, "", RUNNING),
    ],
    ids=["well", "by SLURM", "ill", "killed", "on a file system without locks"],
)
def test_what_a_job_has_come_to_is_told_before_snakemake_has_asked_slurm(
    queued: Writer, facts: dict[str, Any], lock_file: str, state: str
) -> None:
    job(ALIGN, 0, **facts)
    Path(ALIGN, lock.LOCK_FILE).write_text(lock_file.replace("HERE", socket.gethostname()))
    assert states()["bin4/align"] == state


def test_what_slurm_says_of_a_job_that_never_began_is_why_it_failed(queued: Writer) -> None:
    log = Path(ALIGN_JOB.log)
    log.parent.mkdir(parents=True)
    log.write_text("ERROR: of an earlier run.")
    os.utime(log, (time.time() - 1000,) * 2)
    queued.add(FAILED, 0, (), "SLURM job 7 (sta-bin4-align): CANCELLED.")
    found = status.collect()
    assert found
    assert [one.cause for one in found.failed] == ["SLURM job 7 (sta-bin4-align): CANCELLED."]
    log.write_text("ERROR: T is too large.")
    queued.add(FAILED, 0, (), "SLURM job 7 (sta-bin4-align): FAILED.")
    found = status.collect()
    assert found
    assert [one.cause for one in found.failed] == ["T is too large."]


def test_another_host_knows_at_once_that_a_program_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with locked("job", "relion_refine"):
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        assert lock.held("job/.lock")
    assert lock.held("job/.lock") is None


def test_what_was_stopped_with_the_run_has_not_failed(run: Writer) -> None:
    run.add(STARTED, 0)
    journal.interrupted()
    run.add(FAILED, 0)
    run.add("ended")
    found = status.collect()
    assert found
    assert (found.state, found.steps[0].state, found.failed) == (STOPPED, STOPPED, [])


HOLDS = """
import sys, time
from stacycle.progress.journal import Writer
run = Writer(".", [])
from stacycle.resources.lock import locked
if sys.argv[1:]:
    with locked(sys.argv[1], "relion_refine"):
        print("held", flush=True)
        time.sleep(60)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other() -> Iterator[Any]:
    """Starts another process that holds the run's lock, and a job's."""
    started = []

    def start(*folders: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", HOLDS, *folders], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_run_is_stopped_at_once_and_never_called_running(other: Any) -> None:
    process = other()
    assert journal.holder()
    found = status.collect()
    assert found
    assert found.state == RUNNING
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert journal.holder() is None
    found = status.collect()
    assert found
    assert found.state == STOPPED


def test_a_program_that_outlives_the_run_is_called_running_and_then_done(other: Any) -> None:
    run = Writer(".", JOBS)
    job(ALIGN, 0)
    told = json.loads(Path(journal.FOLDER, "run.json").read_text())
    process = other(ALIGN)
    Path(journal.FOLDER, "run.json").write_text(json.dumps(told))
    os.close(run._held.fd)  # type: ignore[union-attr, arg-type]
    run.add(STARTED, 0)
    assert states()["bin4/align"] == RUNNING
    process.kill()
    process.wait()
    assert states()["bin4/align"] == STOPPED
    job(ALIGN, 0, ended_well=True)
    Path(JOBS[0].output).write_text("")
    assert states()["bin4/align"] == DONE


def test_asking_who_holds_a_lock_does_not_take_it() -> None:
    with locked("job", "relion_refine"):
        assert lock.held("job/.lock")
    for _ in range(100):
        assert lock.held("job/.lock") is None
        with locked("job", "relion_refine"):
            pass


def test_of_another_machine_the_last_sign_of_life_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_known_to_slurm", lambda job: None)
    file = Path(".lock")
    file.write_text(json.dumps({"runner": 1, "host": "node7", "command": "relion_refine"}))
    assert lock.held(file)
    os.utime(file, (time.time() - 2 * lock.SILENT,) * 2)
    assert lock.held(file) is None


def test_of_another_machine_slurm_knows_better_than_an_old_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Path(".lock")
    file.write_text(json.dumps({"runner": 1, "host": "node7", "command": "x", "slurm_job": "12"}))
    os.utime(file, (time.time() - 2 * lock.SILENT,) * 2)
    for word in (True, False):
        monkeypatch.setattr(lock, "_known_to_slurm", lambda job, word=word: word)
        assert (lock.held(file) is not None) == word


def test_a_project_from_before_there_were_journals_has_a_status() -> None:
    job(ALIGN, 100, ended_well=True)
    job(CLASSES, 50, cause="relion_refine failed.")
    assert states() == {"bin4/align": KEPT, "bin4/class3d": FAILED}


def test_a_journal_that_was_cut_off_is_read_as_far_as_it_goes(run: Writer) -> None:
    run.add(STARTED, 0)
    with open(f"{journal.FOLDER}/events.jsonl", "a") as file:
        file.write('{"time": 1, "wh')
    assert states()["bin4/align"] == RUNNING


def test_a_pipe_gets_a_line_for_each_event(run: Writer) -> None:
    before = status.collect()
    assert before
    seen = text.seen(before)
    run.add(STARTED, 0)
    job(ALIGN, 20)
    iterations(ALIGN, [20, 10])
    found = status.collect()
    assert found
    assert list(text.events(seen, found)) == ["bin4/align T1: running"]
    seen = text.seen(found)
    assert list(text.events(seen, found)) == []
    iterations(ALIGN, [30, 20, 10])
    found = status.collect()
    assert found
    (line,) = text.events(seen, found)
    assert line.startswith("bin4/align T1: iteration 3 of 25, 21.3 Å, ")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (40, "40 s"),
        (600, "10 min"),
        (3 * 3600, "3 h"),
        (12_000, "3 h 20 min"),
        (190_800, "2 d 5 h"),
        (None, ""),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float | None, said: str) -> None:
    assert text.duration(seconds) == said
