"""A made-up program that aligns tilt series, and a made-up format of picks: one module each, as any other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stacycle.files import star
from stacycle.inputs import pick_formats, sources
from stacycle.inputs.pick_formats.pick_format import all_formats
from stacycle.inputs.sources.source import all_sources
from stacycle.recipe import config, contradictions
from stacycle.recipe.settings import PICK_FORMATS, SOURCES, Config, InputSet, PickFiles

SOURCE = '''
"""Cairn: NAME.cairn is a table with a row for each tilt, and a line with pixel and size above it."""

import fnmatch

import pandas as pd

from stacycle.errors import UserError
from stacycle.inputs.sources.source import ImportedSeries, Source, Volume


def files(asked):
    return sorted(asked.folder.glob("*.cairn"))


def read(asked, findings):
    if asked.dose is None:
        raise UserError("Cairn does not tell the dose", "set it", f"{asked.label}.dose")
    paths = [one for one in files(asked) if any(fnmatch.fnmatch(one.stem, name) for name in asked.include)]
    return [_read(path, asked, findings) for path in paths]


def _read(path, asked, findings):
    pixel, *size = map(float, path.read_text().split("\\n")[0].split())
    tilts = pd.read_csv(path, sep=" ", skiprows=1)
    if (tilts.rlnTomoYTilt.abs() > 80).any():
        findings.refuse(f"{path}: has a tilt above 80 degrees", "remove it")
    tilts["rlnMicrographPreExposure"] *= asked.dose
    x, y, z = map(int, size)
    taken = {
        "axis": f"{tilts.rlnTomoZRot.mean():.2f}°, mean of {path.name}",
        "dose": f"{asked.dose:g} e/Å², of the config",
        "size": f"{x} x {y} x {z} px, first line of {path.name}",
    }
    volume = Volume(path.with_suffix(".mrc"), (x // 4, y // 4, z // 4), 4 * pixel)
    return ImportedSeries(path.stem, tilts, pixel, (x, y, z), asked.hand or -1, 300.0, 2.7, 0.1, volume, taken)


SOURCE = Source("cairn", "Cairn", read, files)
'''
FORMAT = '''
"""Pebbles: voxels x, y, z, then three angles or none, and the score, of the tomogram that the file is named after."""

import numpy as np

from stacycle.inputs.pick_formats.pick_format import VOXELS, PickFormat, Picks


def read(asked, known, findings):
    return [_read(path, asked) for path in asked.paths]


def _read(path, asked):
    table = np.loadtxt(path, ndmin=2)
    names = np.full(len(table), asked.tomogram or path.stem, object)
    angles = table[:, 3:6] if table.shape[1] > 4 else None
    return Picks(path, names, table[:, :3], VOXELS, np.arange(1, len(table) + 1), angles, score=table[:, -1])


FORMAT = PickFormat("pebbles", "Pebbles", read)
'''


class Pebbles(PickFiles):
    pebbles: Any = None
    """Pebbles."""


class WithCairn(InputSet):
    cairn: str | None = None
    """Folder of Cairn."""
    particles: str | Pebbles


class Configured(Config):
    inputs: list[WithCairn]


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The source and the format, with their lines in the config's keys."""
    for package, name, text in ((sources, "cairn", SOURCE), (pick_formats, "pebbles", FORMAT)):
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "packages" / name)])
    monkeypatch.setattr(config, "config_type", lambda given: Configured)
    monkeypatch.setattr(contradictions, "PickFiles", Pebbles)
    monkeypatch.setattr(contradictions, "SOURCES", (*SOURCES, "cairn"))
    monkeypatch.setattr(contradictions, "PICK_FORMATS", (*PICK_FORMATS, "pebbles"))
    forget()
    yield
    forget()
    for module in ("sources.cairn", "pick_formats.pebbles"):
        sys.modules.pop(f"stacycle.inputs.{module}", None)


def forget() -> None:
    all_sources.cache_clear()
    all_formats.cache_clear()


def as_cairn(one: dict[str, str], folder: str, dose: float = 3.0) -> dict[str, Any]:
    """The tilt series of a native set as Cairn writes them; the picks stay. Returns the set's entry."""
    Path(folder).mkdir()
    for row in star.read(one["tomograms"])["global"].itertuples():
        tilts = star.read(row.rlnTomoTiltSeriesStarFile)[row.rlnTomoName]
        tilts["rlnMicrographPreExposure"] /= dose
        first = [row.rlnTomoTiltSeriesPixelSize, row.rlnTomoSizeX, row.rlnTomoSizeY, row.rlnTomoSizeZ]
        text = tilts.to_csv(sep=" ", index=False)
        Path(folder, f"{row.rlnTomoName}.cairn").write_text(" ".join(map(str, first)) + "\n" + text)
    return {"cairn": folder, "dose": dose, "particles": one["particles"]}


def as_pebbles(one: dict[str, str], folder: str, angles: bool = True) -> dict[str, str]:
    """The picks of a native set as pebbles, in binned voxels; returns `particles` of the set's entry."""
    Path(folder).mkdir()
    table = star.read(one["tomograms"])["global"].set_index("rlnTomoName")
    labels = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"] * angles
    for name, picks in star.read(one["particles"])["particles"].groupby("rlnTomoName"):
        tomogram = table.loc[name]
        size = tomogram[["rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"]].to_numpy(float)
        centred = picks[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]].to_numpy()
        voxels = centred / (4 * tomogram.rlnTomoTiltSeriesPixelSize) + size // 4 / 2
        values = np.column_stack([voxels, picks[labels], np.linspace(0.1, 0.9, len(picks))])
        np.savetxt(Path(folder, f"{name}.pebbles"), values, fmt="%.6f")
    return {"pebbles": f"{folder}/*.pebbles"}


def tables(folder: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The merged particles and tomograms."""
    particles = star.read(f"{folder}/particles.star")["particles"]
    return particles, star.read(f"{folder}/tomograms.star")["global"]
