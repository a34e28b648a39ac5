"""What a run will write is known before it starts: as much as RELION and the engine really write, or a little more."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stacycle.preflight import disk
from stacycle.recipe import config
from stacycle.recipe.rounds import Recipe
from stacycle.steps import refine3d
from stacycle.steps.sizes import Need, Numbers

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
INPUTS = {"inputs": [{"tomograms": "t.star", "particles": "p.star"}]}
# The tutorial's: 22,372 particles, 1.91 Å; it does not say how many tomograms, nor how many tilts.
TUTORIAL = Numbers(particles=22372, visible_tilts=41, series_pixel=1.91, tomograms=60, tilts=60 * 41)
RELIONS = Numbers(particles=64, visible_tilts=21, series_pixel=5, tomograms=2, tilts=42)  # golden/


def needs(tmp_path: Path, numbers: Numbers, rounds: dict | None = None) -> list[Need]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(INPUTS | ({"rounds": rounds} if rounds else {})))
    loaded = config.load(config.DEFAULT, path)
    return disk.needed(Recipe.from_config(loaded), loaded, numbers)


def total(some: list[Need], step: str = "", what: str = "", freed_by: str = "") -> int:
    return sum(
        need.bytes
        for need in some
        if step in need.step and what in need.what and (not freed_by or need.freed_by == freed_by)
    )


def test_an_image_of_each_visible_tilt_is_written_for_each_particle(tmp_path: Path) -> None:
    (stacks,) = (x for x in needs(tmp_path, TUTORIAL) if (x.step, x.what) == ("bin4/extract", "stacks"))
    assert stacks.files == 22372
    assert stacks.bytes == pytest.approx(22372 * (1024 + 41 * 84 * 84 * 2), rel=0.01)


@pytest.mark.parametrize(
    ("settings", "times"), [({"float16": False}, 2), ({"crop": 42}, 0.25), ({"max_dose": 40}, 1)]
)
def test_images_take_what_the_settings_of_extraction_make_of_them(
    tmp_path: Path, settings: dict, times: float
) -> None:
    before = total(needs(tmp_path, TUTORIAL), "bin4/extract", "stacks")
    after = total(needs(tmp_path, TUTORIAL, {"bin4": {"extract": settings}}), "bin4/extract", "stacks")
    assert after == pytest.approx(times * before, rel=0.02)


def test_a_pseudo_subtomogram_takes_a_cube_and_the_weights_of_half_of_fourier_space_twice(
    tmp_path: Path,
) -> None:
    bin4 = {"box": 84, "extract": {"stack2d": False}, "steps": ["extract", "reconstruct"]}
    rounds = {"bin4": bin4, "bin2": None, "bin1": None}
    (cubes,) = (
        x for x in needs(tmp_path, TUTORIAL, rounds) if (x.step, x.what) == ("bin4/extract", "stacks")
    )
    assert cubes.files == 2 * 22372
    assert cubes.bytes == pytest.approx(22372 * 2 * (84**3 + 43 * 84 * 168 + 1024), rel=0.01)


def test_what_relion_wrote_in_an_alignment_was_predicted(tmp_path: Path) -> None:
    rounds = {"bin4": {"box": 24, "align": {"iterations": 5}}, "bin2": None, "bin1": None}
    foretold = [x for x in needs(tmp_path, RELIONS, rounds) if x.step == "bin4/align"][:2]
    really, files = disk.used(GOLDEN / "align")
    assert really <= sum(x.bytes for x in foretold) < 1.3 * really
    assert sum(x.files for x in foretold) == pytest.approx(files, abs=2)


def test_what_relion_wrote_in_a_refinement_was_predicted(tmp_path: Path) -> None:
    rounds = {"bin4": {"box": 24, "refine3d": {"poses": "after"}}, "bin2": None, "bin1": None}
    foretold = [x for x in needs(tmp_path, RELIONS, rounds) if x.step == "bin4/refine3d"]
    assert sum(x.files for x in foretold if x.freed_by) == 4 * (refine3d.MOST_ITERATIONS - 1)
    map_on_disk = 57344  # 24 px
    tables = total(foretold) - (4 * refine3d.MOST_ITERATIONS + 3) * map_on_disk
    really = 1_820_302  # bytes of refine/run_it*.star before their lists of directions were thinned
    assert 1 < (tables / refine3d.MOST_ITERATIONS) / (really / 6) < 3  # its angles get finer as it goes


def test_every_class_of_every_run_of_a_sweep_is_written_in_every_iteration(tmp_path: Path) -> None:
    one = needs(tmp_path, TUTORIAL, {"bin4": {"class3d": {"T": [1], "classes": 3, "iterations": 10}}})
    sweep = needs(
        tmp_path, TUTORIAL, {"bin4": {"class3d": {"T": [1, 2], "classes": [3, 6], "iterations": 10}}}
    )
    maps = total(one, "bin4/class3d", freed_by="iterations")
    assert maps == pytest.approx(9 * 3 * 4 * 84**3, rel=0.01)
    assert total(sweep, "bin4/class3d", freed_by="iterations") == 6 * maps


def test_half_maps_are_reconstructed_once_there_are_half_sets(tmp_path: Path) -> None:
    files = {x.step: x.files for x in needs(tmp_path, TUTORIAL) if x.what == "data and weight maps"}
    assert files["bin4/reconstruct"] == 2
    assert files["bin2/reconstruct"] == 6


def test_a_cycle_writes_bin1_maps_of_each_variant_and_of_each_repeat(tmp_path: Path) -> None:
    once = total(needs(tmp_path, TUTORIAL), "bin4/cycle")
    assert once == pytest.approx((6 * 11 + 1 + 2 * 3) * 4 * 336**3, rel=0.2)  # and what polishing draws
    assert total(needs(tmp_path, TUTORIAL, {"bin4": {"cycle": {"repeat": 2}}}), "bin4/cycle") == 2 * once
    without = needs(tmp_path, TUTORIAL, {"bin4": {"cycle": {"polish": None}}})
    assert total(without, "bin4/cycle", "data and weight") == 4 * 6 * (4 * 336**3 + 4096)


def test_the_tutorial_takes_hundreds_of_gigabytes_and_most_of_it_is_bin1_images(tmp_path: Path) -> None:
    whole = needs(tmp_path, TUTORIAL)
    assert 300e9 < total(whole) < 450e9
    assert total(whole, "bin1/extract") > total(whole) / 2


def test_the_stacks_of_the_last_round_are_never_freed(tmp_path: Path) -> None:
    freed = {x.step for x in needs(tmp_path, TUTORIAL) if x.freed_by == "stacks"}
    assert freed == {"bin4/extract", "bin2/extract"}


NEEDS = [
    Need("inputs", "tables", 1, 1),
    Need("bin4/extract", "2D stacks", 100, 10, "stacks"),
    Need("bin4/refine3d", "maps of iterations", 50, 5, "iterations"),
    Need("bin4/refine3d", "maps", 10, 1),
    Need("bin2/extract", "2D stacks", 300, 10),
    Need("bin2/refine3d", "maps", 20, 1),
]


@pytest.mark.parametrize(
    ("settings", "peak"),
    [
        (None, 481),
        ({"iterations": "all", "stacks": "all", "parts": "all"}, 481),
        ({"iterations": "needed", "stacks": "all", "parts": "all"}, 461),  # when bin2 has been extracted
        ({"iterations": "needed", "stacks": "current", "parts": "all"}, 461),
    ],
)
def test_a_round_is_freed_when_the_next_has_extracted_its_images(settings: dict | None, peak: int) -> None:
    assert disk.peak(NEEDS, settings) == peak


def test_a_later_round_can_be_the_one_that_takes_most() -> None:
    later = [*NEEDS[:5], replace(NEEDS[5], bytes=500)]
    assert disk.peak(later, disk.LEAST) == 1 + 10 + 300 + 500


def test_the_table_tells_each_round_the_total_and_what_cleanup_would_do() -> None:
    table = disk.table(NEEDS)
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert rows["bin4"] == ["16", "160", "bytes", "50", "bytes", "100", "bytes", "0", "bytes"]
    assert rows["together"][:3] == ["28", "481", "bytes"]
    assert table.endswith(
        "At most 481 bytes at a time; 461 bytes with cleanup: {iterations: needed, stacks: current, parts: needed}."
    )
    assert disk.table(NEEDS, disk.LEAST).endswith("At most 461 bytes at a time.")


def test_free_space_is_that_of_the_folder_that_will_hold_a_missing_one(tmp_path: Path) -> None:
    space, inodes = disk.free(tmp_path / "not/yet/there")
    status = os.statvfs(tmp_path)
    assert space == pytest.approx(status.f_bavail * status.f_frsize, rel=0.05)
    assert inodes > 0


def test_a_file_system_without_a_table_of_inodes_has_no_limit_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os, "statvfs", lambda path: SimpleNamespace(f_bavail=5, f_frsize=4, f_files=0, f_favail=0)
    )
    assert disk.free(tmp_path) == (20, math.inf)


def test_hard_links_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    one = disk.used(tmp_path)
    (tmp_path / ".made").mkdir()
    os.link(tmp_path / "a", tmp_path / ".made/a")
    assert disk.used(tmp_path) == one
    assert one[0] >= 10_000


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1530, "1.5 kB"),
        (999_600, "1.0 MB"),
        (207e9, "207 GB"),
        (3.2e15, "3200 TB"),
    ],
)
def test_sizes_are_shown_as_people_say_them(count: float, shown: str) -> None:
    assert disk.size(count) == shown


def test_tables_grow_with_the_particles_as_relions_do(tmp_path: Path) -> None:
    many = needs(tmp_path, replace(RELIONS, particles=1_000_000))
    per_particle = total(many, "bin4/extract", "tables") / 1_000_000
    really = (GOLDEN / "align/run_it005_data.star").stat().st_size / 64
    assert really < per_particle < 1.3 * really
