"""The default config is the tutorial, and a mistake in one's own is told by the key it is in."""

import copy
import itertools
from pathlib import Path

import pytest
import yaml

from stacycle.errors import UserError
from stacycle.programs import align, refine_ctf
from stacycle.recipe import config, config_schema, config_text
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import CtfRefine, Polish
from stacycle.recipe.variants import variants

CONFIG = Path(__file__).parents[3] / "config"
DEFAULT = CONFIG / "config.yaml"
SETS = [{"tomograms": "t.star", "particles": "p.star"}]
AVERAGED = ["extract", "reconstruct", "align", "mask"]
REFINED = ["mask_own", "refine3d", "postprocess"]
TUTORIAL = {"classes": 6, "T": [0.5, 1, 2, 4], "repeats": 1}


def with_overlay(tmp_path, overlay):
    path = tmp_path / "config.yaml"
    path.write_text(overlay if isinstance(overlay, str) else yaml.safe_dump(overlay))
    return config.load(DEFAULT, path)


def test_inputs_particle_and_engine_are_all_that_a_project_needs_to_say(tmp_path):
    loaded = with_overlay(
        tmp_path,
        "inputs: [{tomograms: a b/t.star, particles: p.star}]\n"
        "particle: {diameter: 260}\nengine: {kind: embedded}",
    )
    assert loaded["inputs"] == [{"tomograms": "a b/t.star", "particles": "p.star"}]
    assert loaded["particle"] == {"diameter": 260, "symmetry": "C1", "duplicates": "refuse"}
    assert loaded["engine"]["kind"] == "embedded"
    assert list(loaded["rounds"]) == ["bin4", "bin2", "bin1"]


def test_the_default_config_says_every_key_with_the_default_of_the_settings():
    default = yaml.safe_load(DEFAULT.read_text())
    bare = {"inputs": SETS, "particle": default["particle"], "engine": default["engine"]}
    steps = {key: default["rounds"]["bin4"][key] for key in ("binning", "steps", "box")}
    written = config.validate({**bare, "rounds": {"bin4": copy.deepcopy(default["rounds"]["bin4"])}})[
        "rounds"
    ]
    assert config.validate({**bare, "rounds": {"bin4": steps}})["rounds"] == written
    cycle = default["rounds"]["bin4"]["cycle"]
    settled = {"cycle": 0, "class3d": 0, "symmetry": 0, "align": 0}
    assert default["rounds"]["bin4"] | settled == written["bin4"] | settled
    assert default["rounds"]["bin4"]["align"] | {"local_range": 4} == written["bin4"]["align"]
    assert default["rounds"]["bin4"]["class3d"] | TUTORIAL == written["bin4"]["class3d"]
    assert cycle["ctfrefine"]["regularised"] == written["bin4"]["cycle"]["ctfrefine"]["regularised"]
    assert cycle["polish"]["motion"] == written["bin4"]["cycle"]["polish"]["motion"]
    properties = config_schema.schema()["properties"]
    for section in ("particle", "engine", "cleanup"):
        assert default[section] == {k: v["default"] for k, v in properties[section]["properties"].items()}


@pytest.mark.parametrize(("picks", "runs"), [(22_372, 4), (150, 4), (0, 4)])
def test_a_classification_follows_from_the_number_of_picks(picks, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"TS_01 {n} 20.5 30.1\n" for n in range(picks))
    Path("p.star").write_text(f"\ndata_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n{rows}")
    given = {"inputs": SETS, "particle": {"diameter": 260}}
    loaded = with_overlay(tmp_path, given)["rounds"]["bin4"]["class3d"]
    few = {"classes": 3, "T": [0.1, 0.5], "repeats": 2}
    assert loaded | (few if picks == 150 else TUTORIAL) == loaded
    assert len(variants(loaded)) == runs
    own = with_overlay(tmp_path, given | {"rounds": {"bin4": {"class3d": {"T": [1]}}}})
    assert list(variants(own["rounds"]["bin4"]["class3d"])) == ["T1_K3" if picks == 150 else "T1_K6"]


