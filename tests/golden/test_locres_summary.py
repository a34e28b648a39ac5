"""What the step says of RELION 5.0.1's own local resolutions, beside the histogram that RELION prints of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stacycle.decisions.local_resolution import inside, summary
from stacycle.errors import ProgramFailed, UserError
from stacycle.files import mrc
from stacycle.programs import verify
from stacycle.programs.command import Command

GOLDEN = Path(__file__).parent / "data"
MAP = GOLDEN / "locres/bin4/relion_locres.mrc"
FLAGS = "--locres_sampling 25 --locres_maskrad 12.5 --locres_edgwidth 25 --locres_randomize_at 25 --locres_minres 50"


def test_percentiles_are_those_that_relion_prints() -> None:
    said = re.search(
        r"Q1: (\S+) Median: (\S+) Q3: (\S+)", (GOLDEN / "locres/logs/locres_bin4.log").read_text()
    )
    assert said
    within = inside(mrc.voxels(GOLDEN / "mask/mask.mrc"), 24, 20, 180)
    decision = summary(mrc.voxels(MAP), within, nyquist=40, coarsest=50, reached=45, key="k")
    found = decision.candidates.set_index("percent")["resolution"]
    assert [found[percent] for percent in (25, 50, 75)] == pytest.approx(
        [*map(float, said.groups())], abs=0.03
    )


def test_maps_of_relion_pass_but_not_the_lengths_that_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its defaults at 20 Å/px: exit status 0, and phases that are never random."""
    monkeypatch.chdir(GOLDEN)
    words = (
        f"relion_postprocess --locres --i refine/run_half1_class001_unfil.mrc --o locres/bin4/relion {FLAGS}"
    )
    command = Command.of(words.split())
    verify.check_outputs(command, [MAP], [])
    with pytest.raises(UserError, match="phases beyond 25 Å are none in these half maps of 20 Å/px"):
        verify.check_inputs(command)
    with pytest.raises(ProgramFailed, match="not within 40 to 45 Å"):
        verify.check_outputs(Command.of([*words.split()[:-1], "45"]), [MAP], [])
