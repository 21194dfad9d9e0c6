"""YOLO folders whose paths, texts and names are where tools and people put them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from everymask.data.formats.table import read_dataset
from everymask.data.formats.yolo.segments import looks_like_yolo, read_yolo
from everymask.errors import DataError
from tests.data.formats.yolo.test_yolo import BOX, SQUARE, lay_out


def codes(dataset) -> list[tuple[str, str, int]]:
    return [(issue.code, issue.severity, issue.count) for issue in dataset.issues]


def put(folder: Path, name: str, text: str | None = SQUARE, *, label: str = "") -> None:
    """A picture of 40 x 20 pixels, and its text file where `label` says, else beside it."""
    picture = folder / name
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20), (len(name), 0, 0)).save(picture)
    if text is not None:
        file = folder / label if label else picture.with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_class_numbers_may_be_text(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE}, "train: images/train\nnames:\n  '1': dog\n  '0': cat\n")
    assert read_yolo(tmp_path).labels.names == ("cat", "dog")


ELSEWHERE = [("yaml-elsewhere", "warning", 2)]


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("path: /content/set\ntrain: images/train\nval: images/val\n", ELSEWHERE),
        ("path: ../..\ntrain: images/train\nval: images/val\n", ELSEWHERE),
        ("train: ../images/train\nval: ../images/val\n", ELSEWHERE),
        ('train: "D:\\\\sets\\\\mine\\\\images\\\\train"\nval: "D:\\\\sets\\\\mine\\\\images\\\\val"\n', ELSEWHERE),
        ("train: images\\train\nval: images\\val\n", []),
        ("path: ./\ntrain: images/train\nval: images/../images/val\n", []),
    ],
)
def test_paths_of_another_machine_are_found_beside_the_file(tmp_path, yaml, expected):
    lay_out(tmp_path / "in", {"train/a": SQUARE, "val/c": SQUARE}, f"{yaml}names: [cat]\n")
    found = read_yolo(tmp_path / "in")
    assert found.splits() == {"train": 1, "val": 1}
    assert codes(found) == expected


def test_no_path_leads_above_the_folder(tmp_path):
    lay_out(tmp_path / "images_elsewhere", {"train/a": SQUARE}, None)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data.yaml").write_text("path: ../images_elsewhere\ntrain: images/train\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"(?s)leads out of the folder.*put data.yaml into the folder of the data"):
        read_yolo(tmp_path / "set")


def test_two_folders_that_are_not_there_are_no_equal_splits(tmp_path):
    lay_out(tmp_path, {"other/a": SQUARE}, "train: x/train\nval: x/val\nnames: [cat]\n")
    with pytest.raises(DataError) as caught:
        read_yolo(tmp_path)
    assert [(issue.code, issue.where) for issue in caught.value.issues] == [
        ("yaml-path", "train"),
        ("yaml-path", "val"),
    ]
    assert codes(read_yolo(tmp_path, policy="skip")) == [("yaml-path", "error", 1)] * 2


def test_texts_beside_the_pictures_are_used_and_noted(tmp_path):
    put(tmp_path, "train/images/a.png")
    put(tmp_path, "train/images/b.png", label="train/labels/b.txt")
    (tmp_path / "data.yaml").write_text("train: train/images\nnames: [cat]\n")
    found = read_yolo(tmp_path)
    assert [len(record.objects.annotations) for record in found.records] == [1, 1]
    assert codes(found) == [("labels-beside", "warning", 1)]


@pytest.mark.parametrize("base", ["", "train/"])
def test_pictures_and_texts_in_one_folder_need_no_settings(tmp_path, base):
    for name in "abc":
        put(tmp_path, f"{base}{name}.png", "" if name == "c" else SQUARE)
    (tmp_path / "classes.txt").write_text("cat\n")
    assert looks_like_yolo(tmp_path)
    found = read_dataset(tmp_path)
    assert (found.format, found.labels.names, found.issues) == ("yolo", ("cat",), ())
    assert [len(record.objects.annotations) for record in found.records] == [1, 1, 0]


def test_captions_beside_pictures_are_no_yolo(tmp_path):
    put(tmp_path, "a.png", "a cat on a mat")
    assert not looks_like_yolo(tmp_path)


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("images/train/cam1/images/a.png", "labels/train/cam1/images/a.txt"),
        ("images/train/cam1/images/a.png", "images/train/cam1/labels/a.txt"),
        ("images/train/cam1/images/a.png", "labels/train/cam1/labels/a.txt"),
        ("Images/train/a.png", "Labels/train/a.txt"),
        ("IMAGES/train/a.png", "labels/train/a.txt"),
        ("images/train/a.PNG", "labels/train/a.TXT"),
    ],
)
def test_labels_lie_where_images_do(tmp_path, picture, label):
    put(tmp_path, picture, label=label)
    (tmp_path / "data.yaml").write_text(f"train: {picture.split('/')[0]}/train\nnames: [cat]\n")
    found = read_yolo(tmp_path)
    assert [len(record.objects.annotations) for record in found.records] == [1]
    assert found.issues == ()


def test_labels_are_not_looked_for_above_the_folder(tmp_path):
    put(tmp_path, "images/set/images/a.png", None)
    put(tmp_path, "images/set/images/b.png", label="images/set/labels/b.txt")
    (tmp_path / "labels/set/images").mkdir(parents=True)
    (tmp_path / "labels/set/images/a.txt").write_text(SQUARE)
    (tmp_path / "images/set/data.yaml").write_text("train: images\nnames: [cat]\n")
    assert codes(read_yolo(tmp_path / "images/set")) == [("label-missing", "warning", 1)]


@pytest.mark.parametrize(("picture", "label"), [("A", "a"), ("caf\u00e9", "cafe\u0301")])
def test_names_that_differ_in_case_or_unicode_form_are_one(tmp_path, picture, label):
    put(tmp_path, f"images/{picture}.png", label=f"labels/{label}.txt")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    found = read_yolo(tmp_path)
    assert len(found.truth(0)) == 1
    assert codes(found) == [("name-spelling", "warning", 1)]
    assert unicodedata.normalize("NFC", found.records[0].id) == picture


def test_lists_of_another_machine(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "train/b": SQUARE}, "train: train.txt\nnames: [cat]\n")
    (tmp_path / "train.txt").write_text("C:\\set\\images\\train\\a.png\n/old/images/train/b.png\n")
    found = read_yolo(tmp_path)
    assert [record.id for record in found.records] == ["a", "b"]
    assert codes(found) == [("path-elsewhere", "warning", 2)]
    (tmp_path / "train.txt").write_text("/old/images/train/c.png\n")
    with pytest.raises(DataError, match=r"train.txt:line 1: .*below the folder"):
        read_yolo(tmp_path)


def test_darknets_lists_as_cvat_writes_them(tmp_path):
    """YOLO 1.1: obj.data names a list, and a file of names; paths begin with data/, which is not in the archive."""
    put(tmp_path, "obj_train_data/a.png", BOX)
    put(tmp_path, "obj_train_data/b.png", "")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.png\ndata/obj_train_data/b.png\n")
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    lines = "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    (tmp_path / "obj.data").write_text(lines)
    found = read_dataset(tmp_path)
    assert (found.format, found.labels.names) == ("yolo", ("cat", "dog"))
    assert found.truth(0).boxes.tolist() == [[4, 2, 20, 10]]
    assert len(found) == 2


def test_d05_outlines_among_boxes_are_boxes(tmp_path):
    lay_out(tmp_path, {"train/a": f"{BOX}\n{BOX}", "val/c": SQUARE})
    found = read_yolo(tmp_path)
    assert found.boxes_only
    assert found.truth(1).boxes.tolist() == [[4, 2, 20, 10]]
    assert codes(found) == [("mixed-lines", "warning", 1)]
    assert "1 outlines among 2 boxes" in found.issues[0].message
