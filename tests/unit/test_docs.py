"""What a stranger reads first is short, and its links lead somewhere; `make docs` checks those of the site."""

from __future__ import annotations

import re

import yaml
from conftest import ROOT


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
