"""Each fault of docs/faults.md that is not in RELION's own list of failures is made on real data, and is refused.

The data are RELION 5.0.1's own inputs and outputs; every fault is one change to a copy of them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.decisions import body_motions
from stacycle.diagnosis import explain
from stacycle.errors import ProgramFailed, UserError
from stacycle.jobs import job
from stacycle.jobs.log import task
from stacycle.programs import mpi, verify
from stacycle.programs.command import Command

FAULT_TABLE = Path(__file__).parents[3] / "docs" / "faults.md"
GOLDEN = Path(__file__).parents[2] / "golden" / "data"
PICKS, EXTRACTED, REFINED = "input/particles.star", "extract/particles.star", "refine/run_data.star"
SERIES, IMAGES = "input/tilt_series/TS_01.star", "input/tilt_series/TS_01.mrcs"
STACK = "extract/Subtomograms/TS_01/4_stack2d.mrcs"
MOST_TILTS = "extract/Subtomograms/TS_01/32_stack2d.mrcs"
DROPPED = "   !64 particles were removed because they were too close to the edge in all images."
REFERENCE, MASK = "average/merged.mrc", "mask/mask.mrc"
HALF, HALF2 = "refine/run_half1_class001_unfil.mrc", "refine/run_half2_class001_unfil.mrc"
REF1, REF2, REF_MASK = "cycle/reconstruct/half1.mrc", "cycle/reconstruct/half2.mrc", "cycle/mask/mask.mrc"
ALIGNED, CLASS = "align/run_it005_data.star", "classify/run_it010_class002.mrc"
POSTPROCESS = "postprocess/postprocess.star"
REFINED_SERIES = "cycle/ctf/input/tilt_series/TS_02.star"
FSC = "cycle/before/postprocess.star"


pytestmark = pytest.mark.filterwarnings("ignore:Data array contains NaN values")


@dataclass(frozen=True)
class Fault:
    """What is wrong, as docs/faults.md calls it; at which step (of golden/logs), before or after its program."""

    name: str
    step: str
    make: Callable[[Path], None]
    caught: str = "before"
    argv: tuple[str, ...] = ()  # flags and values that take the place of the step's own
    said: str = ""  # what the program says besides


def nothing(project: Path) -> None:
    """No damage: the command line alone is wrong."""


def text(path: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """A damage: the file's text changed."""

    def make(project: Path) -> None:
        old = (project / path).read_text()
        new = change(old)
        assert new != old
        replace(project / path, new.encode())

    return make


def rows(path: str, change: Callable[[list[str]], list[str]], label: str = "") -> Callable[[Path], None]:
    """A damage: the rows of a file's last table (with that label) changed, each a line."""

    def change_rows(old: str) -> str:
        lines = old.splitlines(keepends=True)
        labels = [i for i, line in enumerate(lines) if line.startswith(f"_{label}")]
        first = next(i for i in range(labels[-1], len(lines)) if not lines[i].startswith("_"))
        last = next((i for i in range(first, len(lines)) if not lines[i].strip()), len(lines))
        return "".join(lines[:first] + change(lines[first:last]) + lines[last:])

    return text(path, change_rows)


def value(path: str, label: str, new: str, row: int | None = 2) -> Callable[[Path], None]:
    """A damage: one value of the last table that has the label, in that row (None: in every row)."""

    def change(project: Path) -> None:
        column = int(re.findall(rf"^_{label} #(\d+)", (project / path).read_text(), re.MULTILINE)[-1]) - 1

        def change_row(line: str) -> str:
            words = line.split()
            words[column] = new
            return " ".join(words) + "\n"

        rows(path, lambda old: [change_row(x) if row in (None, i) else x for i, x in enumerate(old)], label)(
            project
        )

    return change