def test_every_number_of_the_default_has_a_comment():
    lines = DEFAULT.read_text().split("\nparticle:\n")[1].splitlines()
    assert len(lines) > 50
    assert not [line for line in lines if ": " in line and "#" not in line and "steps" not in line]


def test_the_readme_holds_the_table_of_every_key():
    table = f"made by make keys -->\n{config_schema.table()}\n<!-- end of keys -->"
    assert table in (CONFIG / "README.md").read_text(), "config/README.md: run `make keys`"


def test_every_key_has_a_meaning():
    def unexplained(node, path):
        for name, inner in [*node.get("properties", {}).items(), *node.get("patternProperties", {}).items()]:
            inner = inner.get("items", inner) if "properties" in inner.get("items", {}) else inner
            if "properties" in inner or "patternProperties" in inner:
                yield from unexplained(inner, f"{path}.{name}")
            elif not inner.get("description", "").endswith("."):
                yield f"{path}.{name}"

    assert list(unexplained(config_schema.schema(), "")) == []
    assert len(list(config_schema.keys(config_schema.schema()))) > 90


def test_every_block_of_the_config_refuses_unknown_keys():
    def blocks(node):
        if isinstance(node, dict):
            if "properties" in node and "type" in node:
                yield node
            for child in node.values():
                yield from blocks(child)

    found = list(blocks(config_schema.schema()))
    assert len(found) > 10
    assert all(block["additionalProperties"] is False for block in found)


@pytest.mark.parametrize(("model", "build"), [(CtfRefine, refine_ctf.argv), (Polish, align.argv)])
def test_variants_have_the_same_effect_if_and_only_if_their_command_is_the_same(model, build):
    against = {"state": "", "half_maps": ["", ""], "mask": "", "postprocess": "", "out": "", "box": 0}
    values = [
        [True, False] if field.annotation is bool else [field.default, None if name == "scale" else 7]
        for name, field in model.model_fields.items()
    ]
    argv_of = {}
    for chosen in itertools.product(*values):
        variant = model(**dict(zip(model.model_fields, chosen, strict=True)))
        argv = build(**against, threads=1, **variant.model_dump())
        assert argv_of.setdefault(str(variant.effective()), argv) == argv
    assert len(set(map(str, argv_of.values()))) == len(argv_of) > 5


def test_an_overlay_changes_only_what_it_names_and_replaces_lists(tmp_path):
    before = with_overlay(tmp_path, {"inputs": SETS})
    after = with_overlay(
        tmp_path, {"inputs": SETS, "rounds": {"bin4": {"select": {"classes": [2, 3]}, "class3d": {"T": [1]}}}}
    )
    before["rounds"]["bin4"]["select"]["classes"] = [2, 3]
    before["rounds"]["bin4"]["class3d"]["T"] = [1]
    assert after == before


def test_the_tutorials_rounds_keep_their_order_whatever_the_order_of_an_overlay(tmp_path):
    """Snakemake puts the keys of a --configfile before those of the default."""
    given = yaml.safe_load(DEFAULT.read_text()) | {"inputs": SETS}
    more = {"binning": 1, "steps": ["extract"]}
    given["rounds"] = {"more": more, **dict(reversed(given["rounds"].items()))}
    assert list(config.validate(given)["rounds"]) == ["bin4", "bin2", "bin1", "more"]


def test_a_round_set_to_null_is_left_out_and_a_new_one_gets_the_defaults(tmp_path):
    rounds = {
        "bin4": None,
        "bin2": None,
        "bin1": None,
        "first": {"binning": 8, "steps": ["extract", "reconstruct"], "extract": {"crop": 64}},
    }
    loaded = with_overlay(tmp_path, {"inputs": SETS, "rounds": rounds})
    assert list(loaded["rounds"]) == ["first"]
    assert loaded["rounds"]["first"]["extract"] == {
        "crop": 64,
        "max_dose": None,
        "min_frames": 1,
        "float16": True,
        "stack2d": True,
    }
    assert loaded["rounds"]["first"]["reconstruct"] == {"snr": 0}
    assert loaded["rounds"]["first"]["box"] == "auto"
    assert "align" not in loaded["rounds"]["first"]


