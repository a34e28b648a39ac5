"""Inputs as people really have them: formats, oddities and mistakes, each one change to a sound set.

The sound set is the one that RELION 5.0.1's reference data were made of: two tilt series, 64 picks. docs/faults.md has
a row for each; the sources are public bug reports of RELION, pytom-match-pick, AreTomo, Warp and mrcfile, and their kin.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

GOLDEN = Path(__file__).parents[2] / "golden" / "data" / "input"
NAMES = ("TS_01", "TS_02")
SETS = ({"tomograms": "set1/tomograms.star", "particles": "set1/particles.star"},)
REFUSED, WARNED, ACCEPTED = "refused", "warned", "accepted"

Make = Callable[[Path], None]  # what changes the set in a project's folder


@dataclass(frozen=True)
class Strange:
    """An input, what becomes of it, and the words that say so.

    `same_as` makes the plain input of which it must give the average, if it is not refused.
    """

    name: str
    make: Make
    outcome: str
    says: str = ""
    same_as: Make | None = None
    sets: Sequence[dict[str, str]] = SETS
    duplicates: str = "refuse"


# ------------------------------------------------------------ making and changing sets


def copy_set(project: Path, name: str = "set1", series: Sequence[str] = NAMES) -> Path:
    """A set below `project`, of these tilt series: STAR files copied, images linked."""
    out = project / name
    (out / "tilt_series").mkdir(parents=True)
    for path in (GOLDEN / "particles.star", GOLDEN / "tomograms.star"):
        lines = path.read_text().replace("input/", f"{name}/").splitlines(keepends=True)
        gone = tuple(set(NAMES) - set(series))
        (out / path.name).write_text("".join(line for line in lines if not line.startswith(gone or "\0")))
    for one in series:
        text = (GOLDEN / f"tilt_series/{one}.star").read_text()
        (out / f"tilt_series/{one}.star").write_text(text.replace("input/", f"{name}/"))
        (out / f"tilt_series/{one}.mrcs").symlink_to(GOLDEN / f"tilt_series/{one}.mrcs")
    return out


def sound(project: Path) -> None:
    """No change."""


def both(*makes: Make) -> Make:
    """Several changes, one after the other."""

    def make(project: Path) -> None:
        for one in makes:
            one(project)

    return make


def text(path: str, change: Callable[[str], str]) -> Make:
    """A file's text changed."""

    def make(project: Path) -> None:
        old = (project / path).read_text()
        new = change(old)
        assert new != old, path
        (project / path).write_bytes(new.encode())

    return make


def sub(path: str, pattern: str, new: str | Callable[[re.Match], str]) -> Make:
    """A pattern of a file replaced."""
    return text(path, lambda old: re.sub(pattern, new, old, flags=re.MULTILINE))


def data(path: str, change: Callable[[bytes], bytes]) -> Make:
    """A file's bytes changed."""

    def make(project: Path) -> None:
        old = (project / path).read_bytes()
        (project / path).unlink()  # it may be a link to the reference data
        (project / path).write_bytes(change(old))

    return make


def rows(path: str, change: Callable[[list[str]], list[str]]) -> Make:
    """The rows of a file's table changed, each a line."""

    def change_rows(old: str) -> str:
        lines = old.splitlines(keepends=True)
        first = max(i for i, line in enumerate(lines) if line.startswith("_")) + 1
        last = next((i for i in range(first, len(lines)) if not lines[i].strip()), len(lines))
        return "".join(lines[:first] + change(lines[first:last]) + lines[last:])

    return text(path, change_rows)


def put(path: str, label: str, value: Any, which: Sequence[int] | None = None) -> Make:
    """Values of a column replaced, in these rows (from 1), or in all; `value` may be a function of old value and row."""

    def change(project: Path) -> None:
        column = int(re.search(rf"^_{label} #(\d+)", (project / path).read_text(), re.MULTILINE)[1]) - 1

        def change_row(number: int, line: str) -> str:
            words = line.split()
            if which is None or number in which:
                words[column] = f"{value(words[column], number) if callable(value) else value}"
            return "\t".join(words) + "\n"

        rows(path, lambda old: [change_row(i, x) for i, x in enumerate(old, 1)])(project)

    return change


def scaled(factor: float) -> Callable[[str, int], str]:
    return lambda old, row: f"{float(old) * factor:.6f}"


def columns(
    path: str, change: Callable[[dict[str, list[str]]], dict[str, Sequence[Any]]], table: str = ""
) -> Make:
    """A file's one table made anew of its columns, changed."""

    def make(project: Path) -> None:
        old = (project / path).read_text()
        labels = re.findall(r"^_(\S+)", old, re.MULTILINE)
        values = [line.split() for line in old.splitlines() if line.startswith(("TS_", "1@")) or "@" in line]
        new = change(dict(zip(labels, map(list, zip(*values, strict=True)), strict=True)))
        name = table or re.search(r"^data_(\S*)", old, re.MULTILINE)[1]
        head = "".join(f"_{label} #{i}\n" for i, label in enumerate(new, 1))
        body = "".join("\t".join(map(str, row)) + "\n" for row in zip(*new.values(), strict=True))
        (project / path).write_text(f"\ndata_{name}\n\nloop_\n{head}{body}\n")

    return make


