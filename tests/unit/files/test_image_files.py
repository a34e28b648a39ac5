"""Tilt images are taken as RELION takes them: by number, file and format of their names, and MRC mode."""

import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacycle.errors import UserError
from stacycle.files import image_files, mrc
from stacycle.files.image_files import Fault, ImageName, parse_image_name

RNG = np.random.default_rng(0)
UNSIGNED = "holds unsigned bytes, which RELION reads as signed"
NUMBERED = "is numbered, but RELION reads a numbered image only from .mrcs or .st"
IMOD = 1146047817


def fault_of(name: str) -> Fault | None:
    """What is wrong with an image of this name, as preflight asks it."""
    parsed = parse_image_name(name)
    return image_files.fault_of_name(parsed) or image_files.fault_of_format(
        parsed, image_files.look(parsed.file)
    )


def write(path: Path, data: np.ndarray | None = None, order: str = "<", **words: float) -> str:
    """An MRC file of 3 images of half precision, or this data; `words` are header words by their byte, as b76=3.5."""
    data = RNG.normal(size=(3, 20, 30)).astype(np.float16) if data is None else data
    modes = {"i1": 0, "u1": 0, "i2": 1, "f4": 2, "c8": 4, "u2": 6, "f2": 12}
    head = bytearray(1024)
    struct.pack_into(order + "4i", head, 0, *data.shape[::-1], modes[data.dtype.str[1:]])
    struct.pack_into(order + "3i3f", head, 28, *data.shape[::-1], *(2.0 * n for n in data.shape[::-1]))
    for byte, value in words.items():
        struct.pack_into(order + ("i" if isinstance(value, int) else "f"), head, int(byte[1:]), value)
    path.write_bytes(bytes(head) + data.astype(data.dtype.newbyteorder(order)).tobytes())
    return str(path)


def noise(mean: float, sigma: float, kind: type) -> np.ndarray:
    """Images of bytes with this mean and spread."""
    limits = np.iinfo(kind)
    return np.clip(np.rint(RNG.normal(mean, sigma, (3, 90, 200))), limits.min, limits.max).astype(kind)


# Names


@pytest.mark.parametrize(
    ("text", "number", "file", "form", "reader"),
    [
        ("3@a/TS.mrcs", 3, "a/TS.mrcs", "mrcs", "stack"),
        ("003@a/TS.mrc:mrcs", 3, "a/TS.mrc", "mrcs", "stack"),
        ("3@a/TS.mrc:MRCS", 3, "a/TS.mrc", "mrcs", "stack"),
        ("3@a/TS.st", 3, "a/TS.st", "st", "stack"),
        ("3@a/TS.MRC", 3, "a/TS.MRC", "mrc", "map"),
        ("a/TS.mrc:mrc", None, "a/TS.mrc", "mrc", "map"),
        ("a/TS.map", None, "a/TS.map", "map", "map"),
        ("3@a/TS.ali", 3, "a/TS.ali", "ali", "SPIDER"),
        ("3@a/TS.rec", 3, "a/TS.rec", "rec", "SPIDER"),
        ("3@a/TS", 3, "a/TS", "", "SPIDER"),
        ("3@set.st/TS", 3, "set.st/TS", "st/ts", "stack"),
        ("3@a/TS.mrcs:spi", 3, "a/TS.mrcs", "spi", "SPIDER"),
        ("3@a/TS.stk", 3, "a/TS.stk", "stk", "SPIDER"),
        ("a/TS.tiff", None, "a/TS.tiff", "tiff", "TIFF"),
        ("a/TS.mrc.bz2", None, "a/TS.mrc.bz2", "bz2", "compressed"),
        ("a/TS.hed", None, "a/TS.hed", "hed", "IMAGIC"),
        ("a/TS.dm4", None, "a/TS.dm4", "dm4", "Digital Micrograph"),
        ("a/TS.eer", None, "a/TS.eer", "eer", "EER"),
    ],
)
def test_an_images_name_is_taken_apart_as_relion_does(text, number, file, form, reader):
    name = parse_image_name(text)
    assert name == ImageName(number, file, form)
    assert image_files.reader_of(name) == reader
    assert image_files.file_of(text) == file


@given(
    st.one_of(st.none(), st.integers(1, 99)),
    st.from_regex(r"[a-z]{1,5}(/[a-z0-9._]{1,9}){0,3}", fullmatch=True),
)
def test_a_name_put_together_is_taken_apart_into_its_parts(number, file):
    text = image_files.renamed(ImageName(number, "", ""), file, "mrcs")
    assert parse_image_name(text) == ImageName(number, file, "mrcs")


@pytest.mark.parametrize(
    "text", ["1@C:/a/TS.mrcs", "1@a:b/TS.mrcs", "1@a/T#S.mrcs", "1@a/T%S.mrcs", "1@2@TS.mrcs", "x@TS.mrcs", "T\tS.mrcs"]
)  # fmt: skip
def test_a_path_that_relion_takes_apart_is_refused(text):
    fault = image_files.fault_of_name(parse_image_name(text))
    assert fault
    assert "has a : # % @ or control character in its path" in fault.fault


