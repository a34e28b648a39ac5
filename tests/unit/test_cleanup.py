"""What a finished round no longer needs goes, if `cleanup` says so; and nothing else goes, ever."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from stacycle import cleanup
from stacycle.decisions.decision import Decision, write_decision
from stacycle.decisions.iteration import class3d_iteration
from stacycle.errors import UserError
from stacycle.files import job_folder, relion_output, removed
from stacycle.files.removed import REMOVABLE
from stacycle.jobs import history
from stacycle.preflight import disk
from stacycle.programs import multibody, refine_iterations
from stacycle.recipe import config
from stacycle.recipe.rounds import Recipe

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/data"
ROUNDS = {
    "bin4": {
        "align": {"T": [1], "iterations": 5},
        "class3d": {"T": [0.5], "classes": 3, "iterations": 10, "iteration": 8},
    },
    "bin2": {"steps": ["extract", "reconstruct"]},
    "bin1": None,
}
T1, T05, REFINE = "results/bin4/align/T1", "results/bin4/class3d/T0.5_K3", "results/bin4/refine3d"
HALVES = ("half1", "half2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    """A finished project of RELION's own tables, in which small maps stand in for those that golden/ leaves out.

    The alignment's best iteration is 4 of 5, but 1 was decided for; the config asks for 8 of the classification's 10;
    the refinement has 5.
    """
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        return folder, make_project(folder / "config.yaml")


@pytest.fixture
def recipe(finished: tuple[Path, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The recipe of a copy of the finished project, which is the current folder."""
    folder, made = finished
    shutil.copytree(folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return copy.deepcopy(made)


def make_project(configfile: Path) -> Recipe:
    a_map = GOLDEN / "align/run_it000_class001.mrc"
    for golden, folder in (("align", T1), ("classify", T05), ("refine", REFINE)):
        shutil.copytree(GOLDEN / golden, folder)
    for number in range(9):
        for name in (f"class{k:03d}" for k in (1, 2, 3)):
            shutil.copy(a_map, f"{T05}/run_it{number:03d}_{name}.mrc")
    for number in range(6):
        for half in HALVES:
            shutil.copy(a_map, f"{REFINE}/run_it{number:03d}_{half}_class001.mrc")
    put("bin4/align/T1/run_it003_class001_angdist.bild")
    for number in (1, 2):
        put(
            f"bin4/extract/Subtomograms/TS_01/{number}_stack2d.mrcs",
            f"bin2/extract/Subtomograms/TS_01/{number}_stack2d.mrcs",
        )
    put("bin4/extract/Subtomograms/TS_02/3_data.mrc", "bin4/extract/Subtomograms/TS_02/3_weights.mrc")
    for folder in ("bin2/reconstruct", "bin4/cycle1/reference", "bin4/cycle1/polish/motion/reconstruct"):
        put(
            *(
                f"{folder}/{kind}{name}.mrc"
                for kind in ("", "data_", "weight_")
                for name in ("merged", *HALVES)
            )
        )
    configfile.write_text(
        yaml.safe_dump({"inputs": [{"tomograms": "t", "particles": "p"}], "rounds": ROUNDS})
    )
    made = Recipe.from_config(config.load(config.DEFAULT, configfile))
    put(*(name.removeprefix("results/") for round_ in made.rounds for name in cleanup.finished(made, round_)))
    for step, iteration in (("align/T1", 1), ("class3d/T0.5_K3", 8)):
        choice = {"variant": Path(step).name, "iteration": iteration}
        write_decision(
            f"results/bin4/{Path(step).parent}/decision.json", Decision("Which?", choice, "rule", "Best.")
        )
    return made


def put(*names: str) -> None:
    """Small files in results/, unless they are there."""
    for name in names:
        path = Path("results", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(b"x" * 100)


def there() -> set[str]:
    """All files of the project, but for the notes of what was removed."""
    found = {str(path) for path in Path("results").rglob("*") if path.is_file()}
    return {path for path in found if not path.endswith(job_folder.REMOVED)}


def cleaned_up(recipe: Recipe, settings: dict = disk.LEAST) -> set[str]:
    """What goes from the project."""
    before = there()
    for round_ in recipe.rounds:
        for removal in cleanup.removals(recipe, settings, round_):
            cleanup.remove(removal)
    return before - there()


STACKS = {f"results/bin4/extract/Subtomograms/TS_01/{number}_stack2d.mrcs" for number in (1, 2)} | {
    f"results/bin4/extract/Subtomograms/TS_02/3_{kind}.mrc" for kind in ("data", "weights")
}
PARTS = {
    f"results/{folder}/{kind}_{name}.mrc"
    for folder in ("bin2/reconstruct", "bin4/cycle1/reference", "bin4/cycle1/polish/motion/reconstruct")
    for kind in ("data", "weight")
    for name in ("merged", *HALVES)
}
ALIGN = {f"{T1}/run_it{n:03d}_class001.mrc" for n in (0, 2, 3)} | {f"{T1}/run_it003_class001_angdist.bild"}
REFINED = {f"{REFINE}/run_it{n:03d}_{half}_class001.mrc" for n in range(5) for half in HALVES} | {
    f"{REFINE}/run_it{n:03d}_{half}_class001_unfil.mrc" for n in range(1, 5) for half in HALVES
}


def class_maps(*iterations: int) -> set[str]:
    return {f"{T05}/run_it{n:03d}_class{k:03d}.mrc" for n in iterations for k in (1, 2, 3)}


@functools.cache
def by_rule() -> int:
    """The iteration of the classification that `auto` takes."""
    folder = GOLDEN / "classify"
    run = relion_output.iterations(folder, maps=False)
    unlike = relion_output.unlike_last(folder, [it.number for it in run if it.number > 1])
    return class3d_iteration(run, unlike_last=unlike).choice["iteration"]


def iterations() -> set[str]:
    return ALIGN | REFINED | class_maps(*({*range(10)} - {8, by_rule()}))


def test_exactly_what_cleanup_asks_for_goes(recipe: Recipe) -> None:
    assert by_rule() not in (0, 8, 10)  # so that three are kept
    expected = iterations() | STACKS | PARTS
    assert cleaned_up(recipe) == expected


def test_a_refinement_that_was_cleaned_up_is_still_one_that_bodies_can_go_on_from(recipe: Recipe) -> None:
    cleaned_up(recipe)
    last = relion_output.iterations(REFINE)[-1].number
    optimiser = f"{REFINE}/run_it{last:03d}_optimiser.star"
    assert Path(optimiser).exists()
    assert all(Path(half).exists() for half in multibody.half_maps(optimiser))


def test_of_bodies_too_only_the_maps_of_iterations_go_that_are_not_the_last(recipe: Recipe) -> None:
    names = {
        f"run_it{n:03d}_{half}_body00{body}{end}"
        for n in (3, 4)
        for half in HALVES
        for body in (1, 2)
        for end in (".mrc", "_unfil.mrc", "_angdist.bild")
    }
    final = {"run_body001.mrc", "run_half1_body001_unfil.mrc", "run_body001_mask.mrc", "run_bodies.bild"}
    put(*(f"bin2/multibody/{name}" for name in names | final))
    folder = Path("results/bin2/multibody")
    for table in (GOLDEN / "multibody/refs").glob("run_it003*.star"):
        text = table.read_text()
        for number in (3, 4):
            of_bodies = re.sub(r"(_rlnNrBodies +)1", r"\g<1>2", text)
            (folder / table.name.replace("it003", f"it00{number}")).write_text(of_bodies)
    assert [one.number for one in relion_output.iterations(folder)] == [3, 4]
    assert cleaned_up(recipe, {"iterations": "needed"}) & {str(folder / name) for name in names | final} == {
        str(folder / name) for name in names if "it003" in name
    }


@pytest.mark.parametrize("kind", ["iterations", "stacks", "parts"])
def test_each_key_of_cleanup_is_for_itself(recipe: Recipe, kind: str) -> None:
    expected = {"iterations": iterations(), "stacks": STACKS, "parts": PARTS}[kind]
    assert cleaned_up(recipe, {kind: disk.LEAST[kind]}) == expected


def test_by_default_everything_is_kept(recipe: Recipe) -> None:
    default = yaml.safe_load(config.DEFAULT.read_text())["cleanup"]
    assert set(default) == set(disk.LEAST)
    assert not cleaned_up(recipe, default)
    assert not cleanup.targets(recipe, default)
    assert cleanup.targets(recipe, default | {"stacks": "current"}) == [
        f"results/{name}/cleanup.json" for name in ("bin4", "bin2")
    ]


def test_nothing_that_a_rule_makes_can_be_taken_for_what_may_go() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    declared = {
        re.sub(r"\{\w+\}", "005", name) for name in re.findall(r'"(?:results|\{INPUTS\})/(\S+?)"', rules)
    }
    assert {"005/align/005/run_it005_data.star", "005/005/reference/merged.mrc"} <= declared
    names = [Path(name).name for name in declared]
    assert not [name for name in names for kind in REMOVABLE.values() if re.fullmatch(kind.names, name)]


def test_a_second_time_nothing_goes_and_what_went_is_still_reported(recipe: Recipe) -> None:
    cleaned_up(recipe)
    told = cleanup.removed("bin4")
    assert told["stacks"]["files"] == len(STACKS)
    assert told["iterations"]["files"] == len(iterations())
    assert not cleaned_up(recipe)
    assert cleanup.removed("bin4") == told


def test_the_plan_tells_how_much_it_will_free(recipe: Recipe) -> None:
    before, _ = disk.used("results/bin4")
    predicted = sum(removal.bytes for removal in cleanup.removals(recipe, disk.LEAST, "bin4"))
    assert disk.used("results/bin4")[0] == before  # only planned
    cleaned_up(recipe)
    notes = len(list(Path("results/bin4").rglob(job_folder.REMOVED))) * 4096
    assert before - disk.used("results/bin4")[0] == predicted - notes > 0
    assert predicted == sum(gone["bytes"] for gone in cleanup.removed("bin4").values())


@pytest.mark.parametrize("survivors", [0, 1, 5, 20])
def test_what_was_interrupted_is_completed_and_reported_as_if_it_had_not_been(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    expected = {kind: {"files": 0, "bytes": 0} for kind in disk.LEAST}
    for removal in cleanup.removals(recipe, disk.LEAST, "bin4"):
        expected[removal.kind.key]["files"] += len(removal.files)
        expected[removal.kind.key]["bytes"] += removal.bytes
    everything, unlink, left = iterations() | STACKS | PARTS, Path.unlink, iter(range(survivors))

    def killed(path: Path, missing_ok: bool = False) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    before = there()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            cleaned_up(recipe)
    assert len(before - there()) == survivors
    assert all(removed.explain_missing(path) for path in before - there())
    cleaned_up(recipe)
    assert before - there() == everything
    assert cleanup.removed("bin4") == expected


def test_each_run_can_still_be_continued(recipe: Recipe) -> None:
    cleaned_up(recipe)
    for folder, golden, last in ((T1, "align", 5), (T05, "classify", 10), (REFINE, "refine", 5)):
        shutil.copytree(folder, golden)  # where RELION's tables say that their maps are
        particles = len(relion_output.assignments(golden, last))
        assert refine_iterations.is_complete(f"{golden}/run", last, particles)
        assert not refine_iterations.is_complete(f"{golden}/run", 3, particles)


def test_every_iteration_can_still_be_judged(recipe: Recipe) -> None:
    before = [relion_output.iterations(folder, maps=False) for folder in (T1, T05, REFINE)]
    cleaned_up(recipe)
    assert repr([relion_output.iterations(folder, maps=False) for folder in (T1, T05, REFINE)]) == repr(
        before
    )


@pytest.mark.parametrize(
    "missing",
    ["bin4/refine3d/run_data.star", "bin4/cycle1/polish/decision.json", "bin2/extract/particles.star"],
)
def test_nothing_of_an_unfinished_round_goes(recipe: Recipe, missing: str) -> None:
    Path("results", missing).unlink()
    with pytest.raises(UserError, match=f"{missing} is not there: bin4 is not finished"):
        cleanup.removals(recipe, disk.LEAST, "bin4")


def test_a_file_that_lives_on_elsewhere_stays(recipe: Recipe) -> None:
    hard, soft = (Path(f"{T1}/run_it00{number}_class001.mrc") for number in (2, 3))
    os.link(hard, "kept.mrc")
    soft.unlink()
    soft.symlink_to(Path("kept.mrc").resolve())
    gone = cleaned_up(recipe)
    assert not {str(hard), str(soft)} & gone
    assert f"{T1}/run_it000_class001.mrc" in gone


def test_of_a_run_that_was_moved_aside_the_last_complete_iteration_stays(recipe: Recipe) -> None:
    shutil.copytree(T1, f"{T1}.failed")
    Path(f"{T1}.failed/run_it005_class001.mrc").unlink()  # it was cut off
    gone = {path for path in cleaned_up(recipe) if ".failed" in path and path.endswith(".mrc")}
    assert gone == {f"{T1}.failed/run_it{n:03d}_class001.mrc" for n in range(4)}


def test_the_last_rounds_stacks_stay_but_not_those_of_an_extraction_moved_aside(recipe: Recipe) -> None:
    shutil.copytree("results/bin2/extract", "results/bin2/extract.previous2")
    gone = {path for path in cleaned_up(recipe) if "bin2/extract" in path}
    assert gone == {f"results/bin2/extract.previous2/Subtomograms/TS_01/{n}_stack2d.mrcs" for n in (1, 2)}


def test_a_run_that_the_config_no_longer_names_is_left_alone(recipe: Recipe) -> None:
    shutil.copytree(T1, "results/bin4/align/T4")
    assert not {path for path in cleaned_up(recipe) if "T4" in path}


def test_the_runs_of_a_step_that_the_config_no_longer_has_are_left_alone(recipe: Recipe) -> None:
    recipe.rounds["bin4"]["steps"].remove("align")
    del recipe.rounds["bin4"]["align"]
    assert not {path for path in cleaned_up(recipe) if "align" in path}


def test_an_iteration_that_the_config_asks_for_keeps_its_maps(recipe: Recipe) -> None:
    recipe.rounds["bin4"]["align"]["iteration"] = 2
    assert f"{T1}/run_it002_class001.mrc" not in cleaned_up(recipe)


def test_a_removed_stack_is_explained_with_the_command_that_makes_it_again(recipe: Recipe) -> None:
    path = min(STACKS)
    assert removed.explain_missing(path) == ""
    cleaned_up(recipe)
    said = removed.explain_missing(path)
    assert said.startswith(
        f"{path} was removed when its round was finished, as the config's cleanup.stacks asks; "
    )
    assert said.endswith("to have it again: stacycle redo results/bin4/extract/particles.star.")


def test_a_removed_map_is_explained_with_the_iterations_that_still_have_theirs(recipe: Recipe) -> None:
    cleaned_up(recipe)
    said = removed.explain_missing(f"{T1}/run_it002_class001.mrc")
    assert "cleanup.iterations" in said
    assert f"stacycle redo {T1}/run_it005_data.star" in said
    assert "choose an iteration whose maps are there (1, 4, 5)" in said
    assert removed.explain_missing(min(REFINED)).endswith(f"stacycle redo {REFINE}/run_data.star.")


def test_a_file_that_cannot_be_removed_is_reported_in_a_sentence(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(
        UserError, match=r"class001.mrc: cannot be removed \(Permission denied\), as .* cleanup.iterat"
    ):
        cleaned_up(recipe)


def test_only_what_was_removed_here_is_explained(recipe: Recipe) -> None:
    cleaned_up(recipe, {"iterations": "needed"})
    stack = Path(min(STACKS))
    stack.unlink()  # by someone else
    assert removed.explain_missing(stack) == ""
    assert removed.explain_missing(f"{T1}/run_it005_class001.mrc") == ""  # it is there
    assert removed.explain_missing(f"{T1}/run_it001_data.star") == ""


def test_a_folder_that_was_made_again_has_nothing_to_explain(recipe: Recipe) -> None:
    cleaned_up(recipe)
    history.move_aside(Path(T1), "previous")
    assert removed.explain_missing(f"{T1}/run_it002_class001.mrc") == ""
