"""What a data set holds is told by its content: wherever it lies, and whatever format it is written in."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.table import FORMATS, read_dataset, write_dataset
from everymask.data.identity import files, watch
from everymask.data.identity.changes import changes, class_change
from everymask.data.identity.content import Identity, identity_of, read_identity, see_dataset, write_identity
from everymask.data.identity.files import Mark, Seen, mark_of, see_files
from everymask.data.identity.watch import watched
from everymask.errors import DataError, EverymaskError
from tests.contracts import test_formats, test_semantic_formats

WRITTEN = [known.name for known in FORMATS if known.task in ("instance", "semantic")]


def written(folder: Path, name: str, pictures: Sequence[int] = range(4)) -> Path:
    if name in test_formats.CASES:
        case = test_formats.CASES[name]
        made = test_formats.make_fake(folder / "made", overlap=case.overlap, crowd=case.crowd)
    else:
        made = test_semantic_formats.made(folder / "made", name)
    write_dataset(folder / "data", made.subset(pictures), name)
    return folder / "data"


def identity(dataset: Dataset) -> Identity:
    return identity_of(dataset, see_dataset(dataset, {}))


@pytest.mark.parametrize("name", WRITTEN)
def test_the_place_says_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path, name)
    first = identity(read_dataset(data, format=name))
    assert first.held
    (tmp_path / "link").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    for place in ("data/", "./data", "data/../data", tmp_path / "link"):
        assert identity(read_dataset(place, format=name)) == first, place
    shutil.copytree(data, tmp_path / "far" / "away")
    moved = identity(read_dataset(tmp_path / "far" / "away", format=name))
    assert moved == first
    assert list(moved.held) == list(first.held), "the order too"
    assert moved.digest == first.digest


def learned(dataset: Dataset) -> list[object]:
    """Whatever training and validation are given: pixels, class names, and truth."""
    found: list[object] = [dataset.labels.names, dataset.labels.ignore]
    for sample in dataset:
        truth = sample.truth
        found += [sample.id, sample.image.shape, sample.image.tobytes()]
        if truth is None:
            found.append(None)
        elif hasattr(truth, "masks"):
            masks = None if truth.masks is None else truth.masks.to_rle()
            found += [masks, truth.class_ids.tolist(), truth.boxes.tolist(), truth.crowd.tolist()]
            found.append(None if truth.areas is None else truth.areas.tolist())
        else:
            found.append(truth.ids.tobytes())
    return found


def bits(folder: Path, count: int, seed: str) -> Iterator[None]:
    """`count` times one bit of one of the files is another, and then what it was."""
    listed = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    for number in range(count):
        draw = rng(seed, number, "bit")
        file = listed[int(draw.integers(len(listed)))]
        content = file.read_bytes()
        if file.suffix == ".png":  # its own checksums find a bit of the file
            write_flipped(file, draw)
        else:
            file.write_bytes(flipped(content, draw))
        yield
        file.write_bytes(content)


def flipped(content: bytes, draw: np.random.Generator) -> bytes:
    broken = bytearray(content)
    broken[int(draw.integers(len(content)))] ^= 1 << int(draw.integers(8))
    return bytes(broken)


def write_flipped(file: Path, draw: np.random.Generator) -> None:
    with Image.open(file) as image:
        image.load()
    other = Image.frombytes(image.mode, image.size, flipped(image.tobytes(), draw))
    if image.mode == "P":
        other.putpalette(image.getpalette() or [])
    other.save(file)


def single_bits(tmp_path: Path, name: str, count: int) -> int:
    """How many of so many bits changed what is learned of two pictures; each is to be found."""
    data = written(tmp_path, name, (0, 2))
    dataset = read_dataset(data, format=name)
    before, known = learned(dataset), identity(dataset)
    mattered = 0
    for _ in bits(data, count, name):
        try:
            changed = read_dataset(data, format=name)
            now = learned(changed)
        except DataError:
            continue  # nothing is learned from what cannot be read
        if now != before:
            mattered += 1
            found = identity(changed)
            assert found.digest != known.digest
            assert list(changes(known, found)) or class_change(known.classes, found.classes)
    return mattered


@pytest.mark.parametrize("name", WRITTEN)
def test_a_bit_that_changes_what_is_learned_is_found(tmp_path: Path, name: str) -> None:
    single_bits(tmp_path, name, 15)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_a_thousand_bits_that_change_what_is_learned_are_found(tmp_path: Path, name: str) -> None:
    assert single_bits(tmp_path, name, 1000) > 0


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, as they do two seconds later; on a file system that counts parts of seconds."""
    monkeypatch.setattr(files, "_lasting", lambda mark, now: True)