def without(*labels: str) -> Callable[[dict[str, list[str]]], dict[str, list[str]]]:
    return lambda table: {label: values for label, values in table.items() if label not in labels}


def with_column(label: str, value: Any) -> Callable[[dict[str, list[str]]], dict[str, Sequence[Any]]]:
    def change(table: dict[str, list[str]]) -> dict[str, Sequence[Any]]:
        count = len(next(iter(table.values())))
        return {**table, label: [value(i) if callable(value) else value for i in range(count)]}

    return change


def series(name: str = "TS_01") -> str:
    return f"set1/tilt_series/{name}.star"


PICKS, TOMOGRAMS, TS_01, TS_02 = "set1/particles.star", "set1/tomograms.star", series(), series("TS_02")


def of_both(make: Callable[[str], Make]) -> Make:
    """A change to both tilt series."""
    return both(make(TS_01), make(TS_02))


def images(
    change: Callable[[np.ndarray], np.ndarray], edit: Callable[[bytearray], None] | None = None
) -> Make:
    """Both stacks written anew: pixels changed, and their header edited."""

    def make(project: Path) -> None:
        for name in NAMES:
            path = project / f"set1/tilt_series/{name}.mrcs"
            with mrcfile.mmap(path, permissive=True) as stack:
                old = np.array(stack.data, np.float32)
            path.unlink()
            mrcfile.write(path, change(old), voxel_size=5)
            if edit:
                head = bytearray(path.read_bytes())
                edit(head)
                path.write_bytes(head)

    return make


def spread(pixels: np.ndarray, width: float, middle: float = 0) -> np.ndarray:
    """Pixels as whole numbers: `width` is a standard deviation."""
    return np.rint(np.clip((pixels - pixels.mean()) / pixels.std(), -6, 6) * width + middle)


def renamed(extension: str, named: str | None = None) -> Make:
    """Both stacks with another extension, by which (or by `named`) the tilt series call them."""

    def make(project: Path) -> None:
        for name in NAMES:
            path = project / f"set1/tilt_series/{name}.mrcs"
            path.rename(path.with_suffix(extension))
            sub(series(name), r"\.mrcs\t", f"{named or extension}\t")(project)

    return make


def single_files(project: Path) -> None:
    """Each tilt image a file of its own, as RELION's motion correction writes them."""
    for name in NAMES:
        with mrcfile.mmap(project / f"set1/tilt_series/{name}.mrcs", permissive=True) as stack:
            for number, image in enumerate(stack.data, 1):
                mrcfile.write(
                    project / f"set1/tilt_series/{name}_{number}.mrc", np.array(image), voxel_size=5
                )
        sub(series(name), rf"^(\d+)@(\S+){name}\.mrcs", rf"\g<2>{name}_\g<1>.mrc")(project)


def byte_swapped(project: Path) -> None:
    """Stacks of the other byte order."""
    for name in NAMES:
        path = project / f"set1/tilt_series/{name}.mrcs"
        old = path.read_bytes()
        path.unlink()
        stamp = b"\x11\x11\0\0"
        ints, machine = np.frombuffer(old[:1024], "<i4").byteswap().tobytes(), slice(208, 216)
        head = bytearray(ints)
        head[machine] = old[208:212] + stamp
        head[224:] = old[224:1024]
        path.write_bytes(
            bytes(head) + np.frombuffer(old[1024:], "<u2").byteswap().tobytes()
        )  # of half precision


def unsigned(stamp: bool) -> Make:
    """Stacks of unsigned bytes, by IMOD's stamp and flags, or by the header's largest value alone."""

    def edit(head: bytearray) -> None:
        pixels = np.frombuffer(bytes(head[1024:]), np.uint8)
        struct.pack_into("<3f", head, 76, pixels.min(), pixels.max(), pixels.mean())
        struct.pack_into("<2i", head, 152, *((1146047817, 0) if stamp else (0, 0)))

    return images(lambda old: spread(old, 21.2, 127.5).astype(np.uint8).view(np.int8), edit)


def mode(number: int) -> Make:
    """Stacks that claim another mode in their header."""
    return images(lambda old: old, lambda head: struct.pack_into("<i", head, 12, number))


