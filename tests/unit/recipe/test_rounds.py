"""The recipe: which file feeds which step, within a round and across rounds."""

import pytest

from stacycle.errors import UserError
from stacycle.recipe import bodies
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.variants import variants

BIN4 = ["extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess"]
BIN2 = ["extract", "reconstruct", "mask", "refine3d", "postprocess"]


CYCLE = {"repeat": 1, "ctfrefine": {"a": {}, "b": {}}, "polish": {"p": {}}}


def recipe(cycle: dict = CYCLE, **rounds: list[str]) -> Recipe:
    binnings = {"bin4": 4, "bin2": 2, "bin1": 1}
    return Recipe.from_config(
        {
            "rounds": {
                name: {"steps": steps, "binning": binnings.get(name, 4), "cycle": cycle}
                for name, steps in rounds.items()
            }
        }
    )


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


def test_the_next_round_continues_from_the_refined_particles_of_the_round_before() -> None:
    two = recipe(bin4=BIN4, bin2=BIN2)
    assert two.state("bin2", "extract")[0] == "results/bin4/refine3d/run_optimisation_set.star"
    assert two.resolution("bin2", "refine3d")[0] == "results/bin4/postprocess/postprocess.star"


def test_files_that_tell_a_resolution_come_newest_first() -> None:
    assert recipe(bin4=BIN4).resolution("bin4", "mask") == [
        "results/bin4/select/state.json",
        "results/bin4/align/state.json",
    ]


def test_a_class_tells_the_resolution_of_its_own_map_alone() -> None:
    two = recipe(bin4=BIN4, bin2=[*BIN2, "class3d", "select", "cycle"], bin1=BIN2)
    made_of_the_class = two.resolution("bin4", "mask")
    assert made_of_the_class[0] == "results/bin4/select/state.json"
    refined = "results/bin2/postprocess/postprocess.star"
    assert two.cycle_resolution("bin2", "cycle1")[0] == refined
    assert two.cycle_resolution("bin2", "cycle1")[-2] == "results/bin2/select/state.json"
    uncycled = recipe(bin4=BIN4, bin2=[*BIN2, "class3d", "select"], bin1=BIN2)
    assert uncycled.resolution("bin1", "mask")[0] == refined


def test_a_mask_is_never_taken_from_a_round_of_another_binning() -> None:
    steps = [step for step in BIN2 if step != "mask"]
    assert recipe(bin4=BIN4, bin2=steps).mask("bin2", "refine3d") == []


def test_without_a_classification_the_refinement_starts_from_the_aligned_particles() -> None:
    short = recipe(bin4=["extract", "reconstruct", "align", "refine3d", "postprocess"])
    assert short.state("bin4", "refine3d")[0] == "results/bin4/align/optimisation_set.star"


def test_a_round_set_to_null_is_left_out() -> None:
    assert list(Recipe.from_config({"rounds": {"bin4": {"steps": BIN2}, "bin1": None}}).rounds) == ["bin4"]


def test_a_cycle_starts_from_the_refined_state_and_its_own_bin1_reference() -> None:
    start = recipe(bin4=[*BIN4, "cycle"]).start("bin4", "cycle1", "ctfrefine")
    assert start.state[0] == "results/bin4/refine3d/run_optimisation_set.star"
    assert start.half_maps == [f"results/bin4/cycle1/reference/half{n}.mrc" for n in (1, 2)]
    assert start.postprocess == "results/bin4/cycle1/postprocess/postprocess.star"


def test_polishing_starts_from_the_ctf_winners_own_state_half_maps_and_fsc() -> None:
    start = recipe(bin4=[*BIN4, "cycle"]).start("bin4", "cycle1", "polish")
    won = "results/bin4/cycle1/ctfrefine"
    assert start.state == [f"{won}/optimisation_set.star", f"{won}/state.json"]
    assert start.half_maps == [f"{won}/half1.mrc", f"{won}/half2.mrc"]
    assert start.postprocess == f"{won}/postprocess.star"


