"""Picks in STAR files of several programs are told apart by their columns, and come back where they were."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from foreign import star_picks, truth
from foreign.pick_volume import PickVolume
from test_pick_formats import FRAMES, ONE, OTHER, PICKS, SERIES, VOLUME, check, read

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.inputs.findings import Findings
from stacycle.inputs.picks import check_format, is_foreign
from stacycle.inputs.place_picks import Tomogram

ONE_PICKS = PICKS[1]
IMAGES = PickVolume((0, 0, 0), 2.7)  # px of particles' images
WITHOUT_VOLUME = {name: Tomogram(frame.pixel, frame.size) for name, frame in FRAMES.items()}


@pytest.mark.parametrize("shifted", [False, True])
def test_relion_5(tmp_path, shifted):
    star_picks.relion5(tmp_path / "p.star", ONE_PICKS, shifted, halves=True)
    table = read("star", tmp_path / "p.star")
    check(table, ONE_PICKS, position=1e-5, angle=1e-4)
    assert list(table.rlnRandomSubset[:3]) == [1, 2, 1]
    assert list(table.row[:2]) == [1, 2]


@pytest.mark.parametrize("shifted", [False, True])
def test_relion_4(tmp_path, shifted):
    star_picks.relion4(tmp_path / "p.star", ONE_PICKS, shifted)
    check(read("star", tmp_path / "p.star"), ONE_PICKS, position=1e-5, angle=1e-4)


@pytest.mark.parametrize("kept", ["rlnOriginYAngst", "rlnTomoSubtomogramRot"])
def test_what_relion_reads_alone_counts_alone(tmp_path, kept):
    """Origins and turns that are absent are 0."""
    star_picks.relion5(tmp_path / "p.star", ONE_PICKS, shifted=True)
    table = star.read(tmp_path / "p.star", {"particles": []})["particles"]
    others = {*star_picks.ORIGINS} if kept in star_picks.ORIGINS else {*star_picks.TURNS}
    table[list(others - {kept})] = 0.0
    star.write(tmp_path / "p.star", {"particles": table})
    all_of_them = read("star", tmp_path / "p.star")
    star.write(tmp_path / "p.star", {"particles": table.drop(columns=list(others - {kept}))})
    pd.testing.assert_frame_equal(read("star", tmp_path / "p.star"), all_of_them)


@pytest.mark.parametrize("optics", [False, True])
def test_relion_3_and_warp_1(tmp_path, optics):
    star_picks.relion3(tmp_path / "p.star", ONE_PICKS, IMAGES, optics)
    check(read("star", tmp_path / "p.star"), ONE_PICKS, position=1e-4)


@pytest.mark.parametrize("frames", [FRAMES, WITHOUT_VOLUME])
def test_pytom(tmp_path, frames):
    """Without the volume, the size in the config says how many voxels it had."""
    star_picks.pytom(tmp_path / "TS_01_particles.star", ONE_PICKS, VOLUME)
    size = None if frames is FRAMES else VOLUME.shape
    table = read("star", tmp_path / "TS_01_particles.star", frames=frames, size=size)
    check(table, ONE_PICKS, position=1e-4)
    assert np.allclose(table.rlnAutopickFigureOfMerit, ONE_PICKS.score, atol=1e-5)


def test_pytom_in_a_volume_whose_size_divides(tmp_path):
    even = PickVolume((24, 20, 12), 5.4)
    star_picks.pytom(tmp_path / "p.star", ONE_PICKS, even)
    check(read("star", tmp_path / "p.star", frames=WITHOUT_VOLUME), ONE_PICKS, position=1e-4)


def test_pytom_for_relion_5(tmp_path):
    star_picks.pytom_relion5(tmp_path / "p.star", ONE_PICKS, VOLUME)
    check(read("star", tmp_path / "p.star"), ONE_PICKS, position=1e-5)


def test_the_list_that_pytom_merges_is_followed(tmp_path):
    files = {}
    for one in PICKS.values():
        one = replace(one, series=replace(one.series, name=one.series.name.replace(" ", "_")))
        files[one.series.name] = f"{one.series.name}_particles.star"
        star_picks.pytom_relion5(tmp_path / files[one.series.name], one, VOLUME)
    star_picks.pytom_merged(tmp_path / "merged.star", files)
    frames = {name.replace(" ", "_"): frame for name, frame in FRAMES.items()}
    findings = Findings()
    table = read("star", tmp_path / "merged.star", frames=frames, findings=findings)
    assert len(table) == sum(len(one.position) for one in PICKS.values())
    assert str(tmp_path / "TS_01_particles.star") in findings.files
    star_picks.pytom_merged(tmp_path / "merged.star", dict.fromkeys(files, files["TS_01"]))
    assert len(read("star", tmp_path / "merged.star", frames=frames)) == len(ONE_PICKS.position)
    (tmp_path / "TS_01_particles.star").unlink()
    with pytest.raises(UserError, match="in row 1 is not there"):
        read("star", tmp_path / "merged.star", frames=frames)


def test_warptools_export(tmp_path):
    star_picks.warp_export(tmp_path / "p.star", ONE_PICKS, 5.0)
    check(read("star", tmp_path / "p.star"), ONE_PICKS, position=0.003)


def test_warptools_template_matching(tmp_path):
    star_picks.warp_match(tmp_path / "p.star", ONE_PICKS)
    check(read("star", tmp_path / "p.star"), ONE_PICKS, position=1e-3)


def test_a_single_pick_as_fractions_is_one_too(tmp_path):
    one = replace(ONE_PICKS, **{key: getattr(ONE_PICKS, key)[:1] for key in ("position", "angles", "score")})
    star_picks.warp_match(tmp_path / "p.star", one)
    check(read("star", tmp_path / "p.star"), one, position=1e-3)


def test_a_species_of_m_with_what_is_no_number_is_refused(tmp_path):
    star_picks.m_species(tmp_path / "p.star", ONE_PICKS)
    table = star.read(tmp_path / "p.star", oddities=[])["particles"]
    for value in (np.nan, "abc"):
        write(tmp_path / "p.star", **{**table, "wrpCoordinateX1": [value, *table.wrpCoordinateX1[1:]]})
        with pytest.raises(UserError, match=r"wrpCoordinateX1, .* are not all numbers"):
            read("star", tmp_path / "p.star")
    star.write(tmp_path / "p.star", {"particles": table[:0]})
    with pytest.raises(UserError, match="has no row"):
        read("star", tmp_path / "p.star")


@pytest.mark.parametrize("samples", [1, 3])
def test_a_species_of_m(tmp_path, samples):
    star_picks.m_species(tmp_path / "p.star", ONE_PICKS, samples)
    table = read("star", tmp_path / "p.star")
    check(table, ONE_PICKS, position=1e-5)
    assert set(table.rlnRandomSubset) == {1, 2}


def test_binned_pixels_need_their_size(tmp_path):
    """As RELION's own annotations: binned voxels of its tomogram, whose first voxel is at the corner."""
    index = ONE_PICKS.position / 4
    write(tmp_path / "p.star", rlnTomoName="TS_01", **dict(zip(star_picks.CORNER, index.T, strict=True)))
    with pytest.raises(UserError, match="in binned pixels; say pixel"):
        read("star", tmp_path / "p.star")
    check(read("star", tmp_path / "p.star", frames=WITHOUT_VOLUME, pixel=5.4), ONE_PICKS, angle=None)