def bin4(**keys):
    return {"rounds": {"bin4": keys}}


def cycle(**keys):
    return bin4(cycle=keys)


def test_a_variant_is_added_by_its_name_and_left_out_by_null(tmp_path):
    variants = {"no_motion": None, "stiff": {"sigma_divergence": 1e4}}
    polish = with_overlay(tmp_path, {"inputs": SETS, **cycle(polish=variants)})["rounds"]["bin4"]["cycle"][
        "polish"
    ]
    assert list(polish) == ["motion", "stiff"]
    assert polish["stiff"] == polish["motion"] | {"sigma_divergence": 1e4}


def test_the_tutorials_variants_are_those_of_every_round(tmp_path):
    """Those of bin2 are not spelled out in the default config."""
    polish = {"no_motion": None, "stiff": {"sigma_divergence": 1e4}}
    ctfrefine = {"regularised": {"search_range": 3000}, "scale_only": None}
    rounds = {"bin2": {"cycle": {"polish": polish, "ctfrefine": ctfrefine}}}
    cycle = with_overlay(tmp_path, {"inputs": SETS, "rounds": rounds})["rounds"]["bin2"]["cycle"]
    assert list(cycle["polish"]) == ["motion", "stiff"]
    assert {name: chosen["search_range"] for name, chosen in cycle["ctfrefine"].items()} == {
        "regularised": 3000,
        "unregularised": 4000,
    }