def four_bit(width: int) -> Make:
    """Stacks of SerialEM's mode 101, two pixels a byte, cut to this width."""

    def make(project: Path) -> None:
        images(lambda old: spread(old, 2, 8).clip(0, 15))(project)
        for name in NAMES:
            path = project / f"set1/tilt_series/{name}.mrcs"
            old = path.read_bytes()
            pixels = (
                np.frombuffer(old[1024:], np.float32)
                .reshape(21, 320, 320)[:, :, :width]
                .astype(np.uint8)
                .ravel()
            )
            pixels = np.append(pixels, np.zeros(len(pixels) % 2, np.uint8))
            head = bytearray(old[:1024])
            struct.pack_into("<i", head, 0, width)
            struct.pack_into("<i", head, 12, 101)
            struct.pack_into("<i", head, 28, width)
            struct.pack_into("<f", head, 40, 5 * width)
            path.write_bytes(bytes(head) + (pixels[::2] | pixels[1::2] << 4).tobytes())

    return make


def names_images_of(other: str, count: int) -> Make:
    """The first `count` tilts of TS_02 are images of another stack."""
    return put(TS_02, "rlnMicrographName", lambda old, row: f"{row}@{other}", range(1, count + 1))


def copied_stack(project: Path) -> None:
    """TS_02's stack is a copy of TS_01's."""
    path = project / "set1/tilt_series/TS_02.mrcs"
    path.unlink()
    shutil.copyfile(GOLDEN / "tilt_series/TS_01.mrcs", path)


def linked_stack(project: Path) -> None:
    """TS_02's stack is a link to TS_01's."""
    path = project / "set1/tilt_series/TS_02.mrcs"
    path.unlink()
    path.symlink_to(GOLDEN / "tilt_series/TS_01.mrcs")


def second_set(series: Sequence[str], keep: Sequence[str] = ("TS_01",)) -> Make:
    """set1 reduced to `keep`, and a set2 of `series`."""

    def make(project: Path) -> None:
        shutil.rmtree(project / "set1")
        copy_set(project, "set1", keep)
        copy_set(project, "set2", series)

    return make


TWO_SETS = (*SETS, {"tomograms": "set2/tomograms.star", "particles": "set2/particles.star"})


def near(count: int, score: bool = False) -> Make:
    """So many picks a second time, 0.9 Å away."""

    def change(old: list[str]) -> list[str]:
        again = []
        for line in old[: 2 * count : 2]:
            words = line.split()
            again.append("\t".join([words[0], f"{float(words[1]) + 0.9:.6f}", *words[2:]]) + "\n")
        return old + again

    better = columns(PICKS, with_column("rlnLCCmax", lambda i: 1 if i < 64 else 2))
    return both(rows(PICKS, change), better) if score else rows(PICKS, change)


def fractions(labels: Sequence[str]) -> Make:
    """Positions as fractions of the tomogram."""

    def change(table: dict[str, list[str]]) -> dict[str, Sequence[Any]]:
        halves = (160 * 5, 160 * 5, 80 * 5)
        old = [table.pop(f"rlnCenteredCoordinate{axis}Angst") for axis in "XYZ"]
        parts = [
            [f"{(float(x) + half) / (2 * half):.7f}" for x in one]
            for one, half in zip(old, halves, strict=True)
        ]
        return {"rlnTomoName": table.pop("rlnTomoName"), **dict(zip(labels, parts, strict=True)), **table}

    return columns(PICKS, change)


def list_of_files(project: Path) -> None:
    """The picks of each tomogram in a file of its own, and a list of these."""
    for name in NAMES:
        shutil.copyfile(project / PICKS, project / f"set1/{name}_particles.star")
        rows(f"set1/{name}_particles.star", lambda old, name=name: [x for x in old if x.startswith(name)])(
            project
        )
    body = "".join(f"{name} set1/{name}_particles.star\n" for name in NAMES)
    (project / PICKS).write_text(
        f"\ndata_\n\nloop_\n_rlnTomoName #1\n_rlnTomoImportParticleFile #2\n{body}\n"
    )


def warps_tomograms(project: Path) -> None:
    """tomograms.star as WarpTools exports it."""
    labels = "rlnTomoName rlnTomoTiltSeriesName rlnTomoFrameCount rlnTomoSizeX rlnTomoSizeY rlnTomoSizeZ rlnTomoHand"
    head = "".join(f"_{label} #{i}\n" for i, label in enumerate(labels.split(), 1))
    body = "".join(f"{name}.tomostar dummy_tiltseries.mrc 21 320 320 160 1\n" for name in NAMES)
    (project / TOMOGRAMS).write_text(f"\ndata_global\n\nloop_\n{head}{body}\n")
    sub(PICKS, r"^(TS_0\d)", r"\1.tomostar")(project)


def only(name: str) -> Make:
    """One of the two tomograms alone."""

    def make(project: Path) -> None:
        shutil.rmtree(project / "set1")
        copy_set(project, "set1", [name])

    return make


