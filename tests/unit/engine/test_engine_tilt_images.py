"""The embedded engine reads the tilt images that RELION reads, with RELION's meaning, and refuses the others."""

import struct
from pathlib import Path

import numpy as np
import pytest

from staengine.errors import EngineError
from staengine.tilt_series import tilt_images

NUMBERS = np.random.default_rng(0).integers(0, 15, (3, 20, 30))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(data: np.ndarray, mode: int, order: str = "<", nx: int | None = None, extended: int = 0) -> None:
    """An MRC file TS.mrcs of images (n, y, x) in a mode, of 2 Å/px."""
    shape = (nx or data.shape[2], data.shape[1], data.shape[0])
    head = bytearray(1024)
    struct.pack_into(order + "4i", head, 0, *shape, mode)
    struct.pack_into(order + "3i3f", head, 28, *shape, *(2.0 * n for n in shape))
    struct.pack_into(order + "i", head, 92, extended)
    body = data.astype(data.dtype.newbyteorder(order)).tobytes()
    Path("TS.mrcs").write_bytes(bytes(head) + bytes(extended) + body)


def read() -> np.ndarray:
    file = tilt_images.open_images("TS.mrcs")
    return np.stack([file.read(section) for section in range(file.sections)])


@pytest.mark.parametrize(
    ("name", "section", "path"),
    [
        ("3@a/TS.mrcs", 2, "a/TS.mrcs"),
        ("3@a/TS.st", 2, "a/TS.st"),
        ("3@a/TS.mrc:mrcs", 2, "a/TS.mrc"),
        ("3@a/TS.ali:MRCS", 2, "a/TS.ali"),
        ("a/TS.mrc", 0, "a/TS.mrc"),
        ("a/TS.MRC", 0, "a/TS.MRC"),
        ("a/TS.mrcs", 0, "a/TS.mrcs"),
        ("a/TS.ali:mrc", 0, "a/TS.ali"),
        ("a/TS.map", 0, "a/TS.map"),
    ],
)
def test_an_images_name_is_taken_as_relion_does(name, section, path):
    assert tilt_images.parse_image_name(name) == (section, path)


@pytest.mark.parametrize("name", ["3@a/TS.mrc", "3@a/TS.MRC", "3@a/TS.mrcs:mrc"])
def test_numbered_images_of_a_file_for_maps_are_refused(name):
    with pytest.raises(EngineError, match=r"numbered in files \.mrcs or \.st; link or name it as such"):
        tilt_images.parse_image_name(name)


@pytest.mark.parametrize(
    "name",
    ["3@TS.ali", "TS.rec", "3@TS", "TS.tif", "3@TS.stk", "TS.spi", "3@TS.map", "TS.mrc.bz2", "TS.mrcs:img"],
)
def test_names_of_other_formats_are_refused(name):
    with pytest.raises(EngineError, match="its name is not that of an MRC image"):
        tilt_images.parse_image_name(name)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extended", [0, 131072])
@pytest.mark.parametrize(("mode", "kind"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
def test_the_modes_of_real_numbers_are_read_in_either_byte_order(mode, kind, order, extended):
    data = (NUMBERS - 7 * (kind != "u2")).astype(kind)
    write(data, mode, order, extended=extended)
    np.testing.assert_array_equal(read(), data)
    file = tilt_images.open_images("TS.mrcs")
    assert (file.nx, file.ny, file.sections, file.pixel) == (30, 20, 3, 2.0)


def test_bytes_are_signed():
    write(np.full((1, 4, 4), 200, np.uint8), 0)
    assert (read() == -56).all()


def test_numbers_of_two_bytes_are_unsigned_in_mode_6_only():
    for mode, expected in ((1, -25536), (6, 40000)):
        write(np.full((1, 4, 4), 40000, np.uint16), mode)
        assert (read() == expected).all()


def test_numbers_of_four_bits_are_read_with_the_lower_half_first():
    write((NUMBERS[..., ::2] | NUMBERS[..., 1::2] << 4).astype(np.uint8), 101, nx=30)
    np.testing.assert_array_equal(read(), NUMBERS)


@pytest.mark.parametrize(
    ("mode", "nx", "order", "sentence"),
    [
        (4, 30, "<", "holds no real numbers that RELION reads, but MRC mode 4; convert it"),
        (3, 30, ">", "MRC mode 3"),
        (16, 30, "<", "MRC mode 16"),
        (7, 30, "<", "MRC mode 7"),
        (101, 30, ">", "holds numbers of 4 bits of an odd length or byte order; convert it"),
        (2, -1, "<", "is not an MRC file, or its header is damaged"),
        (2, 31, "<", "is cut short"),
    ],
)
def test_what_relion_cannot_read_is_refused(mode, nx, order, sentence):
    write(NUMBERS.astype(np.float32), mode, order, nx)
    with pytest.raises(EngineError, match=sentence):
        tilt_images.open_images("TS.mrcs")


def test_numbers_of_four_bits_are_refused_where_an_image_ends_in_half_a_byte():
    write(np.zeros((1, 3, 16), np.uint8), 101, nx=31)
    with pytest.raises(EngineError, match="holds numbers of 4 bits of an odd length"):
        tilt_images.open_images("TS.mrcs")


def test_a_file_may_be_longer_than_its_header_says_but_not_shorter_than_one():
    write(NUMBERS.astype(np.float32), 2)
    Path("TS.mrcs").write_bytes(Path("TS.mrcs").read_bytes() + bytes(5))
    np.testing.assert_array_equal(read(), NUMBERS)
    Path("TS.mrcs").write_bytes(bytes(100))
    with pytest.raises(EngineError, match="is cut short"):
        tilt_images.open_images("TS.mrcs")
    with pytest.raises(EngineError, match=r"the tilt images none\.mrcs do not exist"):
        tilt_images.open_images("none.mrcs")
