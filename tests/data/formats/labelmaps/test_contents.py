"""Label maps are decoded no more often than needed, and what is not looked at when reading is found later."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import everymask
from everymask.data.coding import read_colours
from everymask.data.formats.labelmaps import contents as label_contents
from everymask.data.formats.labelmaps.contents import count_contents, declared_contents, remembered_contents
from everymask.data.formats.labelmaps.image_masks import read_image_masks
from everymask.data.formats.table import read_dataset
from everymask.data.pictures.read import read_stored_map
from everymask.errors import DataError
from tests.data.semantic_files import blobs, put


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the label maps that are decoded, as it happens."""
    names: list[str] = []

    def read(file: Path, **options: int) -> object:
        names.append(Path(file).stem)
        return read_stored_map(file, **options)

    monkeypatch.setattr(label_contents, "read_stored_map", read)
    return names


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which contents are remembered, even those of small maps that were just written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(label_contents, "_WORTH", 1)
    monkeypatch.setattr(label_contents, "_SETTLED", -(10**9))
    return tmp_path / "cache" / "everymask" / "label-maps"


LAYOUTS = {
    "camvid": (("train", "trainannot"), "{}.png", blobs(11), 40),
    "cityscapes": (("leftImg8bit/train/x", "gtFine/train/x"), "{}_gtFine_labelIds.png", blobs(19) + np.uint8(10), 40),
    "ade20k": (("images/training", "annotations/training"), "{}.png", blobs(), 200),
    "voc-semantic": (("JPEGImages", "SegmentationClass"), "{}.png", blobs(), 200),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_where_the_format_says_what_maps_hold_they_are_not_decoded(
    name: str, tmp_path: Path, cache: Path, decoded
) -> None:
    """C13: a strange number is found by checking, or where the map is read."""
    (first, second), map_name, stored, strange = LAYOUTS[name]
    (tmp_path / "objectInfo150.txt").touch()
    for number in range(2):
        picture = f"p{number}"
        file = put(tmp_path, picture, stored, folders=(first, second), map_name=map_name)
        if name == "cityscapes":
            place = tmp_path / first
            (place / f"{picture}.jpg").rename(place / f"{picture}_leftImg8bit.jpg")
    stored = stored.copy()
    stored[7, 9] = strange
    Image.fromarray(stored).save(file)
    found = read_dataset(tmp_path)
    assert (found.format, len(found), decoded) == (name, 2, [])
    found.label_map(0)
    with pytest.raises(DataError, match=rf"{file.name}: 1 pixels hold {strange}, .* at x 9, y 7"):
        found.label_map(1)
    with pytest.raises(DataError, match=rf"{file.name}:x 9, y 7.* \(found {strange}\)"):
        read_dataset(tmp_path, decode=True)


def test_where_decoding_takes_no_time_pixels_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "p", blobs(), folders=("train", "trainannot"))
    assert sum(read_dataset(tmp_path).records[0].truth.pixels) == blobs().size


def test_b01_a_size_is_compared_without_decoding(tmp_path: Path, cache: Path, decoded) -> None:
    put(tmp_path, "p", blobs(12), folders=("train", "trainannot"))
    Image.fromarray(blobs(12, size=(9, 9))).save(tmp_path / "trainannot" / "p.png")
    with pytest.raises(DataError, match="expected 40 x 30 pixels like the picture"):
        read_dataset(tmp_path)
    assert decoded == []


def test_of_a_small_set_coloured_maps_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = np.stack([blobs(), blobs() * 2, 255 - blobs()], axis=2)
    files = [put(tmp_path, f"p{number}", array) for number, array in enumerate((coloured, blobs()))]
    expected = count_contents(files)
    read: list[str] = []
    monkeypatch.setattr(label_contents, "read_colours", lambda file: (read.append(file.stem), read_colours(file))[1])
    missing = tmp_path / "missing.png"
    *found, error = declared_contents([*files, missing])
    assert (found, read, isinstance(error, DataError)) == (expected, ["p0"], True)


