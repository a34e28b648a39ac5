"""When more iterations of a classification would be in vain, and that it is true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions.early_stop import duration, in_vain, told
from stacycle.decisions.iteration import class3d_iteration, class3d_leeway, is_quiet
from stacycle.files import star
from stacycle.files.relion_output import Iteration

PARTICLES = 200


def run_of(classes: np.ndarray) -> list[Iteration]:
    """The iterations of a run with these classes (iterations x particles), which begin at iteration 0."""
    changes = [np.nan, np.nan, *(classes[2:] != classes[1:-1]).mean(1)]
    return [Iteration(n, 30.0, change, 0, 0, 1, 1, 0, 1) for n, change in enumerate(changes)]


def unlike(classes: np.ndarray) -> dict[int, float]:
    return {n: float((classes[n] != classes[-1]).mean()) for n in range(2, len(classes))}


def chosen(classes: np.ndarray) -> int:
    return class3d_iteration(run_of(classes), unlike_last=unlike(classes)).choice["iteration"]


def leeway(classes: np.ndarray) -> float:
    run = run_of(classes)
    return class3d_leeway(run, unlike(classes)) if is_quiet(run) else 0.0


def settling(rng: np.random.Generator) -> np.ndarray:
    """Classes of 9 to 18 iterations, of whose particles fewer and fewer move, by chance or the same ones to and fro."""
    number, fall = rng.integers(9, 19), rng.uniform(0.2, 0.6)
    rows = [rng.integers(1, 4, PARTICLES)]
    for n in range(1, number):
        share = rng.choice([0.7 * fall ** max(0, n - 2), 0, rng.uniform(0, 0.12)], p=[0.7, 0.15, 0.15])
        rows.append(moved(rows[-1], rng.random(PARTICLES) < share))
    return np.array(rows)


def moved(classes: np.ndarray, which: np.ndarray) -> np.ndarray:
    return np.where(which, classes % 3 + 1, classes)


def followed(classes: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """These and up to twelve more iterations, at whose end fewer than `most` of the particles have moved: to another
    class, or back to an earlier one."""
    rows, free = list(classes), rng.permutation(PARTICLES)[: int(np.ceil(most * PARTICLES)) - 1]
    for _ in range(rng.integers(1, 13)):
        which = np.isin(np.arange(PARTICLES), free) & (rng.random(PARTICLES) < rng.choice([0, 0.1, 0.5, 1]))
        to = classes[rng.integers(2, len(classes))] if rng.random() < 0.5 else classes[-1] % 3 + 1
        rows.append(np.where(which, to, classes[-1]))
    return np.array(rows)


def test_no_further_iterations_within_the_leeway_of_a_quiet_run_move_the_choice() -> None:
    tried = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        classes = settling(rng)
        if (most := leeway(classes)) > 0:
            tried += 1
            assert chosen(followed(classes, most, rng)) == chosen(classes), seed
    assert tried > 40


def test_beyond_the_leeway_the_choice_can_move() -> None:
    """The particles that have moved by then are exactly those that have not moved since the chosen iteration."""
    rng = np.random.default_rng(1)
    still = np.array([rng.integers(1, 4, PARTICLES) for _ in range(3)])
    classes = np.concatenate([still, np.repeat(still[-1:], 6, axis=0)])
    first, most = chosen(classes), leeway(classes)
    further = moved(classes[-1], np.arange(PARTICLES) < (most + 0.01) * PARTICLES)
    assert most == pytest.approx(0.05)
    assert chosen(np.concatenate([classes, np.repeat(further[None], 3, axis=0)])) > first


def test_an_earlier_iteration_can_come_within_reach_again() -> None:
    """It had no changes but was too far from the end: 6 % of the particles moved after it."""
    begun = [np.random.default_rng(seed).integers(1, 4, PARTICLES) for seed in range(4)]
    then = moved(begun[-1], np.arange(PARTICLES) < 0.06 * PARTICLES)
    classes = np.array([*begun, begun[-1], *[then] * 7])
    back = moved(begun[-1], np.arange(PARTICLES) < 0.045 * PARTICLES)
    assert chosen(classes) == 6
    assert leeway(classes) == pytest.approx(0.01)
    assert chosen(np.concatenate([classes, np.repeat(back[None], 3, axis=0)])) == 4


def test_changes_below_half_a_percent_are_none() -> None:
    """Else a later, even quieter stretch would move the choice of a large set, whose classes are never at rest."""
    changes = [
        np.nan,
        np.nan,
        0.8,
        0.1,
        0.004,
        0.005,
        0.004,
        0.003,
        0.003,
        0.0003,
        0.0003,
        0.0002,
        0.0003,
        0.0003,
    ]
    run = [Iteration(n, 30.0, change, 0, 0, 1, 1, 0, 1) for n, change in enumerate(changes)]
    assert {class3d_iteration(run[:length]).choice["iteration"] for length in range(9, 15)} == {4}


def write(folder: Path, classes: np.ndarray, stirred: float = 0.0) -> Path:
    """The tables of a run that are read; the probability of each particle's class changes by so much in each
    iteration."""
    names = [f"TS_1/{number}" for number in range(PARTICLES)]
    for one, row in zip(run_of(classes), classes, strict=True):
        root = folder / f"run_it{one.number:03d}"
        optimiser = {"rlnChangesOptimalClasses": [one.changed_classes], "rlnCurrentIteration": [one.number]}
        general = {"rlnCurrentResolution": [30.0], "rlnNrClasses": [3]}
        pmax = np.full(PARTICLES, 0.9 + one.number % 2 * stirred)
        data = {"rlnTomoParticleName": names, "rlnClassNumber": row, "rlnMaxValueProbDistribution": pmax}
        for name, block, table in (
            ("optimiser", "optimiser_general", optimiser),
            ("model", "model_general", general),
            ("data", "particles", data),
        ):
            star.write(f"{root}_{name}.star", {block: pd.DataFrame(table)})
    return folder


def test_it_is_asked_of_each_iteration_and_only_by_what_was_there_then(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [rng.integers(1, 4, PARTICLES) for _ in range(4)]
    rows += [moved(rows[-1], np.arange(PARTICLES) < 1)] + [rows[-1]] * 9
    folder = write(tmp_path, np.array(rows))
    found = [n for n in range(14) if in_vain(folder, n)]
    assert found == list(range(8, 14)), (
        "at most one of 200 moved in each of iterations 4 to 8, and one came back"
    )
    assert "0.0% of the particles moved" in in_vain(folder, 10)
    assert "before another iteration than 4 were taken" in in_vain(folder, 10)
    assert [n for n in range(14) if in_vain(folder, n, least=12)] == [12, 13]


def test_a_quiet_run_goes_on_while_as_much_moved_lately_as_would_move_the_choice(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [rng.integers(1, 4, PARTICLES) for _ in range(4)]
    rows += [rows[-1]] * 2 + [
        moved(rows[-1], np.arange(PARTICLES) < 5)
    ] * 6  # 2.5 % in one iteration, then none
    folder = write(tmp_path, np.array(rows))
    quiet = [n for n in range(2, len(rows)) if is_quiet(run_of(np.array(rows[: n + 1])))]
    found = [n for n in quiet if in_vain(folder, n)]
    assert quiet[0] < found[0]
    assert found[0] == 11, "when the last five iterations moved nothing"


def test_a_run_that_stays_in_its_random_classes_goes_on_however_quiet_it_is(tmp_path: Path) -> None:
    """Of 180 particles in 4 classes at T = 1 none moved from iteration 5 to 9, and 40 did until the 24th."""
    start = np.random.default_rng(4).integers(1, 4, PARTICLES)
    for share, found in ((0.1, []), (0.2, list(range(8, 12)))):
        then = moved(start, np.arange(PARTICLES) < share * PARTICLES)
        folder = write(tmp_path, np.array([start] * 3 + [then] * 9))
        assert [n for n in range(12) if in_vain(folder, n)] == found


def test_a_run_goes_on_while_the_probabilities_of_classes_change(tmp_path: Path) -> None:
    """Before particles change class, their probabilities do: in one of 78 runs that had been quiet for long enough."""
    rows = [np.random.default_rng(seed).integers(1, 4, PARTICLES) for seed in range(4)]
    for stirred, ends in ((0.0015, True), (0.003, False)):
        folder = write(tmp_path, np.array([*rows, *[rows[-1]] * 8]), stirred)
        assert any(in_vain(folder, n) for n in range(12)) is ends


def test_a_plateau_that_is_not_quiet_never_ends_early() -> None:
    tutorial = pd.read_csv(
        Path(__file__).parents[2] / "workflow/data/tutorial_iterations.tsv", sep="\t", comment="#"
    )
    run = [Iteration(n, 30.0, change, 0, 0, 1, 1, 0, 1) for n, change in enumerate(tutorial["changes"])]
    assert not any(is_quiet(run[:length]) for length in range(1, len(run) + 1))


def test_what_was_saved_is_said_and_nothing_of_a_run_that_went_to_its_end(tmp_path: Path) -> None:
    def said(**how_far: object) -> str:
        (tmp_path / "iterations.json").write_text(json.dumps(how_far))
        return told(tmp_path)

    assert told(tmp_path) == ""
    how_far = {"iterations": 12, "limit": 25, "why": "nothing moved", "seconds_each": 600}
    saved = "The run was stopped at iteration 12 of 25, which saved about 2:10 h: nothing moved."
    assert said(**how_far) == saved
    assert said(**how_far | {"seconds_each": None}) == saved.replace(", which saved about 2:10 h", "")
    assert said(iterations=25, limit=25, why="", seconds_each=600) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(40.4, "40 s"), (59.6, "60 s"), (150, "0:02 h"), (3960, "1:06 h")]
)
def test_a_duration_is_in_hours_and_minutes(seconds: float, text: str) -> None:
    assert duration(seconds) == text
