"""What is imported averages to the same map as RELION 5's own files; an import's faults are seen in it, or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from foreign import (
    aretomo3,
    copick,
    dynamo,
    imod,
    imod_model,
    motive_lists,
    scipion,
    simulated,
    star_picks,
    warp,
)
from foreign.aretomo3 import Run
from foreign.imod import Etomo
from foreign.pick_volume import PickVolume
from foreign.truth import Picks, Series
from foreign.warp import WarpProject

import hand
import import_faults
from import_faults import FAULTS, NONE, SET, SIMULATED, Agreement, Tables, agreement, average
from stacycle.__main__ import main
from stacycle.files import star
from stacycle.files.star_labels import ANGLES
from staengine.simulation.simulate import simulate

pytestmark = pytest.mark.slow
NAMES = {"TS_01": "Position_1", "TS_02": "24jul16a_Position_1.2-b"}
EXCLUDED, DARK = 4, 17  # images
BOX = 32  # of maps that are compared with each other
VOLUME = PickVolume((80, 80, 200), 10.0)  # the tomogram, binned by 4


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The simulated set, in a folder where all of this happens."""
    with contextlib.chdir(tmp_path_factory.mktemp("imported")):
        simulate(SET)
        yield


@cache
def tables() -> Tables:
    """The simulated set under odd names, with the digits that most formats have."""
    return simulated.renamed(simulated.rounded(Tables.read(SIMULATED)), NAMES)


@cache
def all_series(excluded: bool = True) -> list[Series]:
    """The tilt series, each with an image that is dark and, if asked, one that is excluded."""
    masks = np.zeros((2, len(tables().tilts["Position_1"])), bool)
    masks[0, EXCLUDED], masks[1, DARK] = excluded, True
    series = simulated.all_series(tables(), SET.dose)
    return [replace(one, excluded=masks[0], dark=masks[1]) for one in series]


@cache
def picks() -> list[Picks]:
    return simulated.all_picks(tables(), all_series())


@cache
def native(excluded: bool = True, scale: bool = False) -> tuple[str, np.ndarray]:
    """RELION 5's own particles' file, and the average of it and the files beside it."""
    folder = Path(f"native_{excluded}_{scale}")
    simulated.used(tables(), all_series(excluded), scale).write(folder)
    return f"{folder}/particles.star", average(folder, folder / "average", BOX)


def run_import(entry: dict[str, Any], out: str) -> int:
    """The exit status of `stacycle import` of a config with this set."""
    Path("config.yaml").write_text(yaml.safe_dump({"inputs": [entry]}))
    return main(["import", "config.yaml", out])


def imported(entry: dict[str, Any], out: str) -> Path:
    """The folder into which a set is imported."""
    assert run_import(entry, out) == 0
    return Path(out)


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference of two maps, over that of the one that is wanted."""
    return float(np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)))


# ------------------------------------------------------------------ sources


class Way(NamedTuple):
    """How a program's folder is written, what the config says beside its key, and by how much maps may differ."""

    key: str
    write: Callable[[Path, list[Series]], Path]
    keys: dict[str, Any]
    most: float = 0
    excluded: bool = True
    scale: bool = False


def one_by_one(write: Callable[[Path, Series], object]) -> Callable[[Path, list[Series]], Path]:
    """Writes tilt series into one folder, which is returned."""

    def write_all(folder: Path, series: list[Series]) -> Path:
        for one in series:
            write(folder, one)
        return folder

    return write_all