def simple_block(project: Path) -> None:
    """A list of one tomogram, as a label and value per line."""
    only("TS_01")(project)
    old = (project / TOMOGRAMS).read_text()
    labels = re.findall(r"^_(\S+)", old, re.MULTILINE)
    values = next(line for line in old.splitlines() if line.startswith("TS_")).split()
    lines = "".join(f"_{label}   {value}\n" for label, value in zip(labels, values, strict=True))
    (project / TOMOGRAMS).write_text(f"\ndata_global\n\n{lines}\n")


def absolute(project: Path) -> None:
    """set2 has the tomograms of set1, which its list names by absolute paths."""
    shutil.rmtree(project / "set1")
    copy_set(project, "set1")
    shutil.copytree(project / "set1", project / "set2", symlinks=True)
    sub("set2/tomograms.star", r"\tset1/", f"\t{project}/set1/")(project)
    for path, half in ((PICKS, 0), ("set2/particles.star", 1)):
        rows(path, lambda old, half=half: old[half::2])(project)


# ------------------------------------------------------------ the inputs

CRLF = data(TS_01, lambda old: old.replace(b"\n", b"\r\n"))
BOM = data(TS_02, lambda old: b"\xef\xbb\xbf" + old.lstrip())
COMMENT = sub(TS_01, r"^(5@.*)$", r"# \1")
NO_FIFTH = rows(TS_01, lambda old: old[:4] + old[5:])
BLANK = rows(TS_02, lambda old: [*old[:7], "\n", *old[7:]])
MENDED = "Mended in the copy under results/inputs: "
WINDOWS = f"{MENDED}has the line ends of Windows: "
IDENTITY = both(
    *(
        put(TS_01, label, "0.000000", (1, 2, 20, 21))
        for label in ("rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")
    )
)
FOUR = (1, 2, 20, 21)


def inputs(*given: tuple[Any, ...]) -> list[Strange]:
    return [Strange(*one) if isinstance(one, tuple) else one for one in given]


