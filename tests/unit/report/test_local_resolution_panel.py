"""Local resolutions on the page: from the maps, in the colours of the histogram; from the step's pictures without."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from stacycle.decisions.decision import write_decision
from stacycle.decisions.local_resolution import summary
from stacycle.files import mrc
from stacycle.report import local_resolution_figures, pictures
from stacycle.report.project import Project

N, FOLDER = 24, "bin4/local_resolution"
STEP = Path("results") / FOLDER


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A bright ball whose left half is fine and whose right half is coarse, in a mask; and the step's own pictures."""
    monkeypatch.chdir(tmp_path)
    z, y, x = np.mgrid[:N, :N, :N] - N // 2
    within = z**2 + y**2 + x**2 < 64
    local = np.where(x < 0, 11.0, 20.0).astype(np.float32)
    mrc.write_map(STEP / "relion_locres_filtered.mrc", (within + 0.01 * (x % 3)).astype(np.float32), 5)
    mrc.write_map(STEP / "relion_locres.mrc", local, 5)
    mrc.write_map("mask.mrc", within.astype(np.float32), 5)
    command = f"relion_postprocess --locres --i half1.mrc --o {STEP}/relion --mask mask.mrc"
    (STEP / "job.json").write_text(json.dumps({"command": command}))
    found = summary(local, within, nyquist=10, coarsest=50, reached=12, key="key")
    write_decision(STEP / "decision.json", found)
    local_resolution_figures.histogram_figure(local[within], found.numbers, (10, 20), STEP / "histogram.png")
    local_resolution_figures.slices_figure(
        STEP / "relion_locres_filtered.mrc", local, within, (10, 20), STEP / "slices.png"
    )
    return Project(decisions=[f"{STEP}/decision.json"])


def test_slices_have_a_pixel_for_each_voxel_blue_where_it_is_fine_and_red_where_coarse(
    project: Project,
) -> None:
    shown = pictures.local_resolution_slices(project, FOLDER)
    assert shown.kind == "slices"
    assert [one.name for one in shown.images] == ["XY", "XZ", "YZ"]
    assert shown.files == (f"{STEP}/relion_locres_filtered.mrc", f"{STEP}/relion_locres.mrc")
    assert shown.caption.endswith("11 to 21 Å")
    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(shown.images[0].png)))[..., :3]
    assert image.shape == (N, N, 3)
    middle = image[N // 2]
    assert middle[N // 2 - 4, 2] > middle[N // 2 - 4, 0] + 0.2
    assert middle[N // 2 + 4, 0] > middle[N // 2 + 4, 2] + 0.2
    assert np.ptp(middle[1]) < 0.1  # grey outside the mask
    assert not project.unreadable


def test_the_histogram_is_of_the_voxels_in_the_mask(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    draw = local_resolution_figures.histogram_figure
    monkeypatch.setattr(
        local_resolution_figures,
        "histogram_figure",
        lambda values, *given, path: seen.append(values) or draw(values, *given, path=path),
    )
    shown = pictures.local_resolution_histogram(project, FOLDER)
    assert shown.kind == "plot"
    assert len(seen[0]) == int(np.asarray(mrc.voxels("mask.mrc")).sum())
    assert set(seen[0].tolist()) == {11.0, 20.0}


def test_a_step_without_a_mask_counts_a_sphere_of_the_particles_diameter(project: Project) -> None:
    record = {"command": "relion_postprocess --locres --i half1.mrc --o x"}
    (STEP / "job.json").write_text(json.dumps(record))
    of_sphere = Project(decisions=project.decisions, config={"particle": {"diameter": 40}})
    images = [
        matplotlib.image.imread(io.BytesIO(base64.b64decode(found.images[0].png)))[..., :3]
        for one in (project, of_sphere)
        if (found := pictures.local_resolution_slices(one, FOLDER))
    ]
    coloured = [(np.ptp(image, axis=2) > 0.1).sum() for image in images]
    assert coloured[1] == pytest.approx(np.pi * 16, rel=0.2)  # a radius of four voxels
    assert coloured[0] > 2 * coloured[1]


@pytest.mark.parametrize(
    "gone", [f"{STEP}/relion_locres.mrc", f"{STEP}/relion_locres_filtered.mrc", "mask.mrc"]
)
def test_without_the_maps_the_pictures_of_the_step_are_shown(project: Project, gone: str) -> None:
    Path(gone).unlink()
    assert pictures.local_resolution_slices(project, FOLDER).kind == "picture"
    assert pictures.local_resolution_histogram(project, FOLDER).files == (f"{STEP}/histogram.png",)
    assert not project.unreadable
