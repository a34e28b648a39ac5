"""How the command finds config and profile, what it calls Snakemake with, and what it asks for."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from stacycle import cli
from stacycle.cli import branches, call, look, pauses, project, targets
from stacycle.cli.project import Project
from stacycle.errors import UserError
from stacycle.jobs import redo
from stacycle.recipe import config as configs
from stacycle.recipe.rounds import Recipe
from stacycle.workflow import path as workflow_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return tmp_path


def found(*words: str) -> Project:
    parser = argparse.ArgumentParser()
    project.options(parser)
    return Project.of(parser.parse_args(words))


def noted(**facts: object) -> None:
    Path("results").mkdir(exist_ok=True)
    Path("results/.snakemake_command.json").write_text(json.dumps(facts))


def test_the_config_is_that_given_that_of_the_last_run_the_usual_one_or_the_only_one() -> None:
    Path("mine.yaml").write_text("particle: {diameter: 1}\n")
    Path("mkdocs.yaml").write_text("nav: []\n")
    assert found().configs == (Path("mine.yaml"),)
    Path("config.yaml").write_text("particle: {diameter: 1}\n")
    assert found().configs == (Path("config.yaml"),)
    noted(configs=[str(Path("mine.yaml").resolve())])
    assert found().configs == (Path("mine.yaml").resolve(),)
    assert found("-c", "config.yaml").configs == (Path("config.yaml"),)


def test_the_profile_is_that_given_that_of_the_last_run_or_the_workstations(tmp_path: Path) -> None:
    Path("config.yaml").write_text("")
    assert found().profile == workflow_file("profiles/workstation")
    Path("profiles/slurm").mkdir(parents=True)
    assert found("--profile", "slurm").profile == Path("profiles/slurm")
    assert found("--profile", "lsf").profile == workflow_file("profiles/lsf")
    noted(words=["--profile", "profiles/slurm", "--cores", "2"], folder=str(tmp_path))
    assert found().profile == tmp_path / "profiles/slurm"


def test_the_command_that_is_shown_can_be_copied_and_configfile_is_never_its_last_option() -> None:
    Path("my config.yaml").write_text("rounds: {}\n")
    here = found()
    for more, asked in ([], []), (["--cores", "2"], []), ([], ["plan"]):
        words = here.words(more, asked)
        at = words.index("--configfile")
        assert words[at + 2].startswith("-")
        assert shlex.split(project.shown(words))[1:] == words
    assert here.words([], ["plan"])[-2:] == ["--", "plan"]
    demo = Project(here.configs, workflow_file("profiles/demo"))
    assert demo.words()[-2:] == ["--directory", "."]  # its own is another


def split(*words: str) -> tuple[list[str], list[str]]:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="*")
    parser.add_argument("--until")
    parser.add_argument("-v", action="store_true")
    return cli._split(parser, words)


@pytest.mark.parametrize(
    ("words", "own", "more"),
    [
        ("bin4 --until bin4/mask", "bin4 --until bin4/mask", ""),
        ("--cores 8 bin4", "bin4", "--cores 8"),
        ("-j8 bin4 -v", "bin4 -v", "-j8"),
        ("--cores=8 bin4", "bin4", "--cores=8"),
        ("bin4 --dry-run --rerun-triggers mtime input", "bin4", "--dry-run --rerun-triggers mtime input"),
        ("bin4 -- --config a=1 results/x", "bin4", "--config a=1 results/x"),
        ("--set-threads align=4 --until bin2", "--until bin2", "--set-threads align=4"),
    ],
)
def test_what_is_snakemakes_is_passed_on_with_its_values(words: str, own: str, more: str) -> None:
    assert split(*words.split()) == (own.split(), more.split())


@pytest.fixture
def recipe() -> Recipe:
    given = {"inputs": [{"tomograms": "t.star", "particles": "p.star"}]}
    Path("config.yaml").write_text(yaml.safe_dump(given))
    return Recipe.from_config(configs.load(configs.DEFAULT, "config.yaml"))


def test_steps_and_rounds_are_the_files_that_they_end_with(recipe: Recipe) -> None:
    assert targets.targets_of(recipe, [], None) == []
    assert targets.targets_of(recipe, ["bin4/select"], None) == [
        "results/bin4/select/decision.json",
        "results/bin4/select/classes.png",
    ]
    assert targets.targets_of(recipe, ["select"], None) == targets.targets_of(recipe, ["bin4/select"], None)
    until = targets.targets_of(recipe, [], "bin4/align")
    assert until == [
        "results/inputs/optimisation_set.star",
        "results/bin4/extract/particles.star",
        "results/bin4/reconstruct/merged.mrc",
        "results/bin4/align/decision.json",
        "results/bin4/align_poses/decision.json",
    ]
    assert "results/bin2/cycle1/polish/decision.json" in targets.targets_of(recipe, ["bin2"], None)
    assert targets.targets_of(recipe, [], "bin1")[-1].startswith("results/bin1/cycle1/")


@pytest.mark.parametrize(
    ("asked", "last"),
    [
        ("inputs", "results/inputs/optimisation_set.star"),
        ("bin4/align", "results/bin4/align_poses/decision.json"),
        ("bin4/align_poses", "results/bin4/align_poses/decision.json"),
        ("align_poses", "results/bin4/align_poses/decision.json"),
        ("results/bin4/mask/", "results/bin4/mask/decision.json"),
        ("bin2/cycle1/ctfrefine", "results/bin2/cycle1/ctfrefine/decision.json"),
        ("cycle1/polish", "results/bin4/cycle1/polish/decision.json"),
    ],
)
def test_what_status_names_can_be_asked_for_alone_or_as_the_last(
    recipe: Recipe, asked: str, last: str
) -> None:
    assert targets.targets_of(recipe, [asked], None)[-1] == last
    until = targets.targets_of(recipe, [], asked)
    assert until[-1] == last
    assert until[0] == "results/inputs/optimisation_set.star"
    if "ctfrefine" in asked:
        assert not any("bin2/cycle1/polish" in file for file in until), "it comes after it"


def test_names_that_are_none_get_the_nearest(recipe: Recipe) -> None:
    for wrong, near in {
        "bin4/algin": "bin4/align",
        "cycle1/polsh": "cycle1/polish",
        "input": "inputs",
    }.items():
        with pytest.raises(UserError, match=f"no such step or round; did you mean [a-z0-9/]*{near}"):
            targets.targets_of(recipe, [], wrong)


def test_a_pause_holds_for_a_run_that_goes_past_it_only(recipe: Recipe) -> None:
    for steps, until, holds in [
        ([], None, True),
        (["bin4/refine3d"], None, True),
        ([], "bin2", True),
        (["bin4/select"], None, False),
        ([], "bin4/align", False),
    ]:
        assert ("bin4/select" in targets.before_end(recipe, steps, until)) == holds


def test_a_pause_is_confirmed_by_running_again_and_new_if_what_it_began_from_is(recipe: Recipe) -> None:
    config = {"pause": "select", "inputs": []}
    first, second = pauses.ahead(config, recipe)
    assert (first.name, first.targets[-1]) == ("bin4/select", "results/bin4/select/classes.png")
    assert second.name == "bin2/select"
    state = Path(first.before[0])
    state.parent.mkdir(parents=True)
    state.write_text("one\n")
    Path("results/bin4/select").mkdir()
    Path("results/bin4/select/classes.png").write_text("picture")
    assert not pauses.is_confirmed(first, config)
    told = pauses.reached(first, config)
    assert "  results/bin4/select/classes.png" in told
    assert "rounds: {bin4: {select: {classes: [2, 3]}}}" in told
    assert pauses.ahead(config, recipe) == [second], "running again confirms it"
    changed = config | {"rounds": {"bin4": {"select": {"classes": [1]}}}}
    assert pauses.ahead(changed, recipe) == [first, second], "to be looked at when this has been done"
    assert pauses.is_confirmed(first, changed), "as what it began from is the same"
    state.write_text("another\n")
    assert not pauses.is_confirmed(first, changed)
    assert pauses.ahead({"inputs": []}, recipe) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("snakemake: error: unrecognized arguments: --foo", "Snakemake: unrecognized arguments: --foo."),
        (
            'WorkflowError in file "/x/Snakefile", line 44:\nrounds.bin4.box: 7 is not even; give 8.\n'
            '  File "/x/Snakefile", line 44\n',
            "rounds.bin4.box: 7 is not even; give 8.",
        ),
        ("Error: cores have to be specified.", "cores have to be specified."),
    ],
)
def test_what_snakemake_says_before_any_job_is_kept_to_the_point(text: str, said: str) -> None:
    assert call.fault(text) == said


def test_a_config_is_written_for_what_is_found_and_never_over_another(capsys) -> None:
    Path("Tomograms").mkdir()
    Path("Tomograms/tomograms.star").write_text(
        "data_global\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesStarFile #2\n"
    )
    Path("my picks.star").write_text("data_\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n")
    assert cli.main(["init", "--yes", "--diameter", "260", "--engine", "embedded"]) == 0
    made = configs.load(configs.DEFAULT, "config.yaml")
    assert made["inputs"] == [{"tomograms": "Tomograms/tomograms.star", "particles": "my picks.star"}]
    assert (made["particle"]["diameter"], made["particle"]["symmetry"]) == (260, "C1")
    assert "stacycle check" in capsys.readouterr().out
    text = Path("config.yaml").read_text()
    assert cli.main(["init", "--yes", "--diameter", "1"]) == 2
    assert Path("config.yaml").read_text() == text


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["AreTomo/TS_1.aln", "AreTomo/TS_2.aln"], {"aretomo3": "AreTomo"}),
        (["Warp/tomostar/TS_1.tomostar"], {"warp": "Warp/tomostar"}),
        (["IMOD/TS_1/TS_1.edf", "IMOD/TS_2/TS_2.edf"], {"imod": "IMOD"}),
    ],
)
def test_the_folders_of_other_programs_are_found(files: list[str], wanted: dict, folder: Path) -> None:
    for file in [*files, "picks.tbl"]:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("")
    assert cli.main(["init", "--yes", "--diameter", "260", "--engine", "relion"]) == 0
    (made,) = yaml.safe_load(Path("config.yaml").read_text())["inputs"]
    assert made == wanted | {"particles": {"dynamo": "picks.tbl"}}


def test_on_slurm_the_line_that_init_says_makes_the_profile_that_is_then_found(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    Path("bin").mkdir()
    Path("bin/sbatch").write_text("#!/bin/sh\n")
    Path("bin/sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(Path("bin").resolve()), prepend=":")
    Path("TS_1.aln").write_text("")
    Path("picks.tbl").write_text("")
    assert cli.main(["init", "--yes", "--diameter", "260", "--engine", "relion"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "cp -r" in line)
    subprocess.run(line, shell=True, check=True)
    assert found("--profile", "slurm").profile == Path("profiles/slurm")
    assert Path("profiles/slurm/profile.yaml").is_file()


def test_without_a_display_the_command_to_type_is_shown(capsys) -> None:
    Path("results/bin4/postprocess").mkdir(parents=True)
    Path("results/bin4/postprocess/postprocess.mrc").write_text("")
    assert cli.main(["open", "results/bin4/postprocess/postprocess.mrc"]) == 0
    assert "chimerax results/bin4/postprocess/postprocess.mrc" in capsys.readouterr().out


def test_a_project_that_another_run_has_locked_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from stacycle.progress.journal import Writer

    held = Writer(".", [])
    with pytest.raises(UserError, match="another run works on this project"):
        project.refuse_if_busy()
    assert held


def test_each_command_says_what_it_does(capsys) -> None:
    for name, command in cli.commands().items():
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        assert command.run.__doc__
        assert f"stacycle {name}" in capsys.readouterr().out
        assert len(command.help) < 75


def test_a_branch_has_links_to_folders_as_well(tmp_path: Path) -> None:
    """As results/relion has them, and as someone makes who keeps a step's folder on another disk."""
    Path("results/bin4/mask").mkdir(parents=True)
    Path("results/bin4/mask/mask.mrc").write_text("a mask")
    Path("results/bin4/link").symlink_to("mask")
    branches._link_tree(Path("results"), tmp_path / "other/results")
    copy = tmp_path / "other/results/bin4/link"
    assert copy.is_symlink()
    assert (copy / "mask.mrc").read_text() == "a mask"
    assert (copy / "mask.mrc").resolve().is_relative_to((tmp_path / "other").resolve())


def test_the_page_is_made_by_the_noted_config_where_the_config_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    made = []
    monkeypatch.setattr(look, "make_page", lambda config: made.append(config) or "results/report.html")
    Path("results").mkdir()
    assert cli.main(["report"]) == 2, "nothing is noted"
    redo.note_command([], ".", config={"particle": {"diameter": 350}}, files=["gone.yaml"])
    assert cli.main(["report"]) == 0
    assert made == [{"particle": {"diameter": 350}}]
    assert "by that of the last run" in capsys.readouterr().err
    assert cli.main(["report", "-c", "gone.yaml"]) == 2, "it was asked for"
