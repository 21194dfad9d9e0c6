"""labelme: parity with its own converters, every shape type, pictures and paths, bad input."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from everymask.data.feed.packed import PackedRecords
from everymask.data.formats.labelme.files import looks_like_labelme, read_labelme, write_labelme
from everymask.data.formats.voc.objects import read_voc
from everymask.data.formats.voc.semantic import read_voc_semantic
from everymask.data.records import Polygons
from everymask.errors import DataError

TRIANGLE = [[5.0, 5.0], [40.0, 8.5], [20.25, 30.0]]


def png(array) -> str:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def noise(seed=0, size=(40, 60)):
    return (
        np.random.default_rng(seed)
        .integers(0, 256, (size[0] // 10, size[1] // 10, 3), np.uint8)
        .repeat(10, 0)
        .repeat(10, 1)
    )


def shape(points=None, kind="polygon", label="cat", **more):
    return {
        "label": label,
        "points": TRIANGLE if points is None else points,
        "shape_type": kind,
        "group_id": None,
        **more,
    }


def annotate(root: Path, *shapes, name="a", picture=True, **more) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if picture:
        Image.fromarray(noise()).save(root / f"{name}.png")
    document = {"version": "5.0.1", "flags": {}, "shapes": list(shapes), "imagePath": f"{name}.png", "imageData": None,
                "imageHeight": 40, "imageWidth": 60, **more}  # fmt: skip
    file = root / f"{name}.json"
    file.write_text(json.dumps(document))
    return file


def issues_of(root, policy="skip"):
    return [issue.code for issue in read_labelme(root, policy=policy).issues]


@pytest.mark.parametrize("folder", ["instance_segmentation", "instance_segmentation/data_annotated"])
def test_masks_are_those_of_labelmes_coco_converter(shared, folder):
    root = shared / "labelme" / folder
    assert looks_like_labelme(root)
    dataset = read_labelme(root)
    document = json.loads((shared / "labelme/instance_segmentation/data_dataset_coco/annotations.json").read_text())
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    ids = [record.id for record in dataset.records]
    assert len(ids) == len(document["images"]) == 3
    for image in document["images"]:
        index = ids.index(Path(image["file_name"]).stem)
        truth = dataset.truth(index)
        found = zip((dataset.labels.names[k] for k in truth.class_ids), truth.masks.to_rle(), strict=True)
        expected = [
            (names[entry["category_id"]],
             coco_mask.merge(coco_mask.frPyObjects(entry["segmentation"], image["height"], image["width"]))["counts"])
            for entry in document["annotations"] if entry["image_id"] == image["id"]
        ]  # fmt: skip
        assert sorted(found) == sorted(expected)


def test_masks_agree_with_labelmes_voc_converter(shared):
    root = shared / "labelme" / "instance_segmentation"
    ours, theirs = read_labelme(root / "data_annotated"), read_voc(root / "data_dataset_voc")
    assert ours.labels.names == theirs.labels.names
    for index in range(3):
        first, second = ours.truth(index), theirs.truth(index)
        assert first.class_ids.tolist() == second.class_ids.tolist()
        # Pillow's polygons, which labelme paints, include the outline: small objects differ most
        small = second.masks.areas() < 1000
        assert (np.diag(first.masks.iou(second.masks)) > np.where(small, 0.93, 0.95)).all()


def test_ignored_shapes_are_left_out_and_noted(shared):
    dataset = read_labelme(shared / "labelme" / "instance_segmentation" / "data_annotated")
    assert [(issue.code, Path(issue.file).stem) for issue in dataset.issues] == [
        ("ignored-shapes", "2011_000003"), ("ignored-shapes", "2011_000006"),
    ]  # fmt: skip


def test_label_maps_have_no_truth_where_labelme_ignores(shared):
    """Against the class maps that labelme's own converter made of the same files."""
    ours = read_labelme(shared / "labelme/semantic_segmentation/data_annotated").semantic()
    theirs = read_voc_semantic(shared / "labelme/semantic_segmentation/data_dataset_voc")
    known = {record.id: row for row, record in enumerate(theirs.records)}
    shares = {}
    for row, record in enumerate(ours.records):
        first, second = ours.label_map(row).ids == 255, theirs.label_map(known[record.id]).ids == 255
        shares[record.id] = (first & second).sum() / max(1, (first | second).sum())
        assert first.any() == second.any()
    assert {name for name, share in shares.items() if share > 0.95} == {"2011_000003", "2011_000006"}, shares


