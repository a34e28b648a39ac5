"""The hand of a set: which is better, when the data do not tell, and what the next step gets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions import apply_hand
from stacycle.decisions.decision import Decision
from stacycle.decisions.half_maps import compare, sphere
from stacycle.decisions.hand import SURE, hand_of_set
from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.job_folder import OPTIMISATION_SET, STATE_FILE, TOMOGRAMS
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.files.star_labels import ANGLES, CENTRED
from stacycle.provenance import record

BOX, PIXEL, DIAMETER = 32, 8.0, 140.0


def half_maps(seed: int, loss: float, better: int = 1) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Half maps of a hand and of the other, whose signal is damped with the fourth power of the frequency by `loss` at
    Nyquist; nearly all of the noise of the two is the same."""
    rng = np.random.default_rng(seed)
    frequency = np.sqrt(
        sum(np.square(axis) for axis in np.meshgrid(*[np.fft.fftfreq(BOX)] * 3, indexing="ij"))
    )

    def damped(density: np.ndarray, by: np.ndarray) -> np.ndarray:
        return np.fft.ifftn(np.fft.fftn(density) * by).real

    signal = damped(rng.normal(size=(BOX,) * 3), np.exp(-12 * frequency**2)) * 3
    noise, changed = rng.normal(size=(2, BOX, BOX, BOX)), rng.normal(size=(2, 2, BOX, BOX, BOX))
    return {
        hand: tuple(
            damped(signal, 1 - loss * (hand != better) * (2 * frequency).clip(0, 1) ** 4)
            + noise[i]
            + 0.15 * changed[h, i]
            for i in (0, 1)
        )
        for h, hand in enumerate((1, -1))
    }


def found(seed: int, loss: float, better: int = 1, **asked) -> Decision:
    comparison = compare(half_maps(seed, loss, better), PIXEL, sphere(BOX, PIXEL, DIAMETER))
    return hand_of_set("set1", comparison, **{"before": -1, **asked})


@pytest.mark.parametrize("better", [1, -1])
@pytest.mark.parametrize("before", [1, -1])
def test_the_hand_with_which_half_maps_agree_better_is_kept(better: int, before: int) -> None:
    decision = found(1, loss=3, better=better, before=before)
    assert decision.choice == {"set1": better}
    assert decision.by == "rule"
    assert not decision.warnings
    table = decision.candidates.set_index("hand")
    assert table["kept"].to_dict() == {better: True, -better: False}
    assert table.loc[better, "area"] > table.loc[-better, "area"]


@pytest.mark.parametrize("before", [1, -1])
def test_a_hand_that_the_data_do_not_tell_stays_and_is_warned_of(before: int) -> None:
    decision = found(1, loss=0, before=before)
    assert decision.choice == {"set1": before}
    assert "do not tell the hand" in decision.warnings[0]


def test_the_config_has_the_last_word() -> None:
    decision = found(1, loss=3, choice=-1, key="rounds.bin4.hand.choose")
    assert (decision.choice, decision.by) == ({"set1": -1}, "config")
    assert "rounds.bin4.hand.choose" in decision.reason
    assert "+1 is better" in decision.reason


def test_the_error_is_that_of_chance() -> None:
    """Where the hands differ by noise alone, the difference is as large as its standard error says."""
    ratios = []
    for seed in range(40):
        comparison = compare(half_maps(seed, loss=0), PIXEL, sphere(BOX, PIXEL, DIAMETER))
        ratios.append(comparison.errors(comparison.area(1) - comparison.area(-1)))
    assert 0.7 < np.std(ratios) < 1.3
    assert np.max(np.abs(ratios)) < SURE + 0.5


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two sets of one tomogram each, with 5 and 3 particles, and the facts of the inputs."""
    monkeypatch.chdir(tmp_path)
    names = ["A"] * 5 + ["B"] * 3
    tomograms = pd.DataFrame(
        {"rlnTomoName": ["A", "B"], "rlnTomoHand": [1, 1], "rlnTomoTiltSeriesStarFile": ["A.star", "B.star"]}
    )
    for name in ("A", "B"):
        star.write(f"{name}.star", {name: pd.DataFrame({"rlnTomoYTilt": [0.0]})})
    particles = pd.DataFrame({"rlnTomoName": names} | {label: range(8) for label in (*CENTRED, *ANGLES)})
    star.write("particles.star", {"particles": particles})
    star.write(TOMOGRAMS, {"global": tomograms})
    OptimisationSet("particles.star", TOMOGRAMS).write(OPTIMISATION_SET)
    record.adopt(OPTIMISATION_SET)
    facts = {"tomograms": [{"name": "A", "set": "one"}, {"name": "B", "set": "two"}]}
    Path("preflight.json").write_text(json.dumps(facts))
    return OPTIMISATION_SET


def test_a_candidate_has_the_particles_of_its_set_alone_in_two_half_sets(state: str) -> None:
    names = apply_hand.tomograms_of("preflight.json", "one")
    apply_hand.write_candidate(state, "one/minus", names, -1)
    files = OptimisationSet.read("one/minus/optimisation_set.star")
    particles = star.read(files.particles)["particles"]
    assert particles["rlnTomoName"].tolist() == ["A"] * 5
    assert sorted(particles["rlnRandomSubset"]) == [1, 1, 1, 2, 2]
    tomograms = star.read(files.tomograms)["global"]
    assert (tomograms["rlnTomoName"].tolist(), tomograms["rlnTomoHand"].tolist()) == (["A"], [-1])
    assert Path("one/minus", STATE_FILE).exists()


def test_a_set_whose_particles_are_all_gone_is_refused_in_a_sentence(state: str) -> None:
    with pytest.raises(UserError, match=r"give the hand of their set"):
        apply_hand.write_candidate(state, "none/minus", ["C"], -1)


def test_the_next_step_gets_the_hands_that_were_chosen_and_the_same_particles(state: str) -> None:
    names = {"two": ["B"]}
    assert apply_hand.hands_before(state, names) == {"two": 1}
    decision = Decision("Hand", {"two": -1}, "rule", "")
    Path("hand").mkdir()
    apply_hand.write_chosen(decision, state, "hand", names)
    files = OptimisationSet.read("hand/optimisation_set.star")
    assert files.particles == "particles.star"
    assert star.read(files.tomograms)["global"]["rlnTomoHand"].tolist() == [1, -1]
    again = json.loads(Path("hand", STATE_FILE).read_text())
    apply_hand.write_chosen(decision, state, "hand", names)
    assert json.loads(Path("hand", STATE_FILE).read_text()) == again
