"""A source of tilt series, or a format of picks, is known by its one module: preflight, rules and import ask it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from input_sets import CENTRED, PIXEL, SIZE, write_set
from made_up import as_cairn, as_pebbles, made_up, tables
from planned import planned

from stacycle import __main__ as cli
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.cache import Cache
from stacycle.files.star_labels import CORNER
from stacycle.inputs import merge
from stacycle.inputs.asked import RELIONS, STAR, files_of, picks_of
from stacycle.inputs.findings import Findings
from stacycle.inputs.pick_formats.pick_format import all_formats
from stacycle.inputs.sources.source import all_sources
from stacycle.inputs.taken import summed_up
from stacycle.preflight import against_data, preflight
from stacycle.recipe import config as configs
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.settings import PICK_FORMATS, SOURCES

__all__ = ["made_up"]  # a fixture
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: None) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def native(here: Path) -> dict[str, str]:
    return write_set("a")


def refused(*sets: dict[str, Any]) -> str:
    found = Findings()
    assert merge.read(sets, found) is None
    return "\n".join(map(str, found.problems))


def refused_config(**entry: Any) -> str:
    with pytest.raises(UserError) as refusal:
        loaded(entry)
    return str(refusal.value)


def loaded(*sets: dict[str, Any], **keys: Any) -> dict[str, Any]:
    Path("config.yaml").write_text(yaml.safe_dump({"inputs": list(sets), **keys}))
    return configs.load(configs.DEFAULT, "config.yaml")


def rows(*sets: dict[str, Any]) -> list[str]:
    found, _ = preflight.check_data(sets, Cache(preflight.MEMORY), "refuse")
    return [f"{row.level}: {row.checked}: {row.found}; {row.todo}" for row in found]


# ------------------------------------------------------------------ the same as RELION's own


def test_a_set_of_the_source_is_the_same_as_the_native_one(native: dict[str, str]) -> None:
    merge.merge([native], "native")
    facts = merge.merge([as_cairn(native, "cairns")], "results/inputs")
    (ours, of_ours), (theirs, of_theirs) = tables("results/inputs"), tables("native")
    pd.testing.assert_frame_equal(ours, theirs)
    shared = [label for label in of_theirs if label in of_ours and label != "rlnTomoTiltSeriesStarFile"]
    assert {"rlnTomoHand", "rlnVoltage", "rlnTomoSizeZ", "rlnOpticsGroupName"} <= set(shared)
    pd.testing.assert_frame_equal(of_ours[shared], of_theirs[shared], check_dtype=False)
    for mine, other in zip(
        of_ours.rlnTomoTiltSeriesStarFile, of_theirs.rlnTomoTiltSeriesStarFile, strict=True
    ):
        assert mine.startswith("results/inputs/set1/tilt_series/")
        pd.testing.assert_frame_equal(*(one for path in (mine, other) for one in star.read(path).values()))
    assert [one["tilts"] for one in facts["tomograms"]] == [3, 3]


def test_picks_of_the_format_are_the_same_as_the_native_ones(native: dict[str, str]) -> None:
    merge.merge([native], "native")
    theirs = tables("native")[0]
    for number, tilt_series in enumerate((as_cairn(native, "cairns"), native)):
        picks = as_pebbles(native, f"pebbles{number}") | {"pixel": 8.0, "size": [50, 45, 15]}
        merge.merge([tilt_series | {"particles": picks}], f"out{number}")
        ours = tables(f"out{number}")[0]
        assert list(ours.rlnTomoName) == list(theirs.rlnTomoName)
        np.testing.assert_allclose(ours[CENTRED], theirs[CENTRED], atol=1e-4)
        np.testing.assert_allclose(ours[ANGLES], theirs[ANGLES], atol=1e-5)


def test_the_volume_of_the_source_places_picks_that_count_in_its_voxels(native: dict[str, str]) -> None:
    merge.merge([as_cairn(native, "cairns") | {"particles": as_pebbles(native, "pebbles")}], "out")
    wanted = star.read("a/particles.star")["particles"]
    np.testing.assert_allclose(tables("out")[0][CENTRED], wanted[CENTRED], atol=1e-4)


def test_stacks_that_relion_cannot_read_by_their_names_are_linked(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns")
    for name in ("TS_01", "TS_02"):
        os.rename(f"a/{name}.mrcs", f"a/{name}.mrc")
        path = Path(f"cairns/{name}.cairn")
        path.write_text(path.read_text().replace(".mrcs", ".mrc"))
    merge.merge([one], "results/inputs")
    series = star.read(tables("results/inputs")[1].rlnTomoTiltSeriesStarFile[0])["TS_01"]
    image = series.rlnMicrographName[0].split("@")[1]
    assert image.endswith(".mrcs")
    assert Path(image).samefile("a/TS_01.mrc")


def test_two_sets_of_one_source_with_other_picks_share_their_tilt_series(native: dict[str, str]) -> None:
    other = write_set("b", seed=2)
    first = as_cairn(native, "cairns")
    merge.merge([first, first | {"particles": as_pebbles(other, "pebbles")}], "out")
    particles, tomograms = tables("out")
    assert list(tomograms.rlnTomoName) == ["TS_01", "TS_02"]
    assert len(particles) == 24


def test_include_takes_some(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns") | {"include": "*_02"}
    picks = star.read(native["particles"])["particles"]
    star.write("some.star", {"particles": picks[picks.rlnTomoName == "TS_02"]})
    merge.merge([one | {"particles": "some.star"}], "out")
    assert list(tables("out")[1].rlnTomoName) == ["TS_02"]
    assert "no tilt series named as *_03 below cairns" in refused(one | {"include": ["*_03"]})


# ------------------------------------------------------------------ preflight


def test_preflight_leaves_no_file_and_names_those_that_there_will_be(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns") | {"name": "gain1"}
    found = Findings()
    merged = merge.read([one], found)
    assert merged is not None
    assert not Path("results").exists()
    assert merged.facts["sets"][0]["tomograms_file"] == "results/inputs/gain1/tomograms.star"
    assert {"cairns/TS_01.cairn", "a/particles.star", "a/TS_01.mrcs"} <= found.files
    assert all(os.path.exists(file) for file in found.files)
    path = Path("cairns/TS_01.cairn")
    path.write_text(path.read_text().replace(" 85 ", " 850 "))
    said = refused(one)
    assert "results/inputs/gain1/tilt_series/TS_01.star: rlnTomoZRot" in said
    assert "/tmp" not in said


def test_a_broken_tilt_series_is_refused_by_the_source_before_anything_is_written(
    native: dict[str, str],
) -> None:
    one = as_cairn(native, "cairns")
    path = Path("cairns/TS_02.cairn")
    path.write_text(path.read_text().replace(" 60 ", " 88 "))
    assert refused(one) == "cairns/TS_02.cairn: has a tilt above 80 degrees; remove it."
    with pytest.raises(UserError, match="tilt above 80 degrees"):
        merge.merge([one], "out")
    assert not Path("out").exists()
    Path("no.star").write_text("data_\n")
    with pytest.raises(UserError, match=r"no\.star"):
        merge.merge([as_cairn(native, "others") | {"particles": "no.star"}], "out")
    assert not Path("out").exists()
    without = {key: value for key, value in one.items() if key != "dose"}
    assert refused(without) == "inputs.1.dose: Cairn does not tell the dose; set it."


def test_the_table_tells_what_was_taken_also_when_something_is_wrong(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns")
    path = Path("cairns/TS_02.cairn")
    path.write_text(path.read_text().replace(" 85 ", " 86.5 ").replace("180 60\n", "180 80\n"))
    wanted = [
        "fine: axis: set1, Cairn: 85.00 to 86.50°, mean of TS_01.cairn (and of 1 more); ",
        "fine: dose: set1, Cairn: 3 e/Å², of the config (2 tilt series); ",
        "fine: size: set1, Cairn: 200 x 180 x 60 to 80 px, first line of TS_01.cairn (and of 1 more); ",
    ]
    assert [row for row in rows(one) if "Cairn" in row] == wanted
    assert [row for row in rows(one) if "Cairn" in row] == wanted, "remembered"
    Path("a/TS_01.mrcs").unlink()
    found = rows(one)
    assert found[0].startswith("problem")
    assert [row for row in found if "Cairn" in row] == wanted


def test_what_many_series_took_is_summed_up() -> None:
    def said(**texts: str) -> str:
        series = [SimpleNamespace(name=name, taken={"axis": text}) for name, text in texts.items()]
        ((_, found),) = summed_up(series)
        return found

    assert said(TS_1="-3°, ROT of TS_1.aln") == "-3°, ROT of TS_1.aln"
    assert said(TS_1="-3°, TS_1.aln", TS_2="-3°, TS_2.aln") == "-3°, TS_1.aln (and of 1 more)"
    ten = said(**{f"TS_{n}": f"{n}.5° and 2, ROT of TS_{n}.aln" for n in range(1, 12)})
    assert ten == "1.5 to 11.5° and 2, ROT of TS_1.aln (and of 10 more)"
    mixed = said(a="2 e/Å², the config", b="none", c="3 e/Å², the config", d="x", e="y")
    assert said(**{"01": "1 px, 01.aln", "02": "3 px, 02.aln"}) == "1 to 3 px, 01.aln (and of 1 more)"
    assert mixed == "2 to 3 e/Å², the config (2 tilt series); none; x; and 1 more"


def test_a_new_file_of_the_source_is_seen_by_preflight(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns")
    Path("cairns/TS_02.cairn").rename("away")
    picks = star.read(native["particles"])["particles"]
    star.write("some.star", {"particles": picks[picks.rlnTomoName == "TS_01"]})
    one["particles"] = "some.star"
    assert any("1 of 3 tilts" in row for row in rows(one))
    Path("away").rename("cairns/TS_02.cairn")
    assert any("2 of 3 tilts" in row for row in rows(one))


def test_a_pick_is_named_by_its_own_file_and_row(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns") | {"particles": as_pebbles(native, "pebbles")}
    path = Path("pebbles/TS_02.pebbles")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[2]]))
    assert "pebbles/TS_02.pebbles row 3 and pebbles/TS_02.pebbles row 7 are the same particle" in refused(one)


def test_picks_without_angles_are_told_and_the_first_search_must_be_global(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns") | {"particles": as_pebbles(native, "pebbles", angles=False)}
    warned = "warning: data: 12 picks of set1 have no angles, for which 0 is written; "
    assert any(row.startswith(warned) for row in rows(one))
    facts = merge.merge([one], "out")
    assert facts["without_angles"] == {"set1": 12}
    assert (tables("out")[0][ANGLES] == 0).all(axis=None)

    def problems(steps: list[str], **settings: Any) -> list[str]:
        filters = {step: {"lowpass": 60} | settings.pop(step, {}) for step in ("class3d", "mask", "refine3d")}
        bin4 = {"steps": ["extract", "reconstruct", *steps], **filters, **settings}
        config = loaded(one, rounds={"bin4": bin4, "bin2": None, "bin1": None})
        return [row.found for row in against_data.check(config, Recipe.from_config(config), facts)
                if row.level == preflight.PROBLEM and "angles" in row.found]  # fmt: skip

    align, class3d = ["align", "class3d", "select"], ["class3d", "select"]
    assert problems(align) == [
        "rounds.bin4.align.local_range, 4 degrees, is around angles, but 12 particles have no angles"
    ]
    assert problems(align, align={"local_range": None}) == []
    assert problems(class3d) == ["rounds.bin4.class3d turns no particle, but 12 particles have no angles"]
    (said,) = problems(["mask", "refine3d"])
    assert said.startswith("rounds.bin4.refine3d.local_sampling, auto, makes all searches local")
    assert problems(["mask", "refine3d"], refine3d={"local_sampling": 1.8}) == []


# ------------------------------------------------------------------ the config


def test_the_config_asks_for_one_source_and_one_format(native: dict[str, str]) -> None:
    assert loaded({"cairn": "c", "dose": 3, "hand": -1, "size": [4, 4, 2], "particles": {"pebbles": "p"}})
    found = refused_config(particles="p.star")
    assert found.startswith("inputs.1: names no tilt series; give one of tomograms, aretomo3, ")
    both = refused_config(cairn="c", tomograms="t", particles="p.star")
    assert both == "inputs.1: tomograms and cairn are given together; give each a set of its own."
    assert "inputs.1.dose: is what tomograms.star says itself" in refused_config(
        tomograms="t", particles="p", dose=3
    )
    two = refused_config(cairn="c", particles={"dynamo": "x", "pebbles": "y"})
    assert two.startswith("inputs.1.particles: dynamo and pebbles are given together")
    assert "inputs.1.particles: names no picks; give one of star, dynamo, imod" in refused_config(
        cairn="c", particles={"pixel": 3.0}
    )


def test_a_hand_that_is_not_known_is_looked_for_in_each_round_but_the_last(native: dict[str, str]) -> None:
    rounds = loaded({"cairn": "c", "particles": "p", "hand": "auto"})["rounds"]
    assert [name for name, one in rounds.items() if "hand" in one["steps"]] == ["bin4", "bin2"]
    assert rounds["bin4"]["steps"][-2:] == ["hand", "cycle"]
    assert rounds["bin4"]["hand"] == {"binning": "auto", "choose": "auto"}
    assert not any(
        "hand" in one["steps"] for one in loaded({"cairn": "c", "particles": "p"})["rounds"].values()
    )
    known = {"cairn": "c", "particles": "p", "hand": 1}
    with pytest.raises(UserError, match=r"rounds\.bin4\.steps: hand compares those of sets with hand: auto"):
        loaded(
            known, rounds={"bin4": {"steps": ["extract", "reconstruct", "hand"]}, "bin2": None, "bin1": None}
        )


def test_two_sets_cannot_write_to_one_folder() -> None:
    for first, second in (("set2", None), ("x", "x"), (None, "tilt_series")):
        sets = [
            {"cairn": "c", "particles": "p"} | ({"name": name} if name else {}) for name in (first, second)
        ]
        with pytest.raises(UserError, match=r"inputs\.2\.name: .* is the name of another set or folder"):
            loaded(*sets)


def test_every_module_has_its_key_in_the_config() -> None:
    assert {*all_sources()} == {*SOURCES, "cairn"} - {RELIONS}
    assert {*all_formats()} == {*PICK_FORMATS, "pebbles", STAR}


def test_a_star_file_takes_the_pixel_that_its_refusal_asks_for(native: dict[str, str]) -> None:
    table = star.read(native["particles"], oddities=[])["particles"].drop(columns=ANGLES)
    binned = (table[CENTRED] / PIXEL + SIZE / 2) / 4
    star.write(
        Path("binned.star"),
        {"particles": table[["rlnTomoName"]].assign(**dict(zip(CORNER, binned.T.to_numpy(), strict=True)))},
    )
    assert "inputs.1.particles.pixel" in refused(native | {"particles": "binned.star"})
    entry = native | {"particles": {"star": "binned.star", "pixel": 4 * PIXEL}}
    merged = merge.read(loaded(entry)["inputs"], Findings())
    np.testing.assert_allclose(merged.particles[CENTRED], table[CENTRED], atol=1e-4)


def test_what_is_not_there_is_asked_for(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns")
    assert "inputs.1.cairn: elsewhere is not there" in refused(one | {"cairn": "elsewhere"})
    assert refused(one | {"particles": {"pebbles": "no/*.pebbles"}}) == (
        "inputs.1.particles: there is no file no/*.pebbles; paths start at the project folder."
    )
    Path("a{b").mkdir()
    assert "has a brace" in refused(one | {"cairn": "a{b"})


def test_names_of_tilt_series_must_be_names_of_tomograms(native: dict[str, str]) -> None:
    one = as_cairn(native, "cairns")
    Path("cairns/TS_01.cairn").rename("cairns/T S;1.cairn")
    assert "inputs.1.cairn: RELION cannot use 'T S;1' as the name of a tomogram; rename the files" in refused(
        one
    )


# ------------------------------------------------------------------ Snakemake, and without it


def test_the_rule_takes_the_files_that_the_source_reads(native: dict[str, str], here: Path) -> None:
    one = as_cairn(native, "cairns") | {"particles": as_pebbles(native, "pebbles")}
    wanted = {*map(str, [*Path("cairns").iterdir(), *Path("pebbles").iterdir()])}
    assert set(files_of([one])) == wanted
    assert files_of([one | {"cairn": "gone", "particles": "gone.star"}]) == ["gone", "gone.star"]
    assert files_of([native]) == [native["tomograms"], native["particles"]]
    loaded(one, engine={"kind": "embedded"}, rounds={"bin2": None, "bin1": None})
    with planned(here, here / "config.yaml") as workflow:
        (job,) = (one for one in workflow.dag.jobs if one.rule.name == "inputs")
        assert set(map(str, job.input)) == wanted


def test_import_writes_the_star_files_of_a_config(native: dict[str, str], capsys: Any) -> None:
    one = as_cairn(native, "cairns")
    loaded(one)
    assert cli.main(["import", "config.yaml", "Imported"]) == 0
    assert "Imported: 12 particles in 2 tomograms" in (said := capsys.readouterr().out)
    assert "set1, Cairn: axis 85.00°, mean of TS_01.cairn (and of 1 more)" in said
    merge.merge([one], "results/inputs")
    for ours, theirs in zip(tables("Imported"), tables("results/inputs"), strict=True):
        pd.testing.assert_frame_equal(ours.replace("Imported", "results/inputs", regex=True), theirs)


def test_import_writes_tilt_series_alone_of_a_set_without_picks(native: dict[str, str], capsys: Any) -> None:
    assert cli.main(["import", "--tomograms", native["tomograms"], "--name", "001", "Imported"]) == 0
    assert "0 particles in 2 tomograms" in capsys.readouterr().out
    assert list(star.read("Imported/tomograms.star")["global"].rlnTomoName) == ["TS_01", "TS_02"]
    assert {one.name for one in Path("Imported").iterdir()} == {"tomograms.star", "preflight.json"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tomograms", "t", "--dose", "none", "X"], "inputs.1.dose: none is not a number above 0"),
        (["--particles", "p", "X"], "inputs.1: names no tilt series"),
        (["--tomograms", "t", "--particles", "{em: p, unit: px}", "X"], "particles.unit: is for text alone"),
        (["X"], "a config or options say what to import; give one of the two"),
        (["config.yaml", "--tomograms", "t", "X"], ""),
    ],
)
def test_import_says_what_it_lacks(words: list[str], said: str, capsys: Any) -> None:
    with contextlib.suppress(SystemExit):  # of usage
        assert cli.main(["import", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["p.tbl", "p.EM", "p.mod", "p.json", "p.coords"])
def test_picks_without_their_formats_key_are_told_which_it_is(native: dict[str, str], name: str) -> None:
    with pytest.raises(UserError, match=rf"not a STAR file, but .*key, {{\w+: {name}}}"):
        picks_of(1, native | {"particles": name})