def test_a_region_to_be_ignored_hides_larger_objects_and_not_smaller_ones(tmp_path):
    annotate(
        tmp_path / "in",
        shape([[0, 0], [30, 30]], "rectangle", label="wall"),
        shape([[2, 2], [14, 14]], "rectangle", label="__ignore__", group_id=1),
        shape([[20, 20], [26, 26]], "circle", label="__ignore__", group_id=1),
        shape([[4, 4], [8, 8]], "rectangle", label="cat"),
        shape([[40, 10], [50, 20]], "rectangle", label="_background_"),
    )
    write_labelme(tmp_path / "out", read_labelme(tmp_path / "in"))
    for folder in ("in", "out"):
        dataset = read_labelme(tmp_path / folder)
        assert dataset.labels.names == ("cat", "wall") and len(dataset.truth(0)) == 2
        painted = replace(dataset, records=PackedRecords(dataset.records)).semantic()
        assert [int(painted.label_map(0).ids[y, y]) for y in (1, 3, 5, 20, 29)] == [2, 255, 1, 255, 2], folder
        assert (painted.label_map(0).ids[10:20, 40:50] == 0).all()


@pytest.mark.parametrize(("centre", "rim"), [
    ((30.0, 20.0), (30.0, 29.0)), ((30.3, 19.8), (37.1, 12.25)), ((2.0, 38.7), (9.5, 38.7)),
    ((55.5, 20.5), (55.5, 36.0)), ((20.0, 20.0), (20.4, 20.0)),
])  # fmt: skip
def test_circles_are_those_that_labelme_paints(tmp_path, centre, rim):
    annotate(tmp_path, shape([centre, rim], "circle"))
    canvas = Image.new("L", (60, 40))
    radius = math.hypot(centre[0] - rim[0], centre[1] - rim[1])
    (x, y) = centre
    ImageDraw.Draw(canvas).ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
    assert np.array_equal(read_labelme(tmp_path).truth(0).masks.to_dense(0), np.asarray(canvas) > 0)


def test_rectangles_from_any_two_corners_and_turned_ones(tmp_path):
    annotate(
        tmp_path,
        shape([[30, 25], [10, 5]], "rectangle"),
        shape([[10, 5], [30, 5], [30, 25], [10, 25]], "rectangle"),
        shape([[20, 5], [30, 15], [20, 25], [10, 15]], "rotation"),
    )
    masks = read_labelme(tmp_path).truth(0).masks
    assert masks.windows[:2].tolist() == [[10, 5, 30, 25]] * 2
    assert masks.areas()[:2].tolist() == [400, 400]
    assert abs(int(masks.areas()[2]) - 200) < 25


def test_mask_shapes_are_pasted_where_their_points_say(tmp_path):
    crop = np.random.default_rng(3).random((6, 9)) < 0.5
    crop[0, 0] = crop[-1, -1] = True
    annotate(
        tmp_path,
        shape([[11, 7], [19, 12]], "mask", mask=png(crop.astype(np.uint8))),
        shape([[11.0, 7.0], [19.0, 12.0]], "mask", mask=png(crop)),
        shape([[-2, -1], [6, 4]], "mask", mask=png(crop.astype(np.uint8) * 255)),
    )
    dataset = read_labelme(tmp_path)
    masks = dataset.truth(0).masks
    for row in (0, 1):
        assert masks.windows[row].tolist() == [11, 7, 20, 13]
        assert np.array_equal(masks.to_dense(row)[7:13, 11:20], crop)
    assert np.array_equal(masks.to_dense(2)[:5, :7], crop[1:, 2:])
    assert [issue.code for issue in dataset.issues] == ["shape-clipped"]