def write(path, name="particles", **columns):
    star.write(path, {name: pd.DataFrame(columns)})


def test_pixels_that_are_not_said_or_disagree_are_refused(tmp_path):
    path = tmp_path / "p.star"
    where = dict(zip(star_picks.CORNER, (ONE_PICKS.position / 2).T, strict=True))
    write(path, rlnMicrographName="TS_01.tomostar", **where)
    with pytest.raises(UserError, match="nothing says in what pixels"):
        read("star", path)
    check(read("star", path, pixel=2.7), ONE_PICKS, angle=None)
    binned = ONE_PICKS.position * SERIES.pixel / VOLUME.voxel
    where_binned = dict(zip(star_picks.CORNER, binned.T, strict=True))
    for said in (
        {"rlnMicrographName": "TS_01.tomostar", "rlnPixelSize": VOLUME.voxel, "rlnLCCmax": 0.5},
        {"rlnTomoName": "TS_01", "rlnDetectorPixelSize": VOLUME.voxel},
    ):
        write(path, **said, **where_binned)
        check(read("star", path), ONE_PICKS, angle=None)
    write(path, rlnMicrographName="TS_01.tomostar", rlnPixelSize=2.7, rlnImagePixelSize=5.4, **where)
    with pytest.raises(UserError, match=r"rlnImagePixelSize says 5.4 Å, but rlnPixelSize says 2.7 Å"):
        read("star", path)
    write(path, rlnMicrographName="TS_01.tomostar", rlnPixelSize=2.7, **where)
    with pytest.raises(UserError, match=r"particles\.pixel says 2 Å"):
        read("star", path, pixel=2.0)


