"""relion_postprocess --locres against RELION 5.0.1's own local resolution, filtered map and curves.

At 20 Å per pixel no phase is randomised and all is RELION's; at 10 Å the random phases differ, which decides whether
the curve of a sphere comes down a shell or some earlier.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from staengine.numerics import fourier
from staengine.numerics.maps import read_map, write_map
from staengine.programs import postprocess
from staengine.ranks import Launch

GOLDEN = Path(__file__).parent / "data"
LOCRES = GOLDEN / "locres"


def command(name, root):
    words = shlex.split((LOCRES / f"logs/{name}.command").read_text())
    words = words[words.index("--locres") :]
    words[words.index("--o") + 1] = str(root)
    return words


def maps(root):
    return tuple(read_map(f"{root}_locres{kind}.mrc")[0] for kind in ("", "_filtered"))


def like(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(scope="module")
def bin4(tmp_path_factory):
    root = tmp_path_factory.mktemp("bin4") / "relion"
    with pytest.MonkeyPatch.context() as here:
        here.chdir(GOLDEN)
        assert postprocess.main(command("locres_bin4", root)) == 0
    return root


def test_without_random_phases_both_maps_are_relions(bin4, record_property):
    (resolution, filtered), (theirs, their_map) = maps(bin4), maps(LOCRES / "bin4/relion")
    inside = theirs > 0
    assert ((resolution > 0) == inside).all()  # 0 beyond the same spheres
    worst = np.abs(resolution[inside] / theirs[inside] - 1).max()
    record_property(
        "postprocess --locres, 20 Å per pixel: largest deviation of the resolution", f"{worst:.1e}"
    )
    assert worst < 1e-3  # RELION's are stored with half precision: measured 3.7e-4
    assert resolution.max() == pytest.approx(50)  # --locres_minres
    assert (filtered[~inside] == 0).all()
    assert like(filtered, their_map) > 0.999999
    assert filtered.std() == pytest.approx(their_map.std(), rel=1e-3)


def test_the_histogram_is_of_the_voxels_in_the_mask(bin4, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(GOLDEN)
    words = command("locres_bin4", tmp_path / "a/relion")
    assert postprocess.main([*words, "--locres_sampling", "100"]) == 0
    mine = capsys.readouterr().out
    for line in (LOCRES / "logs/locres_bin4.log").read_text().splitlines():
        if line.startswith(
            ("Number of items", "== Reading", "  + half", " WARNING: --mask", "  + randomize")
        ):
            assert line in mine
    counts = [int(n) for n in re.findall(r"^\[\S+ \S+\): (\d+)$", mine, re.MULTILINE)]
    assert sum(counts) == 2022
    assert (tmp_path / "a/relion_histogram.eps").read_text().count("rectfill") == len(counts)
    del words[words.index("--mask") : words.index("--mask") + 2]
    words[words.index("--o") + 1] = str(tmp_path / "b/relion")
    assert postprocess.main([*words, "--locres_sampling", "100"]) == 0
    assert not (tmp_path / "b/relion_histogram.eps").exists()
    for a, b in zip(maps(tmp_path / "a/relion"), maps(tmp_path / "b/relion"), strict=True):
        np.testing.assert_array_equal(a, b)  # the mask is for the histogram alone


def resampled(half):
    """A half map of golden/cycle at 10 Å per pixel, as relion_image_handler --rescale_angpix makes it."""
    values, _ = read_map(GOLDEN / f"cycle/reconstruct/half{half}.mrc")
    transform, planes = (
        fourier.rfft(values, 3),
        np.r_[0:25, -23:0],
    )  # the Nyquist planes of positive frequency
    return fourier.irfft(transform[planes[:, None], planes, :25], 3) / 8


@pytest.fixture(scope="module")
def relions():
    stored = np.load(LOCRES / "bin2.npz")
    inside = np.unpackbits(stored["mask"]).reshape((48,) * 3).astype(bool)
    return inside, stored["resolution"].astype(np.float32), stored["filtered"].astype(np.float32)


@pytest.fixture(scope="module")
def bin2(tmp_path_factory, relions):
    """Root names of what relion_postprocess and relion_postprocess_mpi make with the golden commands."""
    folder = tmp_path_factory.mktemp("bin2")
    for half in (1, 2):
        write_map(folder / f"lr/half{half}.mrc", resampled(half), 10)
    write_map(folder / "lr/mask.mrc", relions[0], 10)
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        assert postprocess.main(command("locres", "s/relion")) == 0
        assert postprocess.main(command("locres_mpi", "m/relion"), Launch()) == 0
    return folder / "s/relion", folder / "m/relion"


def test_with_random_phases_the_local_resolution_in_the_mask_is_within_some_percent(
    bin2, relions, record_property
):
    (resolution, filtered), (inside, theirs, their_map) = maps(bin2[0]), relions
    assert ((resolution > 0) == (theirs > 0)).all()
    deviation = np.abs(resolution[inside] / theirs[inside] - 1)
    median, far = np.percentile(deviation, [50, 95])
    record_property(
        "postprocess --locres, 10 Å: deviation in the mask, median, 95th percentile",
        f"{median:.4f}, {far:.3f}",
    )
    # Measured 0.7 and 6.9 %, as between two of the engine's own seeds (0.5 and 6.9 %)
    assert median < 0.015
    assert far < 0.09
    assert np.mean(deviation < 0.05) > 0.8
    quartiles = [np.percentile(values[inside], [25, 50, 75]) for values in (resolution, theirs)]
    np.testing.assert_allclose(*quartiles, rtol=0.02)
    assert like(filtered[inside], their_map[inside]) > 0.999


def test_mpi_makes_identical_maps(bin2):
    for serial, mpi in zip(*map(maps, bin2), strict=True):
        np.testing.assert_array_equal(serial, mpi)


def test_curves_are_relions_but_for_the_random_phases(bin2):
    """The file as RELION writes it: a table for each sphere, and after it a line that is no STAR."""
    mine, theirs = (
        Path(path).read_text().split("\ndata_")[1:4]
        for path in (f"{bin2[0]}_locres_fscs.star", LOCRES / "relion_locres_fscs_head.txt")
    )
    for a, b in zip(mine, theirs, strict=True):
        assert a.split()[0] == b.split()[0]  # fsc_-0021_-0009_00000
        assert re.findall(r"_rln\S+ #\d", a) == re.findall(r"_rln\S+ #\d", b)
        rows_a, rows_b = (
            np.array(
                [line.split() for line in text.splitlines() if re.match(r"\s+\d+(\s+[-\d.]+){6}\s*$", line)],
                float,
            )
            for text in (a, b)
        )
        assert rows_a.shape == rows_b.shape == (25, 7)
        np.testing.assert_allclose(rows_a[:, [0, 1, 2, 4, 5]], rows_b[:, [0, 1, 2, 4, 5]], atol=2e-3)
        np.testing.assert_allclose(rows_a[:21, 3], rows_b[:21, 3], atol=2e-3)  # not corrected yet
        place = r" kk= \S+ ii= \S+ jj= \S+ local resolution="
        assert re.findall(place, a) == re.findall(place, b)