def test_one_label_and_one_group_are_one_object(tmp_path):
    left, right = [[2, 2], [12, 2], [12, 12], [2, 12]], [[30, 20], [50, 20], [50, 30], [30, 30]]
    annotate(
        tmp_path,
        shape(left, group_id=1),
        shape(left, label="dog", group_id=1),
        shape(right),
        shape(right, group_id=1),
        shape([[40, 10], [40, 14]], "circle", label="dog", group_id=1),
    )
    dataset = read_labelme(tmp_path)
    truth = dataset.truth(0)
    assert [dataset.labels.names[k] for k in truth.class_ids] == ["cat", "dog", "cat"]
    assert truth.masks.windows.tolist() == [[2, 2, 50, 30], [2, 2, 45, 15], [30, 20, 50, 30]]
    assert truth.masks.areas().tolist() == [300, 100 + 61, 200]
    assert isinstance(dataset.records[0].objects.annotations[0].shape, Polygons)


def test_polygons_and_groups_stay_polygons_when_written(tmp_path):
    annotate(
        tmp_path / "in",
        shape(group_id=4),
        shape([[50, 2], [58, 2], [55, 20]], group_id=4),
        shape(flags={"crowd": True}),
    )
    write_labelme(tmp_path / "out", read_labelme(tmp_path / "in"))
    shapes = json.loads((tmp_path / "out" / "a.json").read_text())["shapes"]
    assert [found["points"] for found in shapes] == [TRIANGLE, [[50, 2], [58, 2], [55, 20]], TRIANGLE]
    assert [found["group_id"] for found in shapes] == [0, 0, None]
    dataset = read_labelme(tmp_path / "out")
    assert dataset.truth(0).crowd.tolist() == [False, True]


def test_labels_txt_fixes_the_classes(tmp_path):
    annotate(tmp_path, shape(label="zebra"), shape(label="ant"))
    assert read_labelme(tmp_path).labels.names == ("ant", "zebra")
    (tmp_path / "labels.txt").write_bytes(b"__ignore__\r\n_background_\r\nzebra\r\nunseen\r\nant\r\n")
    assert read_labelme(tmp_path).labels.names == ("zebra", "unseen", "ant")
    (tmp_path / "labels.txt").write_text("zebra\n")
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path)
    assert [(issue.code, issue.value) for issue in error.value.issues] == [("unknown-class", "ant")]


def test_a_list_in_the_folder_above_counts_only_if_it_is_labelmes(tmp_path):
    annotate(tmp_path / "in", shape(label="cat"))
    (tmp_path / "labels.txt").write_text("dog\n")
    assert read_labelme(tmp_path / "in").labels.names == ("cat",)
    (tmp_path / "labels.txt").write_text("__ignore__\ndog\ncat\n")
    assert read_labelme(tmp_path / "in").labels.names == ("dog", "cat")


def test_splits_ids_and_pictures_without_annotation(tmp_path):
    annotate(tmp_path / "train", shape())
    annotate(tmp_path / "valid", shape())
    annotate(tmp_path / "valid", name="b")
    Image.fromarray(noise(1)).save(tmp_path / "train" / "c.png")
    dataset = read_labelme(tmp_path)
    assert dataset.annotated().splits() == {"train": 1, "val": 2}
    assert [record.id for record in dataset.records] == ["train-a", "valid-a", "b", "c"]
    assert (dataset.records[3].annotated, dataset.records[3].split, dataset.truth(3)) == (False, "train", None)
    assert len(dataset.truth(2)) == 0
    assert [(issue.code, issue.value) for issue in dataset.issues] == [("unlabelled", "c.png")]


def test_one_file_is_a_data_set_too(tmp_path):
    file = annotate(tmp_path, shape())
    annotate(tmp_path, shape(), name="b")
    assert looks_like_labelme(file)
    assert [record.id for record in read_labelme(file).records] == ["a"]


def test_paths_of_windows_and_of_folders_beside(tmp_path):
    annotate(tmp_path / "pictures", name="x")
    (tmp_path / "pictures" / "x.json").unlink()
    annotate(tmp_path / "labels", shape(), picture=False, imagePath="..\\pictures\\x.png")
    assert read_labelme(tmp_path).records[0].image == tmp_path / "pictures" / "x.png"
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path / "labels")
    assert error.value.issues[0].code == "image-path"
    assert "folder that holds both" in error.value.issues[0].hint


