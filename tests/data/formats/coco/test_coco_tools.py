"""COCO files as annotation tools write them: masks by brush, turned boxes, paths of another machine."""

from __future__ import annotations

import re

import numpy as np
import pytest

from everymask.data.formats.coco.instances import read_coco
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError
from tests.data.coco_files import RUNS, document, lay_out


def brushed(**keys):
    """Two masks that CVAT's brush drew, both of them crowds."""
    content = document()
    content["annotations"] = content["annotations"][1:]
    for entry in content["annotations"]:
        entry.update(iscrowd=1, attributes={"occluded": False}, **keys)
    return content


def test_masks_drawn_by_brush_are_objects_by_choice(tmp_path):
    lay_out(tmp_path, brushed())
    marked = read_dataset(tmp_path)
    assert [a.crowd for a in marked.records[0].objects.annotations] == [True, True]
    (issue,) = marked.issues
    assert (issue.code, issue.severity) == ("many-crowds", "warning")
    assert "2 of 2 objects are marked as crowds (iscrowd)" in issue.message
    assert "--crowds as-objects" in issue.hint
    objects = read_dataset(tmp_path, crowds="as-objects")
    assert [a.crowd for a in objects.records[0].objects.annotations] == [False, False]
    assert objects.issues == ()
    assert objects.truth(0).masks.areas().tolist() == [RUNS[1]] * 2


def test_outlines_marked_as_crowds_are_objects_by_choice(tmp_path):
    content = document()
    content["annotations"][0]["iscrowd"] = 1
    with pytest.raises(DataError, match=r"a crowd must not be a polygon(?s:.*)--crowds as-objects"):
        read_dataset(lay_out(tmp_path, content))
    assert [a.crowd for a in read_dataset(tmp_path, crowds="as-objects").records[0].objects.annotations] == [False] * 3


def turned_box(rotation=90.0, **keys):
    content = document()
    entry = {"id": 1, "image_id": 7, "category_id": 3, "iscrowd": 0, "segmentation": [], "bbox": [10, 6, 8, 4], **keys}
    content["annotations"] = [entry | {"attributes": {"occluded": False, "rotation": rotation}}]
    return content


def test_a_turned_box_is_the_upright_one_around_it(tmp_path):
    """A quarter turn about the middle (14, 8) makes 8 x 4 pixels 4 x 8."""
    found = read_coco(lay_out(tmp_path, turned_box()))
    assert found.truth(0).boxes.round(4).tolist() == [[12, 4, 16, 12]]
    assert [(issue.code, issue.count) for issue in found.issues] == [("box-turned", 1)]


@pytest.mark.parametrize("outline", [[], [[10, 6, 18, 6, 18, 10, 10, 10]]])
def test_a_turned_box_among_outlines_is_outlined(tmp_path, outline):
    """Clockwise as the picture is seen: the upper left corner goes to the right."""
    content = turned_box(30.0, segmentation=outline)
    content["annotations"].append({**document()["annotations"][0], "id": 2})
    found = read_coco(lay_out(tmp_path, content))
    (ring,) = found.records[0].objects.annotations[0].shape.rings
    middle, (cosine, sine) = np.array([14.0, 8.0]), (np.cos(np.pi / 6), 0.5)
    corner = middle + np.array([-4 * cosine + 2 * sine, -4 * sine - 2 * cosine])
    assert np.allclose(ring[0], corner)
    assert found.truth(0).masks.areas()[0] == pytest.approx(32, abs=4)
    assert [issue.code for issue in found.issues] == ["box-turned"]


def test_an_outline_of_its_own_is_not_turned_again(tmp_path):
    triangle = [[10.0, 6.0, 18.0, 6.0, 18.0, 10.0]]
    found = read_coco(lay_out(tmp_path, turned_box(30.0, segmentation=triangle)))
    assert found.records[0].objects.annotations[0].shape.rings[0].ravel().tolist() == triangle[0]


