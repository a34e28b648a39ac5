"""A number that YAML took for text, a name that it took for false, a file that is no YAML: where, and what to write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import warm
from conftest import ROOT

from stacycle.errors import UserError
from stacycle.recipe import config
from stacycle.recipe.config_text import Places

INPUTS = "inputs: [{tomograms: t, particles: p}]\n"


def refused(tmp_path: Path, text: str, inputs: str = INPUTS) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(inputs + text)
    with pytest.raises(UserError) as error:
        config.load(config.DEFAULT, path)
    return str(error.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("particle: {diameter: 2.6e2}", "YAML reads 2.6e2 as text: write 260 (config.yaml, line 2)."),
        (
            'particle: {diameter: "260"}',
            'YAML reads "260" as text, for its quotes: write 260 (config.yaml, line 2).',
        ),
        ("particle:\n  diameter: 1,5", "YAML reads 1,5 as text: write 1.5 (config.yaml, line 3)."),
        (
            "particle: {diameter: 1,5}",
            "particle.5: unknown key; it comes after a comma; write a number with a decim",
        ),
        ("particle: {diameter: 1 000}", "YAML reads 1 000 as text: write 1000"),
        ("particle: {diameter: 260 Å}", "YAML reads 260 Å as text: write 260"),
        ("particle: {diameter: 26nm}", "YAML reads 26nm as text: write 260"),
        ("particle: {diameter: 0o400}", "YAML reads 0o400 as text: write 256"),
        ("particle: {diameter: 08}", "YAML reads 08 as text: write 8"),
        ("rounds: {bin4: {postprocess: {bfactor: −200}}}", "YAML reads −200 as text: write -200"),
        ("rounds: {bin4: {align: {iterations: 1e1}}}", "YAML reads 1e1 as text: write 10"),
        ("rounds: {bin4: {class3d: {T: [1e-1, 2]}}}", "; write [0.1, 2] (config.yaml, line 2)."),
        (
            "rounds: {bin4: {mask: {extend: 3.0}}}",
            "3.0 is not auto or a whole number of at least 0 (Px by which",
        ),
        ("rounds: {bin4: {mask: {extend: 3.0}}}", "; write 3 (config.yaml, line 2)."),
        ("particle: {diameter: yes}", "; YAML reads yes as true (config.yaml, line 2)."),
        ("particle: {diameter: }", "; YAML reads no value as null (config.yaml, line 2)."),
        ("particle: {diameter: ~}", "; YAML reads ~ as null (config.yaml, line 2)."),
    ],
)
def test_a_number_that_yaml_took_for_something_else(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "particle: {diameter: 010}",
            "particle.diameter: YAML reads 010 as the octal number 8; write 10, or 8",
        ),
        (
            "particle: {diameter: 12:30}",
            "particle.diameter: YAML reads 12:30 as 750, counted in sixties; write a plai",
        ),
        ("particle: {diameter: .inf}", "particle.diameter: .inf is not a finite number; write one"),
        ("rounds: {bin4: {align: {T: [1, .nan]}}}", "rounds.bin4.align.T.2: .nan is not a finite number"),
        (
            "particle: {diameter: 2024-01-01}",
            "particle.diameter: YAML reads 2024-01-01 as a date; put it in quotes",
        ),
        (
            "rounds: {no: {binning: 1, steps: [extract]}}",
            'rounds: YAML reads the name no as false; put it in quotes: "no',
        ),
        (
            "rounds: {~: {binning: 1, steps: [extract]}}",
            "rounds: YAML reads the name ~ as null; put it in quotes",
        ),
        (
            "rounds: {bin4: {cycle: {polish: {on: {max_error: 3}}}}}",
            'rounds.bin4.cycle.polish: YAML reads the name on as true; put it in quotes: "on" (config.yaml, line 2).',
        ),
        (
            "rounds: {bin4: {cycle: {polish: {1: {max_error: 3}}}}}",
            'rounds.bin4.cycle.polish: YAML reads the name 1 as a number; put it in quotes: "1" (config.yaml, line 2).',
        ),
    ],
)
def test_what_would_pass_for_something_else_than_was_written(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


@pytest.mark.parametrize("name", ["no", "001", "1.50", "2024-01-02", "on"])
def test_a_name_that_is_none_to_yaml_is_to_be_put_in_quotes(tmp_path: Path, name: str) -> None:
    inputs = "inputs: [{tomograms: t, particles: p, name: %s}]\n"
    told = refused(tmp_path, "", inputs % name)
    assert f'"{name}"' in told or name == "1.50"
    assert "inputs.1.name" in told
    if name != "1.50":  # a point cannot be in a name
        path = tmp_path / "config.yaml"
        path.write_text(inputs % f'"{name}"')
        assert config.load(config.DEFAULT, path)["inputs"][0]["name"] == name


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("particle: {symmetry: c1}", "C1"),
        ("particle: {symmetry: d 7}", "D7"),
        ("engine: {kind: Relion}", "relion"),
        ("engine: {kind: embeded}", "embedded"),
        ("engine: {modules: 5.0}", '"5.0"'),
        ("cleanup: {stacks: Current}", "current"),
        ("rounds: {bin4: {mask: {threshold: Auto}}}", "auto"),
        ("rounds: {bin4: {select: {classes: 2}}}", "[2]"),
        ("rounds:\n bin4:\n  select:\n   classes: 2, 3", "[2, 3]"),
        ("rounds:\n bin4:\n  class3d:\n   T: 0.5 1 2", "[0.5, 1, 2]"),
        ("rounds: {bin4: {steps: extract}}", "[extract]"),
        ("rounds: {bin4: {align: {blush: n}}}", "false"),
        ('rounds: {bin4: {align: {blush: "yes"}}}', "true"),
        ("rounds: {bin4: {align: {blush: 1}}}", "true"),
        ("rounds: {bin4: {align: {local_range: None}}}", "null"),
        ("particle: diameter:350", "it as diameter: 350"),
        ("particle:\n  diameter 350", "it as diameter: 350"),
    ],
)
def test_what_to_write_is_said_where_it_can_be_known(tmp_path: Path, text: str, meant: str) -> None:
    assert f"write {meant} (config.yaml, line " in refused(tmp_path, text)


def test_no_advice_is_given_that_would_be_refused_again(tmp_path: Path) -> None:
    for text in ("particle: {symmetry: no}", "particle: {diameter: wide}", "rounds: {bin4: {box: 8O}}"):
        assert "write" not in refused(tmp_path, text)


def test_numbers_in_the_ways_that_yaml_knows_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text, number in (
        ("2.6e+2", 260),
        ("0x104", 260),
        ("1_000", 1000),
        (".5e+3", 500),
        ("+26", 26),
        ("350.", 350),
    ):
        path.write_text(f"{INPUTS}particle: {{diameter: {text}}}\n")
        assert config.load(config.DEFAULT, path)["particle"]["diameter"] == number


FILES = {
    "bracket": (
        b"inputs:\n  - {tomograms: a, particles: b\nrounds: {}\n",
        3,
        7,
        "opened in line 2 is not closed with }",
    ),
    "tab": (b"particle:\n\tdiameter: 3\n", 2, 1, "there is a tab; indent with blanks"),
    "colon": (b"particle:\n  diameter 350\n  symmetry: C1\n", 3, 11, "is one missing in the line before"),
    "indent": (
        b"particle:\n  diameter: 350\n symmetry: C1\n",
        3,
        2,
        "let the keys of a block begin in one column",
    ),
    "quote": (b'engine: {bin: "/opt/relion}\n', 1, 15, "the quote opened in line 1 is not closed"),
    "alias": (b"engine: {bin: *relion}\n", 1, 15, "*relion stands for nothing"),
    "at sign": (b"engine: {bin: @relion}\n", 1, 15, "text cannot begin with @; put it in quotes"),
    "latin 1": (b"a: 1\n# 5 \xc5ngstr\xf6m\n", 2, 5, "byte 0xc5 is no character; save the file as UTF-8"),
    "two documents": (b"a: 1\n---\nb: 2\n", 2, 1, "a second document begins with ---"),
    "control": (b"a: 1\nb: \x07\n", 2, 4, "there is a control character"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_yaml_is_reported_with_its_place_and_a_caret(tmp_path: Path, name: str) -> None:
    data, line, column, told = FILES[name]
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        config.load(config.DEFAULT, path)
    first, shown, caret = str(error.value).split("\n")
    assert f"line {line}, column {column}: " in first
    assert told in first
    assert caret.index("^") - 2 == column - 1 or line > len(data.splitlines())
    if line <= len(data.splitlines()) and name != "latin 1":
        assert (
            shown[2:].strip()
            == data.splitlines()[line - 1].decode().replace("\t", " ").replace("\x07", " ").strip()
        )


def test_a_file_in_utf_16_or_with_a_long_line_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("particle: {diameter: 3}\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"config\.yaml: is text in UTF-16; save it as UTF-8"):
        config.load(config.DEFAULT, path)
    path.write_text(f"a: [{'1, ' * 300}*x]\n")
    with pytest.raises(UserError) as error:
        config.load(config.DEFAULT, path)
    _, shown, caret = str(error.value).split("\n")
    assert len(shown) <= 102
    assert shown[caret.index("^")] == "*"


def test_a_byte_order_mark_and_json_indented_with_tabs_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(INPUTS, encoding="utf-8-sig")
    assert config.load(config.DEFAULT, path)["inputs"]
    path.write_text('{\n\t"inputs": [\n\t\t{"tomograms": "t", "particles": "p"}\n\t]\n}\n')
    assert config.load(config.DEFAULT, path)["inputs"]


def test_a_key_that_stands_twice_is_refused_where_yaml_would_take_the_last(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "rounds:\n  bin4:\n    cycle:\n      polish:\n        a: {max_error: 3}\n        a: {max_error: 4}\n"
    )
    with pytest.raises(UserError, match=r"rounds\.bin4\.cycle\.polish\.a stands there twice"):
        Places([path])
    Places([config.DEFAULT])


@pytest.mark.slow
def test_snakemake_says_it_as_well_though_it_reads_the_file_first(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for data, told in (
        (FILES["tab"][0], "config.yaml: is not valid YAML in line 2, column 1: there is a tab"),
        (FILES["latin 1"][0], "config.yaml: is not UTF-8 in line 2, column 5"),
        (b"- a\n", "config.yaml: must hold `key: value` lines"),
        (b"# nothing\n", "inputs: missing; give a list of items"),
        (INPUTS.encode() + b"particle: {diameter: 2.6e2}\n", "YAML reads 2.6e2 as text: write 260"),
    ):
        path.write_bytes(data)
        said = snakemake(tmp_path, "--configfile", str(path))
        assert told in said
        assert "Traceback" not in said


@pytest.mark.slow
def test_numbers_within_braces_on_the_command_line_are_numbers(tmp_path: Path) -> None:
    """Snakemake makes text of them."""
    rounds = "rounds={bin4: {mask: {extend: 5, threshold: auto}, align: {T: [0.5, 1], blush: no, iterations: 2.5}}}"
    (tmp_path / "config.yaml").write_text(INPUTS)
    said = snakemake(tmp_path, "--configfile", "config.yaml", "--config", rounds)
    assert "rounds.bin4.align.iterations: 2.5 is not a whole number" in said
    assert said.count(" is not ") == 1


def snakemake(folder: Path, *arguments: str) -> str:
    words = [
        warm.python(),
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--cores",
        "1",
        "--dry-run",
    ]
    done = subprocess.run([*words, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode != 0
    return done.stdout + done.stderr
