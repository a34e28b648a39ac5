"""What a CTF refinement or polishing was cut off in: RELION's own files, which it would believe without a word."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.errors import ProgramFailed
from stacycle.jobs import fingerprint, resume
from stacycle.programs import shared, verify
from stacycle.programs.command import Command

GOLDEN = Path(__file__).parents[2] / "golden/data"
# RELION 5.0.1's own, of tomogram TS_01: by program and flags, its temporary files, the first the one that it looks for.
LEFT = {
    "relion_tomo_refine_ctf --do_defocus --do_scale": ["defocus/TS_01.star", "scale/TS_01.star"],
    "relion_tomo_align --motion": ["TS_01_projections.star", "TS_01_positions.star", "TS_01_motion.star"],
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cut_off(command: str) -> list[str]:
    found = shared.cut_off(Command.of(command.split()), Path("job"))
    return [str(path.relative_to("job/temp")) for path in found]


@pytest.mark.parametrize("command", LEFT)
def test_relions_own_whole_files_are_gone_on_from(command: str) -> None:
    shutil.copytree(GOLDEN / "temp", "job/temp")
    assert cut_off(command) == []


def damaged(whole: bytes) -> list[bytes]:
    """A file cut at any byte, some blocks of it never written, or with all its numbers 0."""
    step = 1 if len(whole) < 2500 else 97
    cuts = [whole[:at] for at in [*range(0, len(whole), step), *range(len(whole) - 40, len(whole))]]
    unwritten = [whole[:at] + bytes(len(whole) - at) for at in (0, 200, len(whole) // 2, len(whole) - 1)]
    table = re.sub(rb"(?m)^ *-?\d.*$", lambda row: re.sub(rb"[1-9]", b"0", row[0]), whole)
    return [*cuts, *unwritten, table]


@pytest.mark.parametrize(("command", "name"), [(command, name) for command in LEFT for name in LEFT[command]])
def test_a_file_that_is_not_whole_goes_with_the_one_that_relion_looks_for(command: str, name: str) -> None:
    shutil.copytree(GOLDEN / "temp", "job/temp")
    path = Path("job/temp", name)
    for number, left in enumerate(damaged(path.read_bytes())):
        path.write_bytes(left)
        assert {name, LEFT[command][0]} <= set(cut_off(command)), f"damage {number}: {left[-40:]!r}"


def test_a_stack_whose_end_was_never_written_is_extracted_again() -> None:
    stack = Path("job/Subtomograms/TS_01/1_stack2d.mrcs")
    stack.parent.mkdir(parents=True)
    with mrcfile.new(stack) as file:
        file.set_data(np.random.default_rng(1).standard_normal((7, 16, 16)).astype(np.float16))
    command = Command.of(["relion_tomo_subtomo", "--o", "job/"])
    assert shared.cut_off(command, Path("job")) == []
    whole = stack.read_bytes()
    for left in (b"", whole[:-1], whole[:1024], whole[:2000] + bytes(len(whole) - 2000), bytes(len(whole))):
        stack.write_bytes(left)
        assert shared.cut_off(command, Path("job")) == [stack]


def test_relions_reconstruction_begins_anew_and_says_so_for_it_cannot_continue() -> None:
    words = "relion_tomo_reconstruct_particle --o job/ --b 24"
    command, folder = Command.of(words.split()), Path("job")
    folder.mkdir()
    (folder / "run.out").touch()
    print_ = fingerprint.take(command, folder, "relion", fingerprint.Digests())
    record = {"fingerprint": print_, "ended_well": False, "runs": [{"exit_status": -9}]}
    plan = resume.examine(command, folder, record, print_)
    assert plan.argv == words.split()
    assert "begins anew" in plan.why


# ------------------------------------------------------------ what came of it


def columns_of(path: str, label: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change one column of the only table that has the label, row by row."""
    lines = Path(path).read_text().splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith(f"_{label} #"))
    at = int(lines[head].split()[1][1:]) - 1
    rows = [n for n, line in enumerate(lines) if n > head and line.strip() and line[0] not in "_#"]
    for n, new in zip(rows, change([lines[n].split()[at] for n in rows]), strict=True):
        words = lines[n].split()
        lines[n] = " ".join([*words[:at], new, *words[at + 1 :]])
    Path(path).write_text("\n".join(lines) + "\n")


def nothing(values: list[str]) -> list[str]:
    return ["0.000000"] * len(values)


def second(new: str) -> Callable[[list[str]], list[str]]:
    return lambda values: [values[0], new, *values[2:]]


CTF = "cycle/ctf/input/tilt_series/TS_01.star"
POLISHED = "cycle/polish/cycle/ctf/input/tilt_series/TS_01.star"


@pytest.mark.parametrize("step", ["ctf", "polish"])
def test_what_relion_made_itself_is_not_refused(step: str, project: Path) -> None:
    look_at(step, project)


@pytest.mark.parametrize(
    ("step", "path", "label", "change", "told"),
    [
        ("ctf", CTF, "rlnDefocusU", nothing, "rlnDefocusU is 0 for all tilts"),
        ("ctf", CTF, "rlnCtfScalefactor", nothing, "rlnCtfScalefactor is 0 for all tilts"),
        ("ctf", CTF, "rlnDefocusV", second("0.000000"), "rlnDefocusV is 0 Å in row 2, and was"),
        ("ctf", CTF, "rlnDefocusU", second("385"), "rlnDefocusU is 385 Å in row 2, and was"),
        ("polish", POLISHED, "rlnTomoXShiftAngst", nothing, "rlnTomoXShiftAngst is 0 for all tilts"),
        ("polish", POLISHED, "rlnTomoYTilt", nothing, "rlnTomoYTilt is 0 for all tilts"),
        (
            *("polish", "cycle/polish/particles.star", "rlnCenteredCoordinateYAngst", nothing),
            "rlnCenteredCoordinateYAngst is 0 for all particles of TS_01",
        ),
    ],
)
def test_what_no_refinement_makes_is_refused(
    step: str, path: str, label: str, change: Callable, told: str, project: Path
) -> None:
    with pytest.raises(ProgramFailed, match=told):
        look_at(step, project, lambda: columns_of(path, label, change))


def test_motion_of_which_nothing_is_left_is_refused(project: Path) -> None:
    def forget() -> None:
        path = Path("cycle/polish/motion.star")
        text = path.read_text()
        path.write_text(re.sub(r"(?m)^ *-?\d.*$", "0.0 0.0 0.0", text))

    with pytest.raises(ProgramFailed, match=r"motion\.star: no particle of TS_01 moves at all"):
        look_at("polish", project, forget)


def look_at(step: str, project: Path, damage: Callable[[], None] = lambda: None) -> None:
    """What RELION wrote, damaged, as it is looked at when the program has ended with exit status 0."""
    for name in ("input", "extract", "refine", "cycle"):
        ignored = shutil.ignore_patterns("Subtomograms", "run_it*")
        shutil.copytree(GOLDEN / name, project / name, ignore=ignored, dirs_exist_ok=True)
    damage()
    verify.check_outputs(Command.of(shlex.split((GOLDEN / f"logs/{step}.command").read_text())), [], [])