def test_an_angle_of_unknown_kind_is_noted(tmp_path):
    content = turned_box(0.0, theta=0.6)
    found = read_coco(lay_out(tmp_path, content))
    assert found.truth(0).boxes.tolist() == [[10, 6, 18, 10]]
    assert [issue.code for issue in found.issues] == ["box-angle"]
    assert "found theta" in found.issues[0].hint


@pytest.mark.parametrize(
    "prefix",
    ["images\\", "C:\\Users\\me\\set\\images\\", "/srv/them/set/images/", "../set/images/", "https://x.org/images/"],
)
def test_paths_of_another_machine_are_found_by_name(tmp_path, prefix):
    content = document()
    for entry in content["images"]:
        entry["file_name"] = prefix + entry["file_name"].replace("/", "\\" if "\\" in prefix else "/")
    found = read_dataset(lay_out(tmp_path, content))
    assert [record.image.relative_to(tmp_path).as_posix() for record in found.records] == [
        "images/a.png",
        "images/sub/b.png",
    ]
    notes = [(issue.code, issue.count) for issue in found.issues]
    assert notes == [("path-elsewhere", 2)]


def test_pictures_of_lvis_are_named_by_their_addresses(tmp_path):
    content = document()
    for entry in content["images"]:
        entry["coco_url"] = f"http://images.cocodataset.org/images/{entry.pop('file_name')}"
    for entry in content["annotations"]:
        del entry["iscrowd"]
    found = read_dataset(lay_out(tmp_path, content))
    assert [record.image.name for record in found.records] == ["a.png", "b.png"]
    assert sorted((issue.code, issue.count) for issue in found.issues) == [("crowd-missing", 1), ("path-elsewhere", 2)]


def searched_for_some(**keys):
    """The first picture shows a cat and a dog, the second nothing; LVIS says what each was searched for."""
    content = document()
    content["images"][0].update(neg_category_ids=[], not_exhaustive_category_ids=[])
    content["images"][1].update({"neg_category_ids": [1], "not_exhaustive_category_ids": [], **keys})
    return content


def test_that_not_every_class_was_looked_for_is_said(tmp_path):
    found = read_dataset(lay_out(tmp_path, searched_for_some()))
    (issue,) = found.issues
    assert (issue.code, issue.severity) == ("federated", "warning")
    assert "in 1 of 2 pictures some classes were not, and in 0 not all objects" in issue.message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"neg_category_ids": [1, 3]}, None),
        ({"neg_category_ids": [1, 3], "not_exhaustive_category_ids": [3]}, "in 0 of 2 pictures some .* and in 1 not"),
        ({"neg_category_ids": "x"}, "in 1 of 2"),
        ({"neg_category_ids": [[], None, 99]}, "in 1 of 2"),
    ],
)
def test_it_is_said_only_where_it_matters(tmp_path, keys, said):
    found = read_dataset(lay_out(tmp_path, searched_for_some(**keys)))
    assert [bool(re.search(said, issue.message)) for issue in found.issues] == ([True] if said else [])


def test_all_areas_may_be_wrong_of_outlines_of_one_ring_and_of_several(tmp_path):
    """What rings that overlap draw is less than what they enclose; both are accepted."""
    content = document()
    square, other = [2, 2, 12, 2, 12, 10, 2, 10], [6, 2, 16, 2, 16, 10, 6, 10]
    shared = {"image_id": 7, "category_id": 3, "iscrowd": 0}
    stated = {1: ([square], 5), 2: ([square, other], 112), 3: ([square, other], 160), 4: ([square, other], 40)}
    content["annotations"] = [
        {"id": number, "segmentation": rings, "bbox": [2, 2, 14 if len(rings) > 1 else 10, 8], "area": area, **shared}
        for number, (rings, area) in stated.items()
    ]
    found = read_coco(lay_out(tmp_path, content))
    assert [annotation.area for annotation in found.records[0].objects.annotations] == [None, 112, 160, None]
    assert [(issue.where, issue.message[:22]) for issue in found.issues] == [
        ("/annotations/0/area", "the mask has 80 pixels"),
        ("/annotations/3/area", "the mask has 112 pixel"),
    ]