STAR_FILES = inputs(
    ("tilt series: line ends of Windows", CRLF, WARNED, WINDOWS, sound),
    ("tilt series: byte-order mark", BOM, ACCEPTED, "", sound),
    ("tilt series: byte-order mark and line ends of Windows", both(CRLF, data(TS_01, lambda old: b"\xef\xbb\xbf" + old)), WARNED, WINDOWS, sound),
    ("tilt series: line ends of old Macs", data(TS_01, lambda old: old.replace(b"\n", b"\r")), WARNED, WINDOWS, sound),
    ("tilt series: line ends of Windows in a few rows", sub(TS_02, r"^(1?[579]@.*)$", "\\1\r"), WARNED, WINDOWS, sound),
    ("tilt series: UTF-16", data(TS_01, lambda old: old.decode().encode("utf-16")), WARNED, f"{MENDED}is UTF-16 text", sound),
    ("tilt series: a tilt commented out", COMMENT, WARNED, f"{MENDED}row 5 is a comment: set1/tilt_series/TS_01.star", NO_FIFTH),
    ("tilt series: comments between rows", rows(TS_02, lambda old: [*old[:3], "# bad\n", *old[3:9], "  # worse\n", *old[9:]]), WARNED, "rows 4, 10 are a comment", sound),
    ("tilt series: blank line between rows", BLANK, WARNED, f"{MENDED}row 8 is blank", sound),
    ("tilt series: comment right under its last row", rows(TS_02, lambda old: [*old, "# end\n"]), WARNED, "a comment stands right under the last row", sound),
    ("tilt series: comments and blank lines above its rows", sub(TS_01, r"^(_rlnTomoYTilt.*)$", "\n# stage\n\\1\n"), ACCEPTED, "", sound),
    ("tilt series: comments behind values", sub(TS_01, r"^(\d+@.*)$", r"\1 # seen"), ACCEPTED, "", sound),
    ("tilt series: names in quotes", sub(TS_01, r"^(\d+@\S+)", r'"\1"'), ACCEPTED, "", sound),
    ("tilt series: labels without numbers", sub(TS_01, r"^(_\S+) #\d+", r"\1"), ACCEPTED, "", sound),
    ("tilt series: table of another name", sub(TS_01, "^data_TS_01", "data_Position_1"), ACCEPTED, "", sound),
    ("tilt series: without rlnTomoXTilt", of_both(lambda path: columns(path, without("rlnTomoXTilt"))), ACCEPTED, "", sound),
    ("tilt series: one of two without rlnTomoXTilt", columns(TS_02, without("rlnTomoXTilt")), ACCEPTED, "", sound),
    ("tilt series: without rlnCtfScalefactor", of_both(lambda path: columns(path, without("rlnCtfScalefactor"))), ACCEPTED, "", of_both(lambda path: put(path, "rlnCtfScalefactor", "1"))),
    ("tilt series: columns in another order", columns(TS_01, lambda table: dict(reversed(table.items()))), ACCEPTED, "", sound),
    ("tilt series: columns that RELION does not know", columns(TS_01, with_column("myNote", "fine")), ACCEPTED, "", sound),
    ("tilt series: rows in another order", rows(TS_01, lambda old: old[::-1]), ACCEPTED, "", sound),
    ("tilt series: a tilt twice", rows(TS_01, lambda old: [*old, old[3]]), REFUSED, "stands there twice, in rows 4 and 22; remove one"),
    ("tilt series: cut in a row", text(TS_01, lambda old: old.rstrip()[:-30]), REFUSED, r"row 21 has \d+ values for 11 columns.*; was it cut short\?"),
    ("tilt series: a quote that is not closed", sub(TS_01, r"^(4@)", r'"\1'), REFUSED, "row 4 has a quote that is not closed"),
    ("tilt series: a column twice", sub(TS_01, "_rlnDefocusV", "_rlnDefocusU"), REFUSED, "has a column twice"),
    ("tilt series: not text", data(TS_01, lambda old: old.replace(b"# Created", b"# \xc5\xff")), REFUSED, r"line 1 is not UTF-8 text"),
    ("tilt series: not aligned yet", columns(TS_01, without("rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")), REFUSED, "the tilt series is not aligned yet"),
    ("tilt series: no defocus yet", columns(TS_02, without("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")), REFUSED, "its CTF was not estimated"),
    ("tilt series: matrices of RELION 4", columns(TS_02, with_column("rlnTomoProjX", "[1,0,0,0]")), REFUSED, "matrices of RELION 4"),
    ("tomograms: line ends of Windows", data(TOMOGRAMS, lambda old: old.replace(b"\n", b"\r\n")), WARNED, WINDOWS, sound),
    ("tomograms: one, as a simple block", simple_block, ACCEPTED, "", only("TS_01")),
    ("tomograms: a comment between rows", sub(TOMOGRAMS, "^TS_02", "# the other\nTS_02"), WARNED, "row 2 is a comment", sound),
    ("tomograms: without rlnOpticsGroupName", columns(TOMOGRAMS, without("rlnOpticsGroupName")), ACCEPTED, "", sound),
    ("tomograms: of WarpTools or RELION 4", warps_tomograms, REFUSED, r"is of RELION 4 or WarpTools, without tilt series that RELION 5 could extract from \(dummy_tiltseries\.mrc\); give the folder"),
    ("tomograms: a tilt series instead", lambda project: shutil.copyfile(project / TS_01, project / TOMOGRAMS), REFUSED, "is a tilt series, not a list of tomograms"),
    ("tomograms: picks instead", lambda project: shutil.copyfile(project / PICKS, project / TOMOGRAMS), REFUSED, "holds particles, not tomograms"),
    ("tomograms: before they are reconstructed", columns(TOMOGRAMS, without("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ")), REFUSED, "its tomograms are not reconstructed yet"),
    ("tomograms: an old stack named beside others", columns(TOMOGRAMS, with_column("rlnTomoTiltSeriesName", "set1/tilt_series/TS_01.mrcs")), REFUSED, "rlnTomoTiltSeriesName of TS_02 is set1/tilt_series/TS_01.mrcs, but its tilt series names"),
    ("tomograms: an old stack named that is the same", columns(TOMOGRAMS, with_column("rlnTomoTiltSeriesName", lambda i: f"set1/tilt_series/{NAMES[i]}.mrcs")), ACCEPTED, "", sound),
    ("tomograms: an optics group of two voltages", put(TOMOGRAMS, "rlnVoltage", 200, [2]), REFUSED, "optics group optics1 have rlnVoltage"),
)  # fmt: skip

SAME_IMAGES = inputs(
    ("images: those of another series", names_images_of("set1/tilt_series/TS_01.mrcs", 21), REFUSED, r"TS_01 and TS_02 have the same images \(21 of 21\), set1/tilt_series/TS_01\.mrcs"),
    ("images: one of another series", names_images_of("set1/tilt_series/TS_01.mrcs", 1), REFUSED, r"have the same images \(1 of 21\)"),
    ("images: a link to another series'", linked_stack, REFUSED, r"have the same images \(21 of 21\)"),
    ("images: a copy of another series'", copied_stack, REFUSED, "have images with the same pixels"),
    Strange("images: the same in two sets", both(second_set(["TS_01"]), sub("set2/tomograms.star", "^TS_01", "Position_1"), sub("set2/particles.star", "^TS_01", "Position_1")), REFUSED, "TS_01 and Position_1 have the same images", sets=TWO_SETS),
    Strange("images: the same tomogram in two sets, by an absolute path", absolute, ACCEPTED, "", sound, sets=TWO_SETS),
    Strange("two sets of different tomograms", second_set(["TS_02"]), ACCEPTED, "", sound, sets=TWO_SETS),
)  # fmt: skip