def test_files_that_are_no_picks_are_refused_by_what_they_are(tmp_path):
    path = tmp_path / "p.star"
    where = dict(zip(star_picks.CENTRED, ONE_PICKS.centred.T, strict=True))
    turn = dict(zip(star_picks.ANGLES, ONE_PICKS.angles.T, strict=True))
    for columns, fault in (
        (
            {"rlnTomoParticlesFile": ["a/p.star"], "rlnTomoTomogramsFile": ["t.star"]},
            "optimisation set.*give a/p.star",
        ),
        ({"rlnTomoName": ["a"], "rlnTomoTiltSeriesStarFile": ["b"]}, "holds tomograms, not picks"),
        (
            {"rlnTomoName": ["a"], **{label: 1.0 for label in star_picks.CORNER}, "rlnSphereRadius": 2.0},
            "drawn for RELION's Pick job .rlnSphereRadius.*particles.star",
        ),
        ({"rlnDefocusU": [1.0, 2.0]}, "no table with rlnCenteredCoordinateXAngst"),
        ({"rlnTomoImportParticleFile": ["a.star"]}, "without rlnTomoName"),
        (where, "neither rlnTomoName nor rlnMicrographName"),
        (
            {"rlnTomoName": "TS_01", **where, "rlnAngleRot": 1.0},
            "has rlnAngleRot, but not rlnAngleTilt, rlnAnglePsi",
        ),
        (
            {"rlnTomoName": "TS_01", **where, **turn, "rlnTomoSubtomogramTilt": 1.0},
            "rlnTomoSubtomogramTilt, but not rlnTomoSubtomogramRot",
        ),
        (
            {"rlnTomoName": "TS_01", **where, **turn, "rlnAnglePsi": ["x"] + ["1"] * 39},
            "not a number in row 1",
        ),
        ({"rlnTomoName": ["None"] + ["TS_01"] * 39, **where}, "no rlnTomoName in row 1"),
        (
            {"rlnTomoName": "TS_01", **where, "rlnOriginY": 1.0},
            r"shifts in pixels \(rlnOriginY\)",
        ),
    ):
        write(path, **columns)
        with pytest.raises(UserError, match=fault):
            read("star", path)
    write(path, **where)
    check(read("star", path, tomogram="TS_01"), ONE_PICKS, angle=None)
    relions = pd.DataFrame(
        {"rlnTomoName": ["a"], **dict.fromkeys(star_picks.ANGLES, 0), "rlnTomoSubtomogramPsi": 1}
    )
    with pytest.raises(UserError, match="rlnTomoSubtomogramPsi, but not rlnTomoSubtomogramRot"):
        check_format("p.star", relions, ["a"])
    assert is_foreign({"": pd.DataFrame({"tomo_num": [1]})}, ["a"])


def test_priors_and_half_sets_that_are_left_out_are_told(tmp_path):
    where = dict(zip(star_picks.CENTRED, ONE_PICKS.centred.T, strict=True))
    tilt = np.linspace(80, 100, len(ONE_PICKS.position))
    write(tmp_path / "p.star", rlnTomoName="TS_01", **where, rlnRandomSubset=1, rlnAngleTiltPrior=tilt)
    findings = Findings()
    check(read("star", tmp_path / "p.star", findings=findings), ONE_PICKS, angle=None)
    told = " ".join(map(str, findings.warnings))
    assert "rlnRandomSubset is left out" in told
    assert "rlnAngleTiltPrior are left out" in told


def test_picks_of_two_tomograms_in_several_files(tmp_path):
    for number, one in PICKS.items():
        named = replace(one, series=replace(one.series, name=one.series.name.replace(" ", "_")))
        star_picks.relion5(tmp_path / f"{number}.star", named)
    frames = {SERIES.name: ONE["TS_01"], OTHER.name.replace(" ", "_"): FRAMES[OTHER.name]}
    table = read("star", tmp_path / "1.star", tmp_path / "20.star", frames=frames)
    assert np.abs(table[star_picks.CENTRED].to_numpy()[40:] - PICKS[20].centred).max() < 1e-5
    assert truth.turned_by(table[star_picks.ANGLES].to_numpy()[40:], PICKS[20].angles) < 1e-4


def test_the_config_names_the_one_tomogram_of_a_file(tmp_path):
    strange = replace(ONE_PICKS, series=replace(SERIES, name="tomo_a"))
    star_picks.relion5(tmp_path / "p.star", strange)
    with pytest.raises(UserError, match="'tomo_a' is not in the set"):
        read("star", tmp_path / "p.star")
    check(read("star", tmp_path / "p.star", tomogram="TS_01"), ONE_PICKS)
    names = ["tomo_a"] * 20 + ["tomo_b"] * 20
    write(
        tmp_path / "p.star",
        rlnTomoName=names,
        **dict(zip(star_picks.CENTRED, ONE_PICKS.centred.T, strict=True)),
    )
    with pytest.raises(UserError, match="has picks of tomo_a, tomo_b, not of TS_01 alone"):
        read("star", tmp_path / "p.star", tomogram="TS_01")
