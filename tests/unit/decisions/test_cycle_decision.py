"""A sweep of the cycle keeps what beats the state before it, and goes back if nothing does."""

from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions import tilt_changes
from stacycle.decisions.cycle import Candidate, cycle_variant
from stacycle.decisions.decision import BEFORE, read_decision, write_decision
from stacycle.errors import UserError
from stacycle.files import relion_output
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.relion_output import PostProcess

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
BOX, PIXEL = 96, 5.0


def fsc(end: float, better: float = 0.0, box: int = BOX, pixel: float = PIXEL) -> PostProcess:
    """A curve that falls through 0.143 at shell `end`; `better` shells of integral more at low resolution."""
    shells = np.arange(box // 2 + 1)
    curve = 1 / (1 + np.exp((shells - end) / 1.5 - np.log(0.143 / 0.857) - 0.1))
    curve[1:6] += better / 5
    resolution = box * pixel / np.maximum(shells, 0.5)
    frequency = 1 / resolution
    table = pd.DataFrame({"frequency": frequency, "resolution": resolution, "corrected": curve})
    last = np.flatnonzero(curve < 0.143)[0] - 1
    return PostProcess(resolution[last], 2 * pixel, nan, -100.0, table)


def sweep(before: PostProcess, **variants: PostProcess | None) -> tuple[Candidate, list[Candidate]]:
    return Candidate(BEFORE, before), [
        Candidate(name, curve, failed="" if curve else "It ran out of memory.")
        for name, curve in variants.items()
    ]


def kept(decision) -> str:
    return decision.choice["variant"]


class TestKeepOrRollBack:
    def test_a_variant_that_is_finer_by_several_shells_is_kept(self):
        decision = cycle_variant(*sweep(fsc(16), a=fsc(17), b=fsc(20)))
        assert kept(decision) == "b"
        assert decision.by == "rule"
        assert decision.numbers["resolution"] == pytest.approx(fsc(20).resolution)
        assert "beats the state before it: from 30 to 24 Å" in decision.reason

    @pytest.mark.parametrize("other", [fsc(14), fsc(16), fsc(16.1)])
    def test_one_that_is_no_better_is_rolled_back(self, other):
        decision = cycle_variant(*sweep(fsc(16), a=other))
        assert kept(decision) == BEFORE
        assert decision.reason.startswith("Rolled back")
        assert decision.numbers["resolution"] == pytest.approx(30)
        assert decision.candidates.set_index("variant").loc[BEFORE, "kept"]

    def test_a_finer_resolution_alone_does_not_win_when_the_rest_of_the_curve_is_worse(self):
        assert kept(cycle_variant(*sweep(fsc(16), a=fsc(17, better=-2)))) == BEFORE

    @pytest.mark.parametrize(("gain", "choice"), [(0.18, BEFORE), (0.22, "a")])
    def test_a_gain_counts_from_a_hundredth_of_the_integrated_shells(self, gain, choice):
        decision = cycle_variant(*sweep(fsc(16), a=fsc(16, better=gain)))
        assert kept(decision) == choice
        assert f"{gain:+.2f} of 20 shells (a gain counts from 0.2)" in decision.reason

    def test_a_curve_that_noise_holds_above_the_threshold_for_two_shells_more_does_not_win(self):
        flicker = fsc(16)
        flicker.fsc.loc[17:18, "corrected"] = 0.145
        variant = Candidate("a", replace(flicker, resolution=flicker.fsc["resolution"][18]))
        decision = cycle_variant(Candidate(BEFORE, fsc(16)), [variant])
        assert decision.candidates["gain"].iloc[1] > 0
        assert kept(decision) == BEFORE

    def test_within_a_shell_the_integral_decides(self):
        decision = cycle_variant(*sweep(fsc(16), finer=fsc(19), larger=fsc(18, better=2)))
        assert kept(decision) == "larger"
        gains = decision.candidates.set_index("variant")["gain"]
        assert gains["larger"] > gains["finer"] > 0

    def test_a_larger_integral_does_not_make_up_for_a_resolution_two_shells_coarser(self):
        assert kept(cycle_variant(*sweep(fsc(16), finer=fsc(20), larger=fsc(17.5, better=3)))) == "finer"

    def test_a_lone_variant_two_shells_coarser_is_rolled_back_whatever_its_integral(self):
        assert kept(cycle_variant(*sweep(fsc(16), larger=fsc(14, better=3)))) == BEFORE

    def test_signal_that_continues_just_beyond_the_resolution_counts(self):
        longer = fsc(16)
        longer.fsc.loc[17:20, "corrected"] += 0.06
        assert kept(cycle_variant(*sweep(fsc(16), longer=longer))) == "longer"

    def test_noise_far_beyond_every_resolution_does_not_count(self):
        noisy = fsc(16)
        noisy.fsc.loc[21:, "corrected"] = 0.14
        assert kept(cycle_variant(*sweep(fsc(16), noisy=noisy))) == BEFORE

    def test_a_shell_without_a_correlation_counts_as_none(self):
        hole = fsc(20)
        hole.fsc.loc[3, "corrected"] = nan
        assert kept(cycle_variant(*sweep(fsc(16), a=hole))) == "a"

    def test_the_integral_is_in_shells(self):
        flat = fsc(16)
        flat.fsc["corrected"] = 0.5
        decision = cycle_variant(*sweep(fsc(16), flat=flat))
        assert decision.candidates["area"].iloc[1] == pytest.approx(
            10
        )  # 20 shells of 0.5, a quarter more than 16


class TestGolden:
    """RELION 5.0.1: CTF refinement made a defocus worse, polishing cut the shift error to a third."""

    @pytest.fixture(autouse=True)
    def _in_the_project_folder(self, monkeypatch):
        monkeypatch.chdir(GOLDEN)

    def candidate(self, name: str, folder: str, was: str = "", now: str = "", **limits: float) -> Candidate:
        states = [OptimisationSet.read(path) for path in (was, now) if path]
        changes = tilt_changes.changes(*states) if states else {}
        return Candidate(name, relion_output.fsc(f"cycle/{folder}/postprocess.star"), changes, limits=limits)

    def test_ctf_refinement_is_rolled_back(self, record_property):
        variant = self.candidate(
            "reg", "ctf_post", "refine/run_optimisation_set.star", "cycle/ctf/optimisation_set.star"
        )
        decision = cycle_variant(self.candidate(BEFORE, "before"), [variant])
        assert kept(decision) == BEFORE
        assert "from 30 to 30 Å" in decision.reason
        assert decision.candidates["gain"].iloc[1] > 0  # better by noise only
        record_property("golden CTF refinement", decision.reason)

    def test_polishing_is_kept(self, record_property):
        variant = self.candidate(
            "motion", "polish_post", "cycle/ctf/optimisation_set.star", "cycle/polish/optimisation_set.star"
        )
        for before in ("before", "ctf_post"):
            decision = cycle_variant(self.candidate(BEFORE, before), [variant])
            assert kept(decision) == "motion"
            assert "from 30 to 28.24 Å" in decision.reason
            assert decision.warnings == []
        record_property("golden polishing", decision.reason)

    def test_a_person_who_keeps_the_refinement_is_warned_of_what_is_suspicious(self):
        variant = self.candidate(
            "reg",
            "ctf_post",
            "refine/run_optimisation_set.star",
            "cycle/ctf/optimisation_set.star",
            defocus_largest=4000,
        )
        decision = cycle_variant(self.candidate(BEFORE, "before"), [variant], choice="reg")
        assert "defocus largest 3247 Å is near the edge of what was searched (4000 Å)" in decision.warnings[0]


class TestFailures:
    def test_a_failed_variant_is_in_the_table_with_its_cause_and_does_not_take_the_others_down(self):
        decision = cycle_variant(*sweep(fsc(16), broken=None, good=fsc(20)))
        assert kept(decision) == "good"
        row = decision.candidates.set_index("variant").loc["broken"]
        assert (row["failed"], row["kept"]) == ("It ran out of memory.", False)
        assert "broken failed and was left out: It ran out of memory." in decision.warnings

    def test_if_all_failed_their_causes_are_named(self):
        with pytest.raises(UserError, match=r"All 2 variants failed \(a: It ran out of memory; b: It ran"):
            cycle_variant(*sweep(fsc(16), a=None, b=None))

    def test_a_state_before_without_an_fsc_is_an_error(self):
        with pytest.raises(UserError, match="state before the sweep has no FSC: no halves"):
            cycle_variant(Candidate(BEFORE, None, failed="no halves"), [Candidate("a", fsc(16))])

    @pytest.mark.parametrize("other", [fsc(16, box=108), fsc(16, pixel=4)])
    def test_curves_of_another_box_or_pixel_size_are_not_compared(self, other):
        with pytest.raises(UserError, match=r"a: its FSC has \d+ shells .* use the same box and pixel size"):
            cycle_variant(*sweep(fsc(16), a=other))


class TestConfig:
    def test_a_person_may_keep_what_the_rule_would_not(self):
        decision = cycle_variant(
            *sweep(fsc(16), a=fsc(15)), choice="a", key="rounds.bin4.cycle.polish.variant"
        )
        assert (kept(decision), decision.by) == ("a", "config")
        assert "The config asks for a (rounds.bin4.cycle.polish.variant)" in decision.reason
        assert "Rolled back" in decision.reason

    def test_a_person_may_roll_back(self):
        decision = cycle_variant(*sweep(fsc(16), a=fsc(20)), choice=BEFORE)
        assert (kept(decision), decision.by) == (BEFORE, "config")

    def test_a_name_that_does_not_exist_is_answered_with_those_that_do(self):
        with pytest.raises(UserError, match="there is no variant c; there are before, a, b"):
            cycle_variant(*sweep(fsc(16), a=fsc(20), b=fsc(20)), choice="c")

    def test_a_failed_variant_cannot_be_asked_for(self):
        with pytest.raises(UserError, match=r"a failed .It ran out of memory.; name another"):
            cycle_variant(*sweep(fsc(16), a=None, b=fsc(20)), choice="a")


class TestWarnings:
    def warnings(self, changes: dict[str, float], **limits: float) -> list[str]:
        return cycle_variant(
            Candidate(BEFORE, fsc(16)), [Candidate("a", fsc(20), changes, limits=limits)]
        ).warnings

    def test_plausible_changes_give_none(self):
        changes = {"defocus_largest": 1500.0, "shift_largest": 8.0, "scale_min": 0.5, "scale_max": 1.1}
        assert self.warnings(changes, defocus_largest=4000, shift_largest=25) == []

    def test_shifts_at_the_edge_of_the_search_are_reported(self):
        assert "shift largest 24 Å" in self.warnings({"shift_largest": 24.0}, shift_largest=25)[0]

    def test_tilts_unlike_their_neighbours_are_reported(self):
        assert "defocus of 2 tilts" in self.warnings({"defocus_outliers": 2})[0]

    def test_tilts_of_hardly_any_contrast_are_reported(self):
        assert "0.02 to 1.1" in self.warnings({"scale_min": 0.02, "scale_max": 1.1})[0]

    def test_changes_of_a_variant_that_is_not_kept_are_in_the_table_only(self):
        bad = Candidate("bad", fsc(15), {"defocus_outliers": 3})
        decision = cycle_variant(Candidate(BEFORE, fsc(16)), [bad, Candidate("a", fsc(20))])
        assert decision.warnings == []
        assert decision.candidates["defocus_outliers"].iloc[1] == 3


def test_the_decision_survives_its_file(tmp_path):
    decision = cycle_variant(*sweep(fsc(16), a=None, b=fsc(20)))
    write_decision(tmp_path / "decision.json", decision)
    again = read_decision(tmp_path / "decision.json")
    assert again.choice == decision.choice
    assert again.candidates["failed"].tolist() == ["", "It ran out of memory.", ""]
    assert again.candidates["kept"].tolist() == [False, False, True]