NUMBERS = inputs(
    ("numbers: a tilt angle of 1.6e24", put(TS_01, "rlnTomoYTilt", "1567301525373690323140608.000000", [1]), REFUSED, "rlnTomoYTilt .* row 1"),
    ("numbers: a tilt angle of -120 in the other series", put(TS_02, "rlnTomoYTilt", "-120", [4]), REFUSED, "rlnTomoYTilt .* row 4"),
    ("numbers: a tilt about x of 999", put(TS_02, "rlnTomoXTilt", "999", [3]), REFUSED, "rlnTomoXTilt .* row 3"),
    ("numbers: all tilt angles alike", put(TS_01, "rlnTomoYTilt", "0"), REFUSED, "rlnTomoYTilt"),
    ("numbers: an axis of 4000 degrees", put(TS_01, "rlnTomoZRot", "4000", [7]), REFUSED, "rlnTomoZRot .* row 7"),
    ("numbers: excluded tilts as identity", IDENTITY, WARNED, r"rlnTomoZRot of 4 of 21 tilts of TS_01 is far from the others' \(0, median 85\) .*; were they excluded", IDENTITY),
    ("numbers: the axis of one tilt", put(TS_02, "rlnTomoZRot", "-95", [9]), WARNED, "rlnTomoZRot of 1 of 21 tilts of TS_02 is far from the others'", put(TS_02, "rlnTomoZRot", "-95", [9])),
    ("numbers: the axis of a series turned by 180 degrees", put(TS_02, "rlnTomoZRot", lambda old, row: float(old) - 180), WARNED, "rlnTomoZRot", put(TS_02, "rlnTomoZRot", lambda old, row: float(old) - 180)),
    ("numbers: a shift larger than the image", put(TS_01, "rlnTomoXShiftAngst", "-5000", [2]), REFUSED, "rlnTomoXShiftAngst"),
    ("numbers: a shift far from the others'", put(TS_01, "rlnTomoYShiftAngst", "790", [12]), WARNED, "rlnTomoYShiftAngst of 1 of 21 tilts of TS_01 is far from the others'", put(TS_01, "rlnTomoYShiftAngst", "790", [12])),
    ("numbers: defocus 0 and wild", both(*(put(TS_01, f"rlnDefocus{x}", "0.000000", (1, 2)) for x in "UV"), *(put(TS_01, f"rlnDefocus{x}", "146011.7", [21]) for x in "UV")), REFUSED, "rlnDefocusU"),
    ("numbers: defocus wild", both(*(put(TS_02, f"rlnDefocus{x}", "146011.7", [21]) for x in "UV")), WARNED, r"rlnDefocusU of 1 of 21 tilts of TS_02 is far from the others' \(146012", both(*(put(TS_02, f"rlnDefocus{x}", "146011.7", [21]) for x in "UV"))),
    ("numbers: defocus negative", both(*(put(TS_02, f"rlnDefocus{x}", scaled(-1)) for x in "UV")), REFUSED, "rlnDefocusU"),
    ("numbers: defocus in µm", of_both(lambda path: both(*(put(path, f"rlnDefocus{x}", scaled(1e-4)) for x in "UV"))), REFUSED, "rlnDefocusU.*µm"),
    ("numbers: defocus in nm", of_both(lambda path: both(*(put(path, f"rlnDefocus{x}", scaled(0.1)) for x in "UV"))), WARNED, "rlnDefocusU", of_both(lambda path: both(*(put(path, f"rlnDefocus{x}", scaled(0.1)) for x in "UV")))),
    ("numbers: exposure negative", put(TS_01, "rlnMicrographPreExposure", "-3", [11]), REFUSED, "rlnMicrographPreExposure"),
    ("numbers: the same exposure in all tilts", put(TS_01, "rlnMicrographPreExposure", "0"), WARNED, "rlnMicrographPreExposure", put(TS_01, "rlnMicrographPreExposure", "0")),
    ("numbers: voltage in V", put(TOMOGRAMS, "rlnVoltage", "300000"), REFUSED, "rlnVoltage"),
    ("numbers: spherical aberration in Å", put(TOMOGRAMS, "rlnSphericalAberration", "2.7e7"), REFUSED, "rlnSphericalAberration"),
    ("numbers: amplitude contrast in percent", put(TOMOGRAMS, "rlnAmplitudeContrast", "10"), REFUSED, "rlnAmplitudeContrast"),
    ("numbers: no hand", put(TOMOGRAMS, "rlnTomoHand", "0", [2]), REFUSED, "rlnTomoHand"),
    ("numbers: two hands", put(TOMOGRAMS, "rlnTomoHand", "-1", [2]), WARNED, "rlnTomoHand is -1", put(TOMOGRAMS, "rlnTomoHand", "-1", [2])),
    ("numbers: pixel sizes half a percent apart", put(TOMOGRAMS, "rlnTomoTiltSeriesPixelSize", "5.025", [2]), REFUSED, "differ in pixel size, 5 to 5.025 Å"),
    ("numbers: pixel sizes apart by rounding", put(TOMOGRAMS, "rlnTomoTiltSeriesPixelSize", "5.0001", [2]), WARNED, "differ a little in pixel size", sound),
)  # fmt: skip

