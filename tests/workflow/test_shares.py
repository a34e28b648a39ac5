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


def test_volumes_that_are_summed_up_take_memory_with_each_thread() -> None:
    """RELION says 0.0202 GiB for a box of 96."""
    job = SimpleNamespace(threads=4, resources={"mem_mb": 100})
    assert shares.layout_of(job, ENGINE, (4, 10)).ranks == 4
    # two ranks of two threads: 2 x (2 x 10 MB + 2 x 21.7 MB) would be too much
    assert shares.layout_of(job, ENGINE, (4, 10), accumulated_box=96).ranks == 1
    job.resources["mem_mb"] = 127  # three ranks of one thread would need 125, and there are four
    job.threads = 2
    assert shares.layout_of(job, ENGINE, (4, 10), accumulated_box=96).ranks == 2


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
