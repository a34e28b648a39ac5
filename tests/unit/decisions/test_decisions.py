"""The rules choose what a person would, say why, and let the person overrule them."""

import json
from math import inf, isnan, nan
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from stacycle.decisions.agreement import likeness, with_agreement
from stacycle.decisions.classes import choose_classes
from stacycle.decisions.decision import Decision, combine, read_decision, write_decision
from stacycle.decisions.iteration import align_iteration, class3d_iteration
from stacycle.decisions.mask import DUST, low_pass, mask_threshold, without_dust
from stacycle.decisions.variant import Alignment, Variant, align_variant, class3d_variant, separation
from stacycle.errors import UserError
from stacycle.files import relion_output
from stacycle.files.relion_output import Iteration
from stacycle.recipe.limits import FEWEST_PER_CLASS

GOLDEN = Path(__file__).parents[2] / "golden/data"

DATA = Path(__file__).parents[1] / "data"

# The tutorial's own numbers, from iteration 0: resolution of its alignment, changes in its classification.
TUTORIAL_RESOLUTION = [inf, 50.933334] + [27.781819] * 5 + [26.573914] * 2 + [25.466667] * 2 + [24.448] * 2
TUTORIAL_RESOLUTION += [23.507693] + [22.637037] * 2 + [21.828572] * 4 + [21.075862] * 5
TUTORIAL_CHANGES = [nan, nan, 0.832335, 0.621804, 0.502011, 0.242267, 0.105355, 0.072233, 0.048722, 0.029233]
TUTORIAL_CHANGES += [0.017030, 0.014482, 0.009744, 0.008269, 0.007107, 0.007956, 0.007062, 0.007107, 0.006168]
TUTORIAL_CHANGES += [0.005587, 0.005543, 0.005587, 0.005677, 0.004917, 0.005900, 0.004738]


def run(resolution=(), changes=()) -> list[Iteration]:
    """Iterations from 0 with these resolutions (Å) or changes of class."""
    length = max(len(resolution), len(changes))
    pairs = zip(resolution or [nan] * length, changes or [nan] * length, strict=True)
    return [Iteration(number, r, c, nan, nan, nan, nan, nan, nan) for number, (r, c) in enumerate(pairs)]


def iteration_of(decision: Decision) -> int:
    return decision.choice["iteration"]


class TestIterationOfAlign:
    def test_on_the_tutorials_numbers_it_is_20(self):
        decision = align_iteration(run(TUTORIAL_RESOLUTION))
        assert iteration_of(decision) == 20
        assert decision.numbers["resolution"] == pytest.approx(21.075862)
        assert "21.08 Å" in decision.reason
        assert decision.warnings == []

    @pytest.mark.parametrize("seed", range(8))
    def test_a_plateau_that_flickers_by_a_shell_is_found_near_its_start(self, seed):
        rng = np.random.default_rng(seed)
        shells = np.minimum(12 + np.arange(25), 28) + (rng.random(25) < 0.25)  # the plateau starts at 16
        assert 15 <= iteration_of(align_iteration(run(resolution=list(611.2 / shells)))) <= 24

    def test_one_lucky_iteration_is_not_a_plateau(self):
        curve = [inf, 50, 30, 30, 30, 20, 30, 25, 25, 25, 25]
        assert iteration_of(align_iteration(run(curve))) == 7

    def test_the_first_iterations_resolution_is_not_trusted(self):
        assert iteration_of(align_iteration(run([inf, 20, 30, 25, 25, 25]))) == 3

    def test_a_run_that_gets_worse_is_cut_at_its_best_with_a_warning(self):
        decision = align_iteration(run([inf, 50, 30, 25, 25, 25, 28, 30, 30]))
        assert iteration_of(decision) == 3
        assert "got worse" in decision.warnings[0]

    def test_a_run_that_still_improves_gives_its_end_with_a_warning(self):
        decision = align_iteration(run([inf, 50, 40, 35, 30, 28, 26, 26]))
        assert iteration_of(decision) == 6
        assert "more iterations" in decision.warnings[0]

    def test_a_run_that_never_improves_gives_its_first_trusted_iteration(self):
        assert iteration_of(align_iteration(run([inf, 30, 30, 30, 30, 30]))) == 2

    def test_without_any_resolution_the_last_is_taken_with_a_warning(self):
        decision = align_iteration(run([inf] * 6))
        assert iteration_of(decision) == 5
        assert isnan(decision.numbers["resolution"])
        assert "no resolution" in decision.warnings[0]

    @pytest.mark.parametrize("curve", [[inf], [inf, 50], [inf, 50, 30]])
    def test_few_iterations_give_the_last(self, curve):
        assert iteration_of(align_iteration(run(curve))) == len(curve) - 1

    def test_a_person_may_choose_another(self):
        decision = align_iteration(run(TUTORIAL_RESOLUTION), 9, "rounds.bin4.align.iteration")
        assert (iteration_of(decision), decision.by) == (9, "config")

    def test_an_iteration_that_does_not_exist_is_refused(self):
        with pytest.raises(
            UserError, match=r"rounds\.bin4\.align\.iteration: there is no iteration 40; .* 0 to 24"
        ):
            align_iteration(run(TUTORIAL_RESOLUTION), 40, "rounds.bin4.align.iteration")

    def test_a_run_that_left_nothing_is_an_error(self):
        with pytest.raises(UserError, match="no complete iteration"):
            align_iteration([])


