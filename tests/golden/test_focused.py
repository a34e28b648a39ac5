"""Class3D without alignment in a small mask on what differs, compared with RELION 5.0.1's classes and maps.

The data are those of golden/refine: 40 particles of conformation A, 16 of B, whose head lies elsewhere, and 8 junk.
"""

import itertools
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from staengine.errors import EngineError
from staengine.numerics.maps import read_map, write_map
from staengine.programs import refine
from staengine.refinement.state import Refinement
from staengine.simulation.truth import class_table, read_truth
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.star import read_star

GOLDEN = Path(__file__).parent / "data"
FOCUSED = GOLDEN / "focused"


def arguments(name, out):
    """RELION's command line of `name`, its focus masks where they lie here, and another output folder."""
    words = shlex.split((FOCUSED / f"logs/{name}.command").read_text())
    words = [
        str(FOCUSED / w) if w.startswith("foc/") else w for w in words[words.index("relion_refine") + 1 :]
    ]
    words[words.index("--o") + 1] = str(out / "run")
    return words


def classify(out, name, *flags):
    with pytest.MonkeyPatch.context() as here:
        here.chdir(GOLDEN)
        assert refine.main([*arguments(name, out), *flags]) == 0
    return out


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return classify(tmp_path_factory.mktemp("head"), "head_mask")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return classify(tmp_path_factory.mktemp("both"), "head_mask_and_mask2")


def table(folder):
    """Particles of each kind in both classes (3, 2)."""
    found = class_table(ParticleSet.read(folder / "run_it012_data.star"), read_truth(GOLDEN / "input"))
    return found.reindex(columns=[1, 2], fill_value=0).loc[["A", "B", "junk"]].to_numpy()


def maps(folder, order):
    return [read_map(folder / f"run_it012_class00{k + 1}.mrc")[0] for k in order]


def order_as(mine, theirs):
    """The engine's classes (0, 1) in RELION's order: that in which the tables agree best."""
    return min(itertools.permutations((0, 1)), key=lambda order: np.abs(mine[:, order] - theirs).sum())


@pytest.mark.parametrize(("name", "golden"), [("head", "a"), ("both", "m")])
def test_a_mask_on_the_head_separates_the_conformations_as_in_relion(name, golden, request, record_property):
    mine, theirs = table(request.getfixturevalue(name)), table(FOCUSED / "foc" / golden)
    mine = mine[:, order_as(mine, theirs)]
    kinds = (f"{kind} {row[1]}/{row[0]}" for kind, row in zip(("A", "B", "junk"), mine, strict=True))
    record_property(f"refine, focused ({name}): class 2 / class 1", ", ".join(kinds))
    assert np.abs(mine - theirs).max() <= 3  # measured: 1; RELION has A 38/2, B 0/16, junk 0/8
    assert mine[0, 1] >= 37
    assert mine[1, 1] == 0


@pytest.mark.parametrize(("name", "golden"), [("head", "a"), ("both", "m")])
def test_the_maps_are_relions(name, golden, request, record_property):
    folder, theirs = request.getfixturevalue(name), FOCUSED / "foc" / golden
    order = order_as(table(folder), table(theirs))
    pairs = zip(maps(folder, order), maps(theirs, (0, 1)), strict=True)
    like = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
    record_property(f"refine, focused ({name}): correlation with RELION's class maps", f"{min(like):.4f}")
    assert min(like) > 0.995  # measured: 0.9991


def test_the_whole_particles_mask_does_not_separate_them(tmp_path):
    """So it is the mask that does it, in RELION too (A 17/23, B 7/9)."""
    for part in (table(classify(tmp_path, "whole_mask")), table(FOCUSED / "foc/b")):
        shares = part[:2] / part[:2].sum(axis=1, keepdims=True)
        assert np.abs(shares[0] - shares[1]).max() < 0.3


def test_the_second_mask_makes_a_part_even(both, head):
    """Its voxels have the map's average in it, weighted by it: RELION's 0.00226 and 0.00325."""
    focus, rest = (read_map(FOCUSED / f"foc/{name}.mrc")[0] for name in ("head", "rest"))
    order = order_as(table(both), table(FOCUSED / "foc/m"))
    for mine, theirs, unmasked in zip(
        maps(both, order), maps(FOCUSED / "foc/m", (0, 1)), maps(head, order), strict=True
    ):
        even = mine[rest == 1]
        assert np.ptp(even) < 1e-6
        assert even.mean() == pytest.approx(theirs[rest == 1].mean(), rel=0.05)  # measured: 1.3 %
        assert not unmasked[rest == 1].any()
        assert not mine[(rest == 0) & (focus == 0)].any()


def test_the_average_is_weighted_by_the_second_mask():
    """Of the map in the first mask; a voxel that is half in the second mask keeps half of its value."""
    volume = np.arange(1.0, 9).reshape(2, 2, 2)
    mask, mask2 = np.ones((2, 2, 2)), np.zeros((2, 2, 2))
    mask[0, 0, 0], mask2[1, 1] = 0, (0.5, 1)
    made = Refinement.flattened(SimpleNamespace(mask=mask, mask2=mask2), volume)
    mean = (0.5 * 7 + 8) / 1.5
    np.testing.assert_allclose(made.ravel(), [0, 2, 3, 4, 5, 6, (7 + mean) / 2, mean], rtol=1e-6)


def test_the_second_mask_is_recorded_and_continued_with(both, tmp_path):
    optimiser = read_star(both / "run_it012_optimiser.star")["optimiser_general"]
    assert optimiser["rlnSolventMask2Name"] == str(FOCUSED / "foc/rest.mrc")
    assert optimiser["rlnSolventMaskName"] == str(FOCUSED / "foc/head.mrc")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(GOLDEN)
        go_on = ["--continue", str(both / "run_it012_optimiser.star"), "--iter", "13", "--skip_align"]
        assert refine.main([*go_on, "--o", str(tmp_path / "run")]) == 0
    rest = read_map(FOCUSED / "foc/rest.mrc")[0]
    values = read_map(tmp_path / "run_it013_class001.mrc")[0][rest == 1]
    assert np.ptp(values) < 1e-6
    assert values.any()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.ones((20,) * 3), "has a box of 20, the particles have 24."),
        (np.full((24,) * 3, 2.0), "has values outside 0..1."),
        (np.zeros((24,) * 3), "is empty."),
    ],
)
def test_a_second_mask_that_is_none_is_refused(tmp_path, values, sentence):
    write_map(tmp_path / "bad.mrc", values, 20)
    words = arguments("head_mask_and_mask2", tmp_path)
    words[words.index("--solvent_mask2") + 1] = str(tmp_path / "bad.mrc")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(GOLDEN)
        with pytest.raises(EngineError) as error:
            refine.main(words)
    assert str(error.value) == f"the second solvent mask {tmp_path}/bad.mrc {sentence}"