def test_a_sweep_set_to_null_is_left_out(tmp_path):
    loaded = with_overlay(tmp_path, {"inputs": SETS, **cycle(ctfrefine=None)})
    assert loaded["rounds"]["bin4"]["cycle"]["ctfrefine"] is None


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        (bin4(align={"iteratons": 3}), "rounds.bin4.align.iteratons: unknown key; did you mean iterations?"),
        ({"keep": {"stacks": "current"}}, "keep: unknown key; did you mean cleanup?"),
        (cycle(keep={"polish": "before"}), "rounds.bin4.cycle.keep: unknown key; did you mean choose?"),
        ({"partcle": {}}, "partcle: unknown key; did you mean particle?"),
        (bin4(threads=4), "rounds.bin4.threads: unknown key; known here: binning, steps, "),
        ({"rounds": {4: {"binning": 4}}}, "rounds.4: unknown key; known here: names in letters."),
        (
            bin4(align={"iterations": "25"}),
            "rounds.bin4.align.iterations: 25 is not a whole number of at least 1",
        ),
        (bin4(align={"iterations": True}), "rounds.bin4.align.iterations: true is not a whole number"),
        (bin4(align={"T": 0}), "rounds.bin4.align.T: 0 is not a number above 0 or a list of different items"),
        (bin4(align={"sampling": 5}), "rounds.bin4.align.sampling: 5 is not auto or one of 30, 15, 7.5, 3.7"),
        (bin4(box=81), "rounds.bin4.box: 81 is not auto or a whole number of at least 16 that 2 divides"),
        (bin4(box="automatic"), "rounds.bin4.box: automatic is not auto or a whole number"),
        (
            bin4(steps=["extract", "alogn"]),
            "rounds.bin4.steps.2: alogn is not one of extract, initial_model, reconstruct",
        ),
        (
            bin4(steps=["extract", "extract"]),
            'rounds.bin4.steps: ["extract", "extract"] is not a list of different',
        ),
        (bin4(select={"classes": [0]}), "rounds.bin4.select.classes: [0] is not auto or a list"),
        (bin4(refine3d={"solvent_correct_fsc": 1}), "solvent_correct_fsc: 1 is not true or false"),
        (bin4(extract=None), "rounds.bin4.extract: null is not a block of keys"),
        (
            {"particle": {"symmetry": "C0"}},
            "particle.symmetry: C0 is not text (Point group in RELION's notation",
        ),
        ({"particle": {"diameter": None}}, "particle.diameter: null is not a number above 0 (Longest extent"),
        ({"engine": {"kind": "relion5"}}, "engine.kind: relion5 is not one of relion, embedded"),
        (
            {"engine": {"modules": ["a b"]}},
            'engine.modules: ["a b"] is not text or a list of different items, each text or null (Environment modul',
        ),
        ({"engine": {"modules": "relion; touch x"}}, "engine.modules: relion; touch x is not text"),
        ({"engine": {"modules": "--help"}}, "engine.modules: --help is not text"),
        ({"engine": {"modules": "relion\n"}}, 'engine.modules: "relion\\n" is not text'),
        ({"engine": {"modules": []}}, "engine.modules: [] is not text"),
        ({"engine": {"container": ""}}, 'engine.container: "" is not text or null (Apptainer'),
        (
            {"engine": {"modules": "relion/5.0", "container": "relion.sif"}},
            "engine.modules, engine.container: the one replaces the other; leave one out",
        ),
        (
            {"engine": {"kind": "embedded", "modules": "relion"}},
            "engine.modules: the embedded engine needs none; set engine.kind to relion, or leave it out",
        ),
        (
            {"engine": {"kind": "embedded", "container": "a.sif"}},
            "engine.container: the embedded engine needs",
        ),
        ({"engine": {"container_args": ["--nv"]}}, "engine.container_args: belong to engine.container; name"),
        ({"inputs": [{"tomograms": "t.star"}]}, "inputs.1.particles: missing; give text"),
        ({"inputs": []}, "inputs: [] is not a list of"),
        ({"rounds": {"bin4": None, "bin2": None, "bin1": None}}, "rounds: all are null"),
        ({"rounds": {"more": {"binning": 2}}}, "rounds.more.steps: missing; give a list of different items"),
        (cycle(ctfrefine={"empty": {}}), "cycle.ctfrefine.empty: is empty; give at least one setting"),
        (cycle(polish={"mine": {"motion": False}}), "cycle.polish: mine is the same as no_motion"),
        (cycle(polish={"before": {"max_error": 3}}), "polish.before: the name has a meaning of its own"),
        (
            cycle(ctfrefine={"scale_only": {"scale": None}}),
            "ctfrefine.scale_only: refines neither defocus nor scale",
        ),
        (cycle(polish={"motion": {"sigma_velocty": 1}}), "did you mean sigma_velocity?"),
        (
            cycle(choose={"polish": "best"}),
            "choose.polish: there is no variant best; choose one of auto, before, mo",
        ),
        (cycle(box=128, estimation_box=96), "estimation_box: 96 px is smaller than the box of 128"),
        (cycle(repeat=0), "cycle.repeat: 0 is not a whole number of at least 1"),
        (
            bin4(select={"classes": [2, 7]}),
            "rounds.bin4.select.classes: there is no class 7, as class3d makes 6; name some of 1 to 6, or auto",
        ),
        (
            bin4(class3d={"classes": [4, 9], "variant": "T1_K4"}, select={"classes": [5]}),
            "select.classes: there is no class 5, as class3d makes 4",
        ),
        (bin4(box=64, extract={"crop": 96}), "rounds.bin4.extract.crop: 96 px is more than the box of 64"),
        (
            bin4(align={"offset_range": 2, "offset_step": 3}),
            "rounds.bin4.align.offset_step: 3 px leads out of the range of 2 px",
        ),
        (
            bin4(refine3d={"offset_range": 0.5}),
            "rounds.bin4.refine3d.offset_step: 1 px leads out of the range",
        ),
        (
            cycle(polish={"mine": {"motion": False, "sigma_velocity": 0.4}}),
            "cycle.polish: mine is the same as no_motion in all that has an effect",
        ),
        (
            cycle(ctfrefine={"mine": {"defocus": False, "search_range": 99}}),
            "cycle.ctfrefine: mine is the same as scale_only in all that has an effect",
        ),
        (
            {"engine": {"kind": "embedded", "bin": "/opt/relion"}},
            "engine.bin: the embedded engine needs none",
        ),
        (bin4(align={"iteration": 30}), "rounds.bin4.align.iteration: 30 comes after the last, 25"),
        (
            bin4(class3d={"variant": "T3_K6"}),
            "variant: there is no run T3_K6; choose auto, T0.5_K6, T1_K6, T2_K6",
        ),
    ],
)
def test_a_mistake_is_reported_by_its_key_its_value_and_what_to_do(tmp_path, overlay, sentence):
    with pytest.raises(UserError) as error:
        with_overlay(tmp_path, {"inputs": SETS, **overlay})
    assert sentence in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_missing_inputs_are_asked_for():
    with pytest.raises(
        UserError, match=r"inputs: missing; give a list of items, each {tomograms: ..., particles: ...}"
    ):
        config.load(DEFAULT)