def test_a_relative_root_is_the_same_root(tmp_path, monkeypatch):
    annotate(tmp_path / "labels", shape(), picture=False, imagePath="../x.png")
    Image.fromarray(noise()).save(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path / "labels")
    with pytest.raises(DataError):
        read_labelme(".")
    monkeypatch.chdir(tmp_path)
    assert len(read_labelme(".")) == 1


@pytest.mark.parametrize("path", ["C:\\data\\a.png", "/data/a.png", "../../elsewhere/a.png", "old/a.png"])
def test_a_picture_beside_the_file_stands_in_for_a_stale_path(tmp_path, path):
    annotate(tmp_path, shape(), imagePath=path)
    dataset = read_labelme(tmp_path)
    assert dataset.records[0].image == tmp_path / "a.png"
    assert [(issue.code, issue.count) for issue in dataset.issues] == [("path-elsewhere", 1)]


def test_an_embedded_picture_that_shows_the_same_is_fine(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "b.jpg")
    annotate(tmp_path, shape(), name="b", picture=False, imagePath="b.jpg", imageData=png(noise()))
    assert read_labelme(tmp_path).issues == ()


def test_an_embedded_picture_that_cannot_be_read_is_noted(tmp_path):
    annotate(tmp_path, shape(), imageData="!!!")
    assert issues_of(tmp_path, "strict") == ["embedded-unreadable"]


def test_labels_that_differ_only_in_case_are_noted(tmp_path):
    annotate(tmp_path, shape(label="Cat"), shape(label="cat"))
    assert issues_of(tmp_path, "strict") == ["similar-classes"]


def test_other_json_files_are_passed_over_and_noted(tmp_path):
    annotate(tmp_path, shape())
    (tmp_path / "notes.json").write_text('{"a": 1}')
    assert issues_of(tmp_path, "strict") == ["not-labelme"]


def test_an_exif_flag_is_applied_before_sizes_are_compared(tmp_path):
    annotate(tmp_path, shape(), picture=False, imagePath="a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(size=(60, 40))).save(tmp_path / "a.jpg", exif=exif)
    assert read_labelme(tmp_path).records[0].size == (40, 60)
    Image.fromarray(noise()).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path)
    assert error.value.issues[0].code == "picture-size"
    assert "EXIF" in error.value.issues[0].hint


