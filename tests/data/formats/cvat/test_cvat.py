"""CVAT's XML: every kind of shape, projects and videos, and what is wrong with files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.cvat.files import looks_like_cvat, read_cvat, write_cvat
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import DataError

LABELS = "<meta><task><labels><label><name>b</name></label><label><name>a</name></label></labels></task></meta>"
POLYGON = '<polygon label="a" points="2,2;20,2;20,12.5"/>'


def annotate(root: Path, *shapes: str, labels: str = LABELS, size: tuple[int, int] = (40, 60)) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)).save(root / "images" / "p.png")
    image = f'<image id="0" name="p.png" width="{size[1]}" height="{size[0]}">{"".join(shapes)}</image>'
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{labels}{image}</annotations>")
    return root


def codes(root: Path) -> list[str]:
    return [issue.code for issue in read_cvat(root, policy="skip").issues]


def test_an_export_of_a_project_has_its_subsets_as_splits(shared):
    root = shared / "format_fixtures/cvat_dataset/for_images/export_project"
    dataset = read_cvat(root)
    assert dataset.format == "cvat"
    assert dataset.labels.names == ("label1", "label2")
    assert dataset.splits() == {"test": 2, "train": 2, "val": 2}
    for record in dataset.records:
        assert record.image.parent.name == {"test": "Test", "train": "Train", "val": "Validation"}[record.split]
        (annotation,) = record.objects.annotations
        rings = [[[0, 2], [4, 2], [4, 4], [0, 4]]] if record.size == (8, 8) else [[[1, 2], [3, 4], [6, 5]]]
        assert [ring.tolist() for ring in annotation.shape.rings] == rings
    noted = {issue.code: (issue.count, issue.message) for issue in dataset.issues}
    assert noted["no-area-polyline"][0] == noted["no-area-points"][0] == 3
    assert "3 shapes of the kind polyline are left out" in noted["no-area-polyline"][1]
    assert noted["box-as-mask"][1].startswith("3 upright rectangles stand beside 3 outlines")


def test_an_export_of_a_task_is_a_split_by_the_files_name(shared):
    root = shared / "format_fixtures/cvat_dataset/for_images/export_task"
    dataset = read_cvat(root, policy="skip")
    assert dataset.splits() == {"train": 2}
    assert [issue.where for issue in dataset.issues if issue.code == "label-missing"] == ["image[2]/polygon[1]"]
    assert dataset.boxes_only
    assert dataset.truth(0).boxes.tolist() == [[0, 2, 4, 4]]
    with pytest.raises(DataError, match="expected a label"):
        read_cvat(root / "train.xml")


def test_a_video_is_read_frame_by_frame(shared):
    root = shared / "format_fixtures/cvat_dataset/for_video"
    dataset = read_dataset(root)
    assert dataset.labels.names == ("klhg", "z U k", "II")
    assert [record.image.name for record in dataset.records] == [f"frame_0000{n}.png" for n in (10, 13, 16)]
    assert [len(record.objects.annotations) for record in dataset.records] == [1, 0, 0]
    assert dataset.truth(0).boxes.tolist() == [[3, 4, 10, 5]]
    assert dataset.truth(0).class_ids.tolist() == [2]
    assert not [issue for issue in dataset.issues if issue.severity == "error"]


def test_classes_are_in_the_order_of_the_file_and_shapes_keep_their_pixels(tmp_path):
    box = '<box label="b" xtl="10" ytl="10" xbr="30" ybr="20"/>'
    mask = '<mask label="a" rle="1, 2, 2, 1" left="5" top="7" width="3" height="2"/>'
    dataset = read_cvat(annotate(tmp_path, POLYGON, box, mask))
    assert dataset.labels.names == ("b", "a")
    truth = dataset.truth(0)
    assert truth.class_ids.tolist() == [1, 0, 1]
    expected = Masks.from_polygons([[np.array([[2, 2], [20, 2], [20, 12.5]])]], (40, 60)).to_rle()
    assert truth.masks.to_rle()[:1] == expected
    assert truth.boxes[1].tolist() == [10, 10, 30, 20]
    assert truth.masks.areas()[1] == 200
    assert truth.masks.to_dense(2)[7:9, 5:8].astype(int).tolist() == [[0, 1, 1], [0, 0, 1]]


def test_boxes_turn_clockwise_about_their_middle(tmp_path):
    upright = '<box label="a" xtl="20" ytl="10" xbr="40" ybr="20" rotation="90"/>'
    slanted = '<box label="a" xtl="20" ytl="10" xbr="40" ybr="20" rotation="30"/>'
    truth = read_cvat(annotate(tmp_path, upright, slanted)).truth(0)
    assert truth.boxes[0].tolist() == [25, 5, 35, 25]
    # In degrees clockwise as seen, the upper right corner goes down and the lower left one up.
    ring = read_cvat(tmp_path).records[0].objects.annotations[1].shape.rings[0]
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    assert np.allclose(ring[1], [30 + 10 * cos + 5 * sin, 15 + 10 * sin - 5 * cos])


def test_ellipses_keep_their_area(tmp_path):
    ellipse = '<ellipse label="a" cx="30" cy="20" rx="20" ry="8" rotation="{}"/>'
    truth = read_cvat(annotate(tmp_path, ellipse.format(0), ellipse.format(90))).truth(0)
    assert np.allclose(truth.masks.areas(), math.pi * 20 * 8, rtol=0.01)
    assert truth.boxes.tolist() == [[10, 12, 50, 28], [22, 0, 38, 40]]


def test_groups_are_one_object_and_is_crowd_a_crowd(tmp_path):
    first = '<polygon label="a" group_id="4" points="2,2;9,2;9,9;2,9"/>'
    second = '<mask label="a" group_id="4" rle="0, 4" left="20" top="20" width="2" height="2"/>'
    other = (
        '<polygon label="b" group_id="4" points="30,2;39,2;39,9"><attribute name="is_crowd">true</attribute></polygon>'
    )
    truth = read_cvat(annotate(tmp_path, first, second, other)).truth(0)
    assert truth.class_ids.tolist() == [1, 0]
    assert truth.masks.areas()[0] == 49 + 4
    assert truth.crowd.tolist() == [False, True]


def test_only_upright_boxes_are_boxes(tmp_path):
    dataset = read_cvat(annotate(tmp_path, '<box label="a" xtl="-0.5" ytl="10" xbr="30" ybr="20"/>'))
    assert dataset.boxes_only
    assert dataset.truth(0).masks is None
    assert dataset.truth(0).boxes.tolist() == [[0, 10, 30, 20]]
    write_cvat(tmp_path / "out", dataset)
    again = read_cvat(tmp_path / "out")
    assert again.boxes_only and again.truth(0).boxes.tolist() == [[0, 10, 30, 20]]


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ('<polygon label="a" points="1,2;3,4"/>', "point-count"),
        ('<polygon label="a" points="1,2;3;5,6"/>', "point"),
        ('<polygon label="a" points="1,2;3,nan;5,6"/>', "point"),
        ('<polygon label="a" points="1,1;5,5;9,9"/>', "zero-area"),
        ('<polygon label="a" points="90,1;95,5;99,9"/>', "shape-outside"),
        ('<polygon label="a" points="-9,1;20,5;20,9"/>', "shape-clipped"),
        ('<polygon label="c" points="1,1;5,5;9,1"/>', "unknown-class"),
        ('<box label="a" xtl="5" ytl="1" xbr="5" ybr="9"/>', "zero-area"),
        ('<box label="a" xtl="x" ytl="1" xbr="5" ybr="9"/>', "number"),
        ('<ellipse label="a" cx="5" cy="5" rx="0" ry="3"/>', "zero-area"),
        ('<mask label="a" rle="1,2" left="5" top="7" width="3" height="2"/>', "rle-counts"),
        ('<mask label="a" rle="1,x" left="5" top="7" width="3" height="2"/>', "rle-counts"),
        ('<mask label="a" rle="6" left="5" top="7" width="3" height="2"/>', "empty-mask"),
        ('<mask label="a" rle="6" left="5" top="7" width="999999" height="2"/>', "mask-size"),
        ('<hexagon label="a"/>', "shape-type"),
        ('<tag label="a"/>', "no-area-tag"),
    ],
)
def test_bad_shapes_are_named_and_the_others_stay(tmp_path, shape, code):
    dataset = read_cvat(annotate(tmp_path, shape, POLYGON), policy="skip")
    (issue,) = dataset.issues
    assert issue.code == code
    assert len(dataset.truth(0)) == (2 if code == "shape-clipped" else 1)


def test_another_size_and_a_missing_picture(tmp_path):
    assert codes(annotate(tmp_path, POLYGON, size=(60, 40))) == ["picture-size"]
    annotate(tmp_path, POLYGON)
    (tmp_path / "images/p.png").rename(tmp_path / "images/q.png")
    assert codes(tmp_path)[0] == "picture-missing"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images/q.png").rename(tmp_path / "elsewhere/p.png")
    (tmp_path / "annotations.xml").rename(tmp_path / "images/annotations.xml")
    assert len(read_dataset(tmp_path / "images", images=tmp_path / "elsewhere")) == 1


def test_pictures_that_nothing_lists_are_not_annotated(tmp_path):
    annotate(tmp_path, POLYGON)
    Image.new("L", (60, 40)).save(tmp_path / "images" / "q.png")
    dataset = read_cvat(tmp_path)
    assert [record.annotated for record in dataset.records] == [True, False]
    assert [issue.code for issue in dataset.issues] == ["unlabelled"]


def test_two_pictures_of_one_name_are_not_guessed(tmp_path):
    annotate(tmp_path, POLYGON)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/p.png").write_bytes((tmp_path / "images/p.png").read_bytes())
    with pytest.raises(DataError, match="two pictures may be meant"):
        read_cvat(tmp_path)


def video(root: Path, *tracks: str, names: str = "frame_{:06}.png", frames: int = 5) -> Path:
    (root / "images").mkdir(parents=True)
    for frame in range(frames):
        Image.new("L", (60, 40), frame).save(root / "images" / names.format(frame))
    meta = f"<meta><task><start_frame>0</start_frame><stop_frame>{frames - 1}</stop_frame></task></meta>"
    (root / "annotations.xml").write_text(f"<annotations>{meta}{''.join(tracks)}</annotations>")
    return root


def track(*frames: tuple[int, int]) -> str:
    shape = '<polygon frame="{}" outside="{}" keyframe="1" points="2,2;20,2;20,12"/>'
    return f'<track id="0" label="a">{"".join(shape.format(*frame) for frame in frames)}</track>'


@pytest.mark.parametrize("names", ["frame_{:06}.png", "{}.png", "shot-{}-x.png"])
def test_d19_an_object_that_leaves_and_comes_back(tmp_path, names):
    dataset = read_cvat(video(tmp_path, track((0, 0), (1, 1), (3, 0), (4, 0)), names=names))
    assert [len(dataset.truth(row)) for row in range(5)] == [1, 0, 0, 1, 1]
    assert dataset.issues == ()


def test_d19_frames_that_a_track_passes_over_are_a_defect(tmp_path):
    root = video(tmp_path, track((0, 0), (3, 0), (4, 1)))
    with pytest.raises(DataError, match=r"track\[1\]: the object has no shape on 2 frames .*frames 1 to 2"):
        read_cvat(root)
    assert [len(read_cvat(root, policy="skip").truth(row)) for row in range(5)] == [1, 0, 0, 1, 0]


def test_a_track_that_stops_early_is_noted(tmp_path):
    assert codes(video(tmp_path, track((0, 0), (1, 0)))) == ["track-end"]


def test_a_video_without_pictures_of_its_frames_says_how_to_make_them(tmp_path):
    root = video(tmp_path, track((0, 0), (1, 1)))
    for file in (root / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="save its frames as frame_000000"):
        read_cvat(root)


def test_what_is_lost_in_writing_is_counted(tmp_path, caplog):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    empty = Rle(Masks.from_dense(np.zeros((1, 40, 60), bool)).to_rle()[0])
    region = Polygons((np.array([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]]),))
    record = Record("p", tmp_path / "p.png", (40, 60), Objects((Annotation(0, empty),), (region,)))
    write_cvat(tmp_path / "out", Dataset(labels_of(["a"]), (record,), "fake", tmp_path))
    assert "1 objects without a pixel left out" in caplog.text
    assert "1 regions without truth left out" in caplog.text
    assert len(read_cvat(tmp_path / "out").truth(0)) == 0


def test_names_that_xml_cannot_hold_are_refused(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    box = Annotation(0, BoxOnly(), (1.0, 1.0, 5.0, 5.0))
    record = Record("p", tmp_path / "p.png", (40, 60), Objects((box,)))
    with pytest.raises(DataError, match="XML cannot hold"):
        write_cvat(tmp_path / "out", Dataset(labels_of(["a\x01"]), (record,), "fake", tmp_path, boxes_only=True))
    assert not (tmp_path / "out").exists()
    quoted = Dataset(labels_of(['<a & "b">']), (record,), "fake", tmp_path, boxes_only=True)
    write_cvat(tmp_path / "out", quoted)
    assert read_cvat(tmp_path / "out").labels.names == ('<a & "b">',)


def test_recognition_goes_by_content(tmp_path):
    (tmp_path / "annotations.xml").write_text("<annotation><object/></annotation>")
    assert not looks_like_cvat(tmp_path)
    (tmp_path / "annotations.xml").write_text("<annotations><meta/></annotations>")
    assert looks_like_cvat(tmp_path)
    assert not looks_like_cvat(tmp_path / "nothing")
    with pytest.raises(DataError, match="no picture is listed"):
        read_cvat(tmp_path)
