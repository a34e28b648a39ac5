"""Reading what RELION 5.0.1 left in its folders."""

import shutil
from math import inf, isnan
from pathlib import Path

import numpy as np
import pytest

from stacycle.errors import UserError
from stacycle.files import relion_output

GOLDEN = Path(__file__).parent / "data"


def test_an_alignment_is_read_iteration_by_iteration():
    found = relion_output.iterations(GOLDEN / "align")
    assert [it.number for it in found] == [0, 1, 2, 3, 4, 5]
    assert [it.resolution for it in found] == pytest.approx([inf, 48, 53.333333, 53.333333, 48, 48])
    assert found[-1].accuracy_rotations == pytest.approx(3.25625)
    assert found[-1].changed_offsets == pytest.approx(7.068324)
    assert found[-1].log_likelihood == pytest.approx(1.811376e6)


def test_numbers_that_relion_had_not_measured_are_nan():
    first, second, third = relion_output.iterations(GOLDEN / "classify", maps=False)[:3]
    assert isnan(first.changed_classes)  # 9.999999e+06 in the file
    assert isnan(second.changed_classes)  # 0.0 in the file
    assert isnan(first.accuracy_rotations)  # 999 in the file
    assert third.changed_classes == pytest.approx(0.71875)


def test_only_iterations_with_every_class_map_count():
    assert [it.number for it in relion_output.iterations(GOLDEN / "classify")] == [9, 10]


@pytest.mark.parametrize("lost", ["run_it005_data.star", "run_it005_model.star", "run_it005_class001.mrc"])
def test_an_iteration_that_lacks_a_file_does_not_count(tmp_path, lost):
    shutil.copytree(GOLDEN / "align", tmp_path / "run")
    (tmp_path / "run" / lost).unlink()
    assert relion_output.iterations(tmp_path / "run")[-1].number == 4


def test_the_halves_of_an_auto_refine_run_are_averaged():
    found = relion_output.iterations(GOLDEN / "refine", maps=False)
    assert [it.number for it in found] == [0, 1, 2, 3, 4, 5]
    assert found[0].resolution == inf
    assert found[-1].resolution == pytest.approx(43.636364)
    assert found[-1].changed_orientations == pytest.approx(0.85436)


def test_a_folder_without_a_run_has_no_iterations(tmp_path):
    assert relion_output.iterations(tmp_path) == []


def test_classes_have_their_sizes_and_accuracies():
    table = relion_output.classes(GOLDEN / "classify", 10)
    assert table["n"].tolist() == [16, 23, 25]
    assert table["fraction"].sum() == pytest.approx(1)
    assert table["resolution"].tolist() == pytest.approx([68.571429, 60, 60])
    assert table["accuracy_rotations"].tolist() == pytest.approx([3.6375, 4.05, 3.215625])
    assert table["accuracy_translations"].tolist() == pytest.approx([5.28125, 5.53125, 4.21875])
    assert Path(table["map"][2]) == GOLDEN / "classify" / "run_it010_class003.mrc"


def test_a_class_without_resolution_particles_or_completeness_is_read_as_such(tmp_path):
    for name in ("model", "data"):
        text = (GOLDEN / f"classify/run_it010_{name}.star").read_text()
        if name == "model":  # as RELION writes them at low T
            text = text.replace("3.637500     5.281250    68.571429     0.849531", "999.0  999.0  inf  -nan")
        else:
            text = "".join(
                line for line in text.splitlines(True) if len(line.split()) < 20 or line.split()[15] != "1"
            )
        (tmp_path / f"run_it010_{name}.star").write_text(text)
    first = relion_output.classes(tmp_path, 10).iloc[0]
    assert (first["n"], first["fraction"], first["resolution"]) == (0, 0, inf)
    assert np.isnan([first["accuracy_rotations"], first["completeness"], first["pmax"]]).all()


def test_particles_that_moved_are_counted_between_two_iterations():
    early = relion_output.assignments(GOLDEN / "classify", 2)["class"].to_numpy()
    late = relion_output.assignments(GOLDEN / "classify", 10)["class"].to_numpy()
    assert relion_output.moved(GOLDEN / "classify", 10) == pytest.approx((early != late).mean())
    assert isnan(relion_output.moved(GOLDEN / "classify", 99))
    assert relion_output.unlike_last(GOLDEN / "classify", [2, 9, 10]) == {
        2: pytest.approx((early != late).mean()),
        9: 0,
        10: 0,
    }


def test_the_ssnr_of_a_class_comes_with_its_t():
    ssnr, T = relion_output.ssnr(GOLDEN / "classify/run_it010_class001.mrc")
    assert T == 0.5
    assert ssnr[:3] == pytest.approx([176.315127, 35.855597, 24.418023])
    with pytest.raises(UserError, match="is not a class map"):
        relion_output.ssnr(GOLDEN / "average/merged.mrc")


def test_the_resolution_at_unit_t_lies_between_the_shells_around_it():
    ssnr, T = relion_output.ssnr(GOLDEN / "classify/run_it010_class001.mrc")
    last = np.flatnonzero(ssnr[1:] / T < 1)[0] + 1
    assert 480 / last < relion_output.resolution_at_unit_T(GOLDEN / "classify", 10) < 480 / (last - 1)


def test_a_postprocess_is_read_with_its_four_curves():
    found = relion_output.fsc(GOLDEN / "postprocess/postprocess.star")
    assert (found.resolution, found.nyquist, found.at_nyquist) == (40, 40, True)
    assert found.bfactor == -200
    assert found.randomised_from == pytest.approx(53.333333)
    last = found.fsc.iloc[-1]
    assert last["unmasked"] == pytest.approx(0.216676)
    assert last["masked"] == pytest.approx(0.542006)
    assert last["randomised"] == pytest.approx(0.019650)
    assert last["corrected"] == pytest.approx(0.532825)