@pytest.mark.parametrize("text", ["0@TS.mrcs", "@TS.mrcs"])
def test_images_are_counted_from_one(text):
    assert image_files.fault_of_name(parse_image_name(text)) == (
        "has the number 0, but images are counted from 1",
        "correct the number",
        "",
    )


@pytest.mark.parametrize("text", ["1@TS.mrcs", "TS.mrc", "1@a b/TS-1.st", "1@TS.mrc:mrcs", "12@TS.mrc"])
def test_other_names_are_no_fault(text):
    assert image_files.fault_of_name(parse_image_name(text)) is None


# Formats


@pytest.mark.parametrize("name", ["TS.mrcs", "TS.MRCS", "TS.st", "TS.mrc:mrcs", "TS.ali:st"])
def test_numbered_images_of_a_stack_are_read(tmp_path, name):
    write(tmp_path / image_files.file_of(name))
    assert fault_of(f"2@{tmp_path}/{name}") is None


@pytest.mark.parametrize("name", ["TS.mrc", "TS.mrcs", "TS.map", "TS.st", "TS.ali:mrc"])
def test_an_image_of_its_own_is_read(tmp_path, name):
    write(tmp_path / image_files.file_of(name), RNG.normal(size=(1, 20, 30)).astype(np.float32))
    assert fault_of(f"{tmp_path}/{name}") is None


@pytest.mark.parametrize("extension", [".mrc", ".MRC", ".map", ".mrcs:mrc"])
def test_a_numbered_image_of_another_extension_is_refused_and_could_be_linked(tmp_path, extension):
    write(tmp_path / image_files.file_of(f"TS_01{extension}"))
    assert fault_of(f"2@{tmp_path}/TS_01{extension}") == (NUMBERED, "link it as TS_01.mrcs", "mrcs")


@pytest.mark.parametrize(
    ("name", "reader", "link"),
    [
        ("TS.ali", "SPIDER", "TS.mrcs"),
        ("TS.rec", "SPIDER", "TS.mrcs"),
        ("TS.preali", "SPIDER", "TS.mrcs"),
        ("TS", "SPIDER", "TS.mrcs"),
        ("TS_5.00Apx", "SPIDER", "TS_5.00Apx.mrcs"),
        ("TS.stk", "SPIDER", "TS.mrcs"),
        ("TS.tif", "TIFF", "TS.mrcs"),
        ("TS.img", "IMAGIC", "TS.mrcs"),
        ("TS.xz", "compressed", "TS.mrcs"),
    ],
)
def test_an_mrc_file_that_relion_reads_as_another_could_be_linked(tmp_path, name, reader, link):
    path = write(tmp_path / name, RNG.normal(size=(1, 20, 30)).astype(np.float32))
    for image in (path, f"1@{path}"):
        assert fault_of(image) == (
            f"is an MRC file, but RELION reads it as {reader} by its name",
            f"link it as {link}",
            "mrcs",
        )
        assert fault_of(image_files.renamed(parse_image_name(image), path, "mrcs")) is None


def test_a_stack_without_a_number_is_refused(tmp_path):
    path = write(tmp_path / "TS.mrcs")
    assert fault_of(path) == (
        "is a stack of 3 images and has no number, so that RELION takes the first",
        f"say which image, as in 1@{path}",
        "",
    )


@pytest.mark.parametrize(
    ("start", "fault"),
    [
        (b"II*\0\x08\0\0\0", "is a TIFF file, not an MRC one"),
        (b"MM\0+\0\x08\0\0", "is a TIFF file, not an MRC one"),
        (b"\x89HDF\r\n\x1a\n", "is a HDF5 file, not an MRC one"),
        (b"\x1f\x8b\x08\0", "is compressed (gzip)"),
        (b"BZh91AY&SY", "is compressed (bzip2)"),
        (b"\xfd7zXZ\0\0\4", "is compressed (xz)"),
        (b"\x28\xb5\x2f\xfd", "is compressed (zstd)"),
        (b"\0\0\0\3\0\2\0\0\0\0\0\1", "is a Digital Micrograph file, not an MRC one"),
        (b"_rlnTomoName", "is missing or no MRC file"),
        (b"", "is missing or no MRC file"),
    ],
)
def test_files_of_other_formats_are_named_by_what_they_are(tmp_path, start, fault):
    path = tmp_path / "TS.mrcs"
    path.write_bytes(start + bytes(2000) * bool(start))
    assert fault_of(f"1@{path}").fault == fault


