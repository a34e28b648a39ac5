"""No value from a STAR file or the config is run by a shell or taken for something else: it works, or is refused.

RELION itself gives tomogram and particle names to a shell, so what is refused here is what RELION 5.0.1 was seen to
execute or misread; the embedded engine takes what is let through.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from input_sets import change, write_set

from stacycle.errors import UserError
from stacycle.files import safe_names, star
from stacycle.inputs import merge
from stacycle.inputs.findings import Findings
from stacycle.preflight import environment, preflight
from stacycle.programs import subtomo

ROOT = Path(__file__).parents[3]
HOSTILE = (
    *("a; touch x", "a;touch${IFS}x;", "$(touch x)", "`touch x`", "a&touch x&", "a|touch x", "a > x"),
    *(
        "my name",
        "it's",
        'the "one"',
        "-a",
        "--o",
        "..",
        ".",
        "#a",
        "_a",
        "a*",
        "~",
        "a\\b",
        "a@b",
        "a:b",
        "a%b",
    ),
    *("{round}", "ä", "loop_", "a" * 300),
)
WITH_CONTROLS = ("a\ntouch x", "a\tb", "a\rb", "a\x00b")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project folder that is itself called badly."""
    folder = tmp_path / "my; touch x $(touch x) 'project\""
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert not list(tmp_path.rglob("x")), "a value was run as a command"


def read(one):
    """The merged inputs, or the sentences that refuse them."""
    found = Findings()
    merged = merge.read([one], found)
    assert (merged is None) == bool(found.problems)
    return merged, list(map(str, found.problems))


def put_in(path, column, value):
    """Write a value into every row as it would stand in a STAR file, however wrong; False if it cannot stand there."""
    text = Path(path).read_text()
    quote = next((mark for mark in ('"', "'") if mark not in value), None)
    if quote is None or any(mark in value for mark in "\n\r\x00"):
        return False
    table = star.read(path)
    name = next(iter(table))
    table[name][column] = "PLACEHOLDER"
    star.write(path, table)
    text = Path(path).read_text().replace("PLACEHOLDER", f"{quote}{value}{quote}")
    Path(path).write_text(text)
    return True


def refused(one, what):
    """Whether the set was refused in a sentence that names the file or key, and nothing was written."""
    merged, problems = read(one)
    assert not Path("results").exists()
    for problem in problems:
        assert re.search(r"[;.] *\S", problem), "says what to do"
        assert "\n" not in problem
    if problems:
        assert any(what in problem for problem in problems), problems
    return merged is None


@pytest.mark.parametrize("name", HOSTILE)
def test_a_tomogram_that_relion_would_run_or_misread_is_refused(name):
    one = write_set("a", names=["TS_01"])
    for path, column in ((one["tomograms"], "rlnTomoName"), (one["particles"], "rlnTomoName")):
        if not put_in(path, column, name):
            return
    star_file = Path("a/TS_01.star")
    star_file.write_text(star_file.read_text().replace("data_TS_01", f"data_{name}"))
    assert refused(one, "a/tomograms.star")


@pytest.mark.parametrize("name", ["TS_01", "001", "2024-05-01_grid.3+b", "a" * 100])
def test_common_names_of_tomograms_pass(name):
    merged, problems = read(write_set("a", names=[name]))
    assert problems == []
    assert merged.tomograms.rlnTomoName.tolist() == [name]


@pytest.mark.parametrize("name", HOSTILE)
def test_optics_groups_are_refused_or_stay_one_word_in_the_star_file(name):
    one = write_set("a")
    if put_in(one["tomograms"], "rlnOpticsGroupName", name) and not refused(one, "a/tomograms.star"):
        merge.merge([one], "results/inputs")
        row = next(
            line for line in Path("results/inputs/tomograms.star").read_text().splitlines() if "TS_01" in line
        )
        assert f" {name} " in f" {' '.join(row.split())} "


@pytest.mark.parametrize("name", HOSTILE)
def test_particle_names_that_are_no_file_names_give_way_to_new_ones(name):
    one = write_set("a", names=["TS_01"], particles=1)
    if put_in(one["particles"], "rlnTomoParticleName", f"TS_01/{name}") and not refused(
        one, "a/particles.star"
    ):
        merged, _ = read(one)
        kept = merged.particles.get("rlnTomoParticleName")
        assert kept is None or all(safe_names.is_name(part) for part in kept[0].split("/"))


