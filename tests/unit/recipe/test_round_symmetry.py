"""Where the point group changes in a recipe, and which maps lie as the particles do."""

from __future__ import annotations

from typing import Any

import pytest

from stacycle.errors import UserError
from stacycle.recipe import config
from stacycle.recipe.rounds import Recipe

STEPS = ["extract", "reconstruct", "align_symmetry", "mask", "refine3d", "postprocess"]


def recipe(*bin2: str, first: str = "C1", second: str | None = "C6", **more: Any) -> Recipe:
    rounds = {
        "bin4": {"steps": ["extract", "reconstruct", "mask", "refine3d"], "binning": 4, "symmetry": first},
        "bin2": {"steps": list(bin2), "binning": 2, "symmetry": second, **more},
    }
    return Recipe.from_config({"rounds": rounds})


def test_the_group_is_used_from_the_step_on_that_turns_the_particles() -> None:
    found = recipe(*STEPS)
    assert [found.symmetry("bin2", step) for step in STEPS] == ["C1", "C1", "C6", "C6", "C6", "C6"]
    assert found.symmetry("bin4", "refine3d") == "C1"
    assert found.notes() == []


def test_steps_after_it_start_from_the_turned_particles_and_map() -> None:
    found = recipe(*STEPS)
    assert found.state("bin2", "align_symmetry")[0] == "results/bin2/extract/optimisation_set.star"
    assert found.reference("bin2", "align_symmetry") == "results/bin2/reconstruct/merged.mrc"
    for step in ("mask", "refine3d"):
        assert found.state("bin2", step)[0] == "results/bin2/align_symmetry/optimisation_set.star"
        assert found.reference("bin2", step) == "results/bin2/align_symmetry/reference.mrc"
    assert "results/bin2/align_symmetry/state.json" in found.decided("bin2", "mask")


def test_masks_and_half_maps_from_before_it_are_not_used_after_it() -> None:
    before = ["extract", "reconstruct", "mask", "refine3d"]
    found = recipe(*before, "align_symmetry", "reconstruct_turned", "refine3d_turned")
    assert found.mask("bin2", "align_symmetry") == ["results/bin2/mask/mask.mrc"]
    assert found.mask("bin2", "refine3d_turned") == []
    assert found.reference("bin2", "refine3d_turned") == "results/bin2/reconstruct_turned/merged.mrc"
    with pytest.raises(UserError, match="postprocess needs half maps"):
        recipe(*before, "align_symmetry", "postprocess")