class TestIterationOfClass3d:
    def test_on_the_tutorials_numbers_it_is_19(self):
        decision = class3d_iteration(run(changes=TUTORIAL_CHANGES))
        assert iteration_of(decision) == 19
        assert decision.warnings == []

    @pytest.mark.parametrize("seed", range(8))
    def test_a_noisy_plateau_is_found_near_its_start(self, seed):
        rng = np.random.default_rng(seed)
        expected = 20000 * np.maximum(0.8 * 0.6 ** np.arange(24), 0.006)  # the plateau starts at iteration 12
        changes = [nan, nan, *(rng.poisson(expected) / 20000)]
        assert 11 <= iteration_of(class3d_iteration(run(changes=changes))) <= 18

    def test_a_run_that_stops_changing_gives_the_first_quiet_iteration(self):
        changes = [nan, nan, 0.72, 0.05, 0.03, 0, 0, 0, 0, 0, 0]
        assert iteration_of(class3d_iteration(run(changes=changes))) == 5

    def test_a_run_that_gets_restless_is_cut_in_its_quiet_stretch(self):
        changes = [nan, nan, 0.8, 0.3, 0.05, 0.02, 0.02, 0.02, 0.02, 0.1, 0.2, 0.2, 0.2]
        decision = class3d_iteration(run(changes=changes))
        assert iteration_of(decision) == 5
        assert "change class again" in decision.warnings[0]

    def test_a_run_that_never_settles_is_reported(self):
        decision = class3d_iteration(run(changes=[nan, nan, 0.8, 0.5, 0.45, 0.5, 0.48, 0.5]))
        assert "did not settle" in decision.warnings[0]

    def test_slow_drift_is_not_a_plateau(self):
        """Few changes in each iteration, but all in one direction: seen where junk separates late."""
        changes = [nan, nan, 0.8, 0.06, 0.06, 0.03, 0.02, 0.03, 0.05, 0.06, 0.06, 0.06, 0.02, 0.02]
        drift = dict(
            zip(range(2, 14), [0.5, 0.45, 0.4, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.04, 0], strict=True)
        )
        assert iteration_of(class3d_iteration(run(changes=changes))) < 7
        assert iteration_of(class3d_iteration(run(changes=changes), unlike_last=drift)) >= 11

    @pytest.mark.parametrize("changes", [[nan], [nan, nan], [nan, nan, 0.4]])
    def test_few_iterations_give_the_last(self, changes):
        assert iteration_of(class3d_iteration(run(changes=changes))) == len(changes) - 1

    def test_an_iteration_that_does_not_exist_is_refused(self):
        with pytest.raises(
            UserError, match=r"class3d\.iteration: there is no iteration 40; there are 0 to 25"
        ):
            class3d_iteration(run(changes=TUTORIAL_CHANGES), 40)


def table(**columns) -> pd.DataFrame:
    """A class table; what is not given is unremarkable."""
    count = len(next(iter(columns.values())))
    usual = {
        "class": range(1, count + 1),
        "n": 100,
        "resolution": 25.0,
        "accuracy_rotations": 2.0,
        "accuracy_translations": 3.0,
        "pmax": 0.9,
        "map": "run_it010_class001.mrc",
    }
    frame = pd.DataFrame(usual | columns)
    return frame.assign(fraction=frame["n"] / frame["n"].sum())


