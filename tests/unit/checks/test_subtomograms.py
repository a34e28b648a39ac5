"""Particles extracted in 3D: a cube of each, with its weights, as relion_tomo_subtomo writes without --stack2d.

The sizes of the weights are those of its source; of its own files, the table of 34 particles is here.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.checks.images import check_stacks
from stacycle.checks.tables import StateFiles
from stacycle.errors import ProgramFailed, UserError
from stacycle.files import star
from stacycle.programs import shared, subtomo, verify
from stacycle.programs.command import Command

GOLDEN = Path(__file__).parents[2] / "golden/data"
BOX = 24
COMMAND = (
    "relion_tomo_subtomo --p input/particles.star --t input/tomograms.star --theme classic --o extract/ --b 24 --bin 4 "
    "--float16"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The inputs of golden/, and an extraction of them in 3D, of noise."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input").symlink_to(GOLDEN / "input")
    tables = star.read(GOLDEN / "extract/particles.star")
    table = tables["particles"].drop(columns="rlnTomoVisibleFrames")
    names = [f"extract/Subtomograms/{name}" for name in table["rlnTomoParticleName"]]
    images, weights = [f"{name}_data.mrc" for name in names], [f"{name}_weights.mrc" for name in names]
    tables["particles"] = table.assign(rlnImageName=images, rlnCtfImage=weights)
    tables["optics"] = tables["optics"].assign(rlnImageDimensionality=3)
    noise = np.random.default_rng(1).standard_normal((2 * BOX, BOX, BOX)).astype(np.float16)
    for path in (images[0], weights[0]):
        write(path, noise[:BOX] if path in images else np.ascontiguousarray(noise[..., : BOX // 2 + 1]))
    for mine, first in ((images, images[0]), (weights, weights[0])):
        for path in mine[1:]:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            os.link(first, path)
    star.write("extract/particles.star", tables)
    (tmp_path / "extract/optimisation_set.star").write_text(
        (GOLDEN / "extract/optimisation_set.star").read_text()
    )
    return tmp_path


def write(path: str, values: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)
    with mrcfile.new(path) as file:
        file.set_data(values)
        file.voxel_size = 20


def extracted(flags: str = "") -> None:
    said = (GOLDEN / "logs/extract.log").read_text().splitlines()
    verify.check_outputs(Command.of(shlex.split(f"{COMMAND} {flags}")), ["extract/particles.star"], said)


def test_relions_own_table_says_that_its_particles_are_3d() -> None:
    files = StateFiles(str(GOLDEN / "subtract/particles_subtracted.star"), "", None)
    assert files.in_3d
    assert files.box_and_pixel == (24, 20)
    assert not StateFiles(str(GOLDEN / "extract/particles.star"), "", None).in_3d


def test_pseudo_subtomograms_and_their_weights_are_accepted(project: Path) -> None:
    extracted()
    check_stacks(StateFiles("extract/particles.star", "input/tomograms.star", None))


FIRST = "extract/Subtomograms/TS_01/1"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda: write(f"{FIRST}_data.mrc", np.ones((21, 24, 24), np.float16)),
            f"{FIRST}_data.mrc: has 24 x 24 x 21 px, but extract/particles.star says a box of 24, which takes "
            "24 x 24 x 24; extract again.",
        ),
        (
            lambda: write(f"{FIRST}_weights.mrc", np.ones((24, 24, 13), np.float16)),
            f"{FIRST}_weights.mrc: has 13 x 24 x 24 px, but extract/particles.star says a box of 24, which takes "
            "13 x 24 x 48; extract again.",
        ),
        (Path(f"{FIRST}_weights.mrc").unlink, f"{FIRST}_weights.mrc: there is no such file"),
        (
            lambda: os.truncate(copied(f"{FIRST}_data.mrc"), 5000),
            f"{FIRST}_data.mrc: is cut short, 5000 of 28672 bytes",
        ),
        (
            lambda: rename("rlnCtfImage"),
            "extract/particles.star: table data_particles has no column rlnCtfImage",
        ),
        (
            lambda: write(
                "extract/Subtomograms/TS_01/32_data.mrc", np.full((24, 24, 24), np.nan, np.float16)
            ),
            "32_data.mrc: 13824 of its 13824 voxels are no finite numbers",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Data array contains NaN values")
def test_damage_is_told_in_one_sentence(project: Path, damage: Callable[[], object], said: str) -> None:
    damage()
    with pytest.raises(ProgramFailed) as raised:
        extracted()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def copied(path: str) -> str:
    """A file of its own in place of a hard link."""
    whole = Path(path).read_bytes()
    Path(path).unlink()
    Path(path).write_bytes(whole)
    return path


def rename(label: str) -> None:
    path = Path("extract/particles.star")
    path.write_text(path.read_text().replace(label, "rlnX"))


def test_what_was_not_asked_for_is_refused(project: Path) -> None:
    with pytest.raises(
        UserError, match="images are pseudo-subtomograms, but 2D stacks were asked for; run it again"
    ):
        extracted("--stack2d")


def test_a_pseudo_subtomogram_goes_again_if_its_weights_are_not_whole(project: Path) -> None:
    command = Command.of(shlex.split(COMMAND))
    assert not command.record.go_on(command, Path("extract"), "relion").remove
    os.truncate(copied(f"{FIRST}_weights.mrc"), 5000)
    Path("extract/Subtomograms/TS_02/3_weights.mrc").unlink()
    found = command.record.go_on(command, Path("extract"), "relion")
    assert "--only_do_unfinished" in found.argv
    assert [str(path) for path in found.remove] == [
        f"{FIRST}_data.mrc",
        f"{FIRST}_weights.mrc",
        "extract/Subtomograms/TS_02/3_data.mrc",
    ]
    assert shared.cut_off(command, Path("extract")) == []


def test_stack2d_is_the_only_flag_that_tells_them_apart() -> None:
    given = {"particles": "p", "tomograms": "t", "out": "o", "box": 24, "binning": 4, "threads": 1}
    flat, cubes = (subtomo.argv(**given, stack2d=stack2d) for stack2d in (True, False))
    assert [word for word in flat if word != "--stack2d"] == cubes
