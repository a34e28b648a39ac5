"""Particles from class to class, by iteration."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from stacycle.report.class_flow import flow_figure, moves


def classes(names: str, numbers: list[int]) -> pd.Series:
    return pd.Series(numbers, list(names))


def test_moves_count_particles_by_their_names_whatever_their_order() -> None:
    before, after = classes("abcd", [1, 1, 2, 3]), classes("dcba", [3, 1, 2, 1])
    assert moves(before, after, 3).tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_a_particle_that_is_gone_moves_nowhere() -> None:
    assert moves(classes("abc", [1, 2, 2]), classes("ab", [2, 2]), 2).tolist() == [[0, 1], [0, 1]]


def test_bands_are_drawn_for_the_moves_that_there_are() -> None:
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(300)]
    first = pd.Series(rng.integers(1, 4, 300), names)
    svgs = []
    for last in (first, first.sample(300, random_state=1).set_axis(names)):
        file = io.BytesIO()
        flow_figure({2: first, 5: last}, file)
        svgs.append(file.getvalue().decode().count("fill-opacity: 0.35"))
    assert svgs == [3, 9]