def test_files_that_are_known_are_not_read(tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = test_formats.make_fake(tmp_path / "in")
    seen = see_dataset(dataset, {})
    write_identity(tmp_path / "data.json", identity_of(dataset, seen), seen.values())
    stored, known = read_identity(tmp_path / "data.json")
    assert stored == identity_of(dataset, seen)
    assert stored.digest == identity_of(dataset, seen).digest

    def refuse(stream: object) -> str:
        raise EverymaskError("read")

    monkeypatch.setattr(files, "digest_of", refuse)
    (tmp_path / "in").rename(tmp_path / "moved")
    assert see_files([tmp_path / "moved" / "p0.png"], known)[tmp_path / "moved" / "p0.png"].digest
    with pytest.raises(EverymaskError, match="read"):
        see_files([tmp_path / "moved" / "p0.png"], {})


@pytest.mark.parametrize(
    "change",
    [
        {"pictures": None},
        {"pictures": [["a", "b"]]},
        {"pictures": [["a", 3, {}]]},
        {"pictures": [["a", "b", "c"]]},
        {"files": [[1, 2, 3, 4]]},
        {"files": [[1, 2, 3, "4", "d"]]},
        {"classes": []},
        {"version": 2},
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    dataset = test_formats.make_fake(tmp_path / "in")
    seen = see_dataset(dataset, {})
    write_identity(tmp_path / "data.json", identity_of(dataset, seen), seen.values())
    data = json.loads((tmp_path / "data.json").read_text()) | change
    del data["checksum"]
    (tmp_path / "data.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"it does not list|its form|classes"):
        read_identity(tmp_path / "data.json")


def swap_content(file: Path) -> None:
    """Other bytes of the same number, and the time of writing as it was."""
    status, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_the_same_size_and_time_of_writing_are_not_enough(tmp_path: Path, settled: None) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"some picture")
    before = see_files([file], {})[file]
    while time.time_ns() // 20_000_000 == before.mark.changed // 20_000_000:
        pass  # the clock of the file system moves in steps
    swap_content(file)
    now = see_files([file], {before.mark: before.digest})[file]
    assert now.digest != before.digest


@pytest.mark.parametrize(
    ("mark", "lasting"),
    [
        (Mark(9, 5, 10**18 + 7, 3), True),
        (Mark(9, 5, 10**18, 3), False),
        (Mark(9, 5, 10**18 + 3 * 10**9 + 7, 3), False),
        (Mark(9, 5, 10**18 + 9 * 10**9 + 7, 3), False),
    ],
    ids=["settled", "whole seconds", "just changed", "in the future"],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of change")
def test_a_mark_is_trusted_where_the_file_system_can_be(mark: Mark, lasting: bool) -> None:
    assert files._lasting(mark, 10**18 + 4 * 10**9) is lasting


@pytest.mark.parametrize("trusted", [True, False])
def test_a_picture_that_changes_while_it_is_used_is_refused(tmp_path: Path, trusted: bool) -> None:
    dataset = test_formats.make_fake(tmp_path / "in")
    seen = {file: replace(found, lasting=trusted) for file, found in see_dataset(dataset, {}).items()}
    guarded = watched(dataset, seen, hint="bring it back")
    assert [record.id for record in guarded.records] == [record.id for record in dataset.records]
    np.testing.assert_array_equal(guarded[2].image, dataset[2].image)
    os.utime(dataset.records[2].image, ns=(1, 1))
    np.testing.assert_array_equal(guarded[2].image, dataset[2].image)
    mask = dataset.records[3].objects.annotations[2].shape.file
    content = mask.read_bytes()
    mask.write_bytes(content + b"x")
    with pytest.raises(DataError, match=r"p3-mask.png: the file was changed(.|\n)*bring it back"):
        guarded.objects(3)
    guarded.objects(2)
    mask.write_bytes(content)
    guarded.objects(3)
    mask.unlink()
    with pytest.raises(DataError, match=r"p3-mask.png: there is no such file"):
        guarded.objects(3)


def test_a_share_of_watched_pictures_is_watched(tmp_path: Path) -> None:
    dataset = test_formats.make_fake(tmp_path / "in")
    guarded = watched(dataset, see_dataset(dataset, {}))
    shares = [replace(guarded, records=guarded.records[first::2]) for first in (0, 1)]
    assert [[record.id for record in share.records] for share in shares] == [["p0", "p2"], ["p1", "p3"]]
    last = replace(shares[1], records=shares[1].records[1:])
    assert [record.id for record in last.records] == ["p3"]
    dataset.records[3].image.write_bytes(b"something else")
    for share, index in ((shares[1], 1), (last, 0)):
        with pytest.raises(DataError, match="the file was changed"):
            share.objects(index)
    shares[1].objects(0)


def test_a_file_with_its_mark_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = test_formats.make_fake(tmp_path / "in")
    seen = {file: replace(found, lasting=True) for file, found in see_dataset(dataset, {}).items()}
    guarded = watched(dataset, seen)
    monkeypatch.setattr(watch, "digest_of", lambda stream: "")
    assert guarded.records[0] == dataset.records[0]
    other = Seen(mark_of(dataset.records[0].image)._replace(written=1), "00" * 16, True)
    with pytest.raises(DataError):
        watched(dataset, seen | {dataset.records[0].image: other}).records[0]
