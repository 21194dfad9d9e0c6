"""TIFF files of several pages: masks of objects, stacks of pictures, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from everymask.core.randomness import rng
from everymask.data.formats.table import find_formats, read_dataset
from everymask.data.pictures.pages import count_pages, pages_of
from everymask.data.pictures.read import read_label_map
from everymask.errors import DataError

SIZE = (40, 56)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def discs(count: int, seed: int = 0) -> np.ndarray:
    """Masks [N, H, W] of discs, some of which overlap."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = rng(seed, "discs").uniform(8, 30, (count, 2))
    return np.stack([(y - cy) ** 2 + (x - cx) ** 2 < 36 for cy, cx in centres])


def numbers(count: int, seed: int) -> np.ndarray:
    ids = np.zeros(SIZE, np.uint16)
    for number, mask in enumerate(discs(count, seed), 1):
        ids[mask & (ids == 0)] = number
    return ids


def noise(*shape: int) -> np.ndarray:
    return rng(sum(shape), "noise").integers(0, 256, shape, np.uint8)


def put(folder: Path, name: str, picture: np.ndarray, maps: np.ndarray, **options: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"{name}.tif", picture, photometric="minisblack", **options)
    tifffile.imwrite(folder / f"{name}_masks.tif", maps, photometric="minisblack", **options)


def test_a_page_per_object_keeps_overlap(tmp_path: Path) -> None:
    masks = discs(5)
    put(tmp_path / "set", "a", noise(*SIZE), masks.astype(np.uint8) * 255)
    put(tmp_path / "set", "b", noise(*SIZE) // 2, masks[:1].astype(np.uint8) * 255)
    assert [known.name for known in find_formats(tmp_path / "set")] == ["tiff-stacks"]
    found = read_dataset(tmp_path / "set")
    assert (found.format, found.labels.names, found.issues) == ("tiff-stacks", ("object",), ())
    assert np.array_equal(np.stack([found.truth(0).masks.to_dense(row) for row in range(5)]), masks)
    assert len(found.truth(1)) == 1 and found.truth(1).masks.areas()[0] == masks[0].sum()
    assert masks.sum(axis=0).max() > 1


@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"imagej": True, "metadata": {"axes": "TYX"}}]
)
def test_a_stack_of_pictures_is_read_page_by_page(tmp_path: Path, cache: Path, options: dict[str, Any]) -> None:
    pictures, maps = noise(3, *SIZE), np.stack([numbers(count, count) for count in (4, 2, 6)])
    put(tmp_path / "set", "film", pictures, maps, **options)
    found = read_dataset(tmp_path / "set")
    assert [issue.code for issue in found.issues] == ["stack"]
    assert [record.id for record in found.records] == ["film_0001", "film_0002", "film_0003"]
    for row, (picture, ids) in enumerate(zip(pictures, maps, strict=True)):
        sample = found[row]
        assert np.array_equal(sample.image[..., 0], picture)
        assert len(sample.truth) == len(np.unique(ids)) - 1
    files = {file: file.stat().st_ino for file in cache.rglob("*.png")}
    assert len(files) == 3
    read_dataset(tmp_path / "set")
    assert files == {file: file.stat().st_ino for file in cache.rglob("*.png")}


def continued() -> np.ndarray:
    """A ball through all slices."""
    return np.stack([numbers(3, 0), numbers(3, 0), numbers(3, 0)])


@pytest.mark.parametrize(
    ("picture", "maps", "options", "code", "said"),
    [
        pytest.param(noise(3, *SIZE), continued(), {}, "volume", "a volume: its 3 pages are slices", id="goes on"),
        pytest.param(noise(3, *SIZE), np.stack([numbers(n, n) for n in (4, 2, 6)]),
                     {"imagej": True, "metadata": {"axes": "ZYX"}}, "volume", "slices of one body", id="says so"),
        pytest.param(noise(3, *SIZE), continued()[:2], {}, "page-count", "expected 3 pages", id="other count"),
        pytest.param(noise(*SIZE), continued(), {}, "mask-levels", "found 3 numbers", id="numbers on each page"),
        pytest.param(noise(*SIZE), discs(2).astype(np.uint8)[:, 1:], {}, "mask-size", "56 x 40", id="other size"),
        pytest.param(noise(*SIZE), discs(2).astype(np.uint8) * np.array([1, 0], np.uint8)[:, None, None], {},
                     "mask-levels", "found 0 numbers", id="an empty page"),
    ],
)  # fmt: skip
def test_what_it_is_is_said(
    tmp_path: Path, picture: np.ndarray, maps: np.ndarray, options: dict[str, Any], code: str, said: str
) -> None:
    put(tmp_path / "set", "a", picture, maps, **options)
    with pytest.raises(DataError, match=said) as caught:
        read_dataset(tmp_path / "set")
    assert {issue.code for issue in caught.value.issues} == {code}


def test_pages_are_those_of_tifffile_and_damage_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, noise(4, *SIZE), photometric="minisblack", compression="zlib")
    assert count_pages(file) == 4
    with tifffile.TiffFile(file) as tiff:
        for data, page in zip(pages_of(file), tiff.pages, strict=True):
            assert np.array_equal(read_label_map(data), page.asarray())
            assert count_pages_of(tmp_path, data) == 1
    data = bytearray(file.read_bytes())
    data[4:8] = (2).to_bytes(4, "little")
    for broken in (bytes(data), file.read_bytes()[:300]):
        file.write_bytes(broken)
        with pytest.raises(DataError):
            count_pages(file)


def count_pages_of(folder: Path, data: bytes) -> int:
    (folder / "page.tif").write_bytes(data)
    return count_pages(folder / "page.tif")
