"""Post-processing half maps that are good up to the last shell, at which relion_postprocess by itself fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stacycle.files import mrc, relion_output
from stacycle.steps import postprocess
from staengine.errors import EngineError
from staengine.programs import postprocess as engine

BOX, PIXEL = 24, 10.0
NYQUIST = 2 * PIXEL
HALVES = [f"run_half{n}_class001_unfil.mrc" for n in (1, 2)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_halves(noise: float) -> None:
    """Half maps of one white structure, each with so much noise; and a mask."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(BOX,) * 3)
    for path in HALVES:
        mrc.write_map(path, (signal + noise * rng.normal(size=signal.shape)).astype(np.float32), PIXEL)
    places = np.indices(signal.shape) - BOX // 2
    distance = np.sqrt((places**2).sum(0))
    mrc.write_map("mask.mrc", np.clip((10 - distance) / 3, 0, 1).astype(np.float32), PIXEL)


def command(step: str = "postprocess") -> list[str]:
    settings = {"bfactor": -50, "autob_lowres": 10, "skip_fsc_weighting": False}
    job = SimpleNamespace(
        input=SimpleNamespace(half_maps=HALVES, mask=["mask.mrc"]),
        output=["postprocess.star"],
        params=SimpleNamespace(step=step, settings=settings),
    )
    return postprocess.command(job, {})


def test_phases_of_too_good_half_maps_are_random_from_three_quarters_of_nyquist() -> None:
    write_halves(noise=0.2)
    argv = command()
    at = float(argv[argv.index("--randomize_at_A") + 1])
    assert at == pytest.approx(NYQUIST / 0.75, rel=1e-4)
    with pytest.raises(EngineError, match="never falls below"):
        engine.main(command("variant_postprocess")[1:])
    assert engine.main(argv[1:]) == 0
    assert relion_output.fsc("postprocess.star").resolution == NYQUIST


@pytest.mark.parametrize("noise", [0.6, 3])
def test_other_half_maps_tell_by_themselves_from_where(noise: float) -> None:
    write_halves(noise)
    assert "--randomize_at_A" not in command()
    assert engine.main(command()[1:]) == 0


def test_a_cycle_looks_at_no_maps() -> None:
    assert "--randomize_at_A" not in command("variant_postprocess")
