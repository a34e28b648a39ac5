"""What a stranger reads first is short, and its links lead somewhere; `make docs` checks those of the site."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import yaml
from conftest import ROOT
from test_floors import FLOORS

from stacycle.recipe import config


def test_the_readme_is_read_in_a_few_minutes_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(text.splitlines()) <= 120
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_of_the_documentation_is_in_its_table_of_contents() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert {
        page for section in nav for pages in section.values() for entry in pages for page in entry.values()
    } == pages


def test_the_pictures_of_the_documentation_are_there_and_each_is_shown() -> None:
    text = "".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert set(re.findall(r"images/([\w-]+\.\w+)\)", text)) == {
        path.name for path in (ROOT / "docs/images").iterdir()
    }


def test_the_files_of_the_repository_that_the_documentation_names_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    folders = "src|rules|scripts|config|profiles|tests|benchmarks|docs|envs"
    named = {
        name
        for page in pages
        for name in re.findall(rf"[` ]((?:{folders})/[\w./-]*\w)", page.read_text())
        if not re.search(r"\b(STEP|PROGRAM)\b", name)
    }
    assert len(named) > 50
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_config_that_the_documentation_shows_is_a_valid_one(tmp_path: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    blocks = [
        block for page in pages for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    configs = [block for block in blocks if {"inputs", "rounds"} & yaml.safe_load(block).keys()]
    assert len(configs) > 10
    some_inputs, shown = tmp_path / "inputs.yaml", tmp_path / "config.yaml"
    some_inputs.write_text("inputs: [{tomograms: t.star, particles: p.star}]")
    for block in configs:
        shown.write_text(block)
        assert config.load(config.DEFAULT, some_inputs, shown), block


def test_the_functions_on_a_values_way_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    chains = text.partition("### Where a value goes")[2].partition("\n## ")[0]
    ways = [re.findall(r"`((?:\w+\.){2,}\w+)`", row) for row in chains.splitlines() if " → " in row]
    assert len(ways) == 4
    assert max(map(len, ways)) <= 6
    assert [name for way in ways for name in way if not exists(name)] == []


def exists(function: str) -> bool:
    """Whether there is a function of the workflow's, such as steps.align.command or rules.common.sweep."""
    package, module, *name = function.split(".")
    if package == "rules":
        return f"\ndef {name[0]}(" in (ROOT / f"rules/{module}.smk").read_text()
    try:
        return callable(reduce(getattr, name, import_module(f"stacycle.{package}.{module}")))
    except (ImportError, AttributeError):
        return False


def test_the_picture_of_the_floors_shows_each_room_on_its_floor() -> None:
    drawn = re.findall(r'class="r".*?>(.*?)<', (ROOT / "docs/images/floors.svg").read_text())
    floors = [{room for room in rooms.split() if not room.startswith("__")} for rooms in FLOORS["stacycle"]]
    assert [set(rooms.split(" · ")) for rooms in drawn[::-1]] == [rooms for rooms in floors if rooms]
