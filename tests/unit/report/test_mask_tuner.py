"""The map of a mask, to be cut elsewhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from stacycle.decisions.mask import mask_threshold
from stacycle.files import mrc
from stacycle.report.mask_tuner import tuner
from stacycle.report.project import Project

GOLDEN = Path(__file__).parents[2] / "golden/data"
PROJECT = Project(config={"particle": {"diameter": 260}})


def made(folder: Path, map_: Path, threshold: float, *more: str) -> None:
    command = [
        "relion_mask_create",
        "--i",
        str(map_),
        "--o",
        "m.mrc",
        "--ini_threshold",
        str(threshold),
        *more,
    ]
    (folder / "job.json").write_text(json.dumps({"command": " ".join(command)}))


def test_volumes_above_thresholds_are_those_of_the_decision(tmp_path: Path) -> None:
    map_ = GOLDEN / "classify/run_it010_class003.mrc"
    decision = mask_threshold(mrc.voxels(map_), mrc.header(map_).pixel, 45, 260)
    threshold = decision.choice["threshold"]
    made(tmp_path, map_, threshold, "--lowpass", "45")
    found = tuner(PROJECT, str(tmp_path), "rounds.bin4.mask.threshold")
    data = json.loads(found.data)
    volume = np.interp(threshold, data["thresholds"], data["volumes"])
    assert volume == pytest.approx(decision.numbers["volume"], rel=0.05)
    assert data["low"] + found.at / 1000 * (data["high"] - data["low"]) == pytest.approx(threshold, rel=1e-4)
    assert data["sphere"] == pytest.approx(4 / 3 * np.pi * 130**3)
    assert found.line == "rounds: {bin4: {mask: {threshold: @}}}"


def test_the_slices_are_those_of_the_map_as_it_was_cut(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    mrc.write_map(tmp_path / "map.mrc", values, 10)
    made(tmp_path, tmp_path / "map.mrc", 0.5)
    data = json.loads(tuner(PROJECT, str(tmp_path), "rounds.a.mask.threshold").data)
    slices = np.frombuffer(base64.b64decode(data["slices"]), np.uint8).reshape(3, 16, 16)
    grey = data["low"] + slices / 255 * (data["high"] - data["low"])
    for shown, truth in zip(grey, (values[8], values[:, 8], values[:, :, 8]), strict=True):
        assert shown == pytest.approx(truth[::-1], abs=0.02)


def test_without_a_map_or_a_threshold_there_is_none(tmp_path: Path) -> None:
    assert tuner(PROJECT, str(tmp_path), "rounds.a.mask.threshold") is None
    made(tmp_path, tmp_path / "gone.mrc", 0.5)
    assert tuner(PROJECT, str(tmp_path), "rounds.a.mask.threshold") is None