HUGE = 10**399
BAD_SHAPES = [
    pytest.param(shape(kind=["polygon"]), "shape-type", "/shapes/1/shape_type", id="C06 list for a type"),
    pytest.param(shape(kind={"a": 1}), "shape-type", "/shapes/1/shape_type", id="C06 object for a type"),
    pytest.param(shape(kind=7), "shape-type", "/shapes/1/shape_type", id="C06 number for a type"),
    pytest.param(shape({"a": 1}), "point-count", "/shapes/1/points", id="C06 object for points"),
    pytest.param(shape(group_id=[1]), "group-id", "/shapes/1/group_id", id="C06 list for a group"),
    pytest.param(shape([[1, 2], [3, HUGE], [5, 1]]), "point", "/shapes/1/points/1", id="C16 400 digits"),
    pytest.param(shape([[1, HUGE], [3, 4]], "circle"), "point", "/shapes/1/points/0", id="C16 circle of 400 digits"),
    pytest.param(shape([[1, -1e300], [3, 4]], "mask", mask="x"), "point", "/shapes/1/points/0", id="C16 mask far away"),
    pytest.param(shape(kind="line", points=TRIANGLE[:2]), "shape-type", "/shapes/1/shape_type", id="D16 line"),
    pytest.param(shape(kind="linestrip"), "shape-type", "/shapes/1/shape_type", id="D16 line strip"),
    pytest.param(shape(kind="point", points=[[1, 1]]), "shape-type", "/shapes/1/shape_type", id="D16 point"),
    pytest.param(shape(TRIANGLE[:2]), "point-count", "/shapes/1/points", id="C15 two points"),
    pytest.param(shape([[1, 2], [3, 4], [5]]), "point", "/shapes/1/points/2", id="C15 odd"),
    pytest.param(shape([1, 2, 3, 4, 5, 6]), "point", "/shapes/1/points/0", id="C18 too shallow"),
    pytest.param(shape([TRIANGLE]), "point", "/shapes/1/points/0", id="C18 too deep"),
    pytest.param(shape([["1", 2], [3, 4], [5, 6]]), "point", "/shapes/1/points/0", id="C06 text"),
    pytest.param(shape([[True, 2], [3, 4], [5, 6]]), "point", "/shapes/1/points/0", id="C06 boolean"),
    pytest.param(shape("x"), "point-count", "/shapes/1/points", id="C06 points are a text"),
    pytest.param(shape([[0, 0], [1e9, 0], [1e9, 1e9]]), "shape-outside", "/shapes/1/points", id="C16 1e9"),
    pytest.param(shape([[90, 0], [99, 0], [99, 9]]), "shape-outside", "/shapes/1/points", id="C17 outside"),
    pytest.param(shape([[5, 5], [9, 9], [5, 5], [7, 7]]), "zero-area", "/shapes/1/points", id="C17 zero area"),
    pytest.param(shape([[1, 1], [2, 2]] * 50_001), "point-count", "/shapes/1/points", id="C17 100002 points"),
    pytest.param(shape([[5, 5], [5, 5]], "circle"), "zero-area", "/shapes/1/points", id="circle without radius"),
    pytest.param(shape([[5, 5], [5, 5e8]], "circle"), "shape-outside", "/shapes/1/points", id="C16 huge circle"),
    pytest.param(shape([[5, 5], [5, 9]], "rectangle"), "zero-area", "/shapes/1/points", id="C13 flat rectangle"),
    pytest.param(shape([[1, 1], [4, 4]], "mask", mask=png(np.ones((4, 5), np.uint8))), "mask-size", "/shapes/1/mask",
                 id="B01 mask size"),
    pytest.param(shape([[1, 1], [4, 4]], "mask", mask=png(np.zeros((4, 4), np.uint8))), "empty-mask", "/shapes/1/mask",
                 id="empty mask"),
    pytest.param(shape([[1, 1], [4, 4]], "mask", mask="%%%"), "mask", "/shapes/1/mask", id="mask not base64"),
    pytest.param(shape([[1, 1], [4, 4]], "mask", mask=png(np.ones((4, 4), np.uint8))[:40]), "mask", "/shapes/1/mask",
                 id="A09 mask truncated"),
    pytest.param(shape([[1, 1], [4, 4]], "mask"), "mask", "/shapes/1/mask", id="mask missing"),
    pytest.param(shape(group_id="1"), "group-id", "/shapes/1/group_id", id="C06 group is a text"),
    pytest.param(shape(label=" "), "label-missing", "/shapes/1", id="C10 empty label"),
    pytest.param(shape(label=7), "label-missing", "/shapes/1", id="C06 label is a number"),
    pytest.param([1, 2], "label-missing", "/shapes/1", id="C06 shape is a list"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "code", "where"), BAD_SHAPES)
def test_bad_shapes_are_listed_with_their_place_and_can_be_left_out(tmp_path, bad, code, where):
    file = annotate(tmp_path, shape(), bad)
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path)
    assert [(issue.code, issue.where, issue.file) for issue in error.value.issues] == [(code, where, str(file))]
    assert len(read_labelme(tmp_path, policy="skip").truth(0)) == 1


@pytest.mark.parametrize(("bad", "code", "where"), [case for case in BAD_SHAPES if case.values[1] != "label-missing"])
def test_bad_shapes_of_regions_to_ignore_are_noted_and_left_out(tmp_path, bad, code, where):
    annotate(tmp_path, shape(), bad | {"label": "__ignore__"})
    dataset = read_labelme(tmp_path)
    assert [(issue.code, issue.where, issue.severity) for issue in dataset.issues] == [
        (code, where, "warning"), ("ignored-shapes", "", "warning"),
    ]  # fmt: skip
    assert dataset.issues[0].message.endswith("; the region to ignore is left out")
    assert (len(dataset.truth(0)), dataset.records[0].objects.ignored) == (1, ())