def test_what_maps_hold_is_remembered_until_they_change(
    tmp_path: Path, cache: Path, decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    files = [put(root, f"p{number}", blobs(seed=number)) for number in range(3)]
    first = read_image_masks(root, decode=False)
    assert sorted(decoded) == ["p0", "p1", "p2"]
    decoded.clear()
    again = read_image_masks(root, decode=False)
    assert (again.records, again.coding, decoded) == (first.records, first.coding, [])
    assert not list(root.rglob("*.json")), "nothing in the data set"
    Image.fromarray(blobs(2)).save(files[1])
    monkeypatch.setattr(label_contents, "_SETTLED", 10**9)
    assert read_image_masks(root, decode=False).records[1].truth.pixels != first.records[1].truth.pixels
    assert decoded == ["p1"]
    decoded.clear()
    assert read_image_masks(root, decode=False).records[1].truth.pixels != first.records[1].truth.pixels
    assert sorted(decoded) == ["p0", "p1", "p2"], "they are too young to be sure that they will not change again"
    read_image_masks(root)
    assert sorted(decoded[3:]) == ["p0", "p1", "p2"], "who checks looks at everything"


@pytest.mark.parametrize("renamed", [False, True])
def test_a_map_of_as_many_bytes_and_the_same_time_is_decoded_again(tmp_path: Path, cache: Path, renamed: bool) -> None:
    """As copying with times (cp -p, rsync -t) and unpacking leave it."""
    file, other = (put(tmp_path / name, "p", blobs(seed=seed), map_name="{}.bmp") for seed, name in enumerate("ab"))
    (first,) = remembered_contents(tmp_path / "a", [file])
    before = file.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file) if renamed else file.write_bytes(other.read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert [first] != remembered_contents(tmp_path / "a", [file]) == count_contents([file])


def test_another_version_counts_anew(tmp_path: Path, cache: Path, decoded, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "d", "p", blobs())
    for version, times in (("1.0", 1), ("1.0", 1), ("1.1", 2)):
        monkeypatch.setattr(everymask, "__version__", version)
        remembered_contents(tmp_path / "d", [file])
        assert decoded == ["p"] * times


def test_every_kind_of_content_comes_back(tmp_path: Path, cache: Path) -> None:
    equal = np.repeat(blobs()[..., None], 3, axis=2)
    coloured = np.stack([blobs(), blobs() * 2, 255 - blobs()], axis=2)
    varies = np.concatenate([equal, blobs()[..., None]], axis=2)
    files = [put(tmp_path / "d", f"p{n}", array) for n, array in enumerate((blobs(), equal, coloured, varies))]
    (tmp_path / "d" / "masks" / "bad.png").write_bytes(b"bad")
    files += [tmp_path / "d" / "masks" / "bad.png", tmp_path / "d" / "masks" / "missing.png"]
    expected = count_contents(files)
    for _ in range(2):
        found = remembered_contents(tmp_path / "d", files)
        assert found[:4] == expected[:4]
        assert [isinstance(content, DataError) for content in found] == [False] * 4 + [True] * 2
    assert (found[1].equal, found[2].coloured, found[3].alpha_varies) == (True, True, True)


@pytest.mark.parametrize("broken", ["", "[]", "{}", "no maps", "wrong rows", "folder"])
def test_a_broken_memory_is_made_anew(tmp_path: Path, cache: Path, decoded, broken: str) -> None:
    root = tmp_path / "data"
    put(root, "p0", blobs())
    expected = read_image_masks(root, decode=False)
    file = next(cache.iterdir())
    stored = json.loads(file.read_bytes())
    if broken == "wrong rows":
        stored["maps"]["masks/p0.png"][-1][0][1] += 1
        broken = json.dumps(stored)
    elif broken == "no maps":
        broken = json.dumps(stored | {"maps": 3})
    file.unlink()
    file.mkdir() if broken == "folder" else file.write_text(broken)
    decoded.clear()
    assert read_image_masks(root, decode=False).records == expected.records
    assert decoded == ["p0"]
    read_image_masks(root, decode=False)
    assert decoded == (["p0", "p0"] if broken == "folder" else ["p0"])


def test_nothing_is_remembered_inside_the_data_set_or_of_little(tmp_path: Path, monkeypatch, cache: Path) -> None:
    put(tmp_path, "p0", blobs())
    before = sorted(tmp_path.rglob("*"))
    read_image_masks(tmp_path, decode=False)
    monkeypatch.setattr(label_contents, "_WORTH", 10**6)
    remembered_contents(tmp_path / "images", [tmp_path / "masks" / "p0.png"])
    assert sorted(tmp_path.rglob("*")) == before
