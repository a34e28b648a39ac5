"""The page of a made-up project: all of it is drawn, and its size keeps within the limit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import page

pytestmark = pytest.mark.slow


def test_the_page_of_three_rounds_of_sweeps_has_all_of_them_and_is_small(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    page.write(page.SIZES["small"])
    found = page.measure(".")
    assert found["MB"] < 8
    text = Path("results/report.html").read_text()
    for round_ in page.ROUNDS:
        for step in ("align", "class3d", "select", "mask", "refine3d", "postprocess", "cycle1"):
            assert f'id="{round_}-{step}"' in text
    counted = {
        kind: text.count(f'<figure class="{kind}"') for kind in ("classes", "tuner", "slices", "surface")
    }
    assert counted == {"classes": 3, "tuner": 6, "slices": 12, "surface": 1}
    left_out = re.findall(r"<h2>Left out</h2><ul>(.*?)</ul>", text, re.DOTALL)
    assert re.findall("<li>(.*?):", left_out[0]) == ["frames/TS_0001.mrcs"]  # tilt images are not made up