BAD_FILES = [
    pytest.param({"shapes": {}}, "shapes", id="C06 shapes is no list"),
    pytest.param({"imagePath": None}, "image-path", id="C06 no imagePath"),
    pytest.param({"imagePath": "a\0.png"}, "image-path", id="C12 NUL"),
    pytest.param({"imagePath": "https://example.org/b.png"}, "image-path", id="C12 URL"),
    pytest.param({"imagePath": "/b.png"}, "image-path", id="C12 absolute"),
    pytest.param({"imagePath": "../b.png"}, "image-path", id="C12 parent folder"),
    pytest.param({"imagePath": "b.png"}, "picture-missing", id="A02 picture missing"),
    pytest.param({"imagePath": "b.png", "imageData": "!!!"}, "picture-missing", id="D15 embedded only, damaged"),
    pytest.param({"imagePath": "b.png", "imageData": [1]}, "picture-missing", id="D15 embedded only, no text"),
    pytest.param(
        {"imagePath": "b.png", "imageData": png(noise(size=(40, 70)))}, "picture-size", id="D15 embedded size"
    ),
    pytest.param({"imagePath": "x" * 300 + ".png"}, "picture-missing", id="A33 a name no disk has"),
    pytest.param({"imagePath": "a.json/b.png"}, "picture-missing", id="A33 through a file"),
    pytest.param({"imageData": png(noise(size=(40, 70)))}, "embedded-picture", id="D15 other size"),
    pytest.param({"imageData": png(255 - noise(2))}, "embedded-picture", id="D15 other content"),
    pytest.param({"imageHeight": 41}, "picture-size", id="C11 other size"),
    pytest.param({"imageHeight": 60, "imageWidth": 40}, "picture-size", id="C11 swapped"),
    pytest.param({"imageHeight": 0}, "picture-size", id="C11 zero"),
    pytest.param({"imageHeight": 40.0}, "picture-size", id="C11 float"),
]


@pytest.mark.parametrize(("change", "code"), BAD_FILES)
def test_bad_files_are_listed(tmp_path, change, code):
    file = annotate(tmp_path, shape(), **change)
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path)
    assert [(issue.code, issue.file) for issue in error.value.issues] == [(code, str(file))]


def test_pictures_that_are_only_embedded_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, seed in (("a", 0), ("b", 1)):
        annotate(tmp_path / "set", shape(), name=name, picture=False, imageData=png(noise(seed)))
    found = read_labelme(tmp_path / "set")
    assert [record.id for record in found.records] == ["a", "b"]
    assert np.array_equal(found[1].image, noise(1))
    assert [(issue.code, issue.count) for issue in found.issues] == [("embedded-used", 2)]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["a.json", "b.json"]


def test_where_there_is_no_place_to_unpack_it_says_how_to_export_it(tmp_path, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    annotate(tmp_path / "set", shape(), picture=False, imageData=png(noise()))
    with pytest.raises(DataError, match=r"no place to unpack it(?s:.*)labelme_export_json a\.json"):
        read_labelme(tmp_path / "set")


def test_broken_json_is_listed_with_the_rest(tmp_path):
    annotate(tmp_path, shape(kind="point"))
    (tmp_path / "b.json").write_bytes(b'{"shapes": [')
    with pytest.raises(DataError) as error:
        read_labelme(tmp_path)
    assert sorted(issue.code for issue in error.value.issues) == ["json-truncated", "shape-type"]


def test_what_reaches_out_by_little_is_cut_off(tmp_path):
    annotate(
        tmp_path, shape([[-0.5, -1], [20, -1], [20, 20], [-0.5, 20]]), shape([[50, 5], [70, 5], [70, 20], [50, 20]])
    )
    dataset = read_labelme(tmp_path)
    assert [(issue.code, issue.where) for issue in dataset.issues] == [("shape-clipped", "/shapes/1/points")]
    assert dataset.truth(0).masks.windows.tolist() == [[0, 0, 20, 20], [50, 5, 60, 20]]