class TestClasses:
    def test_the_class_of_worst_accuracy_is_rejected_though_the_best_has_no_resolution(self):
        """As seen with few particles at low T: the largest and best class had resolution inf."""
        classes = table(n=[80, 32, 65], resolution=[inf, 60, 120], accuracy_rotations=[4.9, 10.7, 5.7])
        decision = choose_classes(classes.assign(accuracy_rotations=[4.9, 14.7, 5.7]))
        assert decision.choice == {"classes": [1, 3], "reference_class": 1}
        assert "14.70 degrees" in decision.reason
        assert decision.numbers["particles"] == 145
        assert decision.numbers["rejected"] == 32
        assert isnan(decision.numbers["resolution"])

    def test_a_class_unlike_the_consensus_is_rejected_whatever_its_accuracy(self):
        decision = choose_classes(table(likeness=[1, 0.9, 0.1], correlation=[0.95, 0.94, 0.2]))
        assert decision.choice["classes"] == [1, 2]
        assert "correlation with the consensus 0.20 against 0.94 to 0.95" in decision.reason

    def test_the_accuracy_of_shifts_counts_as_that_of_rotations(self):
        """As seen at T = 0.1: 11 degrees for all classes, junk told by its shifts."""
        decision = choose_classes(table(accuracy_rotations=[11.5, 11.3], accuracy_translations=[9.0, 33.0]))
        assert decision.choice["classes"] == [1]

    def test_a_kept_class_below_preflights_limit_is_warned_of(self):
        few = FEWEST_PER_CLASS - 1
        decision = choose_classes(table(n=[few, few + 1]), [1, 2])
        assert any(f"class 1 ({few}) is kept" in warning for warning in decision.warnings)
        assert not any("are kept" in warning for warning in decision.warnings)

    def test_the_choice_is_generous_as_the_tutorials(self):
        """Four of six classes: a low-resolution one stays, a fragment and a blob go."""
        classes = table(
            n=[300, 3600, 4700, 1800, 6025, 5900],
            resolution=[120, 36, 24, 90, 24.4, 24.4],
            accuracy_rotations=[8, 2.6, 1.9, 6, 1.8, 1.8],
            likeness=[0.1, 0.8, 1, 0.3, 1, 0.97],
        )
        assert choose_classes(classes).choice["classes"] == [2, 3, 5, 6]

    def test_a_class_of_far_coarser_resolution_is_rejected(self):
        assert choose_classes(table(resolution=[25, 26, 180.0])).choice["classes"] == [1, 2]

    def test_a_sliver_must_be_good_to_stay(self):
        poor = {"accuracy_rotations": [2, 2, 3.5]}
        assert choose_classes(table(n=[500, 400, 10], **poor)).choice["classes"] == [1, 2]
        assert choose_classes(table(n=[500, 400, 300], **poor)).choice["classes"] == [1, 2, 3]
        assert choose_classes(table(n=[500, 400, 10])).choice["classes"] == [1, 2, 3]

    def test_alike_classes_are_all_kept_and_a_warning_says_so(self):
        decision = choose_classes(table(n=[100, 120, 90]))
        assert decision.choice["classes"] == [1, 2, 3]
        assert "All classes are kept" in decision.reason
        assert "removed nothing" in decision.warnings[0]

    def test_an_empty_class_is_left_out(self):
        classes = table(n=[100, 0], accuracy_rotations=[2, nan], accuracy_translations=[3, nan])
        assert choose_classes(classes).choice["classes"] == [1]

    def test_the_reference_is_good_and_large(self):
        assert choose_classes(table(n=[100, 900, 110])).choice["reference_class"] == 2

    def test_if_no_class_passes_a_sentence_says_what_to_set(self):
        with pytest.raises(UserError, match=r"rounds\.bin4\.select\.classes: .* e\.g\. .*classes: \[2\]"):
            choose_classes(
                table(n=[10, 90], correlation=[0.1, 0.2], likeness=[1, 1]), key="rounds.bin4.select.classes"
            )

    def test_a_person_may_choose(self):
        decision = choose_classes(table(n=[100, 100, 100]), [3, 2])
        assert decision.choice["classes"] == [2, 3]
        assert decision.by == "config"

    def test_a_class_that_does_not_exist_is_refused(self):
        with pytest.raises(UserError, match=r"select\.classes: there is no class 7; there are 1 to 3"):
            choose_classes(table(n=[1, 1, 1]), [7])

    def test_a_choice_of_nothing_is_refused(self):
        with pytest.raises(UserError, match="names no class"):
            choose_classes(table(n=[1, 1, 1]), [])
        with pytest.raises(UserError, match="no particle"):
            choose_classes(table(n=[10, 0]), [2])


