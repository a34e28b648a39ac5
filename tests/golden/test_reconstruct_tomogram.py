"""The embedded relion_tomo_reconstruct_tomogram against RELION 5.0.1's own slab of a tomogram."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from staengine import __main__ as engine

GOLDEN = Path(__file__).parent / "data"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "input").symlink_to(GOLDEN / "input")
    monkeypatch.chdir(tmp_path)
    argv = (GOLDEN / "logs" / "tomogram.command").read_text().split()
    assert engine.main(argv) == 0
    return tmp_path


def alike(ours, theirs, soften):
    """Correlation, once both are softened by so many voxels, and our standard deviation over theirs."""
    found = []
    for path in (ours, theirs):
        with mrcfile.open(path) as mrc:
            found.append(gaussian_filter(mrc.data.astype(float), soften))
            assert float(mrc.voxel_size.x) == pytest.approx(40)
    a, b = found
    assert a.shape == b.shape
    return np.corrcoef(a.ravel(), b.ravel())[0, 1], a.std() / b.std()


@pytest.mark.parametrize(
    ("file", "as_written", "softened"),
    [("tomograms/rec_TS_01.mrc", 0.975, 0.997), ("projections/rec_TS_01.mrc", 0.98, 0.997)],
)
def test_the_slab_and_its_projection_are_relions_with_their_grey_scale(
    project, record_property, file, as_written, softened
):
    """Measured: 0.9815 and 0.9983 of the volume, 0.9886 and 0.9986 of the projection. The images are binned in another
    way: with --Fc, with which RELION bins as the engine does, both give 0.992 and 0.995 as written."""
    ours, theirs = project / "tomogram" / file, GOLDEN / "tomogram" / file
    plain, scale = alike(ours, theirs, 0)
    soft, _ = alike(ours, theirs, 1.5)
    record_property(f"reconstruct_tomogram: {file}, correlation", f"{plain:.4f}, softened {soft:.4f}")
    assert plain > as_written
    assert soft > softened
    assert scale == pytest.approx(1, abs=0.05)