@pytest.mark.parametrize("folder", HOSTILE)
def test_a_tilt_series_in_a_folder_of_any_name_is_copied_to_where_relion_can_write_it_again(folder):
    if folder == "a" * 300 or not put_series_in(folder):
        return
    one = {"tomograms": "a/tomograms.star", "particles": "a/particles.star"}
    if not refused(one, "a/"):
        merge.merge([one], "results/inputs")
        (path,) = star.read("results/inputs/tomograms.star")["global"].rlnTomoTiltSeriesStarFile
        assert safe_names.is_plain_path(path)
        assert len(star.read(path)["TS_01"]) == 3


def put_series_in(folder):
    one = write_set("a", names=["TS_01"])
    Path(folder).mkdir(exist_ok=True)
    Path("a/TS_01.star").rename(Path(folder) / "TS_01.star")
    return put_in(one["tomograms"], "rlnTomoTiltSeriesStarFile", f"{folder}/TS_01.star")


@pytest.mark.parametrize(
    "path", ["{cwd}/a/TS_01.star", "../{name}/a/TS_01.star", "./a/TS_01.star", "a//TS_01.star"]
)
def test_a_tilt_series_outside_or_by_a_detour_is_copied_so_that_refinement_writes_into_its_own_folder(
    project, path
):
    one = write_set("a", names=["TS_01"])
    path = path.format(cwd=project, name=project.name)
    change(one["tomograms"], lambda table: table.assign(rlnTomoTiltSeriesStarFile=path))
    if "'" in path:  # the folder's own name cannot stand in a STAR file
        assert refused(one, "a/tomograms.star")
        return
    merge.merge([one], "results/inputs")
    copied = star.read("results/inputs/tomograms.star")["global"].rlnTomoTiltSeriesStarFile
    assert copied.tolist() == ["results/inputs/tilt_series/TS_01.star"]


def test_two_tilt_series_that_relion_would_write_to_one_file_are_kept_apart():
    """CTF refinement leaves out the job's folder: `I/job001/a/s.star` and `I/job002/a/s.star` are one to it."""
    first, second = write_set("I/job001/a", names=["TS_01"]), write_set("I/job002/a", names=["TS_02"], seed=2)
    Path("I/job002/a/TS_02.star").rename("I/job002/a/TS_01.star")
    change(second["tomograms"], lambda table: table.assign(rlnTomoTiltSeriesStarFile="I/job002/a/TS_01.star"))
    merge.merge([first, second], "results/inputs")
    paths = star.read("results/inputs/tomograms.star")["global"].rlnTomoTiltSeriesStarFile
    assert paths.tolist() == ["I/job001/a/TS_01.star", "results/inputs/tilt_series/TS_02.star"]


@pytest.mark.parametrize("folder", HOSTILE)
def test_images_are_found_whatever_their_folder_is_called_or_refused_if_relion_would_not(folder):
    if folder == "a" * 300:
        return
    one = write_set("a", names=["TS_01"])
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "i.mrcs").symlink_to(Path("a/TS_01.mrcs").absolute())
    if put_in("a/TS_01.star", "rlnMicrographName", f"1@{folder}/i.mrcs"):
        was_refused = refused(one, "a/TS_01.star")
        assert was_refused or not set(folder) & set(":#%@'\""), "RELION takes these apart"


@pytest.mark.parametrize("text", [*HOSTILE, *WITH_CONTROLS])
def test_paths_and_names_of_sets_in_the_config_are_used_as_they_are_or_refused(text):
    one = write_set("a", names=["TS_01"])
    refused(one | {"tomograms": text}, text if text.isprintable() else "inputs.1.tomograms")
    named = one | {"name": text}
    if not safe_names.is_name(text):
        assert refused(named, "inputs.1.name")
    if text.isprintable() and text not in ("..", ".", "~") and len(text) < 200:
        Path("a").rename(text + "_")
        moved = {key: path.replace("a/", f"{text}_/", 1) for key, path in one.items()}
        assert refused(moved, "") or "{" not in text


