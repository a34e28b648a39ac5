"""Parts together over the consensus."""

from __future__ import annotations

import numpy as np
import pytest

from stacycle.decisions.composite import chimerax, composite


def blob(at: tuple[int, int, int], width: float, n: int = 32) -> np.ndarray:
    grid = np.indices((n,) * 3) - np.array(at)[:, None, None, None]
    return np.exp(-(grid**2).sum(0) / 2 / width**2).astype(np.float32)


def test_each_part_shows_its_own_map_in_its_mask_and_the_consensus_is_elsewhere() -> None:
    here, there = (16, 16, 8), (16, 16, 24)
    sharp = blob(here, 2), blob(there, 2)
    consensus = 5 * (blob(here, 3) * 0.4 + sharp[1])  # the first part is smeared out
    mask = (blob(here, 6) > 0.3).astype(np.float32)
    found = composite(consensus, [(0.01 * sharp[0], mask)])
    outside = mask == 0
    np.testing.assert_allclose(found[outside], consensus[outside], atol=1e-6)
    inside = mask == 1
    assert np.corrcoef(found[inside], sharp[0][inside])[0, 1] > 0.999
    assert found[here] == pytest.approx(consensus[here], rel=0.7)  # on the same greyscale, and sharper
    assert found[here] > consensus[here]


def test_where_masks_meet_parts_count_by_their_masks() -> None:
    density, mask = blob((16, 16, 16), 4), np.ones((32,) * 3, np.float32)
    np.testing.assert_allclose(composite(density, [(density, mask), (2 * density, mask)]), density, atol=1e-5)


def test_the_commands_open_the_consensus_first_and_each_part_in_a_colour() -> None:
    lines = chimerax("../postprocess/postprocess.mrc", {"head": "a.mrc", "body": "b.mrc"}).splitlines()
    assert lines[3] == "open ../postprocess/postprocess.mrc"
    assert "open b.mrc" in lines
    assert len({line.split()[3] for line in lines if line.startswith("volume #")}) == 3
