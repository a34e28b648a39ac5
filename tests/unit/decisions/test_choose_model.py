"""Initial models: only agreement of seeds tells that they are right; a map of one's own has a hand and contrast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_superpose import BOX, DIAMETER, PIXEL, particle

from stacycle.decisions.initial_model import brought, choose_hand, choose_model
from stacycle.decisions.superpose import mirrored
from stacycle.errors import UserError
from stacycle.files import mrc, star

KEY = "rounds.bin4.initial_model"


def run(folder: Path, density: np.ndarray, loglik: np.ndarray) -> None:
    """What relion_refine leaves of one iteration with one class."""
    import pandas as pd

    folder.mkdir(parents=True)
    mrc.write_map(folder / "run_it004_class001.mrc", density, PIXEL)
    classes = {
        "rlnReferenceImage": [f"{folder}/run_it004_class001.mrc"],
        "rlnEstimatedResolution": [48.0],
        "rlnAccuracyRotations": [4.8],
        "rlnAccuracyTranslationsAngst": [3.0],
        "rlnOverallFourierCompleteness": [1.0],
    }
    model = {
        "model_general": pd.DataFrame({"rlnTau2FudgeFactor": [4.0]}),
        "model_classes": pd.DataFrame(classes),
    }
    star.write(folder / "run_it004_model.star", model)
    particles = {
        "rlnTomoParticleName": [f"TS_01/{n}" for n in range(len(loglik))],
        "rlnClassNumber": [1] * len(loglik),
        "rlnMaxValueProbDistribution": [0.9] * len(loglik),
        "rlnLogLikeliContribution": loglik,
    }
    star.write(folder / "run_it004_data.star", {"particles": pd.DataFrame(particles)})


def models(folder: Path, *densities: np.ndarray) -> list[str]:
    names = [f"seed{number}" for number in range(1, len(densities) + 1)]
    for name, density in zip(names, densities, strict=True):
        run(folder / name, density, np.zeros(20))
    return names


def other_particle(seed: int) -> np.ndarray:
    """A map of no particle that is known, as smooth as one."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(seed).normal(0, 1, (BOX,) * 3), 1.5)


def test_of_models_in_any_frame_one_that_agrees_with_another_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    noisy = [particle(Rotation.random(rng=rng)) + 0.3 * other_particle(seed) for seed in (1, 2)]
    seeds = models(tmp_path, other_particle(3), *noisy)
    chosen = choose_model(tmp_path, seeds, 4, DIAMETER, "auto", KEY)
    assert chosen.folder.name in ("seed2", "seed3")
    assert chosen.decision.numbers["resolution"] < 60
    assert "seed2 and seed3 agree best" in chosen.decision.reason
    others = chosen.decision.candidates.query("seeds != 'seed2 and seed3'")
    assert (others["agree to"] > 78).all()


def test_models_of_which_no_two_agree_are_refused_with_how_far_they_do(tmp_path: Path) -> None:
    seeds = models(tmp_path, *(other_particle(seed) for seed in (3, 4)))
    with pytest.raises(UserError, match=r"no two of 2 initial models agree to 78 Å \(seed1 and seed2: "):
        choose_model(tmp_path, seeds, 4, DIAMETER, "auto", KEY)


@pytest.mark.parametrize(
    ("gain", "hand", "says"), [(3, "mirrored", "other hand"), (-3, "given", "better than its")]
)
def test_the_hand_that_particles_fit_better_for_sure_is_taken(
    tmp_path: Path, gain: float, hand: str, says: str
) -> None:
    rng = np.random.default_rng(1)
    given = rng.normal(1000, 50, 80)  # particles differ far more than hands do
    run(tmp_path / "given", particle(Rotation.identity()), given)
    run(tmp_path / "mirrored", particle(Rotation.identity()), given + gain + rng.normal(0, 4, 80))
    chosen = choose_hand(tmp_path, 4)
    assert chosen.folder.name == hand
    assert says in chosen.decision.reason
    assert chosen.decision.warnings == []


def test_a_hand_that_is_not_sure_stays_as_given_and_that_is_said(tmp_path: Path) -> None:
    fits = np.random.default_rng(2).normal(1000, 50, (2, 80))
    for hand, values in zip(("given", "mirrored"), fits, strict=True):
        run(tmp_path / hand, particle(Rotation.identity()), values)
    chosen = choose_hand(tmp_path, 4)
    assert chosen.folder.name == "given"
    assert "right hand is not known" in chosen.decision.warnings[0]


@pytest.mark.parametrize("contrast", [1, -40])
def test_a_map_of_ones_own_comes_in_the_rounds_pixels_with_a_bright_particle(
    tmp_path: Path, contrast: float
) -> None:
    whole = particle(Rotation.identity())
    mrc.write_map(tmp_path / "emd.mrc", contrast * whole + 7, PIXEL)
    found = brought(str(tmp_path / "emd.mrc"), "given", 48, 12.0, DIAMETER)
    assert found.shape == (48,) * 3
    assert abs(np.median(found)) < 0.05 * found.max()
    assert found.max() > -2 * found.min()
    back = brought(str(tmp_path / "emd.mrc"), "mirrored", 48, 12.0, DIAMETER)
    np.testing.assert_allclose(mirrored(back), found, atol=1e-4 * found.max())


def test_a_map_without_pixel_size_is_refused(tmp_path: Path) -> None:
    mrc.write_map(tmp_path / "emd.mrc", particle(Rotation.identity()), 0.0)
    with pytest.raises(UserError, match="its header tells no pixel size"):
        brought(str(tmp_path / "emd.mrc"), "given", 48, 12.0, DIAMETER)