def test_a_file_that_is_not_there_is_none(tmp_path):
    assert image_files.look(str(tmp_path / "none.mrcs")) is None
    assert fault_of(f"1@{tmp_path}/none.mrcs").fault == "is missing or no MRC file"
    assert image_files.look("a\0b") is None


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["i1", "i2", "f4", "u2", "f2"])
def test_the_modes_that_relion_reads_are_no_fault_in_either_byte_order(tmp_path, order, kind):
    path = write(tmp_path / "TS.mrcs", RNG.integers(0, 100, (3, 20, 30)).astype(kind), order)
    assert fault_of(f"1@{path}") is None
    file = image_files.look(path)
    assert (file.header.voxel, file.header.bytes) == (order + kind, file.size)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("mode", "fault"),
    [(3, "a Fourier transform"), (4, "a Fourier transform"), (16, "colours"), (7, "numbers"), (5, "numbers")],
)
def test_modes_that_relion_does_not_read_are_refused(tmp_path, order, mode, fault):
    path = write(tmp_path / "TS.mrcs", order=order, b12=mode)
    assert fault_of(f"1@{path}").fault == f"holds {fault} of MRC mode {mode}, which RELION does not read"
    assert mrc.parse(Path(path).read_bytes()) is None


@pytest.mark.parametrize(
    ("nx", "order", "fault"),
    [
        (30, "<", None),
        (31, "<", "holds numbers of 4 bits in rows of an odd length, which RELION misreads"),
        (30, ">", "holds numbers of 4 bits in big-endian order, which RELION does not read"),
    ],
)
def test_numbers_of_four_bits_are_taken_where_relion_reads_them(tmp_path, nx, order, fault):
    path = write(tmp_path / "TS.mrcs", np.zeros((3, 20, (nx + 1) // 2), np.int8), order, b0=nx, b12=101)
    found = fault_of(f"1@{path}")
    assert (found and found.fault) == fault
    assert image_files.look(path).header.bytes == 1024 + 3 * 20 * nx // 2
    with pytest.raises(UserError, match="holds numbers of 4 bits, which no map has"):
        mrc.voxels(write(tmp_path / "map.mrc", np.zeros((30, 30, 15), np.int8), b0=30, b12=101))


# Bytes


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ({"b152": IMOD, "b156": 0}, True),
        ({"b152": IMOD, "b156": 1}, False),
        ({"b152": IMOD, "b156": 16}, True),
        ({"b152": IMOD, "b156": 17, "b80": 250.0}, False),
        ({"b76": 3.0, "b80": 250.0}, True),
        ({"b76": 0.0, "b80": 128.0}, True),
        ({"b76": -120.0, "b80": 127.0}, False),
    ],
)
def test_unsigned_bytes_are_known_by_the_header(tmp_path, order, words, fault):
    path = write(
        tmp_path / "TS.mrcs", noise(0, 200, np.int8), order, **words
    )  # which tell nothing themselves
    found = fault_of(f"1@{path}")
    assert (found and (found.fault, found.cure)) == (
        (UNSIGNED, "convert it (newstack -mode 1)") if fault else None
    )


@pytest.mark.parametrize("words", [{}, {"b76": 1.0, "b80": -1.0}, {"b76": float("nan")}, {"b80": 100.0}])
@pytest.mark.parametrize("sigma", [4, 10, 21, 40, 50])
@pytest.mark.parametrize("mean", [60, 100, 127, 140, 180])
def test_where_the_header_is_silent_unsigned_bytes_are_known_by_their_neighbours(
    tmp_path, words, mean, sigma
):
    data = noise(mean, sigma, np.uint8)
    fewest = min((data > 127).mean(), (data < 128).mean())  # that wrap
    found = fault_of(f"1@{write(tmp_path / 'TS.mrcs', data, **words)}")
    assert (found and found.fault) == UNSIGNED or fewest < 2e-3
    assert found is None or fewest > 0


@pytest.mark.parametrize("words", [{}, {"b76": 1.0, "b80": -1.0}, {"b76": -3.0, "b80": 3000.0}])
@pytest.mark.parametrize("sigma", [0, 1, 4, 10, 21, 40, 60])
@pytest.mark.parametrize("mean", [-100, -60, 0, 3, 40, 90])
def test_signed_bytes_are_never_taken_for_unsigned_ones(tmp_path, words, mean, sigma):
    assert fault_of(f"1@{write(tmp_path / 'TS.mrcs', noise(mean, sigma, np.int8), **words)}") is None


def test_bytes_that_are_counts_are_the_same_signed_or_not(tmp_path):
    counts = RNG.poisson(2, (3, 200, 300)).astype(np.uint8)
    assert fault_of(f"1@{write(tmp_path / 'TS.mrcs', counts)}") is None


def test_bytes_that_mrcfile_writes_are_signed(tmp_path):
    mrcfile.write(tmp_path / "TS.mrcs", noise(0, 21, np.int8), voxel_size=4)
    assert fault_of(f"1@{tmp_path}/TS.mrcs") is None


def test_bytes_that_are_cut_short_are_left_to_the_check_of_the_size(tmp_path):
    path = Path(write(tmp_path / "TS.mrcs", noise(127, 21, np.uint8)))
    path.write_bytes(path.read_bytes()[:5000])
    assert image_files.look(str(path)).fault is None