IMAGES = inputs(
    ("images: numbered ones in .mrc", renamed(".mrc"), WARNED, MENDED, sound),
    ("images: .mrc:mrcs, as Scipion names them", renamed(".mrc", ".mrc:mrcs"), WARNED, MENDED, sound),
    ("images: .mrcs:mrcs", renamed(".mrcs", ".mrcs:mrcs"), WARNED, MENDED, sound),
    ("images: .st, as IMOD names them", renamed(".st"), ACCEPTED, "", sound),
    ("images: .ali", renamed(".ali"), WARNED, MENDED, sound),
    ("images: .rec", renamed(".rec"), WARNED, MENDED, sound),
    ("images: each a file of its own", single_files, ACCEPTED, "", sound),
    ("images: of 16 bit", images(lambda old: spread(old, 3000).astype(np.int16)), ACCEPTED, "", sound),
    ("images: of 16 bit without sign", images(lambda old: spread(old, 3000, 32000).astype(np.uint16)), ACCEPTED, "", sound),
    ("images: of half precision", images(lambda old: old.astype(np.float16)), ACCEPTED, "", sound),
    ("images: of signed bytes", images(lambda old: spread(old, 21).astype(np.int8)), ACCEPTED, "", sound),
    ("images: of the other byte order", byte_swapped, ACCEPTED, "", sound),
    ("images: with an extended header", data("set1/tilt_series/TS_01.mrcs", lambda old: old[:92] + struct.pack("<i", 256) + old[96:1024] + bytes(256) + old[1024:]), ACCEPTED, "", sound),
    ("images: longer than their header says", data("set1/tilt_series/TS_01.mrcs", lambda old: old + b"more"), ACCEPTED, "", sound),
    ("images: header without a pixel size", images(lambda old: old, lambda head: struct.pack_into("<3f", head, 40, 0, 0, 0)), WARNED, "has no pixel size in its header .*; 5 Å is taken from the STAR file", sound),
    ("images: of unsigned bytes, by IMOD's flag", unsigned(True), REFUSED, "unsigned bytes, which RELION reads as signed .*; convert"),
    ("images: of unsigned bytes, by the largest value", unsigned(False), REFUSED, "unsigned bytes, which RELION reads as signed"),
    ("images: of 4 bit", four_bit(320), ACCEPTED, "", images(lambda old: spread(old, 2, 8).clip(0, 15))),
    ("images: of 4 bit, in rows of an odd length", four_bit(319), REFUSED, "4 bits in rows of an odd length, which RELION misreads"),
    ("images: complex", mode(4), REFUSED, "Fourier transform of MRC mode 4, which RELION does not read"),
    ("images: colours", mode(16), REFUSED, "colours of MRC mode 16"),
    ("images: MRC files called .tif", renamed(".tif"), WARNED, MENDED, sound),
    ("images: cut short", data("set1/tilt_series/TS_02.mrcs", lambda old: old[:-1]), REFUSED, "is cut short"),
    ("images: TIFF files", data("set1/tilt_series/TS_01.mrcs", lambda old: b"II*\0" + old[4:]), REFUSED, "is a TIFF file, not an MRC one"),
    ("images: compressed", data("set1/tilt_series/TS_01.mrcs", lambda old: b"\x1f\x8b\x08" + old[3:]), REFUSED, r"is compressed \(gzip\); unpack it"),
    ("images: missing", lambda project: (project / "set1/tilt_series/TS_02.mrcs").unlink(), REFUSED, "is missing"),
    ("images: a stack without numbers", sub(TS_01, r"^\d+@", ""), REFUSED, "say which image"),
    ("images: numbered from 0", sub(TS_01, r"^(\d+)@", lambda found: f"{int(found[1]) - 1}@"), REFUSED, "images are counted from 1"),
)  # fmt: skip