RUNS = pd.read_csv(DATA / "classifications.tsv", sep="\t")
SETS = sorted(RUNS["set"].unique())


def outcome(classes: pd.DataFrame, kept: list[int]) -> tuple[float, float]:
    """Fraction of junk rejected (1 if there is none) and of true particles kept."""
    true, junk = classes["A"] + classes["B"], classes["junk"]
    inside = classes["class"].isin(kept)
    return (junk[~inside].sum() / junk.sum() if junk.sum() else 1.0), true[inside].sum() / true.sum()


def variants_of(name: str) -> list[Variant]:
    groups = RUNS[RUNS["set"] == name].groupby("variant")
    return [Variant(v, t["T"].iloc[0], t.reset_index(drop=True), t["moved"].iloc[0]) for v, t in groups]


class TestOnRunsWithKnownTruth:
    """RELION's classifications of simulated particles: docs/decisions-evidence.md has the table."""

    @pytest.mark.parametrize("name", SETS)
    def test_the_classes_chosen_are_nearly_the_best_that_the_run_allows(self, name):
        for variant in variants_of(name):
            rejected, kept = outcome(variant.classes, choose_classes(variant.classes).choice["classes"])
            numbers = variant.classes["class"].tolist()
            subsets = [
                [k for i, k in enumerate(numbers) if bits >> i & 1] for bits in range(1, 2 ** len(numbers))
            ]
            good = [pair for pair in (outcome(variant.classes, s) for s in subsets) if min(pair) >= 0.9]
            if good:
                assert rejected >= 0.9
                assert kept >= 0.9
            assert kept >= 0.75

    @pytest.mark.parametrize("name", SETS)
    def test_the_variant_chosen_separates_nearly_as_well_as_the_best(self, name):
        variants = variants_of(name)
        gain = {
            v.name: sum(outcome(v.classes, choose_classes(v.classes).choice["classes"])) for v in variants
        }
        assert gain[class3d_variant(variants).choice["variant"]] >= max(gain.values()) - 0.06

    @pytest.mark.parametrize("name", [name for name in SETS if not RUNS[RUNS["set"] == name]["junk"].any()])
    def test_without_junk_nothing_is_rejected(self, name):
        for variant in variants_of(name):
            assert choose_classes(variant.classes).choice["classes"] == variant.classes["class"].tolist()
            assert separation(variant.classes) == 0

    def test_the_finest_resolution_would_have_been_the_wrong_guide(self):
        variants = variants_of("j50a")
        finest = min(variants, key=lambda v: v.classes["resolution"].min())
        chosen = class3d_variant(variants).choice["variant"]
        assert finest.name == "T2_K4"
        assert separation(finest.classes) == 0
        assert separation(next(v for v in variants if v.name == chosen).classes) > 0.2

    def test_likeness_follows_the_true_share_of_particles_at_every_t(self):
        true = (RUNS["A"] + RUNS["B"]) / RUNS["n"]
        relative = true / true.groupby([RUNS["set"], RUNS["variant"]]).transform("max")
        assert np.corrcoef(relative, RUNS["likeness"])[0, 1] > 0.9