def test_without_ctf_refinement_polishing_starts_from_the_reference() -> None:
    start = recipe(CYCLE | {"ctfrefine": None}, bin4=[*BIN4, "cycle"]).start("bin4", "cycle1", "polish")
    assert start.map == "results/bin4/cycle1/reference/merged.mrc"


def test_a_repeated_cycle_continues_from_what_the_one_before_it_kept() -> None:
    twice = recipe(CYCLE | {"repeat": 2}, bin4=[*BIN4, "cycle"], bin2=BIN2)
    assert twice.cycles("bin4") == ["cycle1", "cycle2"]
    assert twice.cycle_state("bin4", "cycle2")[0] == "results/bin4/cycle1/polish/optimisation_set.star"
    assert twice.start("bin4", "cycle2", "ctfrefine").map == "results/bin4/cycle2/reference/merged.mrc"
    assert twice.cycle_resolution("bin4", "cycle2")[:2] == [
        "results/bin4/cycle1/polish/state.json",
        "results/bin4/cycle1/ctfrefine/state.json",
    ]


def test_the_next_round_continues_from_what_the_cycle_kept() -> None:
    two = recipe(bin4=[*BIN4, "cycle"], bin2=BIN2)
    assert two.state("bin2", "extract")[0] == "results/bin4/cycle1/polish/optimisation_set.star"
    assert two.resolution("bin2", "mask")[0] == "results/bin4/cycle1/polish/state.json"
    only_ctf = recipe(CYCLE | {"polish": None}, bin4=[*BIN4, "cycle"], bin2=BIN2)
    assert only_ctf.state("bin2", "extract")[0] == "results/bin4/cycle1/ctfrefine/optimisation_set.star"


def test_every_step_knows_the_decisions_that_it_depends_on() -> None:
    two = recipe(CYCLE | {"repeat": 2}, bin4=[*BIN4, "cycle"], bin2=BIN2)
    selected = ["align", "class3d", "select"]
    cycled = [f"cycle{n}/{sweep}" for n in (1, 2) for sweep in ("ctfrefine", "polish")]

    def folders(*step: str) -> list[str]:
        return [path.removeprefix("results/bin4/").removesuffix("/state.json") for path in two.decided(*step)]

    assert folders("bin4", "refine3d") == selected
    assert folders("bin4", "cycle", "cycle1") == selected
    assert folders("bin4", "cycle", "cycle1", "polish") == [*selected, "cycle1/ctfrefine"]
    assert folders("bin4", "cycle", "cycle2") == [*selected, "cycle1/ctfrefine", "cycle1/polish"]
    assert folders("bin2", "extract") == [*selected, *cycled]


def test_the_ladder_has_a_rung_for_each_map_whose_resolution_is_known() -> None:
    rungs = recipe(bin4=[*BIN4, "cycle"], bin2=BIN2).rungs()
    assert [(rung["round"], rung["binning"], rung["label"]) for rung in rungs] == [
        ("bin4", 4, "Refine3D, post-processed"),
        ("bin4", 1, "Reconstruct bin1"),
        ("bin4", 1, "CTF refinement"),
        ("bin4", 1, "Polishing"),
        ("bin2", 2, "Refine3D, post-processed"),
    ]


def test_a_round_that_is_no_finer_than_the_one_before_it_is_allowed_but_said() -> None:
    assert recipe(bin4=BIN4, bin2=BIN2).notes() == []
    (note,) = recipe(bin2=BIN2, bin4=BIN4).notes()
    assert "rounds.bin4" in note
    assert "not finer" in note


def test_what_follows_a_hand_starts_from_it_and_a_hand_that_nothing_follows_is_said() -> None:
    two = recipe(bin4=[*BIN4, "hand", "cycle"], bin2=[*BIN2, "hand"])
    assert two.cycle_state("bin4", "cycle1")[0] == "results/bin4/hand/optimisation_set.star"
    assert "results/bin4/hand/state.json" in two.decided("bin2", "extract")
    (note,) = two.notes()
    assert "rounds.bin2: its maps are made before hand" in note


