"""Names that programs gave to tomograms mean one of the set's, or none: what could mean two is refused."""

import pytest

from stacycle.inputs.findings import Findings
from stacycle.inputs.tomogram_names import match_names, stem


@pytest.mark.parametrize(
    "name",
    [
        "TS_01",
        "/data/tomograms/TS_01.mrc",
        "C:\\data\\TS_01.mrc",
        "rec_TS_01",
        "rec_TS_01.mrc",
        "TS_01_Vol.mrc",
        "TS_01_EVN_Vol.mrc",
        "TS_01.tomostar",
        "TS_01_full_rec.mrc",
        "TS_01_rec.mrc",
        "TS_01_bin4_rec.mrc",
        "TS_01_bin4.mrc_13.48Apx.mrc",
        "warp/reconstruction/TS_01_10.00Apx.mrc",
        "rec_TS_01_half1.mrc",
        "TS_01_corrected.em",
        "TS_01.mod",
    ],
)
def test_what_programs_add_to_a_name_is_stripped(name):
    assert stem(name) == "TS_01"
    assert match_names([name], ["TS_01", "TS_010", "TS_1"], "p.star", Findings()) == {name: "TS_01"}


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("Position_10", ["Position_1", "Position_10"], "Position_10"),
        ("Position_1", ["Position_1_Vol", "Position_10_Vol"], "Position_1_Vol"),
        ("TS_01_Vol", ["TS_01", "TS_01_Vol"], "TS_01_Vol"),
        ("TS_01_ribosomes.txt", ["TS_01", "TS_02"], "TS_01"),
        ("TS_01_8.00Apx_ribosomes", ["TS_01", "TS_02"], "TS_01"),
        ("day1_TS_01", ["TS_01", "TS_02"], "TS_01"),
        ("lamella_TS_01_dense.csv", ["TS_01", "lamella_TS_01"], "lamella_TS_01"),
        ("20240716a_Position_16_3.tomostar", ["Position_16_3", "Position_16"], "Position_16_3"),
        ("rec_017.mrc", ["017", "018"], "017"),
        ("grid.1-ts+2_b4", ["grid.1-ts+2"], "grid.1-ts+2"),
    ],
)
def test_a_name_means_the_tomogram_that_is_plain(name, known, meant):
    findings = Findings()
    assert match_names([name], known, "p.star", findings) == {name: meant}
    assert not findings.problems


@pytest.mark.parametrize(
    ("names", "known", "fault"),
    [
        (["Position_1_3"], ["Position_1", "Position_2"], "is not in the set; did you mean Position_1"),
        (["Position_100"], ["Position_1", "Position_10"], "is not in the set"),
        (["TS_03"], ["TS_01", "TS_02"], "is not in the set"),
        (["TS_01.mrc"], ["rec_TS_01", "TS_01_Vol"], "could be rec_TS_01 or TS_01_Vol"),
        (["TS_01_and_TS_02"], ["TS_01", "TS_02"], "could be TS_01 or TS_02"),
        (["scan_017_a"], ["017"], "is not in the set"),
        (["day1_TS_01", "day2_TS_01"], ["TS_01"], "would all be the tomogram TS_01"),
        (["TS_01", "day2_TS_01"], ["TS_01"], "would all be the tomogram TS_01"),
        (["x"], ["a", "b"], "it has a, b"),
    ],
)
def test_a_name_that_means_none_or_could_mean_several_is_refused(names, known, fault):
    findings = Findings()
    assert match_names(names, known, "p.star", findings) == {}
    assert len(findings.problems) == 1
    assert fault in str(findings.problems[0])
    assert str(findings.problems[0]).startswith("p.star: ")


def test_several_files_of_one_tomogram_may_have_other_endings():
    names = ["TS_01_ribosomes", "TS_01_rec.mrc", "TS_01"]
    findings = Findings()
    assert set(match_names(names, ["TS_01"], "p.star", findings).values()) == {"TS_01"}
    assert not findings.problems