class TestVariant:
    good, junk = table(likeness=[1, 0.9], n=[90, 60]), table(likeness=[1, 0.05], n=[90, 60])

    def test_the_variant_that_separates_wins_over_the_finer_one(self):
        finer = self.good.assign(resolution=10.0)
        decision = class3d_variant([Variant("T4_K2", 4, finer), Variant("T0.1_K2", 0.1, self.junk)])
        assert decision.choice == {"variant": "T0.1_K2"}
        assert "60 particles" in decision.reason

    def test_if_none_separates_the_one_nearest_to_the_tutorials_t_is_taken(self):
        sweep = [Variant(f"T{T}", T, self.good) for T in (0.5, 1, 2, 4)]
        decision = class3d_variant(sweep)
        assert decision.choice == {"variant": "T1"}
        assert "smaller T" in decision.warnings[0]

    def test_classes_that_are_where_chance_put_them_are_reported(self):
        decision = class3d_variant([Variant("T2", 2, self.good, moved=0.01)])
        assert "chance" in decision.warnings[-1]

    def test_a_run_that_left_its_random_classes_wins_over_one_that_seems_to_separate_but_did_not(self):
        sweep = [Variant("T1", 1, self.junk, moved=0.01), Variant("T0.1", 0.1, self.good, moved=0.4)]
        decision = class3d_variant(sweep)
        assert decision.choice == {"variant": "T0.1"}
        assert "chance" not in " ".join(decision.warnings)

    def test_if_no_run_left_its_random_classes_that_is_said(self):
        sweep = [Variant(f"T{T}", T, self.good, moved=0.01) for T in (1, 2)]
        assert "as in all runs" in class3d_variant(sweep).warnings[-1]

    def test_losing_half_the_good_particles_counts_for_nothing(self):
        assert separation(table(likeness=[1, 0.34], n=[50, 50])) < separation(
            table(likeness=[1, 0], n=[80, 20])
        )

    def test_a_person_may_choose_but_only_what_exists(self):
        sweep = [Variant("T1", 1, self.good), Variant("T2", 2, self.junk)]
        assert class3d_variant(sweep, "T1").by == "config"
        with pytest.raises(UserError, match=r"class3d\.variant: there is no variant T8; there are T1, T2"):
            class3d_variant(sweep, "T8")

    def test_an_alignment_does_not_win_by_the_resolution_that_a_larger_t_gives_it(self):
        """As measured: T = 0.25, 1 and 4 "reach" 60, 53 and 46 Å with poses equally far off."""
        runs = [Alignment("T4", 4, 46.2), Alignment("T1", 1, 53.3), Alignment("T0.25", 0.25, 59.9)]
        assert align_variant(runs).choice == {"variant": "T1"}
        assert align_variant([runs[0], runs[2]]).choice == {"variant": "T0.25"}
        assert align_variant(runs, "T4").by == "config"


def blob(n=32) -> np.ndarray:
    """Two unequal spheres, density 1, slightly soft."""
    z, y, x = np.indices((n, n, n)) - n // 2
    return ndimage.gaussian_filter(
        ((z**2 + y**2 + x**2 < 36) | ((z - 6) ** 2 + y**2 + x**2 < 16)).astype(float), 0.7
    )


class TestAgreement:
    def test_likeness_is_the_share_of_good_particles_in_a_class_at_any_t(self):
        """Class averages of n particles, a share of them good, damped by RELION's Wiener filter at each T."""
        rng = np.random.default_rng(3)
        consensus = blob()
        clean = rng.normal(size=(4, 32, 32, 32)) * 0.2
        for T in (0.2, 1, 4):
            found = []
            for share, noise in zip((1, 1, 0.5, 0), clean, strict=True):
                average = share * consensus + noise
                ssnr = T * np.maximum(30.0 * (0.05 + share) ** 2 / (1 + np.arange(17)) ** 2, 1e-4)
                axis = np.fft.fftfreq(32) * 32
                shell = (
                    np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).round().astype(int)
                )
                curve = ssnr[np.minimum(shell, 16)]
                damped = np.fft.ifftn(np.fft.fftn(average) * curve / (1 + curve)).real
                found.append(likeness(damped, consensus, ssnr, T))
            assert found[1] == pytest.approx(found[0], rel=0.1)
            assert 0.3 < found[2] / found[0] < 0.65
            assert found[3] < 0.1 * found[0]

    def test_noise_of_a_consensus_beyond_its_low_pass_does_not_count(self, tmp_path):
        """As of an average: a map of refine3d has none."""
        classes = relion_output.classes(GOLDEN / "classify", 10)
        consensus, pixel, lowpass = GOLDEN / "align/run_it005_class001.mrc", 20.0, 60
        density = mrcfile.read(consensus)
        noise = np.random.default_rng(1).normal(size=density.shape).astype(np.float32) * density.std()
        noisy = np.float32(density + 3 * (noise - low_pass(noise, pixel, 40)))
        mrcfile.write(tmp_path / "average.mrc", noisy, voxel_size=pixel)
        of_refined, of_average = (
            with_agreement(classes, path, 260, lowpass)["likeness"]
            for path in (consensus, tmp_path / "average.mrc")
        )
        assert list(of_average) == pytest.approx(list(of_refined), abs=0.1)

    def test_maps_of_another_box_are_refused(self, tmp_path):
        mrcfile.write(tmp_path / "consensus.mrc", np.zeros((8, 8, 8), np.float32), voxel_size=10)
        mrcfile.write(tmp_path / "class.mrc", np.zeros((6, 6, 6), np.float32), voxel_size=10)
        with pytest.raises(UserError, match="has a box of 6 px"):
            with_agreement(table(n=[1], map=str(tmp_path / "class.mrc")), tmp_path / "consensus.mrc", 50, 40)