ARETOMO2 = Run(2, ctf_rows="kept", df_hand=None, order="mdoc")  # an order without images that it never got
SIZE = [SET.size, SET.size, SET.depth]
ALL = {"dose": 3, "hand": -1, "size": SIZE, "voltage": 300, "cs": 2.7, "amplitude_contrast": 0.1}
write_aretomo3 = one_by_one(aretomo3.write)
write_aretomo2 = one_by_one(lambda folder, one: aretomo3.write(folder, one, ARETOMO2))
write_warptools = one_by_one(lambda folder, one: warp.write(WarpProject(folder), one))
write_warp_1 = one_by_one(lambda folder, one: warp.write(WarpProject(folder, old=True), one))
write_imod = one_by_one(lambda folder, one: imod.write(Etomo(folder / one.name), one))
WAYS = {
    "AreTomo3": Way("aretomo3", write_aretomo3, {"dose": 3}),
    "AreTomo2": Way("aretomo3", write_aretomo2, ALL, excluded=False),
    "WarpTools": Way("warp", write_warptools, {}),
    "Warp_1": Way("warp", write_warp_1, {"size": SIZE}),
    "IMOD": Way("imod", write_imod, {"dose": 3, "hand": -1}, most=1e-3),  # its defocus has steps of 1 Å
    "Scipion": Way("scipion", scipion.write, {}, scale=True),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_average_of_a_source_is_that_of_the_native_files(name: str, record_property: Any) -> None:
    way = WAYS[name]
    picked, wanted = native(way.excluded, way.scale)
    folder = way.write(Path(name), all_series(way.excluded))
    out = imported({way.key: str(folder), "particles": picked, **way.keys}, f"imported/{name}")
    found = difference(average(out, out / "average", BOX), wanted)
    record_property(f"average of tilt series of {name}, difference from the native one's", f"{found:.1e}")
    assert found <= way.most


# ------------------------------------------------------------------ picks


def each(write: Callable[..., object], ending: str, *more: Any) -> Callable[[Path], list[str]]:
    """Writes a file for each tomogram, which is named by it."""

    def files(folder: Path) -> list[str]:
        paths = [folder / f"{one.series.name}{ending}" for one in picks()]
        for path, one in zip(paths, picks(), strict=True):
            write(path, one, *more)
        return list(map(str, paths))

    return files


def numbered(write: Callable[..., object], file: str, *more: Any) -> Callable[[Path], list[str]]:
    """Writes one file with tomograms by their numbers, and a list of these."""

    def files(folder: Path) -> list[str]:
        write(folder / file, dict(enumerate(picks(), 1)), VOLUME, *more)
        names = {number: f"{one.series.name}.mrc" for number, one in enumerate(picks(), 1)}
        dynamo.write_list(folder / "names.doc", names)
        return [str(folder / file), str(folder / "names.doc")]

    return files


def write_copick(folder: Path) -> str:
    for one in picks():
        copick.write(folder, one, VOLUME)
    return str(folder)


def write_text(path: Path, one: Picks) -> None:
    path.parent.mkdir(exist_ok=True)
    np.savetxt(path, VOLUME.index(one), fmt="%.5f")


STARS: dict[str, Callable[[Path], Any]] = {
    "RELION_5": each(star_picks.relion5, ".star"),
    "RELION_5_shifted": each(star_picks.relion5, ".star", True),
    "RELION_4": each(star_picks.relion4, ".star", True),
    "RELION_3": each(star_picks.relion3, ".star", PickVolume((0, 0, 0), 5.0), True),
    "pytom": each(star_picks.pytom, "_particles.star", VOLUME),
    "pytom_for_RELION_5": each(star_picks.pytom_relion5, "_particles.star", VOLUME),
    "WarpTools": each(star_picks.warp_export, ".star", 5.0),
    "WarpTools_match": each(star_picks.warp_match, "_10.00Apx_ribosome.star"),
    "M": each(star_picks.m_species, "_particles.star"),
}
FORMATS: dict[str, Callable[[Path], Any]] = {
    "dynamo": numbered(dynamo.write, "picks.tbl", 9),
    "em": numbered(motive_lists.write_em, "motl.em", "<", "f8"),
    "stopgap": numbered(motive_lists.write_stopgap, "motl.star"),
    "copick": write_copick,
    "imod": each(imod_model.write, ".mod", VOLUME),
    "text": each(write_text, ".coords"),
}
UNITS = {"text": {"unit": "px"}}
WITHOUT_ANGLES = {"imod", "text"}
# Positions have steps of 0.005 Å, and of a millionth of the tomogram.
MOST = {"WarpTools": 1e-3, "WarpTools_match": 2e-4}


@cache
def tomograms() -> Path:
    """AreTomo3's folder, with tomograms in which picks are made."""
    return write_aretomo3(Path("tomograms"), all_series())


@pytest.mark.parametrize("name", [*STARS, *FORMATS])
def test_the_average_of_picks_is_that_of_the_native_ones(name: str, record_property: Any) -> None:
    write, folder = (STARS | FORMATS)[name], Path("picks", name)
    (_, wanted), files = native(), write(folder)
    particles = files if name in STARS else {name: files} | UNITS.get(name, {})
    entry = {"aretomo3": str(tomograms()), "dose": 3, "particles": particles}
    out = imported(entry, f"imported/picks_{name}")
    if name in WITHOUT_ANGLES:
        placed = star.read(out / "particles.star")["particles"]
        assert (placed[ANGLES] == 0).all(axis=None)
        placed[ANGLES] = tables().particles[ANGLES]
        star.write(out / "particles.star", {"particles": placed})
    found = difference(average(out, out / "average", BOX), wanted)
    record_property(f"average of picks of {name}, difference from the native one's", f"{found:.1e}")
    assert found <= MOST.get(name, 3e-5)


# ------------------------------------------------------------------ faults


@pytest.fixture(scope="module")
def measured() -> dict[str, Agreement]:
    return import_faults.measure()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_an_import_is_seen_in_the_average(
    name: str, measured: dict[str, Agreement], record_property: Any
) -> None:
    sound, found = measured[NONE], measured[name]
    record_property(f"mean FSC to truth, {name}", f"{found.mean:.3f}, without {sound.mean:.3f}")
    assert found.mean < sound.mean - 0.04
    assert found.angst > sound.angst


def test_a_map_that_is_mirrored_as_a_whole_is_as_good_as_the_truths_mirror_image(
    measured: dict[str, Agreement],
) -> None:
    *_, all_mirrored, and_hand = measured.values()
    assert and_hand.mirrored == pytest.approx(measured[NONE].mean, abs=1e-3)
    assert all_mirrored.mirrored == pytest.approx(measured["hand"].mean, abs=1e-3)


def test_either_hand_gives_as_good_an_average_if_it_is_the_right_one(
    measured: dict[str, Agreement], record_property: Any
) -> None:
    folder = Path("other")
    simulate(replace(SET, o=folder, hand=1))
    assert (Tables.read(folder).tomograms.rlnTomoHand == 1).all()
    found = agreement(average(folder, folder / "average"))
    record_property("mean FSC to truth, simulated with hand 1", f"{found.mean:.3f}")
    assert found.mean == pytest.approx(measured[NONE].mean, abs=0.02)


def test_a_hand_that_is_not_known_is_found_whatever_the_files_say() -> None:
    folder = Path("noisy")
    simulate(replace(SET, o=folder, snr=1, particles=40))
    for said in (1, -1):
        tables = Tables.read(folder)
        tables.tomograms["rlnTomoHand"] = said
        tables.write(project := Path(f"said{said}"))
        decision = hand.of_set(project, binning=1, box=import_faults.BOX, diameter=SET.diameter)
        assert decision.choice == {"set": SET.hand}
        assert not decision.warnings


def test_angles_of_a_tomogram_that_is_mirrored_along_z_are_refused(capsys: Any) -> None:
    for one in all_series():
        aretomo3.write(Path("mirrored"), one, Run(session={}, flip=2))
    entry = {"aretomo3": "mirrored", "dose": 3, "particles": STARS["pytom"](Path("picks", "mirrored"))}
    assert run_import(entry, "imported/mirrored") == 2
    assert "mirror image" in capsys.readouterr().err