def test_a_group_that_changes_without_the_step_is_noted() -> None:
    without = [step for step in STEPS if step != "align_symmetry"]
    assert recipe(*without).notes() == [
        "rounds.bin2: its symmetry C6 is not the C1 of bin4 before it, and no step align_symmetry turns the "
        "particles to RELION's axes: right only if they lie so already."
    ]
    assert recipe(*without, first="C6").notes() == []
    assert recipe(*without, second=None).notes() == []


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (
            {"second": "C1"},
            "rounds.bin2.steps: align_symmetry needs a symmetry to look for, but the round's is C1; set "
            "rounds.bin2.symmetry to the particle's point group.",
        ),
        (
            {"first": "C3"},
            "rounds.bin2.steps: align_symmetry tells a symmetry by a map without any, but before it is C3; set "
            "particle.symmetry and the symmetry of rounds before to C1: a symmetrised map always has its own.",
        ),
    ],
)
def test_a_step_that_has_nothing_to_find_or_no_map_without_symmetry_is_refused(
    groups: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as refused:
        recipe(*STEPS, **groups)
    assert str(refused.value) == sentence


def test_a_step_without_a_map_is_refused() -> None:
    rounds = {"bin4": {"steps": ["extract", "align_symmetry"], "binning": 4, "symmetry": "C6"}}
    with pytest.raises(UserError, match="align_symmetry needs a reference map"):
        Recipe.from_config({"rounds": rounds})


def test_a_group_goes_on_to_later_rounds_whatever_the_order_in_which_a_config_names_them() -> None:
    """Snakemake puts the rounds of a config file before those of the default."""
    own = {name: config.read(config.DEFAULT)["rounds"][name] for name in ("bin2", "bin4", "bin1")}
    own["bin2"] = own["bin2"] | {"symmetry": "C6"}
    inputs = [{"tomograms": "tomograms.star", "particles": "particles.star"}]
    settled = config.validate(config.read(config.DEFAULT) | {"inputs": inputs, "rounds": own})["rounds"]
    assert {name: one["symmetry"] for name, one in settled.items()} == {
        "bin4": "C1",
        "bin2": "C6",
        "bin1": "C6",
    }


@pytest.mark.parametrize("group", ["H", "C0", "X9", "helical"])
def test_helices_and_unknown_groups_are_refused(group: str) -> None:
    given = config.read(config.DEFAULT)
    inputs = [{"tomograms": "tomograms.star", "particles": "particles.star"}]
    with pytest.raises(UserError, match="Helices are not known: no step refines rise and twist"):
        config.validate(given | {"inputs": inputs, "particle": {"symmetry": group}})


# ---------------------------------------------------------------- copies of particles

ROUND = ["extract", "reconstruct", "align_symmetry", "mask", "refine3d"]
HEAD = ["expand_head", "mask_head", "class3d_head", "select_head", "reconstruct_head"]


def focused(*head: str, **settings: Any) -> Recipe:
    return recipe(*ROUND, *head, parts=["head"], **settings)


def test_copies_belong_to_their_part_alone_and_have_no_symmetry() -> None:
    found = focused(*HEAD, "postprocess")
    assert [found.symmetry("bin2", step) for step in HEAD] == ["C6", *["C1"] * 4]
    assert found.symmetry("bin2", "postprocess") == "C6"
    assert found.state("bin2", "class3d_head")[0] == "results/bin2/expand_head/optimisation_set.star"
    assert found.reference("bin2", "class3d_head") == "results/bin2/refine3d/run_class001.mrc"
    assert [
        found.expanded("bin2", step) for step in ("refine3d", "expand_head", "mask_head", "postprocess")
    ] == [
        *(False, False, True, False),
    ]


def test_the_whole_particle_may_be_expanded_last() -> None:
    found = recipe(*ROUND, "expand", "class3d", "select")
    assert found.symmetry("bin2", "class3d") == "C1"
    later = {"bin1": {"steps": ["extract"], "binning": 1, "symmetry": "C6"}}
    with pytest.raises(
        UserError, match="extract comes after expand, and would take the copies of a particle"
    ):
        Recipe.from_config({"rounds": found.rounds | later})


@pytest.mark.parametrize("step", ["duplicates", "score", "hand", "align", "cycle", "expand_again"])
def test_what_takes_copies_for_particles_is_refused(step: str) -> None:
    steps = [one for one in ROUND if one != step]
    with pytest.raises(UserError, match=f"{step} comes after expand, and would take the copies"):
        recipe(*steps, "expand", step, cycle={"repeat": 1, "ctfrefine": {"a": {}}, "polish": {}})


@pytest.mark.parametrize(
    ("step", "settings", "key"),
    [
        ("class3d_head", {"alignment": "global"}, "class3d_head.alignment"),
        ("refine3d_head", {"sampling": 7.5, "local_sampling": 1.8}, "refine3d_head.local_sampling"),
        ("refine3d_head", {"sampling": "auto", "local_sampling": 1.8}, "refine3d_head.local_sampling"),
    ],
)
def test_global_searches_of_copies_are_refused(step: str, settings: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=f"rounds.bin2.{key}: a global search after expand takes all copies"):
        focused("expand_head", "mask_head", step, "select_head", **{step: settings})


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        ("class3d_head", {"alignment": "local"}),
        ("refine3d_head", {"sampling": "auto", "local_sampling": "auto", "poses": "after"}),
        ("refine3d_head", {"sampling": 1.8, "local_sampling": 1.8, "poses": "after"}),
    ],
)
def test_local_searches_of_copies_are_allowed(step: str, settings: dict[str, Any]) -> None:
    select = ["select_head"] * (step == "class3d_head")
    focused("expand_head", "mask_head", step, *select, **{step: settings})


def test_poses_of_copies_are_not_compared() -> None:
    with pytest.raises(
        UserError, match=r"rounds.bin2.refine3d_head.poses: poses of copies, which have one name"
    ):
        focused("expand_head", "mask_head", "refine3d_head", refine3d_head={"poses": "auto"})


def test_nothing_is_expanded_without_a_symmetry_unless_a_group_is_named() -> None:
    steps = ["extract", "reconstruct", "expand"]
    with pytest.raises(
        UserError, match="expand has nothing to expand, as the symmetry is C1 where it stands"
    ):
        recipe(*steps, second="C1")
    recipe(*steps, second="C1", expand={"symmetry": "C3"})


def test_a_mask_of_a_part_from_before_the_axes_were_found_is_not_used() -> None:
    late = ["extract", "reconstruct", "mask_head", "align_symmetry", "refine3d_head"]
    with pytest.raises(UserError, match="refine3d_head is for a part, but no mask of it stands before"):
        recipe(*late, parts=["head"])