def test_all_mistakes_are_reported_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        with_overlay(tmp_path, {"inputs": SETS, "particel": 1, **bin4(box=3, mask={"extent": 3})})
    assert len(str(error.value).splitlines()) == 3


def test_a_file_that_is_not_yaml_is_reported_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"config.yaml: is not valid YAML in line 3"):
        with_overlay(tmp_path, "inputs:\n  - {tomograms: a, particles: b\nrounds: {}\n")
    with pytest.raises(UserError, match=r"there is no such file; check the path\.$"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="must hold `key: value` lines"):
        with_overlay(tmp_path, "- a\n- b\n")


def test_a_target_that_is_taken_for_a_config_gets_the_word_that_parts_them(tmp_path: Path):
    """Of `snakemake --configfile config.yaml preflight`."""
    with pytest.raises(UserError, match=r"what is to be made: --configfile \.\.\. -- preflight\.$"):
        config_text.read("preflight")


def test_validating_twice_changes_nothing(tmp_path):
    once = with_overlay(tmp_path, {"inputs": SETS})
    assert config.validate(copy.deepcopy(once)) == once


def test_a_class_that_only_one_run_of_a_sweep_has_can_be_chosen(tmp_path):
    chosen = {"class3d": {"classes": [4, 9]}, "select": {"classes": [9]}}
    assert (
        with_overlay(tmp_path, {"inputs": SETS, **bin4(**chosen)})["rounds"]["bin4"]["select"]
        == chosen["select"]
    )


@pytest.mark.parametrize(
    ("overlay", "note"),
    [
        (
            {"rounds": {"bin1": {"align": {"T": [1]}}}},
            "rounds.bin1.align: has no effect, as align is not among the r",
        ),
        (
            bin4(postprocess={"autob_lowres": 20}),
            "rounds.bin4.postprocess.autob_lowres: has no effect beside a bfac",
        ),
        (
            cycle(postprocess={"autob_lowres": 20}),
            "rounds.bin4.cycle.postprocess.autob_lowres: has no effect besid",
        ),
        (
            {"rounds": {"bin1": {"steps": ["extract", "reconstruct", "refine3d", "postprocess", "mask"]}}},
            "rounds.bin1.steps: the mask is used by no step after it",
        ),
        (
            bin4(steps=[*AVERAGED, *REFINED]),
            "rounds.bin4.steps: the mask is used by no step after it; put mask before refine3d or postprocess",
        ),
        (
            bin4(steps=[*AVERAGED, *REFINED[1:], "mask_head", "refine3d_again"], parts=["head"]),
            "rounds.bin4.steps: mask_head is used by no step after it; put mask_head before refine3d_head",
        ),
        (
            bin4(refine3d={"mask_diameter": 200}),
            "rounds.bin4.refine3d.mask_diameter: 200 Å cuts into a particle of",
        ),
    ],
)
def test_what_has_no_effect_or_cuts_the_particle_is_noted_and_not_refused(tmp_path, overlay, note):
    (found,) = config.notes(with_overlay(tmp_path, {"inputs": SETS, **overlay}))
    assert str(found).startswith(note)