@pytest.mark.parametrize("folder", [*HOSTILE, *WITH_CONTROLS])
def test_a_scratch_folder_that_a_shell_would_not_take_as_it_stands_is_refused(folder):
    """RELION runs `rm -rf FOLDER/relion_volatile/`: a blank in it would remove another folder."""
    with contextlib.suppress(OSError, ValueError):
        Path(folder).mkdir(exist_ok=True)
    for local in (True, False):
        rows = list(environment.check_scratch(folder, local, 0))
        harmless = shlex.quote(folder) == folder and not folder.startswith("-")
        if "$" in folder:
            assert rows == [], "taken for a variable that is not set: no scratch folder is used"
        elif not harmless:
            assert [row.level for row in rows] == [preflight.PROBLEM]


@given(st.text(max_size=20))
@settings(max_examples=300)
def test_what_passes_as_a_name_is_one_word_to_a_shell_and_one_folder_to_a_file_system(text):
    if safe_names.is_name(text):
        assert shlex.split(f"mkdir -p {text}/") == ["mkdir", "-p", f"{text}/"]
        assert shlex.quote(text) == text
        assert os.path.normpath(text) == text
        assert "/" not in text
        assert not text.startswith(("-", ".", "_", "#"))
    if safe_names.is_shell_safe(text):
        assert shlex.quote(text) == text
        assert not text.startswith("-")
    if safe_names.is_plain_path(text):
        assert os.path.normpath(os.path.join("out", text)) == f"out/{text}"


@given(st.text(alphabet="ab01_-+.;$`'\" /\\*?&|<>(){}[]!~#@:%\n\té", max_size=6))
@settings(max_examples=300)
def test_what_a_shell_takes_apart_never_passes_as_a_name(text):
    with contextlib.suppress(ValueError):  # a quote without its end
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.wordchars += "+"  # it is one to a shell
        assert list(lexer) == [text] or not safe_names.is_name(text)


def test_no_code_of_ours_starts_a_shell():
    starts_one = r"shell\s*=\s*True|os\.system|os\.popen|getoutput|\bshell\("
    for folder, pattern, word in (
        ("src", "*.py", starts_one),
        ("scripts", "*.py", starts_one),
        ("rules", "*.smk", rf"^    shell:|{starts_one}"),
    ):
        paths = list((ROOT / folder).rglob(pattern))
        assert paths
        assert [path.name for path in paths if re.search(word, path.read_text(), re.MULTILINE)] == []


def test_a_value_that_begins_with_two_dashes_does_not_become_a_flag():
    argv = subtomo.argv(particles="p", tomograms="t", out="results/x", box=64, binning=4, threads=1)
    assert [word for word in argv if word.startswith("--")] == [
        *("--p", "--t", "--theme", "--o", "--b", "--bin", "--min_frames", "--float16", "--stack2d", "--j")
    ]


def test_the_engine_extracts_what_was_let_through_and_nothing_else_happens():
    """In a folder called badly, with a tilt series in a folder called badly."""
    one = write_set("a", names=["TS_01"])
    Path("b; touch x").mkdir()
    Path("a/TS_01.star").rename("b; touch x/TS_01.star")
    change(one["tomograms"], lambda table: table.assign(rlnTomoTiltSeriesStarFile="b; touch x/TS_01.star"))
    merge.merge([one], "results/inputs")
    files = {"particles": "results/inputs/particles.star", "tomograms": "results/inputs/tomograms.star"}
    argv = subtomo.argv(**files, out="results/extract", box=16, binning=4, threads=1)
    done = subprocess.run(
        [sys.executable, "-m", "staengine", *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(Path("results/extract").rglob("*_stack2d.mrcs"))) == 6


def test_merging_tells_a_hostile_name_in_a_sentence_and_writes_nothing():
    one = write_set("a", names=["TS_01"])
    for path in one.values():
        put_in(path, "rlnTomoName", "a;touch x;")
    with pytest.raises(
        UserError, match=r"a/tomograms.star: RELION cannot use tomogram 'a;touch x;' as a name"
    ):
        merge.merge([one], "results/inputs")
    assert not Path("results").exists()
