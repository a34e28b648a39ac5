"""relion_postprocess against RELION 5.0.1's own resolution, curves and maps."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile

from staengine.errors import EngineError
from staengine.numerics.fsc import correct_fsc, last_shell, randomise_phases, shell_resolution
from staengine.numerics.sharpening import fit_guinier, fsc_weights, log_amplitudes
from staengine.programs import postprocess
from staengine.tilt_series.star import read_star

GOLDEN = Path(__file__).parent / "data"
FSC = "rlnFourierShellCorrelation"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Root name of what the golden command makes, its log beside it."""
    root = tmp_path_factory.mktemp("postprocess") / "postprocess"
    run(root)
    return root


def run(root, *flags, without=()):
    command = (GOLDEN / "logs/postprocess.command").read_text().split()[1:]
    command[command.index("--o") + 1] = str(root)
    for flag in without:
        del command[command.index(flag) : command.index(flag) + 2]
    with pytest.MonkeyPatch.context() as here:
        here.chdir(GOLDEN)
        assert postprocess.main([*command, *flags]) == 0


def tables(root):
    return starfile.read(f"{root}.star", always_dict=True)


@pytest.fixture(scope="module")
def relions():
    return tables(GOLDEN / "postprocess/postprocess")


def test_general_values_are_relions(made, relions):
    mine, theirs = tables(made)["general"], relions["general"]
    for name, value in theirs.items():
        if isinstance(value, str):
            assert Path(mine[name]).name == Path(value).name
        else:
            assert mine[name] == pytest.approx(value, rel=1e-5), name
    assert list(mine) == list(theirs)


def test_fsc_table_has_relions_columns_and_values(made, relions, record_property):
    mine, theirs = tables(made)["fsc"], relions["fsc"]
    assert list(mine.columns) == list(theirs.columns)
    exact = ["rlnSpectralIndex", "rlnResolution", "rlnAngstromResolution", f"{FSC}UnmaskedMaps"]
    for column in [*exact, f"{FSC}MaskedMaps", f"{FSC}ParticleMaskFraction"]:
        np.testing.assert_allclose(mine[column], theirs[column], atol=2e-6, rtol=2e-6, err_msg=column)
    worst = np.abs(mine[f"{FSC}MaskedMaps"] - theirs[f"{FSC}MaskedMaps"]).max()
    record_property("postprocess: masked FSC, largest difference", f"{worst:.0e}")
    worst = np.abs(mine[f"{FSC}Corrected"] - theirs[f"{FSC}Corrected"]).max()
    record_property("postprocess: corrected FSC, largest difference (other random phases)", f"{worst:.3f}")
    # The random phases are others than RELION's.
    np.testing.assert_allclose(mine[f"{FSC}Corrected"], theirs[f"{FSC}Corrected"], atol=0.02)
    randomised = "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps"
    np.testing.assert_allclose(mine[randomised][:9], theirs[randomised][:9], atol=0.02)
    np.testing.assert_allclose(mine[randomised], theirs[randomised], atol=0.15)


def test_guinier_table_has_relions_columns_and_values(made, relions):
    mine, theirs = tables(made)["guinier"], relions["guinier"]
    assert list(mine.columns) == list(theirs.columns)
    np.testing.assert_allclose(mine, theirs, atol=0.03)  # the weights depend on the random phases
    np.testing.assert_allclose(mine.rlnLogAmplitudesOriginal, theirs.rlnLogAmplitudesOriginal, atol=2e-5)


@pytest.mark.parametrize("name", ["postprocess.mrc", "postprocess_masked.mrc"])
def test_maps_are_relions(made, name):
    with mrcfile.open(made.with_name(name)) as mine, mrcfile.open(GOLDEN / "postprocess" / name) as theirs:
        assert np.corrcoef(mine.data.ravel(), theirs.data.ravel())[0, 1] > 0.99999
        assert np.ptp(mine.data) == pytest.approx(np.ptp(theirs.data), rel=1e-3)
        assert mine.voxel_size.x == theirs.voxel_size.x