@pytest.mark.parametrize(
    "after",
    [
        ["mask_head", "class3d_head", "select_head"],
        ["mask_head", "mask_whole", "refine3d_head", "postprocess_again"],
        ["mask_wide", "local_resolution"],
    ],
)
def test_a_mask_that_a_step_after_it_uses_is_not_noted(tmp_path: Path, after: list[str]) -> None:
    overlay = bin4(steps=[*AVERAGED, *REFINED[1:], *after], parts=["head"])
    assert config.notes(with_overlay(tmp_path, {"inputs": SETS, **overlay})) == []


@pytest.mark.parametrize(
    ("steps", "key"),
    [
        (["class3d", "select"], "class3d"),
        (["mask"], "mask"),
        (["refine3d"], "refine3d"),
        (["align_symmetry"], "align_symmetry"),
        (["refine3d", "cycle"], "cycle.mask"),
    ],
)
def test_a_filter_that_follows_from_the_resolution_needs_a_step_before_that_reaches_one(
    tmp_path: Path, steps: list[str], key: str
) -> None:
    own = {"refine3d": {"lowpass": 60}} if "cycle" in steps else {}
    settings = {"binning": 4, "symmetry": "C6", "steps": ["extract", "reconstruct", *steps], **own}
    overlay = {"inputs": SETS, "rounds": {"first": settings, "bin4": None, "bin2": None, "bin1": None}}
    with pytest.raises(UserError, match=rf"rounds\.first\.{key}\.lowpass: auto follows .*; give it in Å, or"):
        Recipe.from_config(with_overlay(tmp_path, overlay))


def test_the_default_and_the_demo_have_no_notes_even_if_a_step_is_left_out(tmp_path):
    steps = bin4(steps=["extract", "reconstruct"])
    for overlay in ({"inputs": SETS}, (CONFIG / "demo.yaml").read_text(), {"inputs": SETS, **steps}):
        assert config.notes(with_overlay(tmp_path, overlay)) == []


def test_an_importers_config_is_laid_over_the_default_and_stays_as_it_is():
    mine = {"inputs": SETS, "rounds": {"bin4": {"class3d": {"T": [1]}}}}
    before = copy.deepcopy(mine)
    whole = config.validate(config.for_module(mine, None))
    assert mine == before
    assert whole["rounds"]["bin4"]["class3d"]["T"] == [1]
    assert whole["particle"]["symmetry"] == "C1"
    with pytest.raises(UserError, match="module: leave out prefix"):
        config.for_module(mine, "sta/")


@pytest.mark.parametrize("step", ["subtract", "helix"])
def test_a_step_that_relion_has_and_cannot_be_trusted_is_refused_with_what_to_do_instead(
    tmp_path: Path, step: str
) -> None:
    rounds = {"bin4": {"steps": ["extract", "reconstruct", step]}}
    with pytest.raises(UserError, match=rf"rounds\.bin4\.steps\.3: {step}: .*; (focus on parts|refine them)"):
        with_overlay(tmp_path, {"inputs": SETS, "rounds": rounds})


TWO_BODIES = {"large": {"mask": "mask_large"}, "small": {"mask": "mask_small", "relative_to": "large"}}
STEPS = ["extract", "reconstruct", "mask", "refine3d", "postprocess", "mask_large", "mask_small", "multibody"]


def multibody_of(bodies: dict, stack2d: bool = False) -> dict:
    return {"bin4": {"steps": STEPS, "extract": {"stack2d": stack2d}, "multibody": {"bodies": bodies}}}


def test_two_bodies_of_particles_in_3d_are_taken_and_their_masks_are_used(tmp_path: Path) -> None:
    loaded = with_overlay(tmp_path, {"inputs": SETS, "rounds": multibody_of(TWO_BODIES)})
    given = loaded["rounds"]["bin4"]["multibody"]
    assert given["bodies"]["small"] == {
        "mask": "mask_small",
        "relative_to": "large",
        "angles": 10,
        "offset": 2,
    }
    assert given["bodies"]["large"]["relative_to"] is None
    assert not any("is used by no step" in str(note) for note in config.notes(loaded))
    alone = multibody_of(TWO_BODIES | {"small": {"mask": "mine.mrc"}})
    loaded = with_overlay(tmp_path, {"inputs": SETS, "rounds": alone})
    assert any("put mask_small before refine3d" in str(note) for note in config.notes(loaded))


