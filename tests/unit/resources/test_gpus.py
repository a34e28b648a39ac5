"""GPUs: found as CUDA would see them, taken by one job each, and named to RELION rank by rank."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import recorded_pid

from stacycle.errors import UserError
from stacycle.programs import mpi
from stacycle.programs.command import Command
from stacycle.resources import gpus


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine without GPUs, drivers, schedulers and other people's jobs; returns how to give it NVIDIA's driver."""
    for name in (gpus.POOL, "CUDA_DEVICE_ORDER", *gpus.VISIBLE, *gpus.ALLOCATIONS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "slots")
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "driver")
    monkeypatch.setattr(gpus, "POLL", 0.01)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def driver(*uuids: str) -> None:
        for n, uuid in enumerate(uuids):
            folder = tmp_path / f"driver/0000:{n:02}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(
                f"Model: \t\t NVIDIA A100-SXM4\nIRQ:   \t\t 77\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\n"
            )

    return driver


# ---------------------------------------------------------------- which GPUs there are


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 0 ", ["2", "0"]),
        ("GPU-8f3a,MIG-5b21", ["GPU-8f3a", "MIG-5b21"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["1"]),
        ("NoDevFiles", []),
        ("0,0", ["0"]),
    ],
)
def test_what_the_user_made_visible_is_found_up_to_the_first_word_that_is_no_gpu(visible, found, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.found() == found


def test_all_of_nvidias_gpus_are_found_by_their_driver_or_by_nvidia_smi(machine, tmp_path) -> None:
    assert gpus.found() == []
    (tmp_path / "bin").mkdir()
    smi = tmp_path / "bin/nvidia-smi"
    smi.write_text(
        '#!/bin/sh\necho "GPU 0: NVIDIA A100-SXM4 (UUID: GPU-1)"\necho "  MIG 1g.5gb Device 0: (UUID: MIG-2)"\n'
    )
    smi.chmod(0o755)
    assert gpus.cards() == [gpus.Card("NVIDIA A100-SXM4", "GPU-1")]
    machine("GPU-1", "GPU-2")
    assert gpus.cards()[1] == gpus.Card("NVIDIA A100-SXM4", "GPU-2")
    assert gpus.found() == ["0", "1"]


def test_a_limit_makes_stand_ins_only_where_no_gpu_is_found(monkeypatch) -> None:
    assert gpus.pool(None) == gpus.pool(0) == []
    assert gpus.pool(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert gpus.pool(2) == gpus.pool(None) == ["4", "5", "6"]


# ---------------------------------------------------------------- what RELION is told


@pytest.mark.parametrize(
    ("count", "ranks", "told"),
    [
        (0, 3, None),
        (1, 1, "0"),
        (2, 1, "0,1"),
        (1, 3, "0:0"),
        (2, 3, "0:1"),
        (3, 6, "0:1:2:0:1"),
        (4, 5, "0:1:2:3"),
        (4, 3, "0,2:1,3"),
        (3, 3, "0,2:1"),
    ],
)
def test_each_rank_but_the_leader_is_given_its_gpus(count, ranks, told) -> None:
    assert gpus.per_rank(count, ranks) == told


def test_every_gpu_is_used_and_every_rank_that_computes_has_one() -> None:
    for count in range(1, 9):
        for ranks in range(1, 12):
            of_ranks = [set(one.split(",")) for one in gpus.per_rank(count, ranks).split(":")]
            assert len(of_ranks) == max(1, ranks - 1)
            assert set.union(*of_ranks) == set(map(str, range(count)))


# ---------------------------------------------------------------- taking them


def test_a_gpu_is_held_by_one_job_at_a_time_and_named_to_its_program(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0,1")
    with gpus.acquire(1, print) as one, gpus.acquire(1, print) as other:
        assert sorted(one.ids + other.ids) == ["0", "1"]
        assert one.environment == {"CUDA_VISIBLE_DEVICES": one.ids[0], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        with pytest.raises(TimeoutError), gpus.acquire(1, print, give_up_after(3)):
            pass
    with gpus.acquire(2, print) as both:
        assert both.ids == ["0", "1"]


def test_amds_gpus_are_named_by_the_variable_that_named_them(monkeypatch) -> None:
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv(gpus.POOL, ",".join(gpus.pool(None)))
    with gpus.acquire(1, print) as lease:
        assert lease.environment["ROCR_VISIBLE_DEVICES"] == "2"


def test_who_wants_two_keeps_none_while_it_waits(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0,1,2")
    with ExitStack() as first, ExitStack() as others:
        first.enter_context(gpus.acquire(1, print))
        others.enter_context(gpus.acquire(2, print))
        first.close()
        with pytest.raises(TimeoutError), gpus.acquire(2, print, give_up_after(3)):
            pass
        with gpus.acquire(1, print) as again:
            assert again.ids == ["0"]


def test_jobs_that_want_all_or_one_never_share_and_never_wait_for_each_other_for_ever(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0,1,2")
    users = dict.fromkeys("012", 0)
    worst = []

    def work(count: int) -> None:
        for _ in range(5):
            with gpus.acquire(count, print) as lease:
                for one in lease.ids:
                    users[one] += 1
                worst.append(max(users.values()))
                time.sleep(0.002)
                for one in lease.ids:
                    users[one] -= 1

    threads = [threading.Thread(target=work, args=[count], daemon=True) for count in (3, 2, 2, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(worst) == 25
    assert max(worst) == 1


def test_who_waits_hears_once_for_whom(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    monkeypatch.setattr(gpus, "PATIENCE", 0.0)
    told: list[str] = []
    with gpus.acquire(1, print) as lease:
        lease.locks[0].note(program=4711)
        with pytest.raises(TimeoutError), gpus.acquire(1, told.append, give_up_after(5)):
            pass
    assert len(told) == 1
    assert f"GPU 0 is in use by process 4711 of '{os.getcwd()}' since '20" in told[0]


def test_more_gpus_than_there_are_are_refused_in_a_sentence(monkeypatch) -> None:
    with (
        pytest.raises(UserError, match="needs 1 GPU, but this machine has 0; correct"),
        gpus.acquire(1, print),
    ):
        pass
    monkeypatch.setenv(gpus.POOL, "0")
    with (
        pytest.raises(UserError, match="needs 2 GPUs, but this machine has 1; correct"),
        gpus.acquire(2, print),
    ):
        pass


def test_a_schedulers_gpus_are_taken_as_they_are(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7")
    with gpus.acquire(2, print) as lease, gpus.acquire(2, print) as again:
        assert lease.ids == again.ids == ["3", "GPU-7"]
        assert not lease.environment
        assert not gpus.LOCKS.exists()


def test_jobs_of_a_scheduler_that_assigns_no_gpus_share_none_either(machine, monkeypatch) -> None:
    machine("GPU-1", "GPU-2")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with gpus.acquire(1, print) as lease:
        monkeypatch.setenv("SLURM_JOB_ID", "2")
        with gpus.acquire(1, print) as other:
            assert (lease.ids, other.ids) == (["0"], ["1"])
            assert other.environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_without_a_gpu_nothing_is_held_and_nothing_set(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    with gpus.acquire(0, print) as lease:
        assert (lease.ids, lease.environment, lease.locks) == ([], {}, [])


def test_a_gpu_by_its_unique_name_is_the_one_of_that_number(machine, monkeypatch) -> None:
    machine("GPU-1aaa", "GPU-2bbb")
    monkeypatch.setenv(gpus.POOL, "GPU-2b")
    with gpus.acquire(1, print) as lease:
        assert lease.environment["CUDA_VISIBLE_DEVICES"] == "GPU-2b"
        monkeypatch.setenv(gpus.POOL, "1")
        with pytest.raises(TimeoutError), gpus.acquire(1, print, give_up_after(2)):
            pass


def test_in_another_allocation_the_same_number_is_another_gpu(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    with gpus.acquire(1, print):
        monkeypatch.setenv("SLURM_JOB_ID", "17")
        with gpus.acquire(1, print) as lease:
            assert lease.ids == ["0"]


# ---------------------------------------------------------------- lock files that all users share


def test_all_users_may_lock_but_not_remove_whatever_the_umask_is(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    before = os.umask(0o077)
    try:
        with gpus.acquire(1, print):
            assert stat.S_IMODE(gpus.LOCKS.stat().st_mode) == 0o1777
            assert stat.S_IMODE((gpus.LOCKS / "0").stat().st_mode) == 0o666
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_a_file_is_opened_without_o_creat_if_it_is_there(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    with gpus.acquire(1, print):
        pass
    real, flags = os.open, []
    monkeypatch.setattr(
        os, "open", lambda path, flag, *a, **k: flags.append(flag) or real(path, flag, *a, **k)
    )
    with gpus.acquire(1, print):
        pass
    assert not any(flag & os.O_CREAT for flag in flags)


@pytest.mark.parametrize("trap", ["symlink", "hard link", "pipe", "folder"])
def test_a_trap_in_the_place_of_a_lock_file_is_refused_and_what_it_aims_at_untouched(
    tmp_path, monkeypatch, trap
) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    aim, slot = tmp_path / "thesis.tex", gpus.LOCKS / "0"
    aim.write_text("years of work")
    if trap == "folder":
        (tmp_path / "elsewhere").mkdir()
        gpus.LOCKS.symlink_to(tmp_path / "elsewhere")
    else:
        gpus.LOCKS.mkdir()
    if trap == "symlink":
        slot.symlink_to(aim)
    elif trap == "hard link":
        slot.hardlink_to(aim)
    elif trap == "pipe":
        os.mkfifo(slot)
    with pytest.raises((OSError, UserError), match=r"/0|slots"), gpus.acquire(1, print):
        pass
    assert aim.read_text() == "years of work"
    assert not list(tmp_path.glob("elsewhere/*"))


def test_a_lock_file_that_was_removed_meanwhile_is_made_again(monkeypatch) -> None:
    monkeypatch.setenv(gpus.POOL, "0")
    real = gpus.fcntl.flock
    removed = []

    def remove_first(fd: int, how: int) -> None:
        if not removed:
            removed.append((gpus.LOCKS / "0").unlink())
        real(fd, how)

    monkeypatch.setattr(gpus.fcntl, "flock", remove_first)
    with gpus.acquire(1, print), pytest.raises(TimeoutError), gpus.acquire(1, print, give_up_after(2)):
        pass


# ---------------------------------------------------------------- a job with GPUs

RUNNER = """
import sys
from pathlib import Path
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.resources import gpus
gpus.LOCKS = Path(sys.argv[1])
with task("log", "align"):
    job.run(
        ["relion_tool", "--o", sys.argv[2] + "/", "--j", "4"], sys.argv[2],
        engine={"kind": "relion", "bin": "bin"}, expected_outputs=[sys.argv[2] + "/map.mrc"], gpus=1,
    )
"""
RUN_ON = 'echo $CUDA_VISIBLE_DEVICES > "$2/map.mrc"'


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starts a job on one of the GPUs of the pool, in a process of its own; its program is a shell script."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(gpus.POOL, "3")
    runners = []

    def start(script: str, folder: str = "job") -> subprocess.Popen:
        path = tmp_path / "bin/relion_tool"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        words = [sys.executable, "-c", RUNNER, str(gpus.LOCKS), folder]
        runners.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True))
        return runners[-1]

    yield start
    for runner in runners:
        runner.kill()
        runner.wait()


def record(folder: str = "job") -> dict:
    return json.loads(Path(folder, "job.json").read_text())["runs"][-1]


def test_the_program_sees_its_gpu_and_the_record_and_the_log_name_it(tool) -> None:
    assert tool(RUN_ON).wait(20) == 0
    assert Path("job/map.mrc").read_text() == "3\n"
    expected = {"gpus": ["3"], "ranks": 1, "threads": 4, "cores": len(os.sched_getaffinity(0))}
    assert expected.items() <= record().items()
    first = Path("log").read_text().splitlines()[0]
    assert first.endswith(f": GPU 3; 4 threads; {expected['cores']} cores")


def test_a_result_that_is_kept_waits_for_no_gpu(tool) -> None:
    assert tool(RUN_ON).wait(20) == 0
    with gpus.acquire(1, print):
        assert tool(RUN_ON).wait(20) == 0


def test_a_stop_ends_the_wait_for_a_gpu(tool) -> None:
    with gpus.acquire(1, print):
        runner = tool(RUN_ON)
        wait_for(Path("job/.lock"))
        time.sleep(0.5)
        runner.send_signal(signal.SIGTERM)
        assert "relion_tool was stopped (SIGTERM)" in runner.communicate(timeout=5)[1]
    assert runner.returncode == 1
    assert not Path("job/map.mrc").exists()


def test_a_gpu_is_held_until_the_program_is_dead_though_its_runner_was_killed(tool, record_property) -> None:
    runner = tool("trap '' TERM; touch started; while [ ! -e end ]; do sleep 0.05; done; rm end")
    wait_for(Path("started"))
    pid = recorded_pid()
    runner.kill()
    runner.wait()
    assert json.loads((gpus.LOCKS / "3").read_text())["program"] == pid
    with pytest.raises(TimeoutError), gpus.acquire(1, print, give_up_after(20)):
        pass
    Path("end").touch()
    start = time.monotonic()
    with gpus.acquire(1, print):
        record_property("a program's end to its GPU being free (s)", f"{time.monotonic() - start:.2f}")
    assert not Path("end").exists()


def test_what_a_killed_program_leaves_running_is_gone_before_its_gpu_is_free(tool) -> None:
    rank = (
        "import os, time; os.closerange(3, 256); open('new', 'w').write(str(os.getpid())); "
        "os.rename('new', 'rank'); time.sleep(20)"
    )
    runner = tool(
        f'[ -e rank ] || {sys.executable} -c "{rank}" & wait'
    )  # as mpirun's ranks: they inherit no lock
    wait_for(Path("rank"))
    os.kill(recorded_pid(), signal.SIGKILL)
    with gpus.acquire(1, print):
        assert not Path(f"/proc/{Path('rank').read_text()}").exists()
    assert runner.wait(10) == 1


def test_a_second_try_takes_a_gpu_again_and_fewer_threads(tool) -> None:
    told = tool(f"[ -e tried ] || {{ touch tried; echo std::bad_alloc; exit 1; }}; {RUN_ON}").communicate()[1]
    assert "It is tried once more" in told
    runs = json.loads(Path("job/job.json").read_text())["runs"]
    assert [(run["gpus"], run["threads"]) for run in runs] == [(["3"], 4), (["3"], 2)]
    assert Path("job/map.mrc").read_text() == "3\n"


# ---------------------------------------------------------------- MPI on one machine


def test_a_plain_mpirun_gets_settings_that_let_all_ranks_start_and_use_their_cores(monkeypatch) -> None:
    monkeypatch.delenv("SLURM_NODELIST", raising=False)
    monkeypatch.setenv("OMPI_MCA_hwloc_base_binding_policy", "core")
    plain = Command.of(mpi.with_mpi(["relion_refine", "--split_random_halves"], 3))
    assert plain.ranks == 3
    settings = mpi.mpi_settings(plain.launcher)
    assert settings["OMPI_MCA_rmaps_base_oversubscribe"] == "1"
    assert settings["PRTE_MCA_rmaps_default_mapping_policy"] == ":oversubscribe"
    assert settings["OMPI_MCA_ras"] == settings["PRTE_MCA_ras"] == "^slurm"
    assert "OMPI_MCA_hwloc_base_binding_policy" not in settings  # the user's
    monkeypatch.setenv("SLURM_NODELIST", "n[1-2]")
    assert "OMPI_MCA_ras" not in mpi.mpi_settings(plain.launcher)


def test_srun_is_told_the_cores_of_a_ranks_threads(monkeypatch) -> None:
    monkeypatch.delenv("SRUN_CPUS_PER_TASK", raising=False)
    launcher = Command.of(mpi.with_mpi(["relion_refine"], 3, "srun --mpi=pmix")).launcher
    assert mpi.mpi_settings(launcher, threads=8) == {"SRUN_CPUS_PER_TASK": "8"}
    monkeypatch.setenv("SRUN_CPUS_PER_TASK", "4")
    assert mpi.mpi_settings(launcher, threads=8) == {}


@pytest.mark.parametrize("launcher", ["mpirun --hostfile nodes", "mpiexec.hydra"])
def test_another_launcher_is_left_as_it_is(launcher) -> None:
    command = Command.of(mpi.with_mpi(["relion_refine"], 3, launcher))
    assert command.ranks == 3
    assert mpi.mpi_settings(command.launcher) == {}


def test_a_program_without_mpi_is_one_rank() -> None:
    assert Command.of(["relion_refine"]).ranks == 1
    assert mpi.mpi_settings(()) == {}


# ---------------------------------------------------------------- helpers


def give_up_after(polls: int):
    """What `hold` heeds while it waits: TimeoutError at the last of so many polls."""
    left = [polls]

    def heed() -> None:
        left[0] -= 1
        if not left[0]:
            raise TimeoutError

    return heed


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} has not come"
        time.sleep(0.01)
