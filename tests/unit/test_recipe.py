"""The recipe: which file feeds which step, within a round and across rounds."""

import pytest

from stacycle.errors import UserError
from stacycle.recipe import Recipe, variants

BIN4 = ["extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess"]
BIN2 = ["extract", "reconstruct", "mask", "refine3d", "postprocess"]


def recipe(**rounds: list[str]) -> Recipe:
    return Recipe.from_config({"rounds": {name: {"steps": steps} for name, steps in rounds.items()}})


def test_the_first_step_starts_from_the_merged_inputs() -> None:
    assert recipe(bin4=BIN4).state("bin4", "extract")[0] == "results/inputs/optimisation_set.star"


@pytest.mark.parametrize(
    ("step", "state", "reference"),
    [
        ("align", "extract/optimisation_set.star", "reconstruct/merged.mrc"),
        ("class3d", "align/optimisation_set.star", "align/reference.mrc"),
        ("refine3d", "select/optimisation_set.star", "select/reference.mrc"),
    ],
)
def test_a_step_starts_from_what_the_steps_before_it_left(step: str, state: str, reference: str) -> None:
    bin4 = recipe(bin4=BIN4)
    assert bin4.state("bin4", step)[0] == f"results/bin4/{state}"
    assert bin4.reference("bin4", step) == f"results/bin4/{reference}"


def test_the_next_round_goes_on_from_the_refined_particles_of_the_round_before() -> None:
    two = recipe(bin4=BIN4, bin2=BIN2)
    assert two.state("bin2", "extract")[0] == "results/bin4/refine3d/run_optimisation_set.star"
    assert two.resolution("bin2", "refine3d")[0] == "results/bin4/postprocess/postprocess.star"


def test_files_that_tell_a_resolution_come_newest_first() -> None:
    assert recipe(bin4=BIN4).resolution("bin4", "mask") == [
        "results/bin4/select/decision.json",
        "results/bin4/align/decision.json",
    ]


def test_a_mask_is_never_taken_from_a_round_of_another_binning() -> None:
    steps = [step for step in BIN2 if step != "mask"]
    assert recipe(bin4=BIN4, bin2=steps).mask("bin2", "refine3d") == []


def test_without_a_classification_the_refinement_starts_from_the_aligned_particles() -> None:
    short = recipe(bin4=["extract", "reconstruct", "align", "refine3d", "postprocess"])
    assert short.state("bin4", "refine3d")[0] == "results/bin4/align/optimisation_set.star"


def test_a_round_set_to_null_is_left_out() -> None:
    assert list(Recipe.from_config({"rounds": {"bin4": {"steps": BIN2}, "bin1": None}}).rounds) == ["bin4"]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (["extract", "align"], "align needs a reference map"),
        (["reconstruct"], "reconstruct comes before extract"),
        (["extract", "reconstruct", "postprocess"], "postprocess needs half maps"),
        (["extract", "reconstruct", "select"], "select needs class3d"),
        (["extract", "reconstruct", "class3d"], "class3d without select"),
        (["extract", "extract"], "extract stands there twice"),
    ],
)
def test_an_order_that_cannot_work_is_refused_with_the_step_and_the_cure(
    steps: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe(bin4=steps)


def test_a_sweep_is_every_pair_of_T_and_K_named_by_its_folder() -> None:
    assert variants({"T": [0.5, 4], "classes": [3, 6]}) == {
        "T0.5_K3": [0.5, 3],
        "T0.5_K6": [0.5, 6],
        "T4_K3": [4, 3],
        "T4_K6": [4, 6],
    }
    assert variants({"T": [1]}) == {"T1": [1, 1]}