class TestMaskThreshold:
    APIX = 10.0

    def mask(self, density: np.ndarray, threshold: float, extend=2) -> np.ndarray:
        """What mask_create's binary part and extension would keep of the map without dust."""
        smooth = without_dust(low_pass(density, self.APIX, 30), threshold)
        return ndimage.distance_transform_edt(smooth <= threshold) <= extend

    @pytest.mark.parametrize("noise", [0, 0.1, 0.3])
    @pytest.mark.parametrize("scale", [1, 1e-3, 50])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_it_covers_the_particle_and_not_much_more(self, noise, scale, seed):
        truth = blob(48)
        density = scale * (truth + noise * np.random.default_rng(seed).normal(size=truth.shape))
        decision = mask_threshold(density, self.APIX, 30, 240)
        kept = self.mask(density, decision.choice["threshold"])
        assert truth[kept].sum() >= 0.99 * truth.sum()
        assert kept.sum() <= 3 * (truth > 0.5).sum()

    def test_negative_density_around_the_particle_does_no_harm(self):
        truth = blob(48)
        halo = truth - 0.3 * ndimage.gaussian_filter(truth, 4)
        kept = self.mask(halo, mask_threshold(halo, self.APIX, 30, 240).choice["threshold"])
        assert truth[kept].sum() >= 0.99 * truth.sum()
        assert kept.sum() <= 3 * (truth > 0.5).sum()

    @pytest.mark.parametrize("apart", [0, 14])  # px: a half that touches, and one that is a piece of its own
    @pytest.mark.parametrize("occupancy", [0.5, 0.6, 1])
    def test_a_half_bound_second_half_is_not_cut_off(self, apart, occupancy):
        whole, weak = blob(48), np.arange(48) >= 24  # along x
        truth = np.roll(whole * ~weak, -apart // 2, 2) + occupancy * np.roll(whole * weak, apart // 2, 2)
        density = truth + 0.2 * np.random.default_rng(0).normal(size=truth.shape)
        decision = mask_threshold(density, self.APIX, 30, 400)
        kept = self.mask(density, decision.choice["threshold"])
        assert truth[kept].sum() >= 0.98 * truth.sum()
        assert (truth * kept)[..., weak].sum() >= 0.97 * truth[..., weak].sum()

    def test_a_threshold_is_not_above_otsus_whatever_the_dust(self):
        density = blob(48) + 0.3 * np.random.default_rng(0).normal(size=(48, 48, 48))
        decision = mask_threshold(density, self.APIX, 30, 240)
        limits = decision.candidates.set_index("candidate")["threshold"]
        assert decision.choice["threshold"] <= limits["Otsu's limit between particle and solvent"] * 1.00001
        assert decision.numbers["dust"] > DUST, "or the test shows nothing"

    def test_pieces_are_kept_by_their_size(self):
        density = np.zeros((32, 32, 32))
        density[4:14, 4:14, 4:14] = 1  # the largest piece
        density[20:25, 20:25, 20:25] = 0.6  # an eighth of it, weaker
        density[20:22, 4:6, 4:6] = 2  # a speck, stronger
        kept = without_dust(density, 0.3) > 0.3
        assert kept[4:14, 4:14, 4:14].all()
        assert kept[20:25, 20:25, 20:25].all()
        assert kept.sum() == 10**3 + 5**3

    def test_it_is_rather_low(self):
        """A person takes a fifth to a third of the particle's level (0.00294 of 0.0172 in the tutorial)."""
        assert 0.15 < mask_threshold(blob(48), self.APIX, 30, 240).choice["threshold"] < 0.4

    def test_on_relions_own_class_map_it_is_near_and_below_the_one_used(self, pytestconfig):
        path = pytestconfig.rootpath / "tests/golden/data/classify/run_it010_class003.mrc"
        decision = mask_threshold(mrcfile.read(path), 20, 45, 260)
        assert 0.15 < decision.choice["threshold"] < 0.385297
        assert decision.warnings == []

    def test_an_empty_or_inverted_map_is_refused(self):
        for density in (np.zeros((16, 16, 16)), -np.ones((16, 16, 16))):
            with pytest.raises(UserError, match=r"mask\.threshold: the map has no positive density"):
                mask_threshold(density, self.APIX, 30, 150)

    def test_a_threshold_that_would_empty_the_mask_is_refused(self):
        with pytest.raises(UserError, match=r"mask\.threshold: 9 is above the highest density .* try 0\."):
            mask_threshold(blob(48), self.APIX, 30, 240, 9)

    def test_a_person_may_choose_and_is_warned_if_it_is_too_low(self):
        decision = mask_threshold(blob(48), self.APIX, 30, 240, -0.5)
        assert (decision.choice["threshold"], decision.by) == (-0.5, "config")
        assert "too much solvent" in decision.warnings[0]

    def test_pure_noise_still_gives_a_mask_but_a_warning(self):
        noise = np.random.default_rng(0).normal(size=(32, 32, 32))
        decision = mask_threshold(noise, self.APIX, 30, 240)
        assert self.mask(noise, decision.choice["threshold"]).any()
        assert decision.warnings


class TestFile:
    decision = Decision(
        question="Iteration",
        choice={"iteration": 3},
        by="rule",
        reason="The best.",
        candidates=pd.DataFrame({"iteration": [0, 3], "resolution": [inf, 25.5], "pmax": [nan, 0.5]}),
        warnings=["Look."],
        numbers={"resolution": nan},
    )

    def test_it_reads_back_as_written(self, tmp_path):
        whole = combine("Alignment", [self.decision, self.decision])
        write_decision(tmp_path / "new" / "decision.json", whole)
        read = read_decision(tmp_path / "new" / "decision.json")
        assert (read.choice, read.by, read.reason, read.warnings) == (
            whole.choice,
            "rule",
            whole.reason,
            ["Look."] * 2,
        )
        pd.testing.assert_frame_equal(read.parts[0].candidates, self.decision.candidates)
        assert isnan(read.numbers["resolution"])

    def test_it_is_json_that_every_reader_takes(self, tmp_path):
        write_decision(tmp_path / "decision.json", self.decision)

        def refuse(name):
            raise AssertionError(f"{name} is not JSON")

        found = json.loads((tmp_path / "decision.json").read_text(), parse_constant=refuse)
        assert found["candidates"][0] == {"iteration": 0, "resolution": "inf", "pmax": None}

    def test_numpy_values_are_written_as_numbers(self, tmp_path):
        write_decision(tmp_path / "d.json", combine("x", [choose_classes(table(n=np.array([3, 4])))]))
        assert json.loads((tmp_path / "d.json").read_text())["choice"]["classes"] == [1, 2]

    @pytest.mark.parametrize("text", ["", "{}", "[1]", '{"choice": 1'])
    def test_a_damaged_file_is_reported(self, tmp_path, text):
        (tmp_path / "decision.json").write_text(text)
        with pytest.raises(UserError, match="is not a decision file"):
            read_decision(tmp_path / "decision.json")

    def test_a_missing_file_is_reported(self, tmp_path):
        with pytest.raises(UserError, match="no such file"):
            read_decision(tmp_path / "decision.json")

    def test_printed_it_shows_table_reason_and_warnings(self):
        said = str(self.decision)
        assert "25.5" in said
        assert "Iteration: iteration 3 (by rule). The best." in said
        assert "Warning: Look." in said

    def test_a_choice_by_config_shows_in_the_whole(self):
        by_config = align_iteration(run([inf, 50, 30]), 1)
        assert combine("x", [self.decision, by_config]).by == "config"