def test_curve_is_written_as_text_and_xml(made, relions):
    mine, theirs = (
        np.loadtxt(path) for path in (f"{made}_fsc.dat", GOLDEN / "postprocess/postprocess_fsc.dat")
    )
    np.testing.assert_allclose(mine, theirs, atol=0.02)
    assert Path(f"{made}_fsc.xml").read_text().count("<coordinate>") == len(mine)


def test_log_lines_are_relions(tmp_path, capsys):
    run(tmp_path / "postprocess")
    mine = capsys.readouterr().out.splitlines()
    for line in (GOLDEN / "logs/postprocess.log").read_text().splitlines():
        if not any(word in line for word in ("gs", "PDF", "mtf", "postprocess/")):
            assert line in mine


def test_without_a_mask_the_unmasked_curve_says_the_resolution(tmp_path, relions):
    run(tmp_path / "postprocess", without=["--mask"])
    mine = tables(tmp_path / "postprocess")
    assert list(mine["fsc"].columns)[3:] == [f"{FSC}UnmaskedMaps"]
    assert "rlnMaskName" not in mine["general"]
    shell = last_shell(relions["fsc"][f"{FSC}UnmaskedMaps"].to_numpy())
    assert mine["general"]["rlnFinalResolution"] == pytest.approx(480 / shell)


def test_automatic_bfactor_is_four_times_the_slope_of_its_fit(tmp_path):
    flags = ["--auto_bfac", "--autob_lowres", "100", "--autob_highres", "42"]
    run(tmp_path / "postprocess", *flags, without=["--adhoc_bfac"])
    mine = tables(tmp_path / "postprocess")
    x, y = mine["guinier"].rlnResolutionSquared, mine["guinier"].rlnLogAmplitudesWeighted
    used = (x >= 1 / 100**2) & (x <= 1 / 42**2)
    slope = np.polyfit(x[used], y[used], 1)[0]
    assert mine["general"]["rlnFittedSlopeGuinierPlot"] == pytest.approx(slope, rel=1e-3)
    assert mine["general"]["rlnBfactorUsedForSharpening"] == pytest.approx(4 * slope, rel=1e-3)


def test_skipping_the_weights_leaves_only_the_bfactor(tmp_path):
    run(tmp_path / "postprocess", "--skip_fsc_weighting")
    guinier = tables(tmp_path / "postprocess")["guinier"]
    gain = guinier.rlnLogAmplitudesSharpened - guinier.rlnLogAmplitudesOriginal
    assert "rlnLogAmplitudesWeighted" not in guinier
    np.testing.assert_allclose(gain[:-1], 200 / 4 * guinier.rlnResolutionSquared[:-1], atol=2e-3)


def test_low_pass_at_the_final_resolution_or_a_given_one(tmp_path):
    def highest(*flags):
        run(tmp_path / "postprocess", "--skip_fsc_weighting", *flags)
        return np.exp(log_amplitudes(np.fft.rfftn(mrcfile.read(tmp_path / "postprocess.mrc"))))

    unfiltered, filtered = highest(), highest("--low_pass", "80")
    np.testing.assert_allclose(filtered[:5], unfiltered[:5], rtol=1e-3)
    assert filtered[8:].max() < 1e-3 * unfiltered[8:].max()
    assert highest("--low_pass", "-1")[-1] < 0.8 * unfiltered[-1]  # half of the last shell: 40 Å is Nyquist


def test_relions_line_through_relions_guinier_plot():
    """RELION: --auto_bfac --autob_lowres 100 --autob_highres 25 on the bin1 half maps."""
    amplitudes = [-99.0, -1.89284, -2.15085, -3.38328, -3.97932, -4.05142, -4.51472, -4.94953, -4.84137]
    amplitudes += [-5.30099, -5.49056, -5.64231, -5.95760, -6.02886, -6.12895, -6.22881, -6.17413, -6.36883]
    amplitudes += [-6.61300, -6.71537, -7.26529, -7.03648, -7.12569, -7.48645, -99.0]
    resolution = shell_resolution(96, 5.0)[: len(amplitudes)]
    fit = fit_guinier(np.array(amplitudes), resolution, 100, 25)
    assert fit.slope == pytest.approx(-1556.177, abs=0.01)
    assert fit.intercept == pytest.approx(-4.56841, abs=1e-5)
    assert fit.correlation == pytest.approx(0.858630, abs=1e-5)


