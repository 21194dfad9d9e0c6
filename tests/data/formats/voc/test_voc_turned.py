"""Pascal VOC's boxes as CVAT writes them: turned, and marked as difficult."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.data.formats.table import read_dataset
from everymask.data.formats.voc.objects import read_voc

SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"
ROTATION = "<attributes><attribute><name>rotation</name><value>{}</value></attribute></attributes>"


def lay_out(root, *objects):
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(root / "JPEGImages/a.png")
    listed = "".join(
        f"<object><name>cat</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for (x1, y1, x2, y2), more in objects
    )
    (root / "Annotations/a.xml").write_text(f"<annotation><filename>a.png</filename>{SIZE}{listed}</annotation>")


@pytest.mark.parametrize(
    ("rotation", "box"),
    [
        ("90.0", [17, 4, 21, 16]),
        ("-90", [17, 4, 21, 16]),
        ("450.0", [17, 4, 21, 16]),
        ("180.0", [13, 8, 25, 12]),
        ("0.0", [13, 8, 25, 12]),
        ("45.0", [19 - 8 / 2**0.5, 10 - 8 / 2**0.5, 19 + 8 / 2**0.5, 10 + 8 / 2**0.5]),
    ],
)
def test_a_turned_box_is_the_upright_one_around_it(tmp_path, rotation, box):
    """About the middle (19, 10) of 12 x 4 pixels."""
    lay_out(tmp_path, ((14, 9, 25, 12), ROTATION.format(rotation)))
    found = read_voc(tmp_path)
    assert np.allclose(found.truth(0).boxes, [box], atol=1e-4)
    turned = float(rotation) % 360 != 0
    assert [(issue.code, issue.count) for issue in found.issues] == ([("box-turned", 1)] if turned else [])


def test_a_turned_box_at_the_edge_ends_there(tmp_path):
    lay_out(tmp_path, ((1, 1, 30, 4), ROTATION.format("90")))
    assert read_voc(tmp_path).truth(0).boxes.tolist() == [[13, 0, 17, 17]]


@pytest.mark.parametrize("more", [ROTATION.format("about 3"), "<angle>0.5</angle>"])
def test_an_angle_that_nobody_can_read_is_noted(tmp_path, more):
    lay_out(tmp_path, ((14, 9, 25, 12), more))
    found = read_voc(tmp_path)
    assert found.truth(0).boxes.tolist() == [[13, 8, 25, 12]]
    assert [issue.code for issue in found.issues] == ["box-angle"]


def test_difficult_objects_are_objects_by_choice(tmp_path):
    lay_out(tmp_path, ((1, 1, 9, 9), "<difficult>1</difficult>"), ((21, 1, 29, 9), "<difficult>1</difficult>"))
    marked = read_dataset(tmp_path)
    assert marked.truth(0).crowd.tolist() == [True, True]
    assert [issue.code for issue in marked.issues] == ["many-crowds"]
    assert "(difficult)" in marked.issues[0].message
    objects = read_dataset(tmp_path, crowds="as-objects")
    assert objects.truth(0).crowd.tolist() == [False, False]
    assert objects.issues == ()
