"""Class3D of a small set at T = 0.1 from RELION 5.0.1's random classes, compared with RELION's run.

Which particles separate is a matter of the random classes of the second iteration: they are RELION's own here.
"""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from test_refine import GOLDEN, arguments

from staengine.programs import refine
from staengine.refinement import iterations
from staengine.simulation.truth import class_table, read_truth
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import read_star

pytestmark = pytest.mark.slow

DATA = GOLDEN / "classify_small"
ITERATIONS = 9  # few particles change their class from there to RELION's last, 25


def unpack_images(folder: Path) -> None:
    """Write the particles' image stacks to where RELION's align/particles.star names them."""
    stored = np.load(DATA / "images.npz")
    particles = ParticleSet.read(DATA / "align/particles.star")
    assert particles.visible is not None
    ends = np.cumsum([v.sum() for v in particles.visible])
    stacks = np.split(stored["images"] * stored["unit"], ends[:-1])
    for name, stack in zip(particles.particles["rlnImageName"], stacks, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        mrcfile.write(folder / name, stack.astype(np.float16))


def classes(path: Path) -> np.ndarray:
    return ParticleSet.read(path).particles["rlnClassNumber"].to_numpy(int)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classify_small")
    for name in ("align", "input"):
        (folder / name).symlink_to(DATA / name)
    unpack_images(folder)
    random_classes, drawn = classes(DATA / "run_it002_data.star") - 1, iterations._seed_classes
    words = arguments("classify_small", folder)
    words[words.index("--iter") + 1] = str(ITERATIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(
            iterations, "_seed_classes", lambda r: random_classes if r.progress.iteration == 2 else drawn(r)
        )
        assert refine.main(words) == 0
    return folder


def test_particles_flow_into_the_classes_of_relion(classified, record_property):
    mine, theirs = (
        classes(classified / f"run_it{ITERATIONS:03d}_data.star"),
        classes(DATA / "run_it025_data.star"),
    )
    agree = int((mine == theirs).sum())
    record_property("Class3D, T = 0.1: particles in RELION's class", f"{agree} of {len(mine)}")
    assert (classes(classified / "run_it002_data.star") == theirs).mean() < 0.5  # where both started
    assert agree >= 0.95 * len(mine)


def test_junk_is_separated_as_by_relion(classified, record_property):
    truth = read_truth(classified / "input")
    mine, theirs = (
        class_table(ParticleSet.read(f), truth)
        for f in (classified / f"run_it{ITERATIONS:03d}_data.star", DATA / "run_it025_data.star")
    )
    record_property("Class3D, T = 0.1: junk in each class", f"{mine.loc['junk'].tolist()}")
    for kind in ("A", "B", "junk"):
        assert np.abs(mine.loc[kind] - theirs.loc[kind]).max() <= 3, kind
    assert mine.loc[["A", "B"], 2].sum() == 0  # RELION's class 2: junk alone


def test_spectra_are_those_of_relion(classified):
    """At iteration 3, the first that does not depend on the particles that the initial noise was estimated from."""
    mine, theirs = (read_star(f / "run_it003_model.star") for f in (classified, DATA))
    for table, column, first, tolerance in [
        ("model_optics_group_1", "rlnSigma2Noise", 0, 0.03),
        ("model_class_1", "rlnReferenceSigma2", 0, 0.12),
        ("model_class_3", "rlnReferenceSigma2", 0, 0.12),
        ("model_class_1", "rlnReferenceTau2", 1, 0.12),
    ]:
        # up to 73 Å: at T = 0.1 the prior takes nearly all signal beyond
        a, b = (np.array(model[table][column], float)[first:8] for model in (mine, theirs))
        np.testing.assert_allclose(a, b, rtol=tolerance, err_msg=f"{table} {column}")