@pytest.mark.parametrize(
    ("curve", "shell"), [([1, 0.9, 0.5, 0.1, 0.3], 2), ([1, 0.9, 0.8, 0.7, 0.2], 4), ([1, 0.143, 0.142], 1)]
)
def test_resolution_is_the_shell_before_the_first_below_0143(curve, shell):
    assert last_shell(np.array(curve)) == shell


def test_weights_stay_zero_after_the_first_shell_without_signal():
    weights = fsc_weights(np.array([1, 0.5, -0.01, 0.3]))
    np.testing.assert_allclose(weights, [1, np.sqrt(1 / 1.5), 0, 0])


def test_correction_begins_two_shells_after_randomisation():
    masked, randomised = np.array([1, 0.9, 0.8, 0.7, 0.6]), np.full(5, 0.5)
    corrected = correct_fsc(masked, randomised, start=1)
    np.testing.assert_allclose(corrected, [1, 0.9, 0.8, 0.4, 0.2])


def test_randomised_phases_keep_amplitudes_and_low_frequencies():
    transform = np.fft.rfftn(np.random.default_rng(0).normal(size=(16, 16, 16)))
    result = randomise_phases(transform, 4, np.random.default_rng(1))
    k = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(16, 1 / 16)] * 3, indexing="ij")))[..., :9]
    np.testing.assert_allclose(np.abs(result), np.abs(transform))
    np.testing.assert_array_equal(result[k < 4], transform[k < 4])
    assert abs(np.corrcoef(result[k >= 4].real, transform[k >= 4].real)[0, 1]) < 0.1


@pytest.fixture
def halves(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("half1.mrc", "half2.mrc"):
        mrcfile.write(tmp_path / name, rng.normal(size=(16,) * 3).astype(np.float32), voxel_size=4.0)
    return tmp_path / "half1.mrc"


def attempt(half, *flags):
    postprocess.main(["--i", str(half), "--o", str(half.with_name("out")), *flags])


def test_missing_second_half_is_named(halves):
    halves.with_name("half2.mrc").unlink()
    with pytest.raises(EngineError, match=r"half2\.mrc does not exist"):
        attempt(halves)


def test_half_map_without_half1_in_its_name_needs_i2(halves):
    other = halves.rename(halves.with_name("map.mrc"))
    with pytest.raises(EngineError, match="--i2"):
        attempt(other)
    attempt(other, "--i2", str(halves.with_name("half2.mrc")))


@pytest.mark.parametrize(
    ("box", "pixel", "value", "message"),
    [
        (20, 4.0, 1.0, "box of 20 px, the first half map 16 px"),
        (16, 5.0, 1.0, "pixel size of 5 Å, the first half map 4 Å"),
        (16, 4.0, 3.0, "values from 3 to 3"),
        (16, 4.0, 0.0, "is empty"),
    ],
)
def test_a_wrong_mask_is_an_error(halves, box, pixel, value, message):
    mask = halves.with_name("mask.mrc")
    mrcfile.write(mask, np.full((box,) * 3, value, np.float32), voxel_size=pixel)
    with pytest.raises(EngineError, match=message):
        attempt(halves, "--mask", str(mask))


def test_half_maps_of_other_boxes_are_an_error(halves):
    second = halves.with_name("half2.mrc")
    mrcfile.write(second, np.ones((20,) * 3, np.float32), voxel_size=4.0, overwrite=True)
    with pytest.raises(EngineError, match="box of 20 px"):
        attempt(halves)


def test_identical_halves_are_suspected(halves):
    mask = halves.with_name("mask.mrc")
    mrcfile.write(mask, np.ones((16,) * 3, np.float32), voxel_size=4.0)
    halves.with_name("half2.mrc").write_bytes(halves.read_bytes())
    with pytest.raises(EngineError, match="independent"):
        attempt(halves, "--mask", str(mask))


@pytest.mark.parametrize("flag", ["--mtf", "--unheard_of"])
def test_flags_that_it_does_not_have_are_refused(halves, flag):
    with pytest.raises(EngineError, match=flag):
        attempt(halves, flag)


def test_output_is_readable_as_relions_own(made):
    assert set(read_star(f"{made}.star")) == {"general", "fsc", "guinier"}
