"""COCO files of which something is left out, or taken as said, only by choice."""

from __future__ import annotations

import pytest

from everymask.data.formats.coco.instances import read_coco
from everymask.errors import DataError
from tests.data.coco_files import document, lay_out


@pytest.mark.parametrize("outline", [[], [[2, 8, 7, 8, 3, 8]], {"size": [20, 30], "counts": [600]}])
def test_c13_what_marks_nothing_is_left_out_only_by_choice(tmp_path, outline):
    """As annotation 918 of COCO's train2017: neither box nor mask has an area."""
    content = document()
    content["annotations"][0].update(id=918, segmentation=outline, bbox=[2, 8, 5, 0])
    with pytest.raises(DataError, match=r"(?s)1 defect .*annotation 918 has a box without area.*--on-defect skip"):
        read_coco(lay_out(tmp_path, content))
    found = read_coco(tmp_path, policy="skip")
    assert [a.id for a in found.records[0].objects.annotations] == [5, 6]
    assert [issue.code for issue in found.issues] == ["box-empty"]


def test_c25_a_missing_iscrowd_is_zero_by_choice(tmp_path):
    content = document()
    del content["annotations"][0]["iscrowd"]
    del content["annotations"][2]["iscrowd"]
    found = read_coco(lay_out(tmp_path, content), policy="skip")
    assert [a.crowd for a in found.records[0].objects.annotations] == [False] * 3
    assert [issue.code for issue in found.issues] == ["crowd-missing"] * 2
    with pytest.raises(DataError, match=r"(?s)2 defects .*/annotations/0/iscrowd: iscrowd is missing"):
        read_coco(tmp_path)


def test_c25_where_no_object_has_iscrowd_it_is_zero_with_one_note(tmp_path):
    """As in LVIS, and as many tools export."""
    content = document()
    for entry in content["annotations"]:
        del entry["iscrowd"]
    found = read_coco(lay_out(tmp_path, content))
    assert [a.crowd for a in found.records[0].objects.annotations] == [False] * 3
    assert [(issue.code, issue.severity) for issue in found.issues] == [("crowd-missing", "warning")]


def test_c27_the_largest_file_has_a_limit(tmp_path, monkeypatch):
    file = lay_out(tmp_path, document())
    monkeypatch.setattr("everymask.data.strict.json_files.MAX_BYTES", file.stat().st_size)
    assert len(read_coco(file)) == 2
    monkeypatch.setattr("everymask.data.strict.json_files.MAX_BYTES", 500)
    with pytest.raises(DataError, match=rf"(?s)expected at most 500 bytes \(found {file.stat().st_size}\).*split it"):
        read_coco(file)


def test_c13_a_box_without_area_gives_way_to_the_masks(tmp_path):
    content = document()
    content["annotations"][0]["bbox"] = [2, 2, 0, 0]
    assert read_coco(lay_out(tmp_path, content)).truth(0).boxes[0].tolist() == [2, 2, 12, 10]


@pytest.mark.parametrize(
    ("name", "splits"), [("train.json", {"train": 2}), ("instances_val2017.json", {}), ("labels.json", {})]
)
def test_a_file_on_its_own_is_a_split_if_it_is_called_train(tmp_path, name, splits):
    lay_out(tmp_path, document(), name)
    assert read_coco(tmp_path).splits() == splits
