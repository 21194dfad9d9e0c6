"""The formats that paint objects, and labelme: what is written is read back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.instance_pngs import looks_like_instance_pngs, read_instance_pngs, write_instance_pngs
from everymask.data.formats.labelme.files import looks_like_labelme, read_labelme, write_labelme
from everymask.data.formats.mask_files import looks_like_mask_files, read_mask_files, write_mask_files
from everymask.data.formats.voc.objects import looks_like_voc, read_voc, write_voc
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import DataError

FORMATS = {
    "labelme": (looks_like_labelme, read_labelme, write_labelme),
    "voc": (looks_like_voc, read_voc, write_voc),
    "mask-files": (looks_like_mask_files, read_mask_files, write_mask_files),
    "instance-pngs": (looks_like_instance_pngs, read_instance_pngs, write_instance_pngs),
}
every_format = pytest.mark.parametrize(("looks_like", "read", "write"), FORMATS.values(), ids=FORMATS)


def make_fake(
    folder: Path, *, classes: int = 2, splits: bool = True, per_picture: tuple[int, ...] = (3, 0, 5, 2)
) -> Dataset:
    """Pictures of different sizes and kinds, each with blobs that do not overlap."""
    names = ("cell", "tissue fold", "Öl")[:classes]
    records = []
    for number, count in enumerate(per_picture):
        random = rng(5, number, "fake")
        size = (40 + 7 * number, 61 - 5 * number)
        file = folder / "source" / f"picture {number}{('.png', '.jpg')[number % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(file)
        objects = []
        for row in range(count):
            mask = np.zeros(size, np.bool_)
            top, left = 2 + 9 * (row // 3), 3 + 13 * (row % 3)
            mask[top : top + 7, left : left + 10] = random.random((7, 10)) < 0.9
            counts = Masks.from_dense(mask[None]).to_rle()[0]
            objects.append(Annotation(int(random.integers(classes)), Rle(counts), id=row + 1))
        split = ("train", "train", "val", "train")[number % 4] if splits else None
        records.append(Record(f"picture {number}", file, size, Objects(tuple(objects)), split))
    return Dataset(labels_of(names), tuple(records), "fake", folder)


def assert_same(found: Dataset, expected: Dataset) -> None:
    assert found.labels.names == expected.labels.names
    assert found.splits() == expected.splits()
    rows = {record.id: row for row, record in enumerate(found.records)}
    assert sorted(rows) == sorted(record.id for record in expected.records)
    for index, record in enumerate(expected.records):
        row = rows[record.id]
        assert found.records[row].size == record.size
        assert found.records[row].split == record.split
        ours, theirs = found.truth(row), expected.truth(index)
        assert ours.class_ids.tolist() == theirs.class_ids.tolist()
        assert ours.masks is not None and theirs.masks is not None
        assert ours.masks.to_rle() == theirs.masks.to_rle()
        assert found.records[row].image.read_bytes() == record.image.read_bytes()


@every_format
@pytest.mark.parametrize("splits", [True, False])
@pytest.mark.parametrize("classes", [1, 3])
def test_read_gives_back_what_write_wrote(tmp_path, looks_like, read, write, splits, classes):
    expected = make_fake(tmp_path, classes=classes, splits=splits)
    write(tmp_path / "out", expected)
    assert looks_like(tmp_path / "out")
    found = read(tmp_path / "out")
    assert_same(found, expected)
    assert not [issue for issue in found.issues if issue.severity == "error"]


@every_format
def test_write_changes_nothing_when_written_again_from_what_was_read(tmp_path, looks_like, read, write):
    write(tmp_path / "first", make_fake(tmp_path))
    write(tmp_path / "second", read(tmp_path / "first"))
    first, second = (
        {
            file.relative_to(tmp_path / name): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file()
        }
        for name in ("first", "second")
    )
    assert first == second


@every_format
def test_a_folder_of_another_kind_is_not_recognised(tmp_path, looks_like, read, write):
    others = {name: other for name, other in FORMATS.items() if other[0] is not looks_like}
    for name, (_, _, write_other) in others.items():
        write_other(tmp_path / name, make_fake(tmp_path / "pictures"))
        assert not looks_like(tmp_path / name), name
    (tmp_path / "empty").mkdir()
    assert not looks_like(tmp_path / "empty")
    assert not looks_like(tmp_path / "missing")


@every_format
def test_an_empty_folder_is_an_error(tmp_path, looks_like, read, write):
    with pytest.raises(DataError, match="expected"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["voc", "instance-pngs"])
def test_label_maps_refuse_overlap_before_anything_is_written(tmp_path, name):
    made = make_fake(tmp_path)
    ring = np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 30.0], [0.0, 30.0]])
    last = made.records[-1]
    objects = (*last.objects.annotations, Annotation(0, Polygons((ring,))))
    changed = Record(last.id, last.image, last.size, Objects(objects), last.split)
    with pytest.raises(DataError, match="overlap"):
        FORMATS[name][2](tmp_path / "out", Dataset(made.labels, (*made.records[:-1], changed), "fake", tmp_path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["labelme", "mask-files", "instance-pngs"])
def test_boxes_are_refused_where_only_masks_can_stand(tmp_path, name):
    made = make_fake(tmp_path, per_picture=(0,))
    record = Record("a", made.records[0].image, (40, 61), Objects((Annotation(0, BoxOnly(), (1.0, 1.0, 5.0, 5.0)),)))
    with pytest.raises(DataError, match="expected a mask for every object"):
        FORMATS[name][2](tmp_path / "out", Dataset(made.labels, (record,), "fake", tmp_path, boxes_only=True))
    assert not (tmp_path / "out").exists()


def test_labelme_and_mask_files_keep_objects_that_overlap(tmp_path):
    made = make_fake(tmp_path, per_picture=(0,), splits=False)
    record = made.records[0]
    rings = tuple(np.array([[x, 2.0], [x + 20.5, 3.0], [x + 9.0, 30.25]]) for x in (3.0, 8.0, 30.0))
    objects = (Annotation(1, Polygons(rings[:1])), Annotation(0, Polygons(rings[1:])))
    expected = Dataset(made.labels, (Record(record.id, record.image, record.size, Objects(objects)),), "fake", tmp_path)
    for name in ("labelme", "mask-files"):
        _, read, write = FORMATS[name]
        write(tmp_path / name, expected)
        found = read(tmp_path / name).truth(0)
        order = np.argsort(-found.class_ids)
        assert found[order].masks.to_rle() == expected.truth(0).masks.to_rle()
        assert sorted(found.class_ids.tolist()) == [0, 1]
