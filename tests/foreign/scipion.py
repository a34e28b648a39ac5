"""Scipion's STAR files for RELION 5 (reliontomo): its paths, its :mrcs behind images, its sizes such as 4092.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreign.star_picks import _table, _write
from foreign.truth import Series, write_mrc, write_stack

RUN = "Runs/000815_ProtRelionTomoExport/extra"


def write(project: Path, several: list[Series], doubled: bool = True, volume: bool = False) -> Path:
    """A project of Scipion with the stacks that it imported and the export; returns the export's folder."""
    folder = project / RUN
    lists = []
    for series in several:
        stack = f"Runs/000002_ProtImportTs/extra/{series.name}.mrc"
        write_stack(project / stack, series)
        _write_series(folder / "tilt_series" / f"{series.name}.star", series, stack)
        if volume:
            write_mrc(
                project / _volume(series),
                np.zeros([n // 4 for n in series.size[::-1]], np.float32),
                series.pixel * 4,
            )
        lists.append(series)
    first = lists[0]
    where = f"{RUN}/{RUN}" if doubled else RUN
    table = _table(
        rlnTomoName=[one.name for one in lists],
        rlnVoltage=[one.voltage for one in lists],
        rlnSphericalAberration=[one.cs for one in lists],
        rlnAmplitudeContrast=[one.amplitude_contrast for one in lists],
        rlnMicrographOriginalPixelSize=[one.pixel for one in lists],
        rlnTomoHand=[one.hand for one in lists],
        rlnOpticsGroupName=["optics1" for _ in lists],
        rlnTomoTiltSeriesPixelSize=[one.pixel for one in lists],
        rlnTomoTiltSeriesStarFile=[f"{where}/tilt_series/{one.name}.star" for one in lists],
        rlnEtomoDirectiveFile=["FileNotFound" for _ in lists],
        rlnTomoTomogramBinning=[4.0 for _ in lists],
        **{f"rlnTomoSize{axis}": [float(one.size[at]) for one in lists] for at, axis in enumerate("XYZ")},
        rlnTomoReconstructedTomogram=[_volume(one) if volume else "FileNotFound" for one in lists],
    )
    assert first.pixel
    _write(folder / "tomograms.star", {"global": table})
    return folder


def _volume(series: Series) -> str:
    return f"Runs/000600_ProtImodTomoReconstruction/extra/{series.name}.mrc"


def _write_series(path: Path, series: Series, stack: str) -> None:
    kept = series.kept
    table = _table(
        rlnMicrographMovieName=["FileNotFound" for _ in kept],
        rlnTomoTiltMovieFrameCount=[1 for _ in kept],
        rlnTomoNominalStageTiltAngle=series.tilt[kept],
        rlnTomoNominalTiltAxisAngle=series.axis[kept],
        rlnMicrographPreExposure=series.exposure[kept],
        rlnTomoNominalDefocus=series.defocus[kept, 0] / 1e4,
        rlnMicrographName=[f"{at + 1}@{stack}:mrcs" for at in kept],
        rlnCtfImage=["FileNotFound" for _ in kept],
        rlnDefocusU=series.defocus[kept, 0],
        rlnDefocusV=series.defocus[kept, 1],
        rlnDefocusAngle=series.defocus[kept, 2],
        rlnPhaseShift=series.phase[kept],
        rlnTomoXTilt=[0.0 for _ in kept],
        rlnTomoYTilt=series.tilt[kept],
        rlnTomoZRot=series.axis[kept],
        rlnTomoXShiftAngst=series.shift[kept, 0] * series.pixel,
        rlnTomoYShiftAngst=series.shift[kept, 1] * series.pixel,
        rlnCtfScalefactor=np.cos(np.radians(series.tilt[kept])),
    )
    _write(path, {series.name: table})
