"""Where scores of particles are cut: below a clearly lower group, or nowhere."""

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions.score import decide_cut

KEY = "rounds.bin4.score.cut"


def scores(true, junk, seed=1, apart=1.0):
    """True scores of mean 1, and of junk below them."""
    rng = np.random.default_rng(seed)
    found = np.concatenate([rng.normal(1, 0.1, true), rng.normal(1 - 0.8 * apart, 0.1, junk)])
    return pd.DataFrame({"score": rng.permutation(found)})


@pytest.mark.parametrize("junk", [5, 30, 60])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_clearly_lower_group_is_cut(junk: int, seed: int) -> None:
    decision, table = decide_cut(scores(150, junk, seed), "auto", KEY)
    assert decision.choice["flagged"] == table["flagged"].sum() == junk
    assert decision.choice["kept"] == 150
    assert 0.4 < decision.choice["cut"] < 0.8
    assert (decision.by, decision.warnings) == ("rule", [])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["none", "two conformations", "long tail", "all alike", "few"])
def test_what_is_no_junk_stays(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = {
        "none": scores(150, 0, seed),
        "two conformations": scores(100, 50, seed, apart=0.35),
        "long tail": pd.DataFrame({"score": 1.2 - rng.exponential(0.2, 200)}),
        "all alike": pd.DataFrame({"score": [0.7] * 200}),
        "few": scores(10, 5, seed),
    }[kind]
    decision, table = decide_cut(given, "auto", KEY)
    assert decision.choice == {"cut": None, "flagged": 0, "kept": len(given)}
    assert decision.reason.startswith("All stay")
    assert not table["flagged"].any()


def test_null_flags_and_leaves_out_none() -> None:
    decision, table = decide_cut(scores(150, 30), None, KEY)
    assert decision.choice == {"cut": None, "flagged": 30, "kept": 180}
    assert table["flagged"].sum() == 30
    assert decision.by == "config"
    assert decision.reason.endswith("They are flagged only (rounds.bin4.score.cut: null).")


def test_the_config_may_say_the_score() -> None:
    decision, table = decide_cut(scores(150, 30), 0.9, KEY)
    assert decision.choice["flagged"] == (table["score"] < 0.9).sum() > 30
    assert decision.reason.startswith(
        f"The config asks for it ({KEY}); the rule: Particles that score less than"
    )


def test_a_cut_of_many_is_warned_of() -> None:
    decision, _ = decide_cut(scores(100, 90), "auto", KEY)
    assert decision.choice["flagged"] == 90
    assert decision.warnings == [
        "47% of the particles score low and are left out: look at the histogram, and set rounds.bin4.score.cut: null "
        "to keep them."
    ]
