"""What every format promises: written and read again, a data set is the same, and it is recognised."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import write_coco
from everymask.data.formats.cvat.files import write_cvat
from everymask.data.formats.datumaro.files import write_datumaro
from everymask.data.formats.geojson.files import write_geojson
from everymask.data.formats.imagej.files import write_imagej
from everymask.data.formats.instance_pngs import write_instance_pngs
from everymask.data.formats.label_studio.files import write_label_studio
from everymask.data.formats.labelmaps.ade20k_objects import write_ade20k_objects
from everymask.data.formats.labelme.files import write_labelme
from everymask.data.formats.mask_files import write_mask_files
from everymask.data.formats.open_images.files import write_open_images
from everymask.data.formats.rle_tables.files import write_rle_table
from everymask.data.formats.stacks.files import write_tiff_stacks
from everymask.data.formats.supervisely.files import write_supervisely
from everymask.data.formats.table import FORMATS, find_formats, read_dataset
from everymask.data.formats.via.files import write_via
from everymask.data.formats.voc.objects import write_voc
from everymask.data.formats.yolo.segments import write_yolo
from everymask.data.records import Annotation, MaskFile, Objects, Polygons, Record, Rle
from everymask.errors import DataError


@dataclass(frozen=True)
class Case:
    """A format and what it can hold beyond masks that do not overlap."""

    write: Callable[..., None]
    overlap: bool = True
    crowd: bool = False


CASES = {
    "coco": Case(write_coco, crowd=True),
    "yolo": Case(write_yolo),
    "labelme": Case(write_labelme, crowd=True),
    "voc": Case(write_voc, overlap=False),
    "mask-files": Case(write_mask_files),
    "ade20k-objects": Case(write_ade20k_objects, overlap=False),
    "instance-pngs": Case(write_instance_pngs, overlap=False),
    "cvat": Case(write_cvat, crowd=True),
    "label-studio": Case(write_label_studio),
    "via": Case(write_via),
    "supervisely": Case(write_supervisely),
    "rle-csv": Case(write_rle_table),
    "geojson": Case(write_geojson, crowd=True),
    "imagej": Case(write_imagej),
    "open-images": Case(write_open_images),
    "datumaro": Case(write_datumaro, crowd=True),
    "tiff-stacks": Case(write_tiff_stacks),
}
READERS = {known.name: known.read for known in FORMATS}
every_format = pytest.mark.parametrize("name", CASES)


def make_fake(folder: Path, *, splits: bool = True, overlap: bool = False, crowd: bool = False) -> Dataset:
    """Four pictures (one empty, one grey) with polygons, run-lengths and painted masks of two classes."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(4):
        random = rng(3, number, "make_fake")
        size = (36 + 5 * number, 52 - 3 * number)
        image, painted = folder / f"p{number}.png", folder / f"p{number}-mask.png"
        Image.fromarray(random.integers(0, 256, size if number == 2 else (*size, 3), np.uint8)).save(image)
        mask = np.zeros(size, np.uint8)
        mask[20:28, 3:14] = random.random((8, 11)) < 0.9
        Image.fromarray(mask).save(painted)
        hollow = np.zeros(size, np.bool_)
        hollow[4:16, 20:33] = True
        hollow[8:11, 24:28] = False
        left = 16.0 if overlap else 2.0
        ring = np.array([[left, 3.0], [left + 12.5, 4.0], [left + 9.0, 15.0]])
        objects = (
            Annotation(int(random.integers(2)), Polygons((ring,)), id=1),
            Annotation(int(random.integers(2)), Rle(Masks.from_dense(hollow[None]).to_rle()[0]), crowd=crowd, id=2),
            Annotation(1, MaskFile(painted), id=3),
            Annotation(0, Polygons((np.array([[20.0, 20.0], [30.0, 20.0], [30.0, 30.0], [20.0, 30.0]]),)), id=4),
        )[: 4 if number else 3]
        split = ("train", "train", "val", "train")[number] if splits else None
        records.append(Record(f"p{number}", image, size, Objects(() if number == 1 else objects), split))
    return Dataset(labels_of(["cell", "Öl drop"]), tuple(records), "fake", folder)


def assert_same(found: Dataset, expected: Dataset) -> None:
    assert found.labels.names == expected.labels.names
    assert found.splits() == expected.splits()
    rows = {record.id: row for row, record in enumerate(found.records)}
    assert sorted(rows) == [record.id for record in expected.records]
    for index, record in enumerate(expected.records):
        row = rows[record.id]
        assert (found.records[row].size, found.records[row].split) == (record.size, record.split)
        ours, theirs = found[row].truth, expected.truth(index)
        order = [np.lexsort([[str(counts) for counts in truth.masks.to_rle()]]) for truth in (ours, theirs)]
        ours, theirs = ours[order[0]], theirs[order[1]]
        assert ours.masks.to_rle() == theirs.masks.to_rle()
        assert ours.class_ids.tolist() == theirs.class_ids.tolist()
        assert ours.boxes.tolist() == theirs.boxes.tolist()
        assert ours.crowd.tolist() == theirs.crowd.tolist()


