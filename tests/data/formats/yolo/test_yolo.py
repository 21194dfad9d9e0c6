"""YOLO folders: every layout and every defect that users meet."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import read_coco
from everymask.data.formats.yolo.segments import looks_like_yolo, read_yolo, write_yolo
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import DataError

SQUARE = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
BOX = "1 0.3 0.3 0.4 0.4"
YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def lay_out(folder: Path, texts: dict[str, str | bytes | None], yaml: str | None = YAML) -> Path:
    """Pictures of 40 x 20 pixels below images/ with their text files below labels/ (None: no text file)."""
    for name, text in texts.items():
        picture = folder / "images" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (len(name), 0, 0)).save(picture)
        if text is not None:
            label = folder / "labels" / f"{name}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(text if isinstance(text, bytes) else text.encode())
    if yaml is not None:
        (folder / "data.yaml").write_text(yaml, encoding="utf-8")
    return folder


def test_the_parts_arrive(tmp_path):
    lay_out(tmp_path, {"train/a": f"{SQUARE}\n1 0 0 1 0 1 1\n", "train/b": "", "val/c": SQUARE})
    found = read_yolo(tmp_path)
    assert found.labels.names == ("cat", "dog")
    assert found.splits() == {"train": 2, "val": 1}
    assert [record.id for record in found.records] == ["a", "b", "c"]
    assert found.issues == ()
    truth = found.truth(0)
    assert truth.class_ids.tolist() == [0, 1]
    assert truth.boxes[0].tolist() == [4, 2, 20, 10]
    assert truth.masks.areas()[0] == 16 * 8
    assert len(found.truth(1)) == 0
    again = read_yolo(tmp_path / "data.yaml")
    assert [(r.id, r.split, len(r.objects.annotations)) for r in again.records] == [
        ("a", "train", 2),
        ("b", "train", 0),
        ("c", "val", 1),
    ]


@pytest.mark.parametrize(
    ("yaml", "splits"),
    [
        ("path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\nnc: 2\n", {"train": 1, "val": 1}),
        ("train: ../images/train\nval: ../images/val\nnames:\n  - cat\n  - dog\n", {"train": 1, "val": 1}),
        ("train: [images/train, images/val]\nval:\nnames: [cat, dog]\n", {}),
        ("train: train.txt\nval: images/val\nnames: [cat, dog]\n", {"train": 1, "val": 1}),
        ("train: images\nnames: [cat, dog]\n", {}),
    ],
)
def test_what_data_yaml_may_say(tmp_path, yaml, splits):
    lay_out(tmp_path, {"train/a": SQUARE, "val/c": SQUARE}, yaml)
    (tmp_path / "train.txt").write_text("./images/train/a.png\r\n")
    found = read_yolo(tmp_path)
    assert found.labels.names == ("cat", "dog")
    assert found.splits() == splits
    assert len(found) == 2
    assert looks_like_yolo(tmp_path)
    assert looks_like_yolo(tmp_path / "data.yaml")


def test_an_absolute_path_key(tmp_path):
    lay_out(tmp_path / "set", {"train/a": SQUARE, "val/c": SQUARE}, None)
    (tmp_path / "data.yaml").write_text(f"path: {tmp_path / 'set'}\n{YAML}")
    assert read_yolo(tmp_path / "data.yaml").splits() == {"train": 1, "val": 1}


def test_without_settings_the_folders_and_name_files_speak(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "valid/c": BOX.replace("0.3 0.3 0.4 0.4", "0 0 1 0 1 1")}, None)
    found = read_yolo(tmp_path)
    assert found.labels.names == ("class_0", "class_1")
    assert found.splits() == {"train": 1, "val": 1}
    assert [issue.code for issue in found.issues] == ["class-names"]
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert read_yolo(tmp_path).labels.names == ("cat", "dog")
    assert read_yolo(tmp_path).issues == ()


def test_splits_may_be_the_outer_folders(tmp_path):
    for split in ("train", "valid"):
        lay_out(tmp_path / split, {f"{split}-a": SQUARE}, None)
    assert looks_like_yolo(tmp_path)
    assert read_yolo(tmp_path).splits() == {"train": 1, "val": 1}


def test_train_and_val_of_the_same_pictures_count_as_no_split(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE}, "train: images/train\nval: images/train\nnames: [cat]\n")
    found = read_yolo(tmp_path)
    assert found.splits() == {}
    assert len(found) == 1
    assert [issue.code for issue in found.issues] == ["same-splits"]


def test_boxes_only(tmp_path):
    found = read_yolo(lay_out(tmp_path, {"train/a": BOX, "val/c": ""}))
    assert found.boxes_only
    assert found.truth(0).boxes.tolist() == [[4, 2, 20, 10]]
    assert found.truth(0).masks is None


def test_d07_an_empty_and_a_missing_text_file_differ(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "train/b": "", "train/c": None, "val/d": SQUARE})
    found = read_yolo(tmp_path)
    assert len(found) == 4
    assert [(issue.code, Path(issue.file).name) for issue in found.issues] == [("label-missing", "c.png")]


def test_d07_most_text_files_missing_is_an_error(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "train/b": None, "val/c": None})
    with pytest.raises(DataError, match=r"2 of 3 pictures have no text file") as caught:
        read_yolo(tmp_path)
    assert [Path(issue.file).name for issue in caught.value.issues] == ["b.png", "c.png"]
    found = read_yolo(tmp_path, policy="skip")
    assert [record.id for record in found.records] == ["a"]
    assert [(issue.code, Path(issue.file).name) for issue in found.issues] == [
        ("labels-missing", "b.png"),
        ("labels-missing", "c.png"),
    ]


def test_b12_text_files_without_picture(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "train/b": SQUARE, "val/c": SQUARE})
    (tmp_path / "images/train/b.png").unlink()
    assert [issue.code for issue in read_yolo(tmp_path).issues] == ["no-picture"]
    (tmp_path / "labels/train/d.txt").write_text(SQUARE)
    with pytest.raises(DataError, match=r"2 of 3 text files have no picture"):
        read_yolo(tmp_path)


@pytest.mark.parametrize(
    "text", [SQUARE.replace(" ", "  ") + "\r\n\r\n", "\ufeff" + SQUARE, SQUARE.replace("0 ", "0.0 ", 1)]
)
def test_d08_line_ends_and_marks_do_not_matter(tmp_path, text):
    lay_out(tmp_path, {"train/a": text, "val/c": ""})
    assert read_yolo(tmp_path).truth(0).masks.areas().tolist() == [128]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("1.5 0 0 1 0 1 1", "whole class number", id="D01 class 1.5"),
        pytest.param("-1 0 0 1 0 1 1", "whole class number", id="D01 class -1"),
        pytest.param("cat 0 0 1 0 1 1", "expected numbers", id="D02 word"),
        pytest.param("0 0,5 0 1 0 1 1", "(?s)expected numbers.*decimals with a point", id="D02 comma"),
        pytest.param("0 nan 0 1 0 1 1", "finite", id="D02 nan"),
        pytest.param("0 0 0 1 0 1 1.02", "fractions from 0 to 1 .found 1.02", id="D03 above 1"),
        pytest.param("0 0 0 1 0 1 -0.02", "fractions from 0 to 1 .found -0.02", id="D03 below 0"),
        pytest.param("0 0 0 30 0 30 20", "(?s)fractions.*divide x by", id="D03 pixels"),
        pytest.param("0 0 0 1 0 1", "found 5 numbers", id="D04 odd"),
        pytest.param("0 0 0", "found 2 numbers", id="D04 one point"),
        pytest.param("0", "found 0 numbers", id="D04 nothing"),
        pytest.param(BOX, "a box among outlines", id="D05 box among outlines"),
        pytest.param("2 0 0 1 0 1 1", "class number below 2", id="D06 class"),
        pytest.param("0 0.5 0.5 0 0.5", "box with area", id="box without width"),
    ],
)
def test_defective_lines_are_named(tmp_path, line, message):
    lay_out(tmp_path, {"train/a": f"{SQUARE}\n\n{line}\n", "val/c": SQUARE})
    with pytest.raises(DataError, match=message) as caught:
        read_yolo(tmp_path)
    issue = caught.value.issues[0]
    assert (issue.file, issue.where) == (str(tmp_path / "labels/train/a.txt"), "line 3")
    found = read_yolo(tmp_path, policy="skip")
    assert [len(record.objects.annotations) for record in found.records] == [1, 1]


def test_d08_utf_16_is_refused(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE.encode("utf-16"), "val/c": ""})
    with pytest.raises(DataError, match=r"a.txt.*expected UTF-8"):
        read_yolo(tmp_path)


def test_d03_one_per_cent_of_slack_is_clipped(tmp_path):
    lay_out(tmp_path, {"train/a": "0 -0.005 0 1.005 0 1 1 0 1", "val/c": ""})
    found = read_yolo(tmp_path)
    assert found.truth(0).boxes.tolist() == [[0, 0, 40, 20]]
    assert [issue.code for issue in found.issues] == ["clipped"]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        pytest.param(
            "train: images/train\nnames: {0: cat, 2: dog}\n", "class numbers 0 to 1 without gaps", id="D09 gap"
        ),
        pytest.param("train: images/train\nnames: [cat, Cat]\n", "stands there twice", id="D09 twice"),
        pytest.param("train: images/train\nnames: [cat, no]\n", "(?s)expected a name.*in quotes", id="D09 no"),
        pytest.param("train: images/train\nnames: cat\n", "list of class names", id="D09 text"),
        pytest.param("train: images/train\nnames: [cat]\nnc: 2\n", "names lists 1 classes", id="D09 nc"),
        pytest.param("a: &a [x, x]\nb: [*a, *a]\ntrain: x\nnames: [cat]\n", r"line 1: anchors", id="D10 anchors"),
        pytest.param("train: x\nnames: !!python/object/apply:os.system [ls]\n", "line 2: not plain YAML", id="D10 tag"),
        pytest.param("train: x\ntrain: y\nnames: [cat]\n", "line 2: the key stands there twice", id="D10 repeated"),
        pytest.param("train: x\nnames: [cat\n", "not plain YAML", id="D10 syntax"),
        pytest.param("train: nowhere\nnames: [cat]\n", "(?s)no such folder.*nowhere", id="D10 path"),
        pytest.param("train: 3\nnames: [cat]\n", "expected a path", id="D10 number"),
    ],
)
def test_defective_settings_are_named(tmp_path, yaml, message):
    lay_out(tmp_path, {"train/a": SQUARE}, yaml)
    with pytest.raises(DataError, match=message) as caught:
        read_yolo(tmp_path)
    assert str(tmp_path / "data.yaml") in str(caught.value)


def test_c28_a_picture_in_two_splits(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "val/c": SQUARE}, "train: images\nval: images/val\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"c.png: the picture is in the splits train and val"):
        read_yolo(tmp_path)


def test_a34_two_pictures_with_one_text_file(tmp_path):
    lay_out(tmp_path, {"train/a": SQUARE, "val/c": SQUARE})
    Image.new("RGB", (40, 20)).save(tmp_path / "images/train/a.jpg")
    with pytest.raises(DataError, match=r"a\.(png|jpg)"):
        read_yolo(tmp_path)


def test_a_folder_without_pictures_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError):
            read_yolo(path)
        assert not looks_like_yolo(path)


def test_real_labels_give_the_objects_of_their_coco_twin(shared):
    ours, twin = read_yolo(shared / "coco128_seg"), read_coco(shared / "coco128_seg")
    rows = {record.id: row for row, record in enumerate(twin.records)}
    assert len(ours) == 128
    assert sum(len(record.objects.annotations) for record in ours.records) == 929
    for row in range(0, len(ours), 4):
        found, expected = ours.truth(row), twin.truth(rows[ours.records[row].id])
        names = [ours.labels.names[k].removeprefix("class_") for k in found.class_ids]
        assert [int(name) for name in names] == expected.class_ids.tolist()
        # Both round the outlines, to 6 digits of the side and to hundredths of a pixel.
        for index in range(len(found)):
            differing = (found.masks.to_dense(index) ^ expected.masks.to_dense(index)).sum()
            assert differing <= 2 + 0.02 * expected.masks.areas()[index]


def object_with_hole_and_two_parts() -> np.ndarray:
    mask = np.zeros((20, 40), np.bool_)
    mask[2:12, 3:15] = True
    mask[5:8, 6:9] = False
    mask[10:18, 25:30] = True
    mask[19, 39] = True
    return mask


def fake(folder: Path, *objects: Annotation) -> Dataset:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(folder / "a.png")
    record = Record("a", folder / "a.png", (20, 40), Objects(objects))
    boxes_only = any(isinstance(a.shape, BoxOnly) for a in objects)
    return Dataset(labels_of(["cat", "dög"]), (record,), "fake", folder, boxes_only=boxes_only)


def test_parts_and_holes_survive_as_one_ring(tmp_path, caplog):
    counts = Masks.from_dense(object_with_hole_and_two_parts()[None]).to_rle()[0]
    rings = tuple(np.array([[x, 1.0], [x + 9.3, 2.2], [x + 4.0, 9.9]]) for x in (1.0, 6.0, 20.0))
    made = fake(tmp_path / "in", Annotation(1, Rle(counts)), Annotation(0, Polygons(rings)))
    write_yolo(tmp_path / "out", made)
    found = read_yolo(tmp_path / "out")
    assert found.labels.names == ("cat", "dög")
    assert found.truth(0).masks.to_rle() == made.truth(0).masks.to_rle()
    assert not caplog.records
    assert len((tmp_path / "out/labels/a.txt").read_text().splitlines()) == 2


def test_corners_on_the_edge_of_rounding_come_back(tmp_path):
    """COCO's rule rounds to fifths of a pixel: tenths stand on the edge, where a fraction's last digit would decide."""
    tenths = np.arange(1, 190, 2) / 10
    rings = [np.array([[x, y], [x + 9.7, y], [x + 5.1, 19.3]]) for x, y in zip(tenths, tenths[::-1] / 2, strict=True)]
    made = fake(tmp_path / "in", *(Annotation(0, Polygons((ring,))) for ring in rings))
    write_yolo(tmp_path / "out", made)
    assert read_yolo(tmp_path / "out").truth(0).masks.to_rle() == made.truth(0).masks.to_rle()


def test_what_cannot_be_written_is_counted(tmp_path, caplog):
    counts = Masks.from_dense(object_with_hole_and_two_parts()[None]).to_rle()[0]
    speck = Polygons((np.array([[1.0, 1.0], [1.2, 1.0], [1.1, 1.1]]),))
    leaving = Polygons((np.array([[30.0, 5.0], [60.0, 5.0], [30.0, 15.0]]),))
    nothing = Masks.from_dense(np.zeros((1, 20, 40), np.bool_)).to_rle()[0]
    made = fake(
        tmp_path / "in",
        Annotation(0, Rle(counts), crowd=True),
        Annotation(0, Rle(nothing)),
        Annotation(1, leaving),
        Annotation(0, speck),
    )
    with caplog.at_level(logging.WARNING):
        write_yolo(tmp_path / "out", made)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "1 crowd regions left out",
        "1 objects without a pixel left out",
    ]
    found = read_yolo(tmp_path / "out").truth(0)
    assert found.masks.to_rle() == made.truth(0).masks[2:].to_rle()


def test_boxes_are_written_as_boxes(tmp_path):
    made = fake(tmp_path / "in", Annotation(1, BoxOnly(), (4.0, 2.5, 20.0, 10.0)))
    write_yolo(tmp_path / "out", made)
    assert (tmp_path / "out/labels/a.txt").read_text() == "1 0.3 0.3125 0.4 0.375\n"
    np.testing.assert_allclose(read_yolo(tmp_path / "out").truth(0).boxes, made.truth(0).boxes, atol=1e-5)


def test_a_single_split_called_train_keeps_its_name(tmp_path):
    lay_out(tmp_path / "in", {"train/a": SQUARE, "train/b": ""}, "train: images/train\nnames: [cat, dog]\n")
    found = read_yolo(tmp_path / "in")
    assert found.splits() == {"train": 2}
    write_yolo(tmp_path / "out", found)
    assert read_yolo(tmp_path / "out").splits() == {"train": 2}