PICKS_CASES = inputs(
    ("picks: line ends of Windows and byte-order mark", data(PICKS, lambda old: b"\xef\xbb\xbf" + old.replace(b"\n", b"\r\n")), WARNED, WINDOWS, sound),
    ("picks: one commented out", sub(PICKS, r"\A((?s:.*?)\n)(TS_02)", r"\1#\2"), WARNED, "row 33 is a comment", rows(PICKS, lambda old: old[:32] + old[33:])),
    ("picks: a list of files", list_of_files, ACCEPTED, "", sound),
    ("picks: by micrograph name, as pytom-match-pick", sub(PICKS, "_rlnTomoName", "_rlnMicrographName"), ACCEPTED, "", sound),
    ("picks: by .tomostar, as Warp", both(sub(PICKS, "_rlnTomoName", "_rlnMicrographName"), sub(PICKS, r"^(TS_\d+)", r"\1.tomostar")), ACCEPTED, "", sound),
    ("picks: positions as fractions", fractions([f"rlnCoordinate{x}" for x in "XYZ"]), ACCEPTED, "", sound),
    ("picks: centred positions as fractions", fractions([f"rlnCenteredCoordinate{x}Angst" for x in "XYZ"]), REFUSED, "are all between 0 and 1: fractions of the tomogram"),
    ("picks: shifts in pixels, as RELION 3", columns(PICKS, with_column("rlnOriginX", "1.5")), REFUSED, "has shifts in pixels"),
    ("picks: without angles", columns(PICKS, without("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")), WARNED, "have no angles, for which 0 is written", both(*(put(PICKS, f"rlnAngle{x}", 0) for x in ("Rot", "Tilt", "Psi")))),
    ("picks: an angle that is none", put(PICKS, "rlnAnglePsi", "1e23", [5]), REFUSED, "rlnAnglePsi is no angle in row 5"),
    ("picks: angles in radians", both(*(put(PICKS, f"rlnAngle{x}", scaled(np.pi / 180)) for x in ("Rot", "Tilt", "Psi"))), WARNED, "as if they were in radians", both(*(put(PICKS, f"rlnAngle{x}", scaled(np.pi / 180)) for x in ("Rot", "Tilt", "Psi")))),
    ("picks: nineteen pairs less than a pixel apart", near(19), REFUSED, r"\(the first of 19 such pairs\) are the same particle, less than a pixel apart; remove one of each \(all pairs are in results/duplicates\.tsv\), or set particle\.duplicates: keep_one"),
    Strange("picks: nineteen pairs, one of each kept", near(19), WARNED, "19 of 83 particles are left out, .* the first one is kept", sound, duplicates="keep_one"),
    Strange("picks: nineteen pairs, the better of each kept", near(19, score=True), WARNED, "19 of 83 particles are left out, .* the better one is kept", rows(PICKS, lambda old: [x for i, x in enumerate(old) if i not in range(0, 38, 2)] + ["\t".join([w[0], f"{float(w[1]) + 0.9:.6f}", *w[2:]]) + "\n" for w in map(str.split, old[:38:2])]), duplicates="keep_one"),
    ("picks: one half set alone", columns(PICKS, with_column("rlnRandomSubset", 1)), WARNED, "rlnRandomSubset is left out, .*64 in 1.*; refine3d makes new ones", sound),
    ("picks: half sets 0 and 1", columns(PICKS, with_column("rlnRandomSubset", lambda i: i % 2)), WARNED, "rlnRandomSubset is left out", sound),
    ("picks: half sets with a gap", columns(PICKS, with_column("rlnRandomSubset", lambda i: "nan" if i == 3 else 1 + i % 2)), WARNED, "rlnRandomSubset is left out", sound),
    ("picks: two half sets", columns(PICKS, with_column("rlnRandomSubset", lambda i: f"{1 + i % 2}.000000")), ACCEPTED, "", sound),
    ("picks: unknown tomogram", sub(PICKS, "^TS_02", "TS_2"), REFUSED, "tomogram TS_2 .* did you mean TS_02"),
)  # fmt: skip

ALL = [*STAR_FILES, *SAME_IMAGES, *NUMBERS, *IMAGES, *PICKS_CASES]

# Faults that people reported in public, or a fault that other programs were mended for, by a short name.
REPORTED = {
    "defocus_missing_or_wild": "numbers: defocus 0 and wild",
    "excluded_as_identity": "numbers: excluded tilts as identity",
    "images_of_another_series": "images: those of another series",
    "list_of_pick_files": "picks: a list of files",
    "nineteen_pairs_less_than_a_pixel_apart": "picks: nineteen pairs less than a pixel apart",
    "no_x_tilt": "tilt series: without rlnTomoXTilt",
    "one_half_set_in_picks": "picks: one half set alone",
    "pixel_sizes_half_percent_apart": "numbers: pixel sizes half a percent apart",
    "positions_as_fractions": "picks: positions as fractions",
    "scipion_mrcs_suffix": "images: .mrc:mrcs, as Scipion names them",
    "stack_named_mrc": "images: numbered ones in .mrc",
    "tilt_angle_garbage": "numbers: a tilt angle of 1.6e24",
    "tilt_commented_out": "tilt series: a tilt commented out",
    "tilt_series_of_windows": "tilt series: line ends of Windows",
    "tomograms_of_warp": "tomograms: of WarpTools or RELION 4",
    "unsigned_bytes": "images: of unsigned bytes, by IMOD's flag",
}