@pytest.mark.parametrize(
    ("bodies", "said"),
    [
        ({}, "multibody.bodies: a body moves against another, but there is none; name two bodies or more"),
        (
            {"small": {"mask": "mask_small"}},
            "multibody.bodies: a body moves against another, but there is small alone",
        ),
        (
            TWO_BODIES | {"small": {"mask": "mask_small", "relative_to": "small"}},
            r"multibody.bodies.small.relative_to: is itself; name large, or leave it out\.",
        ),
        (
            TWO_BODIES | {"small": {"mask": "mask_small", "relative_to": "medium"}},
            r"multibody.bodies.small.relative_to: medium is none of the bodies; name large, or leave it out\.",
        ),
        (TWO_BODIES | {"small": {}}, "multibody.bodies.small.mask: missing"),
        (
            TWO_BODIES | {"small": {"mask": "mask_small", "angle": 5}},
            "bodies.small.angle: unknown key; did you mean angles",
        ),
    ],
)
def test_bodies_that_cannot_move_against_each_other_are_refused(
    tmp_path: Path, bodies: dict, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        with_overlay(tmp_path, {"inputs": SETS, "rounds": multibody_of(bodies)})


def test_bodies_on_2d_stacks_are_refused_with_the_reason_and_with_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        with_overlay(tmp_path, {"inputs": SETS, "rounds": multibody_of(TWO_BODIES, stack2d=True)})
    assert str(raised.value) == (
        "rounds.bin4.multibody: on 2D stacks the multi-body refinement of RELION 5.0.1 diverges, its bodies' offsets "
        "grow in every iteration, and it exits with 0; set rounds.bin4.extract: {stack2d: false} to try it on 3D "
        "pseudo-subtomograms, or focus on parts: parts: [head], with steps mask_head and refine3d_head (docs: States "
        "and parts)."
    )


def test_the_embedded_engine_has_no_bodies(tmp_path: Path) -> None:
    embedded = {"inputs": SETS, "engine": {"kind": "embedded"}, "rounds": multibody_of(TWO_BODIES)}
    with pytest.raises(
        UserError, match=r"rounds.bin4.extract.stack2d: the embedded engine writes and reads 2D"
    ):
        with_overlay(tmp_path, embedded)


@pytest.mark.parametrize(
    ("engine", "steps", "said"),
    [
        (
            "embedded",
            ["extract", "reconstruct"],
            "the embedded engine writes and reads 2D stacks only; leave it true, or set engine.kind to relion",
        ),
        (
            "relion",
            ["extract", "reconstruct", "refine3d", "score"],
            "score compares tilt images, which 3D pseudo-subtomograms are not; leave it true, or take score out of",
        ),
    ],
)
def test_particles_in_3d_are_refused_where_2d_stacks_are_needed(
    tmp_path: Path, engine: str, steps: list[str], said: str
) -> None:
    given = {"inputs": SETS, "engine": {"kind": engine}}
    rounds = {"bin4": {"steps": steps, "extract": {"stack2d": False}}}
    with pytest.raises(UserError, match=f"^rounds.bin4.extract.stack2d: {said}"):
        with_overlay(tmp_path, {**given, "rounds": rounds})


def test_the_coarse_limit_of_few_picks_is_not_for_a_part_which_differs_in_fine_detail(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"TS_01 {n} 20.5 30.1\n" for n in range(150))
    Path("p.star").write_text(f"\ndata_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n{rows}")
    whole, head = (
        ["extract", "reconstruct", "class3d", "select"],
        ["mask_head", "class3d_head", "select_head"],
    )
    rounds = {"bin4": {"steps": [*whole, *head], "parts": ["head"]}}
    found = with_overlay(tmp_path, {"inputs": SETS, "particle": {"diameter": 260}, "rounds": rounds})[
        "rounds"
    ]
    assert found["bin4"]["class3d"]["highres_limit"] == 80
    assert found["bin4"]["class3d_head"]["highres_limit"] == "auto"