def data(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A damage: the file's bytes changed."""

    def make(project: Path) -> None:
        replace(project / path, change((project / path).read_bytes()))

    return make


def header(path: str, offset: int, form: str, *values: float) -> Callable[[Path], None]:
    """A damage: numbers of an MRC header overwritten."""
    new = struct.pack("<" + form, *values)
    return data(path, lambda old: old[:offset] + new + old[offset + len(new) :])


def voxels(
    path: str, change: Callable[[np.ndarray], np.ndarray], pixel: float | None = None
) -> Callable[[Path], None]:
    """A damage: a map written anew with other voxels or another pixel size."""

    def make(project: Path) -> None:
        with mrcfile.open(project / path, permissive=True) as file:
            new, size = change(file.data.copy()), pixel or float(file.voxel_size.x)
        (project / path).unlink()
        with mrcfile.new(project / path) as file:
            file.set_data(new)
            file.voxel_size = size

    return make


def copy(source: str, target: str) -> Callable[[Path], None]:
    """A damage: one file in place of another."""
    return lambda project: replace(project / target, (project / source).read_bytes())


def together(*makes: Callable[[Path], None]) -> Callable[[Path], None]:
    """Several changes that make one fault."""
    return lambda project: [make(project) for make in makes] and None  # type: ignore[func-returns-value]


def replace(path: Path, content: bytes) -> None:
    """Write a file anew: the project's files are hard links."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def one_nan(values: np.ndarray) -> np.ndarray:
    values[values.shape[0] // 2, values.shape[1] // 2, 3] = np.nan
    return values


def cropped(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values[..., 4:-4, 4:-4])


FAULTS = [
    Fault("particles: cut in a row", "extract", data(PICKS, lambda old: old[:-30])),
    Fault("particles: cut in the header", "extract", data(PICKS, lambda old: old[:180])),
    Fault(
        "particles: blank line between rows", "extract", rows(PICKS, lambda old: [*old[:9], "\n", *old[9:]])
    ),
    Fault("particles: no row", "extract", rows(PICKS, lambda old: [])),
    Fault(
        "particles: text in a number column", "extract", value(PICKS, "rlnCenteredCoordinateYAngst", "x12")
    ),
    Fault("particles: coordinate nan", "extract", value(PICKS, "rlnCenteredCoordinateZAngst", "nan")),
    Fault("particles: angle nan", "average", value(EXTRACTED, "rlnAngleTilt", "nan")),
    Fault(
        "particles: table of another name",
        "extract",
        text(PICKS, lambda old: old.replace("data_p", "data_xp")),
    ),
    Fault("particles: column twice", "extract", text(PICKS, lambda old: old.replace("YAngst", "XAngst"))),
    Fault("particles: a row twice", "align", rows(EXTRACTED, lambda old: [*old, old[3]])),
    Fault(
        "particles: value missing in a row",
        "align",
        rows(EXTRACTED, lambda o: [o[0], o[1][:-40] + "\n", *o[2:]]),
    ),
    Fault("particles: optics group missing", "align", value(EXTRACTED, "rlnOpticsGroup", "7")),
    Fault("particles: CRLF", "extract", text(PICKS, lambda old: old.replace("\n", "\r\n"))),
    Fault("particles: not text", "extract", data(PICKS, lambda old: old[:300] + b"\xff\xfe\x00" + old[303:])),
    Fault("tilt series: defocus nan", "extract", value(SERIES, "rlnDefocusU", "nan")),
    Fault(
        "tilt series: column missing", "extract", text(SERIES, lambda o: o.replace("_rlnDefocusV ", "_rlnX "))
    ),
    Fault("tilt series: STAR file cut", "extract", data(SERIES, lambda old: old[:1500])),
    Fault("tilt series: a tilt less than its images", "ctf", rows(SERIES, lambda o: o[:-1])),
    Fault("tilt series: images cut", "extract", data(IMAGES, lambda old: old[: len(old) // 2])),
    Fault(
        "tilt series: image number beyond the file",
        "extract",
        text(SERIES, lambda o: o.replace("21@", "22@")),
    ),
    Fault(
        "tilt series: images of two sizes",
        "extract",
        together(
            copy("input/tilt_series/TS_02.mrcs", "input/tilt_series/odd.mrcs"),
            voxels("input/tilt_series/odd.mrcs", cropped),
            text(SERIES, lambda old: old.replace("3@input/tilt_series/TS_01", "3@input/tilt_series/odd", 1)),
        ),
    ),
    Fault(
        "tilt series: table of another name",
        "extract",
        text(SERIES, lambda o: o.replace("data_TS_01", "data_T1")),
    ),
    Fault("tomograms: a tomogram twice", "extract", rows("input/tomograms.star", lambda old: [*old, old[0]])),
    Fault("stack: another box", "align", voxels(STACK, cropped)),
    Fault("stack: an image less", "align", voxels(STACK, lambda old: old[:-1])),
    Fault("stack: header cut", "align", data(STACK, lambda old: old[:500])),
    Fault("reference: all zero", "align", voxels(REFERENCE, np.zeros_like)),
    Fault("reference: a voxel nan", "align", voxels(REFERENCE, one_nan)),
    Fault("reference: another pixel size", "align", voxels(REFERENCE, lambda v: v, 10)),
    Fault("reference: another box", "align", voxels(REFERENCE, lambda v: v[4:-4, 4:-4, 4:-4].copy())),
    Fault("reference: mode unknown", "align", header(REFERENCE, 12, "i", 77)),
    Fault("reference: nx negative", "align", header(REFERENCE, 0, "i", -24)),
    Fault("reference: extended header larger than told", "align", header(REFERENCE, 92, "i", 4096)),
    Fault("reference: data cut", "align", data(REFERENCE, lambda old: old[:-9000])),
    Fault("reference: header cut", "align", data(REFERENCE, lambda old: old[:700])),
    Fault("mask: empty", "align", voxels(MASK, np.zeros_like), argv=("--solvent_mask", MASK)),
    Fault("mask: a voxel nan", "align", voxels(MASK, one_nan), argv=("--solvent_mask", MASK)),
    Fault("mask: another pixel size", "align", voxels(MASK, lambda v: v, 10), argv=("--solvent_mask", MASK)),
    Fault("mask of postprocess: empty", "postprocess", voxels(MASK, np.zeros_like)),
    Fault("mask of postprocess: another pixel size", "postprocess", voxels(MASK, lambda v: v, 10)),
    Fault("particles: fewer than classes", "classify", rows("align/run_it005_data.star", lambda o: o[:2])),
    Fault(
        "particles: one half set only, refinement",
        "refine",
        together(
            copy(REFINED, "select/particles.star"),
            value("select/particles.star", "rlnRandomSubset", "1", None),
        ),
    ),
    Fault(
        "particles: one half set only, CTF refinement", "ctf", value(REFINED, "rlnRandomSubset", "1", None)
    ),
    Fault(
        "particles: one half set only, average",
        "reconstruct_before",
        value(REFINED, "rlnRandomSubset", "1", None),
    ),
    Fault("half maps: identical", "postprocess", copy(HALF, HALF2)),
    Fault("half maps: different pixel sizes", "postprocess", voxels(HALF2, lambda v: v, 10)),
    Fault("half maps: different boxes", "postprocess", voxels(HALF2, lambda v: v[4:-4, 4:-4, 4:-4].copy())),
    Fault("half maps: a voxel nan", "postprocess", voxels(HALF2, one_nan)),
    Fault("half maps: all zero", "postprocess", voxels(HALF2, np.zeros_like)),
    Fault("references: swapped", "ctf", nothing, argv=("--ref1", REF2, "--ref2", REF1)),
    Fault("references: identical", "ctf", copy(REF1, REF2)),
    Fault("references: a voxel nan", "ctf", voxels(REF2, one_nan)),
    Fault(
        "references: another pixel size",
        "ctf",
        together(*(voxels(x, lambda v: v, 10) for x in (REF1, REF2, REF_MASK))),
    ),
    Fault("references: mask empty", "ctf", voxels(REF_MASK, np.zeros_like)),
    Fault("FSC: of another box", "ctf", copy("postprocess/postprocess.star", FSC)),
    Fault("FSC: nan", "ctf", value(FSC, "rlnFourierShellCorrelationCorrected", "nan")),
    Fault("FSC: cut", "ctf", data(FSC, lambda old: old[:3000])),
    Fault("estimation box smaller than the references", "ctf", nothing, argv=("--b", "64")),
    Fault("map for a mask: all zero", "mask", voxels("classify/run_it010_class003.mrc", np.zeros_like)),
    Fault("map for a mask: a voxel nan", "mask", voxels("classify/run_it010_class003.mrc", one_nan)),
    Fault(
        "trajectories: of other particles",
        "polish_rec",
        text("cycle/polish/motion.star", lambda o: o.replace("TS_01/", "TS_9/")),
    ),
    Fault(
        "trajectories: a tilt less",
        "polish_rec",
        text(
            "cycle/polish/motion.star", lambda o: o.replace("    0.026224     0.162334     0.096461 \n", "")
        ),
    ),
    Fault(
        "trajectories: nan",
        "polish_rec",
        text("cycle/polish/motion.star", lambda o: o.replace("0.026224", "nan")),
    ),
    Fault(
        "particles: angle column missing",
        "average",
        text(EXTRACTED, lambda o: o.replace("_rlnAngleTilt", "_rlnAngleX")),
    ),
    Fault(
        "particles: from tilt series of another pixel size",
        "average",
        value("input/tomograms.star", "rlnTomoTiltSeriesPixelSize", "4", None),
    ),
    Fault(
        "particles: pixel size not that of the binning",
        "align",
        value(EXTRACTED, "rlnImagePixelSize", "10", None),
    ),
    Fault("particles: half set 3", "ctf", value(REFINED, "rlnRandomSubset", "3")),
    Fault("tomograms: hand 0", "extract", value("input/tomograms.star", "rlnTomoHand", "0", None)),
    Fault("tomograms: voltage 0", "extract", value("input/tomograms.star", "rlnVoltage", "0", None)),
    Fault(
        "tomograms: column missing",
        "extract",
        text("input/tomograms.star", lambda o: o.replace("_rlnTomoTiltSeriesStarFile", "_rlnX")),
    ),
    Fault("tilt series: a tilt twice", "extract", rows(SERIES, lambda o: [*o, o[3]])),
    Fault("tilt series: tilt angle nan", "extract", value(SERIES, "rlnTomoYTilt", "nan")),
    Fault("tilt series: images of an unknown mode", "extract", header(IMAGES, 12, "i", 77)),
    Fault("optimisation set: cut", "align", data("extract/optimisation_set.star", lambda o: o[:60])),
    Fault(
        "particles: no names of images",
        "align",
        text(EXTRACTED, lambda o: o.replace("_rlnImageName", "_rlnImagesName")),
    ),
    Fault("particles: not extracted yet", "align", copy(PICKS, EXTRACTED)),
    Fault(
        "particles: images of two boxes",
        "align",
        rows(EXTRACTED, lambda o: [*o, " ".join([*o[0].split()[:-1], "32\n"])], "rlnImageSize"),
    ),
    Fault("made: stack with a nan image", "extract", voxels(MOST_TILTS, one_nan), "after"),
    Fault("made: stack all zero", "extract", voxels(MOST_TILTS, np.zeros_like), "after"),
    Fault(
        "made: no particle within the tilt images",
        "extract",
        rows(EXTRACTED, lambda o: []),
        "after",
        said=DROPPED,
    ),
    Fault("made: mask empty", "mask", voxels(MASK, np.zeros_like), "after"),
    Fault("made: mask full", "mask", voxels(MASK, np.ones_like), "after"),
    Fault("made: map cut short", "average", data(REFERENCE, lambda o: o[:-100]), "after"),
    Fault("made: map with a voxel nan", "average", voxels(REFERENCE, one_nan), "after"),
    Fault("made: map all zero", "average", voxels(REFERENCE, np.zeros_like), "after"),
    Fault("made: map of another box", "average", nothing, "after", ("--b", "32")),
    Fault("made: map of another pixel size", "average", nothing, "after", ("--bin", "2")),
    Fault("made: stack cut short", "extract", data(STACK, lambda o: o[:-100]), "after"),
    Fault("made: stack missing", "extract", lambda project: (project / STACK).unlink(), "after"),
    Fault("made: stacks of another box", "extract", nothing, "after", ("--crop", "20")),
    Fault("made: particles lost by extraction", "extract", rows(EXTRACTED, lambda o: o[:-3]), "after"),
    Fault("made: particles lost by refinement", "align", rows(ALIGNED, lambda o: o[:-3]), "after"),
    Fault("made: angle nan", "align", value(ALIGNED, "rlnAngleRot", "nan"), "after"),
    Fault(
        "made: iteration cut off while writing",
        "align",
        data("align/run_it005_model.star", lambda o: o[:500]),
        "after",
    ),
    Fault("made: last iteration missing", "align", nothing, "after", ("--iter", "6")),
    Fault("made: map of a class missing", "classify", lambda project: (project / CLASS).unlink(), "after"),
    Fault("made: class missing in the model", "classify", nothing, "after", ("--K", "4")),
    Fault(
        "made: FSC nan",
        "postprocess",
        value(POSTPROCESS, "rlnFourierShellCorrelationCorrected", "-nan"),
        "after",
    ),
    Fault(
        "made: FSC cut short", "postprocess", rows(POSTPROCESS, lambda o: o[:5], "rlnSpectralIndex"), "after"
    ),
    Fault(
        "made: final resolution inf",
        "postprocess",
        text(POSTPROCESS, lambda o: o.replace(" 40.000000\n", " inf\n", 1)),
        "after",
    ),
    Fault(
        "made: tomogram lost by CTF refinement",
        "ctf",
        rows("cycle/ctf/tomograms.star", lambda o: o[:1]),
        "after",
    ),
    Fault("made: tilt lost by CTF refinement", "ctf", rows(REFINED_SERIES, lambda o: o[:-1]), "after"),
    Fault(
        "made: defocus nan by CTF refinement",
        "ctf",
        value("cycle/ctf/" + SERIES, "rlnDefocusU", "-nan"),
        "after",
    ),
    Fault(
        "made: particle lost by polishing",
        "polish",
        rows("cycle/polish/particles.star", lambda o: o[1:]),
        "after",
    ),
]

# The failures of golden/failures that are refused before the program is started.
GOLDEN_FAILURES = [
    Fault("all_tomograms_unknown", "extract", value(PICKS, "rlnTomoName", "TS_98", None)),
    Fault("some_tomograms_unknown", "extract", value(PICKS, "rlnTomoName", "TS_98", 40)),
    Fault("ctf_refine_mask_mismatch", "ctf", nothing, argv=("--mask", MASK)),
    Fault("ctf_refine_no_half_sets", "ctf", nothing, argv=("--i", "align/run_it005_optimisation_set.star")),
    Fault("mask_box_mismatch_postprocess", "post_before", nothing, argv=("--mask", MASK)),
    Fault("mask_box_mismatch_refine", "align", nothing, argv=("--solvent_mask", REF_MASK)),
    Fault("mask_values_outside_0_1", "align", voxels(MASK, lambda v: v + 3), argv=("--solvent_mask", MASK)),
    Fault(
        "missing_coordinate_column", "extract", text(PICKS, lambda o: o.replace("CoordinateX", "CoordinateW"))
    ),
    Fault("missing_particles", "align", lambda project: (project / EXTRACTED).unlink()),
    Fault("missing_reference", "align", nothing, argv=("--ref", "nowhere/merged.mrc")),
    Fault("missing_subtomogram", "align", lambda project: (project / STACK).unlink()),
    Fault("missing_tilt_images", "extract", lambda project: (project / IMAGES).unlink()),
    Fault("missing_tilt_series_star", "extract", lambda project: (project / SERIES).unlink()),
    Fault("postprocess_missing_half", "postprocess", lambda project: (project / HALF2).unlink()),
    Fault("reference_box_mismatch", "align", nothing, argv=("--ref", REF1)),
    Fault("reference_pixel_mismatch", "align", voxels(REFERENCE, lambda v: v, 7)),
    Fault("skip_align_many_classes", "classify", nothing, argv=("--K", "200")),
    Fault("truncated_subtomogram", "align", data(STACK, lambda o: o[: len(o) // 2])),
]
# Those that the program's own words tell after it has ended with exit status 0, and those that it dies of.
SAID = ["gpu_without_cuda", "unknown_flag"]
BUILT = ["auto_refine_two_ranks", "auto_refine_without_mpi"]
DRIFT = "made: bodies that drift"  # which the step looks for itself
UNWRITABLE = "output folder that cannot be made"
DIAGNOSED = ["disk_full", "mpirun_no_slots", "out_of_memory", "zero_sum_of_weights"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as RELION left it, with what golden/ leaves out for its size."""
    project = tmp_path_factory.mktemp("faults") / "sound"
    unused = ["failures", "trajectories", "run_it00[0-4]*", "run_it*half*", "phantom*"]
    shutil.copytree(GOLDEN, project, ignore=shutil.ignore_patterns(*unused))
    z, y, x = np.indices((96, 96, 96)) - 48
    (project / REF_MASK).parent.mkdir()
    with mrcfile.new(project / REF_MASK) as file:
        file.set_data(np.clip(40 - np.sqrt(x**2 + y**2 + z**2), 0, 1).astype(np.float32))
        file.voxel_size = 5
    return project


@pytest.fixture
def project(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, of hard links, to be damaged."""
    folder = tmp_path / "project"
    shutil.copytree(sound, folder, copy_function=os.link, ignore=shutil.ignore_patterns("extract_crop"))
    monkeypatch.chdir(folder)
    return folder


def meet(project: Path, fault: Fault) -> None:
    """The step's check, before or after its program."""
    words = (project / f"logs/{fault.step}.command").read_text().replace("_mpi_alt", "_mpi")
    command = Command.of(shlex.split(words))
    command.flags.update({flag: [new] for flag, new in zip(fault.argv[::2], fault.argv[1::2], strict=True)})
    if fault.caught == "before":
        verify.check_inputs(command)
    else:
        said = (project / f"logs/{fault.step}.log").read_text().splitlines()
        verify.check_outputs(command, [], [*said, fault.said])


def table() -> dict[str, list[str]]:
    """The rows of docs/faults.md: what RELION does, the sentence, and where it is caught, by the fault's name."""
    rows = re.findall(
        r"^\| `?([^`|]+?)`? \| (.+?) \| (.+?) \| (.+?) \|$", FAULT_TABLE.read_text(), re.MULTILINE
    )
    return {name: rest for name, *rest in rows if name not in ("fault", "---")}


@pytest.mark.parametrize("fault", [*FAULTS, *GOLDEN_FAILURES], ids=lambda fault: fault.name)
def test_a_fault_is_refused_with_the_sentence_of_the_fault_table(project: Path, fault: Fault) -> None:
    fault.make(project)
    with pytest.raises(UserError) as error:
        meet(project, fault)
    assert isinstance(error.value, ProgramFailed) == (fault.caught == "after")
    assert "\n" not in str(error.value)
    assert table()[fault.name][1:] == [str(error.value), fault.caught]


@pytest.mark.parametrize(
    "step", ["extract", "extract3d", "average", "align", "classify", "mask", "postprocess", "ctf"]
)
def test_what_relion_read_and_wrote_itself_is_not_refused(
    sound: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.chdir(sound)
    for caught in ("before", "after"):
        meet(sound, Fault("none", step, nothing, caught))


@pytest.mark.parametrize("name", SAID)
def test_what_a_program_says_is_believed_more_than_its_exit_status(project: Path, name: str) -> None:
    failure = GOLDEN / "failures" / name
    assert (failure / "exit_code").read_text().strip() == "0"
    command = Command.of(shlex.split((failure / "command").read_text()))
    with pytest.raises(ProgramFailed) as error:
        verify.check_outputs(command, [], (failure / "log").read_text().splitlines())
    assert table()[name][1:] == [str(error.value), "after"]


@pytest.mark.parametrize(("name", "ranks"), [("auto_refine_two_ranks", 2), ("auto_refine_without_mpi", 1)])
def test_half_sets_are_never_refined_on_fewer_than_three_ranks(name: str, ranks: int) -> None:
    with pytest.raises(UserError) as error:
        mpi.with_mpi(["relion_refine_mpi", "--split_random_halves"], ranks)
    assert table()[name][1:] == [str(error.value), "before"]


@pytest.mark.parametrize("name", DIAGNOSED)
def test_what_no_look_at_the_files_can_find_is_explained_from_the_log(name: str) -> None:
    failure = GOLDEN / "failures" / name
    program = Command.of(shlex.split((failure / "command").read_text())).program
    status, lines = int((failure / "exit_code").read_text()), (failure / "log").read_text().splitlines()
    assert explain.explain(program, status, lines).cause
    assert table()[name][2] == "diagnosed"


def test_an_output_folder_that_cannot_be_made_is_reported_in_a_sentence(project: Path) -> None:
    folder = f"{REFERENCE}/mask"
    argv = ["relion_mask_create", "--i", REFERENCE, "--o", f"{folder}/mask.mrc"]
    with pytest.raises(SystemExit), task("log", "mask"):
        job.run(argv, folder, engine={"kind": "embedded"}, expected_outputs=[])
    said = Path("log").read_text().splitlines()[-1]
    assert said.startswith("ERROR: ")
    assert table()[UNWRITABLE][1:] == [said.removeprefix("ERROR: "), "before"]


def test_bodies_that_drift_are_refused_in_the_sentence_of_the_fault_table() -> None:
    motions = body_motions.of_run(GOLDEN / "multibody/mb/job4", ["large", "small"])
    with pytest.raises(UserError) as error:
        body_motions.refuse_drift("results/bin4/multibody", motions, pixel=20)
    assert table()[DRIFT][1:] == [str(error.value), "after"]


def test_the_fault_table_has_a_row_for_each_fault_and_nothing_else(
    record_property: Callable[[str, object], None],
) -> None:
    faults = [fault.name for fault in (*FAULTS, *GOLDEN_FAILURES)]
    failures = [path.name for path in (GOLDEN / "failures").iterdir()]
    assert sorted([*(x.name for x in GOLDEN_FAILURES), *SAID, *BUILT, *DIAGNOSED]) == sorted(failures)
    assert sorted(table()) == sorted([*faults, *SAID, *BUILT, *DIAGNOSED, DRIFT, UNWRITABLE])
    caught = Counter(row[2] for row in table().values())
    silent = sum(row[0].startswith("**exit 0**") for row in table().values())
    record_property("faults of the fault table", len(table()))
    record_property("faults that RELION 5.0.1 accepts with exit status 0", silent)
    record_property("faults caught", ", ".join(f"{number} {when}" for when, number in caught.most_common()))
