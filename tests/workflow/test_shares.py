"""The memory and the number of tomograms by which a job divides what it was given among MPI ranks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import small_inputs

from stacycle.files.optimisation_set import OptimisationSet
from stacycle.resources.site import Layout
from stacycle.steps import shares

ENGINE = {"kind": "embedded"}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OptimisationSet:
    """Three tomograms of three tilt images."""
    monkeypatch.chdir(tmp_path)
    given = small_inputs.write_inputs(tmp_path, names=["TS_1", "TS_2", "TS_3"], particles=1)
    return OptimisationSet(given["particles"], given["tomograms"], None)


def test_tomograms_are_counted_and_one_is_measured(state: OptimisationSet) -> None:
    width, height, _ = small_inputs.SIZE
    assert shares.tomograms(state) == (3, pytest.approx(4 * 3 * width * height / 1e6))


def test_images_that_cannot_be_read_do_not_count(state: OptimisationSet) -> None:
    Path("gain1/tilt_series/TS_1.mrcs").write_text("no map")
    assert shares.tomograms(state) == (3, 0)


# RELION 5.0.1, a tomogram of 11 or 41 tilt images of 1024 px: MB of its images, threads, box averaged, box compared in;
# and the MB that the program took (benchmarks/rank_memory.py).
TAKEN = {
    (46, 1, 0, 0): 189,
    (46, 1, 128, 0): 266,
    (46, 2, 128, 0): 328,
    (46, 1, 0, 128): 234,
    (46, 1, 256, 0): 1620,
    (46, 2, 256, 0): 2032,
    (46, 1, 0, 256): 528,
    (172, 1, 0, 0): 567,
    (172, 1, 128, 0): 593,
    (172, 2, 128, 0): 648,
    (172, 1, 0, 128): 611,
    (172, 1, 256, 0): 1630,
}


@pytest.mark.parametrize("given", TAKEN)
def test_the_memory_of_a_rank_is_what_relion_takes(given: tuple[int, int, int, int]) -> None:
    assert 0.93 < shares.memory(*given) / TAKEN[given] < 1.15


def test_as_many_ranks_as_there_is_memory_for() -> None:
    job = SimpleNamespace(threads=4, resources={"mem_mb": 430})
    assert shares.layout_of(job, ENGINE, (4, 10)).ranks == 4
    # four ranks of a thread would need 4 x (60 MB + 62 MB at the end + 21 MB of sums)
    assert shares.layout_of(job, ENGINE, (4, 10), averaged=96).ranks == 3
    # and 4 x (60 MB + 3 x 10 MB + 42 MB)
    assert shares.layout_of(job, ENGINE, (4, 10), compared=128).ranks == 3


def test_without_mpirun_a_job_has_one_rank_unless_the_profile_asks_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    relion, job = {"kind": "relion"}, SimpleNamespace(threads=4, resources={})
    assert shares.layout_of(job, relion, (8, 0)) == Layout(0, 1, 4)
    (tmp_path / "mpirun").write_text("#!/bin/sh\n")
    (tmp_path / "mpirun").chmod(0o755)
    assert shares.layout_of(job, relion, (8, 0)) == Layout(0, 4, 1)
    (tmp_path / "mpirun").unlink()
    for asked in ({"ranks": 2}, {"mpi": "srun", "tasks": 2}):
        assert shares.layout_of(SimpleNamespace(threads=4, resources=asked), relion, (8, 0)).ranks == 2