def test_every_format_of_the_table_is_tested():
    assert list(CASES) == [known.name for known in FORMATS if known.task == "instance"]


@every_format
@pytest.mark.parametrize("splits", [True, False])
def test_written_and_read_again_it_is_the_same(tmp_path, name, splits):
    case = CASES[name]
    made = make_fake(tmp_path / "in", splits=splits, overlap=case.overlap, crowd=case.crowd)
    case.write(tmp_path / "out", made)
    assert_same(READERS[name](tmp_path / "out"), made)


@every_format
def test_a_single_split_called_train_keeps_its_name(tmp_path, name):
    made = make_fake(tmp_path / "in")
    CASES[name].write(tmp_path / "out", made.split("train"))
    assert READERS[name](tmp_path / "out").splits() == {"train": 3}


@every_format
def test_it_is_recognised_and_no_other_format_claims_it(tmp_path, name):
    CASES[name].write(tmp_path / "out", make_fake(tmp_path / "in"))
    assert [found.name for found in find_formats(tmp_path / "out")] == [name]
    found = read_dataset(tmp_path / "out")
    assert found.format == name
    assert found.issues == ()


@every_format
def test_writing_moves_nothing_of_the_source(tmp_path, name):
    made = make_fake(tmp_path / "in")
    before = {file: file.read_bytes() for file in (tmp_path / "in").iterdir()}
    CASES[name].write(tmp_path / "out", made)
    READERS[name](tmp_path / "out")
    assert before == {file: file.read_bytes() for file in (tmp_path / "in").iterdir()}


@every_format
def test_a_damaged_picture_is_named_and_can_be_left_out(tmp_path, name):
    CASES[name].write(tmp_path / "out", make_fake(tmp_path / "in"))
    victim = next(record.image for record in READERS[name](tmp_path / "out").records if record.id == "p3")
    victim.write_bytes(b"")
    with pytest.raises(DataError, match=r"p3.*empty") as caught:
        READERS[name](tmp_path / "out")
    assert caught.value.total >= 1
    kept = READERS[name](tmp_path / "out", policy="skip")
    assert sorted(record.id for record in kept.records) == ["p0", "p1", "p2"]
    assert any(issue.severity == "error" for issue in kept.issues)


@pytest.mark.parametrize("name", [name for name in CASES if name != "yolo"])  # its fractions fit any size
def test_a_picture_of_another_size_is_named(tmp_path, name):
    CASES[name].write(tmp_path / "out", make_fake(tmp_path / "in"))
    victim = next(record.image for record in READERS[name](tmp_path / "out").records if record.id == "p3")
    Image.new("RGB", (9, 9)).save(victim)
    with pytest.raises(DataError, match=r"9 x 9"):
        READERS[name](tmp_path / "out")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.crowd])
def test_crowds_are_objects_by_choice(tmp_path, name):
    made = make_fake(tmp_path / "in", overlap=CASES[name].overlap, crowd=True)
    CASES[name].write(tmp_path / "out", made)
    marked, objects = (read_dataset(tmp_path / "out", crowds=crowds) for crowds in ("as-marked", "as-objects"))
    counts = [sum(int(found.truth(row).crowd.sum()) for row in range(4)) for found in (marked, objects)]
    assert counts == [3, 0]
    assert [len(objects.truth(row)) for row in range(4)] == [len(marked.truth(row)) for row in range(4)]


@pytest.mark.parametrize("name", ["yolo", "labelme", "supervisely", "geojson", "imagej"])
def test_a_text_that_the_disk_does_not_give_leaves_out_its_picture_alone(tmp_path, monkeypatch, name):
    CASES[name].write(tmp_path / "out", make_fake(tmp_path / "in"))
    endings = (".txt", ".json", ".geojson", ".zip")
    (victim,) = (file for file in (tmp_path / "out").rglob("p3*") if file.suffix in endings)
    read = Path.read_bytes

    def refuse(file):
        if file == victim:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"p3(.|\n)*cannot be read: Permission denied"):
        READERS[name](tmp_path / "out")
    kept = READERS[name](tmp_path / "out", policy="skip").annotated()
    assert sorted(record.id for record in kept.records) == ["p0", "p1", "p2"]


@every_format
def test_an_empty_folder_is_refused(tmp_path, name):
    with pytest.raises(DataError):
        READERS[name](tmp_path)
