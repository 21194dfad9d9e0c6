"""Pictures of any number of channels: what other programs write comes back value for value, bad files are refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from everymask.core.randomness import rng
from everymask.data.pictures.read import (
    check_image,
    pictures_among,
    read_header,
    read_image,
    read_label_map,
)
from everymask.errors import DataError

RANDOM = rng(1, "test_bands")


def values(channels: int, dtype: str = "uint16", size: tuple[int, int] = (45, 53)) -> np.ndarray:
    return (RANDOM.random((*size, channels)) * 250).astype(dtype)


def write_tiff(file: Path, bands: np.ndarray, *, planar: bool = False, **options: object) -> Path:
    """`bands` [H, W, C] by tifffile, interleaved or a plane per band."""
    stored = np.moveaxis(bands, -1, 0) if planar else bands
    options = {"photometric": "minisblack", "planarconfig": "separate" if planar else "contig"} | options
    tifffile.imwrite(file, stored, **options)
    return file


@pytest.mark.parametrize("channels", [2, 4, 5, 13])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"rowsperstrip": 7},
        {"tile": (32, 16), "byteorder": ">"},
        {"rowsperstrip": 7, "compression": "zlib", "bigtiff": True},
        {"tile": (32, 16), "compression": "zlib"},
        {"rowsperstrip": 45, "compression": "lzma"},
    ],
    ids=["strips", "tiles", "deflate", "deflated tiles", "lzma"],
)
def test_bands_come_back_the_same(tmp_path, channels, dtype, planar, options):
    bands = values(channels, dtype)
    file = write_tiff(tmp_path / "a.tif", bands, planar=planar, **options)
    header = read_header(file)
    assert (header.size, header.channels, header.dtype, header.format) == ((45, 53), channels, dtype, "TIFF")
    found = read_image(file)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, bands)
    check_image(file)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_horizontal_predictor_is_undone(tmp_path, planar, byteorder):
    bands = values(5)
    options = {"planar": planar, "byteorder": byteorder, "rowsperstrip": 7}
    file = write_tiff(tmp_path / "a.tif", bands, compression="zlib", predictor=True, **options)
    np.testing.assert_array_equal(read_image(file), bands)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a30_one_band_comes_back_in_either_byte_order(tmp_path, dtype, byteorder, compression):
    """Pillow swaps the bytes of signed and of float grey where a big-endian file is packed."""
    ids = (values(1, "uint8")[..., 0] // 2).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", ids, byteorder=byteorder, compression=compression, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], ids)
    found = read_label_map(tmp_path / "a.tif")
    assert found.dtype == (dtype if dtype in ("uint8", "uint16") else "int32")
    np.testing.assert_array_equal(found, ids)


def patched(file: Path, changes: dict[int, int]) -> Path:
    """The little-endian TIFF with other numbers in the tags named."""
    data = bytearray(file.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if (tag := struct.unpack_from("<H", data, place)[0]) in changes:
            struct.pack_into("<HII", data, place + 2, 4, 1, changes.pop(tag))
    assert not changes
    file.write_bytes(data)
    return file


def repacked(file: Path, data: bytes, packing: int) -> Path:
    """The TIFF of one strip with `data` for that strip."""
    place = file.stat().st_size
    with file.open("ab") as stream:
        stream.write(data)
    return patched(file, {259: packing, 273: place, 279: len(data)})


def one_strip(file: Path, bands: np.ndarray) -> Path:
    return write_tiff(file, bands, rowsperstrip=len(bands), metadata=None)


@pytest.mark.parametrize(("name", "packing"), [("tiff_lzw", 5), ("packbits", 32773), ("zstd", 50000)])
def test_what_libtiff_packs(tmp_path, name, packing):
    """The strip of a grey picture of 10 W columns holds the bytes of one of W columns and 5 bands of two bytes."""
    bands = values(5)
    grey = tmp_path / "grey.tif"
    Image.fromarray(bands.view(np.uint8).reshape(45, -1)).save(grey, compression=name, tiffinfo={278: 45})
    with tifffile.TiffFile(grey) as tiff:
        (place,), (length,) = tiff.pages.first.dataoffsets, tiff.pages.first.databytecounts
    strip = grey.read_bytes()[place : place + length]
    np.testing.assert_array_equal(read_image(repacked(one_strip(tmp_path / "a.tif", bands), strip, packing)), bands)
    with pytest.raises(DataError, match="damaged or cut short"):
        read_image(repacked(one_strip(tmp_path / "b.tif", bands), strip[:-300], packing))


def test_the_float_predictor_is_undone(tmp_path):
    """Each row: all high bytes, then the next lower ones, each byte less the one a pixel before (Technical Note 3)."""
    bands = values(2, "float32")
    planes = bands.astype(">f4").view(np.uint8).reshape(45, 53 * 2, 4).swapaxes(1, 2).reshape(45, -1, 2)
    steps = np.diff(planes, axis=1, prepend=np.zeros((45, 1, 2), np.uint8))
    file = repacked(one_strip(tmp_path / "a.tif", bands), zlib.compress(steps.tobytes()), 8)
    data = bytearray(file.read_bytes())
    entry = data.index(struct.pack("<HHI", 305, 2, 12))  # the program's name gives its place to the predictor
    data[entry : entry + 12] = struct.pack("<HHII", 317, 3, 1, 3)
    file.write_bytes(data)
    np.testing.assert_array_equal(read_image(file), bands)


@pytest.mark.parametrize(
    ("photometric", "channels", "extras", "kept"),
    [
        ("rgb", 4, ["unspecified"], 4),
        ("rgb", 4, ["unassalpha"], 3),
        ("rgb", 5, ["assocalpha", "unspecified"], 4),
        ("minisblack", 4, [0, 0, 0], 4),
        ("minisblack", 4, [0, 0, 2], 3),
        ("minisblack", 2, ["unspecified"], 2),
        ("minisblack", 2, ["unassalpha"], 1),
        ("rgb", 3, [], 3),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a29_a31_only_bands_that_are_marked_as_alpha_are_dropped(tmp_path, photometric, channels, extras, kept, dtype):
    bands = values(channels, dtype)
    file = write_tiff(tmp_path / "a.tif", bands, photometric=photometric, extrasamples=extras)
    expected = bands[..., [0, 1, 2, 4]] if extras[:1] == ["assocalpha"] else bands[..., :kept]
    assert read_header(file).channels == kept
    found = read_image(file)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("orientation", [3, 6], ids=lambda value: f"A22 orientation {value}")
def test_orientation_is_applied(tmp_path, orientation):
    bands = values(5)
    file = write_tiff(tmp_path / "a.tif", bands, extratags=[(274, "H", 1, orientation, True)])
    shown = np.rot90(bands, {3: 2, 6: -1}[orientation])
    assert read_header(file).size == shown.shape[:2]
    np.testing.assert_array_equal(read_image(file), shown)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (values(5), None),
        (values(1, "uint8")[..., 0], None),
        (values(3, "float32"), None),
        (np.asfortranarray(values(5)), None),
        (values(2, ">u2"), values(0)),
        (values(2, "int64"), "uint16"),
        (values(2, "float64"), "float32"),
        (values(2) > 100, "bool"),
    ],
    ids=["uint16", "grey", "float32", "column order", "byte order", "int64", "float64", "bool"],
)
def test_arrays_of_numpy(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    shown = (
        array * np.uint8(255) if array.dtype == bool else array.astype(expected) if isinstance(expected, str) else array
    )
    found = read_image(tmp_path / "a.npy")
    header = read_header(tmp_path / "a.npy")
    assert (header.size, header.channels, header.dtype) == (array.shape[:2], found.shape[2], found.dtype.name)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, shown.reshape(found.shape))


def test_label_maps_may_be_arrays(tmp_path):
    ids = RANDOM.integers(0, 70_000, (4, 5))
    np.save(tmp_path / "a.npy", ids)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.npy"), ids)
    np.save(tmp_path / "b.npy", ids % 2 == 0)
    np.testing.assert_array_equal(read_label_map(tmp_path / "b.npy"), ids % 2 == 0)
    np.save(tmp_path / "c.npy", np.full((2, 2), 2**31))
    with pytest.raises(DataError, match="numbers from 0 to 2147483647, but found 2147483648 at row 0, column 0"):
        read_label_map(tmp_path / "c.npy")
    with pytest.raises(DataError, match="one number per pixel"):
        read_label_map(write_tiff(tmp_path / "a.tif", values(5)))


def refused(folder: Path, name: str) -> Path:
    file = folder / "a.npy"
    if name == "objects":
        np.save(file, np.array([{}], object), allow_pickle=True)
    elif name == "volume":
        np.save(file, np.zeros((2, 3, 4, 5)))
    elif name == "texts":
        np.save(file, np.full((3, 3), "a"))
    elif name == "nan":
        np.save(file, np.full((3, 3), np.nan))
    elif name == "wide":
        np.save(file, np.full((3, 3), 70_000))
    elif name == "overflow":
        np.save(file, np.full((3, 3), 1e300))
    elif name == "bomb":
        header = str({"descr": "<u2", "fortran_order": False, "shape": (30_000, 30_000, 5)}).encode().ljust(117) + b"\n"
        file.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    elif name == "pages":
        tifffile.imwrite(file, values(5), photometric="minisblack", planarconfig="contig")
        tifffile.imwrite(file, values(5), photometric="minisblack", planarconfig="contig", append=True)
    elif name == "cut":
        write_tiff(file, values(5))
        file.write_bytes(file.read_bytes()[:-100])
    elif name == "flipped":
        write_tiff(file, values(5), compression="zlib", rowsperstrip=45)
        data = bytearray(file.read_bytes())
        data[-50] ^= 16
        file.write_bytes(data)
    elif name == "strips":
        patched(write_tiff(file, values(5), rowsperstrip=45), {278: 20})
    elif name == "packing":
        patched(write_tiff(file, values(5), rowsperstrip=45), {259: 7})
    elif name == "channels":
        tifffile.imwrite(file, values(1000, "float32", (8, 8)), photometric="minisblack", planarconfig="contig")
    elif name == "doubles":
        write_tiff(file, values(2, "complex64"))
    return file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("objects", "object", id="A06 pickled objects"),
        pytest.param("volume", r"\[H, W\] or \[H, W, C\] of numbers, but found float64 \[2, 3, 4, 5\]", id="A31 axes"),
        pytest.param("texts", "of numbers, but found <U1", id="A06 texts"),
        pytest.param("nan", "9 values are NaN or infinite", id="A25 NaN"),
        pytest.param("overflow", "9 values are NaN or infinite", id="A25 too large for float32"),
        pytest.param("wide", "0 to 65535, but found 70000", id="A24 range"),
        pytest.param("bomb", "pixels, but the header says 30000 x 30000|damaged or cut short", id="A14 bomb"),
        pytest.param("pages", "expected one page", id="A20 pages"),
        pytest.param("cut", "damaged or cut short", id="A09 cut"),
        pytest.param("flipped", "damaged or cut short", id="A12 flipped bit"),
        pytest.param("strips", "expected 3 strips or tiles, but found 1", id="A21 strips"),
        pytest.param("packing", "but found compression 7, .*\n.*save the TIFF again", id="A21 packing"),
        pytest.param("doubles", "bands of one type", id="A31 complex"),
    ],
)
def test_what_is_no_sound_picture_is_refused_by_name(tmp_path, name, message):
    file = refused(tmp_path, name)
    for judge in (read_image, check_image):
        with pytest.raises(DataError, match=message) as caught:
            judge(file)
        assert str(file) in str(caught.value)


def test_a13_many_channels_count_against_the_limit(tmp_path):
    file = refused(tmp_path, "channels")
    assert read_image(file).shape == (8, 8, 1000)
    with pytest.raises(DataError, match="up to 800 bytes of values, but the header says 8 x 8 x 1000 of 32 bits"):
        read_header(file, max_pixels=100)


def test_a13_a_strip_is_unpacked_to_its_size_and_not_further(tmp_path):
    file = one_strip(tmp_path / "a.tif", np.ones((45, 53, 5), np.uint8))
    found = read_image(repacked(file, zlib.compress(bytes(1 << 26)), 8))
    assert found.shape == (45, 53, 5)
    assert not found.any()


def test_arrays_are_pictures_of_a_folder_where_there_are_no_others():
    arrays, mixed = [Path("a.npy"), Path("b.NPY")], [Path("a.png"), Path("a_seg.npy"), Path("b.txt")]
    assert pictures_among([*arrays, Path("notes.txt")]) == arrays
    assert pictures_among(mixed) == [Path("a.png")]
