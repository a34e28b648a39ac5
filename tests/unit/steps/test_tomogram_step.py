"""The slab of a tomogram for the page: where most particles are, as coarse as a picture needs, and never in the way."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stacycle.errors import Interrupted
from stacycle.files import mrc, star
from stacycle.files.star_labels import CENTRED
from stacycle.jobs import job
from stacycle.jobs import record as job_record
from stacycle.programs.command import Command
from stacycle.steps import tomogram

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/data"
PROGRAM = "relion_tomo_reconstruct_tomogram"
VOLUME = "results/inputs/tomogram/tomograms/rec_TS_01.mrc"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden inputs: 35 particles in each of two tomograms of 320 x 320 x 160 px of 5 Å."""
    (tmp_path / "input").symlink_to(GOLDEN / "input")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_particles(heights: dict[str, list[float]]) -> None:
    rows = [(name, 0, 0, height) for name, of_one in heights.items() for height in of_one]
    star.write("particles.star", {"particles": pd.DataFrame(rows, columns=["rlnTomoName", *CENTRED])})


def a_job(diameter: float = 260, **files: str) -> SimpleNamespace:
    given = {"particles": "input/particles.star", "tomograms": "input/tomograms.star"} | files
    return SimpleNamespace(
        input=SimpleNamespace(**given),
        output=[tomogram.FILE],
        params=SimpleNamespace(diameter=diameter),
        log=["logs/inputs/tomogram.log"],
        threads=1,
    )


def test_the_slab_is_of_the_tomogram_with_most_particles_where_most_of_them_are(project: Path) -> None:
    write_particles({"a": [0, 5, 9], "b": [-300, -150, -130, -90, 100, 180, 250]})
    slab = tomogram.choose("particles.star", 100)
    assert (slab.tomogram, slab.thickness) == ("b", 100)
    assert slab.height == -120  # the middle of -150, -130, -90
    write_particles({"a": [40]})
    assert tomogram.choose("particles.star", 100).height == 40


@pytest.mark.parametrize(
    ("diameter", "thickness", "voxel"),
    [(260, 52, 8.12), (60, 12, 5)],  # a 32nd of the particle; the pixel of the tilt series
)
def test_its_voxels_are_as_coarse_as_the_picture_shows_it(
    project: Path, diameter: float, thickness: int, voxel: float
) -> None:
    command = Command.of(tomogram.command(a_job(diameter), {}))
    assert [command.get(flag) for flag in ("--w", "--h", "--d")] == ["320", "320", str(thickness)]
    assert float(command.get("--binned_angpix") or 0) == voxel


def test_a_wide_field_is_not_finer_than_a_picture_has_pixels(project: Path) -> None:
    table = star.read("input/tomograms.star")["global"].assign(rlnTomoSizeX=4000, rlnTomoSizeY=3600)
    star.write("wide.star", {"global": table})
    command = Command.of(tomogram.command(a_job(tomograms="wide.star"), {}))
    assert float(command.get("--binned_angpix") or 0) == pytest.approx(4000 * 5 / 360, abs=0.01)


# ------------------------------------------------------------------ the script


def run(monkeypatch: pytest.MonkeyPatch, engine: dict, **files: str) -> dict:
    """What the script left for the page."""
    given = a_job(**files)
    given.config = {"engine": {"kind": "embedded", **engine}}
    monkeypatch.setattr("builtins.snakemake", given, raising=False)
    runpy.run_path(str(ROOT / "scripts/tomogram.py"))
    found: dict = json.loads(Path(tomogram.FILE).read_text())
    return found


def test_particles_of_the_slab_are_dark_in_it_and_an_equal_one_is_kept(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(monkeypatch, {})
    assert (found["file"], found["why"], found["thickness"]) == (VOLUME, "", 260)
    image = np.asarray(mrc.voxels(VOLUME), np.float32).mean(axis=0)
    truth = pd.DataFrame(star.read("input/truth.star")["truth"]).query("rlnTomoName == 'TS_01'")
    near = truth[np.abs(truth["trueZAngst"].astype(float) - found["height"]) < 100]
    at = np.round(near[["trueYAngst", "trueXAngst"]].astype(float) / 8.12 + np.array(image.shape) / 2).astype(
        int
    )
    patches = [image[y - 4 : y + 5, x - 4 : x + 5].mean() for y, x in at.to_numpy()]
    assert len(patches) > 8
    assert np.mean(patches) < image.mean() - image.std()
    assert run(monkeypatch, {}) == found
    assert len(job_record.read(Path(tomogram.FILE).parent)["runs"]) == 1


def test_a_tomogram_that_was_reconstructed_is_not_reconstructed_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.mrc").touch()
    table = star.read("input/tomograms.star")["global"].assign(rlnTomoReconstructedTomogram="own.mrc")
    star.write("own.star", {"global": table})
    found = run(monkeypatch, {}, tomograms="own.star")
    assert (found["file"], found["why"]) == ("", "")
    assert not Path("results/inputs/tomogram/job.json").exists()


def test_a_program_that_is_missing_or_fails_does_not_stop_the_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("bin").mkdir()
    engine = {"kind": "relion", "bin": "bin"}
    assert f"{PROGRAM} was not found in engine.bin, bin" in run(monkeypatch, engine)["why"]
    text = '#!/bin/sh\ncase "$*" in *--version*) echo "RELION version: 5.0.1";; *) echo "ERROR: no"; exit 1;; esac\n'
    for name in (PROGRAM, "relion_refine"):
        Path("bin", name).write_text(text)
        os.chmod(Path("bin", name), 0o755)
    found = run(monkeypatch, engine)
    assert found["file"] == ""
    assert found["why"].startswith(f"{PROGRAM} failed with exit status 1: no")
    assert len(job_record.read(Path(tomogram.FILE).parent)["runs"]) == 1
    once = "[ -e ended ] || { touch ended; kill -TERM $$; }; echo ERROR"
    Path("bin", PROGRAM).write_text(text.replace('echo "ERROR', f'{once}; echo "ERROR'))
    assert "failed with exit status 1" in run(monkeypatch, engine)["why"]
    assert [one["exit_status"] for one in job_record.read(Path(tomogram.FILE).parent)["runs"]] == [1, -15, 1]
    assert "shows no slice of TS_01" in Path("logs/inputs/tomogram.log").read_text()


def test_a_run_that_is_stopped_leaves_nothing_for_the_page(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(job, "run", stopped)
    with pytest.raises(SystemExit):
        run(monkeypatch, {})
    assert not Path(tomogram.FILE).exists()