@pytest.mark.parametrize(
    ("cycle", "steps", "sentence"),
    [
        (CYCLE, ["extract", "reconstruct", "cycle"], "cycle needs half sets"),
        (CYCLE, [*BIN4[:-1], "cycle", "postprocess"], "it comes last"),
        (CYCLE | {"ctfrefine": None, "polish": None}, [*BIN4, "cycle"], "neither ctfrefine nor polish"),
    ],
)
def test_a_cycle_that_cannot_work_is_refused(cycle: dict, steps: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe(cycle, bin4=steps)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (["extract", "align"], "align needs a reference map"),
        (["reconstruct"], "reconstruct comes before extract"),
        (["extract", "reconstruct", "postprocess"], "postprocess needs half maps"),
        (["extract", "reconstruct", "select"], "select needs class3d"),
        (["extract", "reconstruct", "class3d"], "class3d without select"),
        (["extract", "reconstruct", "score"], "score needs half maps"),
        (
            ["extract", "reconstruct", "refine3d", "local_resolution"],
            "local_resolution needs postprocess before it",
        ),
        (["extract", "extract"], "extract stands there twice"),
        (["extract", "hand", "reconstruct"], "steps after hand would use images that were made with another"),
    ],
)
def test_an_order_that_cannot_work_is_refused_with_the_step_and_the_cure(
    steps: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe(bin4=steps)


BODIES = {"bodies": {"head": {"mask": "mask_head"}, "rest": {"mask": "masks/rest.mrc"}}}


def with_bodies(*steps: str, **more: object) -> Recipe:
    """A recipe of a multi-body refinement after these steps."""
    given = {"binning": 2, "steps": ["extract", "reconstruct", *steps], "multibody": BODIES, **more}
    return Recipe.from_config({"rounds": {"bin2": given}})


def test_bodies_go_on_from_the_refinement_of_the_whole_particle_in_their_round() -> None:
    made = with_bodies(
        "refine3d", "refine3d_again", "mask_head", "refine3d_head", "multibody", parts=["head"]
    )
    assert bodies.consensus(made, "bin2") == "refine3d_again"
    assert bodies.masks(made, "bin2") == {"head": "results/bin2/mask_head/mask.mrc", "rest": "masks/rest.mrc"}


def test_nothing_of_bodies_goes_on_to_later_steps() -> None:
    made = with_bodies("refine3d", "mask_head", "multibody", "postprocess")
    after = [
        made.state("bin2", "postprocess"),
        made.half_maps("bin2", "postprocess"),
        made.reference("bin2", "postprocess"),
    ]
    assert "multibody" not in str(after)
    assert "multibody" not in str(
        [made.resolution("bin2", "postprocess"), made.decided("bin2", "postprocess"), made.rungs()]
    )


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            ["mask_head", "multibody"],
            "multibody needs half maps, but no step before it makes one; put refine3d before",
        ),
        (
            ["refine3d", "multibody", "mask_head"],
            "bodies.head.mask: no step mask_head stands before multibody; put",
        ),
        (["refine3d", "multibody"], "bodies.head.mask: no step mask_head stands before multibody; put"),
    ],
)
def test_bodies_need_a_refinement_and_their_masks_before_them(steps: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        with_bodies(*steps)


def test_bodies_need_a_refinement_in_their_own_round() -> None:
    first = {"binning": 4, "steps": ["extract", "reconstruct", "refine3d"]}
    second = {"binning": 2, "steps": ["extract", "mask_head", "multibody"], "multibody": BODIES}
    with pytest.raises(UserError, match="but no refine3d stands before it; put refine3d before multibody"):
        Recipe.from_config({"rounds": {"bin4": first, "bin2": second}})


def test_classes_within_a_mask_need_one_before_them() -> None:
    steps = ["extract", "reconstruct", "mask", "refine3d", "class3d", "select"]
    settings = {"binning": 4, "class3d": {"mask": True}}
    masked = Recipe.from_config({"rounds": {"bin4": settings | {"steps": steps}}})
    assert masked.class_mask("bin4", "class3d") == ["results/bin4/mask/mask.mrc"]
    with pytest.raises(UserError, match="mask does not stand before it"):
        Recipe.from_config({"rounds": {"bin4": settings | {"steps": [s for s in steps if s != "mask"]}}})


def test_a_sweep_is_every_pair_of_T_and_K_named_by_its_folder() -> None:
    assert variants({"T": [0.5, 4], "classes": [3, 6]}) == {
        "T0.5_K3": [0.5, 3],
        "T0.5_K6": [0.5, 6],
        "T4_K3": [4, 3],
        "T4_K6": [4, 6],
    }
    assert variants({"T": [1]}) == {"T1": [1, 1]}
    assert variants({"T": 1, "classes": 3, "repeats": 2}) == {"T1_K3": [1, 3], "T1_K3_run2": [1, 3, 2]}


def comparing(**rounds: list[str]) -> Recipe:
    """A recipe whose poses are compared after align and refine3d."""
    found = recipe(**rounds)
    for settings in found.rounds.values():
        settings |= {step: {"poses": "auto"} for step in ("align", "refine3d")}
    return found


def test_what_goes_on_after_poses_were_compared_is_beside_the_step() -> None:
    two = comparing(bin4=[*BIN4, "cycle"], bin2=BIN2)
    aligned, refined = "results/bin4/align_poses", "results/bin4/refine3d_poses"
    assert two.state("bin4", "class3d") == [f"{aligned}/optimisation_set.star", f"{aligned}/state.json"]
    assert two.reference("bin4", "class3d") == f"{aligned}/reference.mrc"
    assert two.resolution("bin4", "class3d") == [f"{aligned}/state.json"]
    assert two.half_maps("bin4", "postprocess")[0] == f"{refined}/run_half1_class001_unfil.mrc"
    assert two.cycle_state("bin4", "cycle1")[0] == f"{refined}/optimisation_set.star"
    assert f"{refined}/state.json" in two.decided("bin4", "postprocess")
    assert two.decided("bin4", "class3d") == ["results/bin4/align/state.json", f"{aligned}/state.json"]
    assert two.poses_compared() == [aligned, refined, "results/bin2/refine3d_poses"]
    assert two.rungs()[0]["decision"] == f"{refined}/decision.json"


def test_the_accuracy_of_angles_is_that_of_the_step_before_or_of_a_short_run() -> None:
    two = recipe(bin4=BIN4, bin2=BIN2)
    assert two.accuracy("bin2", "refine3d") == []  # the config names a sampling
    for settings in two.rounds.values():
        settings |= {step: {"sampling": "auto"} for step in ("align", "refine3d")}
    assert two.accuracy("bin4", "align") == ["results/bin4/align_probe/run_it005_model.star"]
    assert two.accuracy("bin4", "refine3d") == ["results/bin4/align/state.json"]
    assert two.accuracy("bin2", "refine3d") == ["results/bin4/refine3d/run_model.star"]
    assert two.accuracy("bin2", "class3d") == []


def test_no_average_is_made_of_poses_that_the_round_has_averaged_in_half_sets() -> None:
    two = comparing(bin4=BIN4, bin2=["extract", "reconstruct", "align", "mask", "refine3d"])
    assert two.averaged_before("bin2", "align") == "results/bin2/reconstruct"
    assert two.averaged_before("bin2", "refine3d") == "results/bin2/refine3d_poses/before/reconstruct"
    assert two.averaged_before("bin4", "align") == "results/bin4/align_poses/before/reconstruct"


STATES = [
    *BIN2,
    "class3d",
    "select",
    "class3d_states",
    "select_states",
    "refine3d_states",
    "postprocess_states",
]


def test_steps_of_one_kind_follow_each_other_each_in_a_folder_of_its_own() -> None:
    two = recipe(bin4=BIN4, bin2=STATES, bin1=BIN2)
    assert two.named("class3d") == ["class3d", "class3d_states"]
    assert two.classification("bin2", "select") == "class3d"
    assert two.classification("bin2", "select_states") == "class3d_states"
    assert two.state("bin2", "class3d_states")[0] == "results/bin2/select/optimisation_set.star"
    assert two.state("bin2", "refine3d_states")[0] == "results/bin2/select_states/optimisation_set.star"
    assert two.half_maps("bin2", "postprocess_states")[0].startswith("results/bin2/refine3d_states/run_half1")
    assert two.state("bin1", "extract")[0] == "results/bin2/refine3d_states/run_optimisation_set.star"
    decided = [f"results/bin2/{step}/state.json" for step in ("class3d", "select", "class3d_states")]
    assert two.decided("bin2", "select_states")[-3:] == decided
    assert [rung["postprocess"] for rung in two.rungs()][-2] == (
        "results/bin2/postprocess_states/postprocess.star"
    )


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([*BIN2, "class3d", "class3d_states", "select"], "class3d without select"),
        ([*BIN2, "class3d", "select", "select_states"], "select_states would undo what select did"),
        ([*BIN2, "class3d", "refine3d_again", "select"], "select would undo what refine3d_again did"),
        ([*BIN2, "class3d", "class3d", "select"], "name one class3d_again"),
        ([*BIN2, "extract"], r"list each step once per round\.$"),
        (["extract", "mask_head"], "mask_head needs a reference map"),
    ],
)
def test_steps_of_one_kind_are_checked_each_by_itself(steps: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        recipe(bin2=steps)


HEAD = ["mask_head", "class3d_head", "select_head", "reconstruct_head", "refine3d_head", "postprocess_head"]


def parts(*steps: str) -> Recipe:
    focused = {"binning": 2, "steps": [*BIN2, *steps], "parts": ["head", "body"]}
    later = {"binning": 1, "steps": [*BIN2, "mask_head", "refine3d_head"], "parts": ["head"]}
    return Recipe.from_config({"rounds": {"bin2": focused, "bin1": later}})


def test_a_part_begins_with_the_consensus_and_nothing_of_it_goes_on_to_the_whole_or_another_part() -> None:
    both = parts(*HEAD, "mask_body", "refine3d_body", "postprocess_body")
    consensus = "results/bin2/refine3d/run_optimisation_set.star"
    assert both.part("bin2", "refine3d_head") == "head"
    assert both.part("bin2", "refine3d") == ""
    assert both.state("bin2", "class3d_head")[0] == consensus
    assert both.reference("bin2", "class3d_head") == "results/bin2/refine3d/run_class001.mrc"
    assert both.mask("bin2", "refine3d_head") == ["results/bin2/mask_head/mask.mrc"]
    assert both.state("bin2", "refine3d_head")[0] == "results/bin2/select_head/optimisation_set.star"
    assert both.half_maps("bin2", "postprocess_head")[0].startswith("results/bin2/refine3d_head/")
    assert both.state("bin2", "refine3d_body")[0] == consensus
    assert both.mask("bin2", "refine3d_body") == ["results/bin2/mask_body/mask.mrc"]
    assert not any("head" in path for path in both.decided("bin2", "refine3d_body"))
    assert both.state("bin1", "extract")[0] == consensus
    assert both.resolution("bin1", "refine3d") == ["results/bin2/postprocess/postprocess.star"]
    assert both.state("bin1", "refine3d_head")[0] == "results/bin1/refine3d/run_optimisation_set.star"
    assert [rung["part"] for rung in both.rungs()] == ["", "head", "body", ""]


def test_the_map_of_a_class_of_a_part_is_no_reference_as_it_is_of_the_part_alone() -> None:
    without = [step for step in HEAD if step != "reconstruct_head"]
    assert parts(*without).reference("bin2", "refine3d_head") == "results/bin2/refine3d/run_class001.mrc"
    assert parts(*HEAD).reference("bin2", "refine3d_head") == "results/bin2/reconstruct_head/merged.mrc"


def test_a_part_is_refined_within_its_own_mask_even_if_one_of_the_whole_is_newer() -> None:
    late = parts("mask_head", "mask_whole", "refine3d_head", "postprocess_head")
    for step in ("refine3d_head", "postprocess_head"):
        assert late.mask("bin2", step) == ["results/bin2/mask_head/mask.mrc"]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (["refine3d_head"], "refine3d_head is for a part, but no mask of it stands before"),
        (["mask_body", "class3d_head", "select_head"], "class3d_head is for a part, but no mask of it"),
        (["mask_head", "class3d_head", "select_body"], "class3d_head without select"),
    ],
)
def test_a_part_needs_a_mask_of_its_own(steps: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parts(*steps)
