"""Any damage of a STAR file or an MRC map is refused with a sentence, or read for what it says; never a traceback."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacycle.errors import UserError
from stacycle.files import mrc, star
from stacycle.programs import verify
from stacycle.programs.command import Command

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
STARS = [
    *("input/particles.star", "input/tomograms.star", "input/tilt_series/TS_01.star"),
    *("extract/particles.star", "extract/optimisation_set.star", "align/run_it005_model.star"),
    *("postprocess/postprocess.star", "cycle/polish/tomograms.star"),
]
# Which step reads which file.
READ_BY = {
    "extract": ["input/particles.star", "input/tomograms.star", "input/tilt_series/TS_01.star"],
    "align": ["extract/particles.star", "extract/optimisation_set.star"],
    "ctf": ["cycle/before/postprocess.star", "refine/run_data.star", "refine/run_optimisation_set.star"],
    "polish_rec": ["cycle/polish/motion.star", "cycle/polish/tomograms.star"],
}
MAPS_READ_BY = {
    "extract": ["input/tilt_series/TS_01.mrcs"],
    "align": ["average/merged.mrc", "extract/Subtomograms/TS_01/4_stack2d.mrcs"],
    "mask": ["classify/run_it010_class003.mrc"],
    "postprocess": ["mask/mask.mrc", "refine/run_half1_class001_unfil.mrc"],
}
Damage = Callable[[bytes], bytes]
# A folder per test, made anew for each example by replacing the one damaged file.
examples = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def of_bytes(draw: st.DrawFn, within: int = 1 << 30) -> Damage:
    """Cut at any byte, or some bytes changed, within the first so many."""
    at = draw(
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)
    )
    cut = draw(st.booleans())

    def damage(old: bytes) -> bytes:
        reach = min(within, len(old))
        if cut:
            return old[: int(at[0][0] * len(old))]
        new = bytearray(old)
        for place, value in at:
            new[int(place * reach)] = value
        return bytes(new)

    return damage


@st.composite
def of_lines(draw: st.DrawFn) -> Damage:
    """Lines dropped, doubled or swapped, or replaced by what may stand in their place."""
    where = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=3))
    how = draw(st.sampled_from(["drop", "double", "swap", "other"]))
    other = draw(
        st.sampled_from(["", "loop_", "data_", "_rlnX #1", "nan", "'", '"a b', "\x00", "\r", "é", "1_0 inf"])
    )

    def damage(old: bytes) -> bytes:
        lines = old.splitlines(keepends=True)
        first, second, *_ = (int(place * len(lines)) for place in where)
        if how == "drop":
            del lines[min(first, second) : max(first, second) + 1]
        elif how == "double":
            lines.insert(first, lines[second])
        elif how == "swap":
            lines[first], lines[second] = lines[second], lines[first]
        else:
            lines[first] = other.encode() + b"\n"
        return b"".join(lines)

    return damage


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RELION's files, to be damaged one at a time."""
    folder = tmp_path_factory.mktemp("damage") / "project"
    wanted = shutil.ignore_patterns("failures", "trajectories", "run_it00[0-4]*", "extract_crop", "phantom*")
    shutil.copytree(GOLDEN, folder, ignore=wanted)
    return folder


@pytest.fixture(autouse=True)
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def replaced(path: str, damage: Damage) -> bytes:
    """Damage the file; returns what it held."""
    old = Path(path).read_bytes()
    Path(path).write_bytes(damage(old))
    return old


def outcome(read: Callable[[], object]) -> object:
    """What reading gives, or its one sentence."""
    try:
        return read()
    except UserError as error:
        sentence = error
    assert str(sentence)
    assert "\n" not in str(sentence)
    return sentence


@pytest.mark.parametrize("path", STARS)
@settings(examples, max_examples=20)
@given(damage=st.one_of(of_bytes(), of_lines()))
def test_both_readers_of_a_damaged_star_file_agree_or_refuse_it(path: str, damage: Damage) -> None:
    old = replaced(path, damage)
    try:
        tables = outcome(lambda: star.read(path))
        for name in list(tables)[:3] if isinstance(tables, dict) else []:
            columns = outcome(lambda name=name: star.columns(path, name))
            if isinstance(columns, dict):
                assert list(columns) == list(tables[name])
                assert {len(values) for values in columns.values()} == {len(tables[name])}
    finally:
        Path(path).write_bytes(old)


@pytest.mark.parametrize(
    ("step", "path"), [(step, path) for step, paths in READ_BY.items() for path in paths]
)
@settings(examples, max_examples=30)
@given(damage=st.one_of(of_bytes(), of_lines()))
def test_a_step_with_a_damaged_star_file_is_refused_in_a_sentence(
    step: str, path: str, damage: Damage
) -> None:
    old = replaced(path, damage)
    try:
        outcome(lambda: verify.check_inputs(command(step)))
    finally:
        Path(path).write_bytes(old)


@pytest.mark.parametrize(
    ("step", "path"), [(step, path) for step, paths in MAPS_READ_BY.items() for path in paths]
)
@settings(examples, max_examples=30)
@given(damage=of_bytes(within=1100))
def test_a_step_with_a_damaged_map_is_refused_in_a_sentence(step: str, path: str, damage: Damage) -> None:
    old = replaced(path, damage)
    try:
        whole = len(Path(path).read_bytes()) == len(old)
        assert isinstance(outcome(lambda: verify.check_inputs(command(step))), UserError) or whole
    finally:
        Path(path).write_bytes(old)


@settings(examples, max_examples=100)
@given(damage=of_bytes(within=1100))
def test_a_damaged_map_is_read_as_it_was_or_refused(damage: Damage) -> None:
    path = "average/merged.mrc"
    old = replaced(path, damage)
    try:
        found = outcome(lambda: mrc.box_and_pixel(path))
        if isinstance(found, tuple):
            assert found[0] == 24
            assert mrc.voxels(path).tobytes() == Path(path).read_bytes()[mrc.HEADER_BYTES :]
    finally:
        Path(path).write_bytes(old)


def command(step: str) -> Command:
    """The step's command line, as it was given to RELION."""
    return Command.of(shlex.split(Path(f"logs/{step}.command").read_text()))
