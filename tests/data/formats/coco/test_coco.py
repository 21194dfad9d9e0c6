"""COCO: what is read equals what pycocotools makes of it; every defect is named with its JSON pointer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference

from everymask.data.formats.coco.instances import looks_like_coco, read_coco, write_coco
from everymask.data.records import BoxOnly, Polygons, Rle
from everymask.errors import DataError
from tests.data.coco_files import RUNS, SQUARE, Document, compressed, document, lay_out


def test_the_parts_arrive(tmp_path):
    found = read_coco(lay_out(tmp_path, document()))
    assert found.labels.names == ("dog", "cat")  # in the order of the category ids
    assert found.format == "coco"
    assert [record.id for record in found.records] == ["a", "b"]
    assert [record.size for record in found.records] == [(20, 30), (20, 30)]
    first, second, third = found.records[0].objects.annotations
    assert isinstance(first.shape, Polygons)
    assert isinstance(second.shape, Rle)
    assert [a.class_id for a in (first, second, third)] == [1, 1, 0]
    assert [a.id for a in (first, second, third)] == [1, 5, 6]
    assert [a.crowd for a in (first, second, third)] == [False, False, True]
    assert first.box == (2.0, 2.0, 12.0, 10.0)
    assert found.issues == ()
    assert found.splits() == {}
    sample = found[0]
    assert sample.truth is not None
    assert sample.truth.masks.areas().tolist() == [80, 3, 3]
    assert len(found[1].truth) == 0
    assert found[1].truth.masks is not None


def test_masks_equal_the_references_on_real_data(shared):
    """Polygons of photographs and run-lengths of microscopy pictures, bit for bit."""
    for name, json_name in (("coco128_seg", "instances.json"), ("nuclei", "val.json")):
        raw = json.loads((shared / name / json_name).read_bytes())
        found = read_coco(shared / name / json_name)
        files = {entry["id"]: entry["file_name"] for entry in raw["images"]}
        rows = {record.image.name: row for row, record in enumerate(found.records)}
        assert len(rows) == len(files)
        for image_id, file_name in list(files.items())[:30]:
            row = rows[file_name]
            height, width = found.records[row].size
            expected = []
            for entry in (entry for entry in raw["annotations"] if entry["image_id"] == image_id):
                outline = entry["segmentation"]
                parts = reference.frPyObjects(outline, height, width) if isinstance(outline, list) else [outline]
                expected.append(reference.merge(parts)["counts"])
            expected = [counts if isinstance(counts, bytes) else counts.encode() for counts in expected]
            assert found.truth(row).masks.to_rle() == expected


@pytest.mark.slow
def test_nuclei_has_the_known_numbers(shared):
    found = read_coco(shared / "nuclei")
    assert found.splits() == {"train": 464, "val": 100}
    assert sum(len(record.objects.annotations) for record in found.split("train").records) == 21_449
    assert sum(len(record.objects.annotations) for record in found.split("val").records) == 3_879
    assert found.issues == ()


def test_validation_nuclei_have_the_known_number(shared):
    found = read_coco(shared / "nuclei" / "val.json")
    assert (len(found), sum(len(record.objects.annotations) for record in found.records)) == (100, 3_879)
    assert found.issues == ()


@pytest.mark.parametrize(
    ("folder", "format_of_files"),
    [("coco_instances", "images/{}"), ("mmdet_coco", "{}"), ("coco_roboflow", "{}"), ("coco", "images/{}")],
)
def test_the_layouts_of_other_tools(shared, folder, format_of_files):
    """These fixtures hold one object with a box only among masks, which is left out."""
    root = shared / "format_fixtures" / "coco_dataset" / folder
    with pytest.raises(DataError, match=r"annotation id 1: an object of a has a box and no mask"):
        read_coco(root)
    found = read_coco(root, policy="skip")
    assert found.splits() == {"train": 1, "val": 1}
    assert [record.image.parent for record in found.records] == [
        root / format_of_files.format(split) for split in ("train", "val")
    ]
    assert [len(record.objects.annotations) for record in found.records] == [0, 2]
    assert found.labels.names == ("a", "b", "c")


def test_labelmes_own_conversion(shared):
    found = read_coco(shared / "labelme" / "instance_segmentation" / "data_dataset_coco")
    assert [record.id for record in found.records] == ["2011_000003", "2011_000025", "2011_000006"]
    assert sum(len(record.objects.annotations) for record in found.records) == 12


@pytest.mark.parametrize(
    ("json_name", "pictures"),
    [
        ("labels.json", "data"),
        ("train.json", "train"),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/train.json", "images"),
        ("val.json", "images/valid"),
        ("result.json", "images/any-name"),
    ],
)
def test_pictures_are_found_around_the_file(tmp_path, json_name, pictures):
    file = lay_out(tmp_path / "elsewhere", document(), json_name)
    (tmp_path / "set" / pictures).parent.mkdir(parents=True)
    (tmp_path / "elsewhere" / "images").rename(tmp_path / "set" / pictures)
    (tmp_path / "set" / json_name).parent.mkdir(parents=True, exist_ok=True)
    file.rename(tmp_path / "set" / json_name)
    assert {record.image for record in read_coco(tmp_path / "set" / json_name).records} == {
        tmp_path / "set" / pictures / name for name in ("a.png", "sub/b.png")
    }


def test_the_folder_that_holds_the_files_is_chosen_over_the_one_with_the_better_name(tmp_path):
    file = lay_out(tmp_path, document(), "train.json")
    (tmp_path / "train").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "train" / "a.png")
    assert read_coco(file).records[0].image == tmp_path / "images" / "a.png"


def test_images_names_the_folder_of_pictures(tmp_path):
    file = lay_out(tmp_path / "set", document())
    (tmp_path / "set" / "images").rename(tmp_path / "photos")
    with pytest.raises(DataError, match="2 defects"):
        read_coco(file)
    assert read_coco(file, images=tmp_path / "photos").records[0].image == tmp_path / "photos" / "a.png"


def test_several_files_become_splits_with_one_list_of_classes(tmp_path):
    other = document()
    other["images"] = [{"id": 1, "file_name": "sub/b.png", "width": 30, "height": 20}]
    other["categories"] = [{"id": 1, "name": "cow"}, {"id": 2, "name": "cat"}]
    other["annotations"] = [{**other["annotations"][0], "image_id": 1, "category_id": category} for category in (1, 2)]
    other["annotations"][1]["id"] = 2
    first = document()
    first["images"] = first["images"][:1]
    lay_out(tmp_path, first, "annotations/instances_train2017.json")
    lay_out(tmp_path, other, "annotations/instances_val2017.json")
    found = read_coco(tmp_path)
    assert found.labels.names == ("dog", "cat", "cow")
    assert found.splits() == {"train": 1, "val": 1}
    assert [a.class_id for a in found.split("val").records[0].objects.annotations] == [2, 1]
    assert [issue.code for issue in found.issues] == ["other-classes", "other-classes"]


def test_boxes_only_files(tmp_path):
    content = document()
    for entry in content["annotations"]:
        entry["segmentation"] = []
    found = read_coco(lay_out(tmp_path, content))
    assert found.boxes_only
    assert all(isinstance(a.shape, BoxOnly) for a in found.records[0].objects.annotations)
    assert found.truth(0).masks is None
    assert found.truth(0).boxes[0].tolist() == [2, 2, 12, 10]


def test_large_ids_are_fine(tmp_path):
    """C09: ids need not be small, contiguous or start at 1."""
    content = document()
    content["categories"] = [{"id": 0, "name": "cat"}, {"id": 2**40, "name": "dog"}]
    for entry in content["annotations"]:
        entry["category_id"] = 2**40
    content["annotations"][0]["id"] = 0
    found = read_coco(lay_out(tmp_path, content))
    assert [a.class_id for a in found.records[0].objects.annotations] == [1, 1, 1]


Change = Callable[[Document], object]


def setting(*path: str | int, to: Any) -> Change:
    """Replace the value at a path; the function is named after it."""

    def change(content: Document) -> None:
        target: Any = content
        for step in path[:-1]:
            target = target[step]
        if to is DELETED:
            del target[path[-1]]
        else:
            target[path[-1]] = to

    return change


DELETED = object()


def annotation(*path: str | int, to: Any, index: int = 0) -> Change:
    return setting("annotations", index, *path, to=to)


def rle(counts: Any, size: Any = (20, 30)) -> Change:
    return annotation("segmentation", to={"size": list(size), "counts": counts})


ERRORS = [
    ("C05 no images", setting("images", to=DELETED), "/images", "expected a list called images"),
    ("C05 no annotations", setting("annotations", to=None), "/annotations", "expected a list"),
    ("C05 no categories", setting("categories", to={}), "/categories", "expected a list"),
    ("C06 id text", annotation("id", to="7"), "/annotations/0/id", "whole number"),
    ("C06 id boolean", annotation("id", to=True), "/annotations/0/id", "whole number"),
    ("C06 id missing", annotation("id", to=DELETED), "/annotations/0/id", "whole number"),
    ("C06 bbox text", annotation("bbox", to="1,2,3,4"), "/annotations/0/bbox", "list of four"),
    ("C06 bbox of three", annotation("bbox", to=[1, 2, 3]), "/annotations/0/bbox", "list of four"),
    ("C06 bbox number text", annotation("bbox", 2, to="10"), "/annotations/0/bbox/2", "number of pixels"),
    ("C06 annotation no object", setting("annotations", 1, to=[]), "/annotations/1/id", "whole number"),
    ("C07 image id twice", setting("images", 1, "id", to=7), "/images/1/id", "stands in /images/0/id already"),
    ("C07 annotation id twice", annotation("id", to=1, index=2), "/annotations/2/id", "stands in /annotations/0/id"),
    ("C07 category id twice", setting("categories", 1, "id", to=3), "/categories/1/id", "in /categories/0/id already"),
    ("C08 unknown image", annotation("image_id", to=8), "/annotations/0/image_id", "id of a image that the file lists"),
    ("C08 unknown category", annotation("category_id", to=2), "/annotations/0/category_id", "id of a category"),
    ("C09 negative category", setting("categories", 0, "id", to=-3), "/categories/0/id", "whole number from 0"),
    ("C10 name twice", setting("categories", 1, "name", to="cat"), "/categories/1/name", "/categories/0/name al"),
    ("C10 name by case", setting("categories", 1, "name", to="CAT"), "/categories/1/name", "/categories/0/name al"),
    ("C10 name empty", setting("categories", 1, "name", to=" "), "/categories/1/name", "expected a name"),
    ("C11 no width", setting("images", 0, "width", to=DELETED), "/images/0/width", "whole number of pixels"),
    ("C11 height 0", setting("images", 0, "height", to=0), "/images/0/height", "whole number of pixels"),
    ("C11 negative", setting("images", 0, "height", to=-20), "/images/0/height", "whole number of pixels"),
    ("C11 float", setting("images", 0, "height", to=20.0), "/images/0/height", "whole number of pixels"),
    ("C11 other size", setting("images", 0, "height", to=21), "/images/0", "30 x 21 pixels, but the file has 30 x 20"),
    ("C12 absolute", setting("images", 0, "file_name", to="/etc/passwd"), "/images/0/file_name", "below the folder"),
    ("C12 parent", setting("images", 0, "file_name", to="../../c.png"), "/images/0/file_name", "below the folder"),
    ("C12 url", setting("images", 0, "file_name", to="http://x.org/c.png"), "/images/0/file_name", "below the folder"),
    ("C12 backslash", setting("images", 0, "file_name", to="sub\\a.png"), "/images/0/file_name", "no such file"),
    ("C12 drive", setting("images", 0, "file_name", to="C:/c.png"), "/images/0/file_name", "below the folder"),
    ("C12 NUL", setting("images", 0, "file_name", to="a\0.png"), "/images/0/file_name", "below the folder"),
    ("C12 no name", setting("images", 0, "file_name", to=DELETED), "/images/0/file_name", "name of the picture"),
    ("C12 no file", setting("images", 0, "file_name", to="c.png"), "/images/0/file_name", "no such file"),
    ("C14 outside", annotation("bbox", to=[2, 2, 10, 20]), "/annotations/0/bbox", "does not fit a picture of 30 x 20"),
    ("C14 negative x", annotation("bbox", to=[-2, 2, 10, 8]), "/annotations/0/bbox", "does not fit a picture"),
    ("C14 negative width", annotation("bbox", to=[2, 2, -1, 8]), "/annotations/0/bbox", "must not be negative"),
    ("C14 huge", annotation("bbox", to=[2, 2, 1e12, 8]), "/annotations/0/bbox/2", "number of pixels"),
    ("C15 two points", annotation("segmentation", to=[[1, 1, 5, 5]]), "/annotations/0/segmentation/0", "at least 3"),
    ("C15 odd", annotation("segmentation", to=[[*SQUARE, 3]]), "/annotations/0/segmentation/0", "found 9 numbers"),
    ("C15 no points", annotation("segmentation", to=[[]]), "/annotations/0/segmentation/0", "found 0 numbers"),
    ("C16 huge", annotation("segmentation", 0, 3, to=1e9), "/annotations/0/segmentation/0/3", "pixels of the picture"),
    ("C16 text", annotation("segmentation", 0, 3, to="2"), "/annotations/0/segmentation/0/3", "expected a number"),
    ("C16 null", annotation("segmentation", 0, 3, to=None), "/annotations/0/segmentation/0/3", "expected a number"),
    ("C17 outside", annotation("segmentation", to=[[90, 2, 95, 2, 95, 9]]), "/annotations/0/segmentation", "outside"),
    ("C17 too many points", annotation("segmentation", to=[[1, 2] * 100_001]), "/annotations/0/segmentation/0", "most"),
    ("C18 too deep", annotation("segmentation", to=[[SQUARE]]), "/annotations/0/segmentation/0", "nested too deep"),
    ("C18 too shallow", annotation("segmentation", to=SQUARE), "/annotations/0/segmentation", "list of polygons"),
    ("C19 rle size", rle(RUNS, (20, 31)), "/annotations/0/segmentation/size", r"height and width \[20, 30\]"),
    ("C20 rle size swapped", rle(RUNS, (30, 20)), "/annotations/0/segmentation/size", "height comes first"),
    ("C21 rle too short", rle([5, 3, 20]), "/annotations/0/segmentation/counts", "20 x 30 = 600 pixels, but got 28"),
    ("C22 rle too long", rle([5, 3, 2000]), "/annotations/0/segmentation/counts", "but got 2008"),
    ("C22 rle overflow", rle([2**62, 2**62, 2**62]), "/annotations/0/segmentation/counts", "pixels, but got"),
    ("C22 rle negative", rle([605, -5]), "/annotations/0/segmentation/counts", "negative"),
    ("C22 rle float", rle([5, 595.0]), "/annotations/0/segmentation/counts/1", "whole numbers"),
    ("C22 rle garbage", rle("~~~\u00fc"), "/annotations/0/segmentation/counts", "run-lengths|character"),
    ("C22 rle cut", rle(compressed([300, 300])[:-1]), "/annotations/0/segmentation/counts", "middle of a run|but got"),
    ("C23 rle size 0", rle([], (0, 0)), "/annotations/0/segmentation/size", "height and width"),
    ("C23 rle size huge", rle([10**10], (100_000, 100_000)), "/annotations/0/segmentation/size", "height and width"),
    ("C24 text for list", annotation("segmentation", to="abc"), "/annotations/0/segmentation", "list of polygons or"),
    ("C24 list for text", rle({"a": 1}), "/annotations/0/segmentation/counts", "a string or a list"),
    ("C24 escaped", rle(compressed([128, 16, 456]) + "\\\\"), "/annotations/0/segmentation/counts", "run"),
    ("C25 crowd polygon", annotation("iscrowd", to=1), "/annotations/0/iscrowd", "crowd must not be a polygon"),
    ("C25 missing", annotation("iscrowd", to=DELETED), "/annotations/0/iscrowd", "iscrowd is missing"),
    ("C25 crowd true", annotation("iscrowd", to=1.0), "/annotations/0/iscrowd", "0 or 1"),
    ("C25 crowd 2", annotation("iscrowd", to=2), "/annotations/0/iscrowd", "0 or 1"),
    ("nothing", lambda c: c["annotations"][0].update(bbox=[], segmentation=[]), "/annotations/0", "found neither"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "pointer", "message"), [pytest.param(*row[1:], id=row[0]) for row in ERRORS])
def test_defects_are_named_by_file_and_pointer(tmp_path, change, pointer, message):
    content = document()
    change(content)
    file = lay_out(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        read_coco(file)
    places = [f"{issue.file}:{issue.where}" for issue in caught.value.issues]
    assert any(place.endswith(f"{file}:{pointer}") for place in places), places


@pytest.mark.parametrize("change", [pytest.param(row[1], id=row[0]) for row in ERRORS if not row[0].startswith("C05")])
def test_defects_can_be_left_out_by_choice(tmp_path, change):
    content = document()
    change(content)
    found = read_coco(lay_out(tmp_path, content), policy="skip")
    assert any(issue.severity == "error" for issue in found.issues)
    for row in range(len(found)):
        found.truth(row)


OUTLINE = "/annotations/0/segmentation"
WARNINGS = [
    ("C13 no width", annotation("bbox", to=[2, 2, 0, 8]), "box-empty", "/annotations/0/bbox"),
    ("C14 clipped", annotation("bbox", to=[2, 2, 28.5, 8]), "box-clipped", "/annotations/0/bbox"),
    ("C17 leaves", annotation("segmentation", to=[[2, 2, 12, 2, 12, 30, 2, 30]]), "polygon-clipped", OUTLINE),
    ("C17 no area", annotation("segmentation", to=[[2, 2, 12, 2, 5, 2]]), "polygon-empty", OUTLINE),
    ("C26 polygon area", annotation("area", to=200), "area", "/annotations/0/area"),
    ("C26 rle area", annotation("area", to=5, index=1), "area", "/annotations/1/area"),
    ("C06 area list", annotation("area", to=[80]), "area", "/annotations/0/area"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "pointer"), [pytest.param(*row[1:], id=row[0]) for row in WARNINGS])
def test_oddities_are_counted(tmp_path, change, code, pointer):
    content = document()
    change(content)
    found = read_coco(lay_out(tmp_path, content))
    assert (code, pointer, "warning") in [(issue.code, issue.where, issue.severity) for issue in found.issues]
    assert len(found.records[0].objects.annotations) == 3


@pytest.mark.parametrize(("area", "codes"), [(112, []), (160, []), (60, ["area"])])
def test_c26_overlapping_rings_may_have_the_area_of_the_mask_or_of_the_rings(tmp_path, area, codes):
    content = document()
    rings = [[2, 2, 12, 2, 12, 10, 2, 10], [6, 2, 16, 2, 16, 10, 6, 10]]
    content["annotations"][0].update(segmentation=rings, bbox=[2, 2, 14, 8], area=area)
    assert [issue.code for issue in read_coco(lay_out(tmp_path, content)).issues] == codes


@pytest.mark.parametrize("box", [[18, 10, 28, 19], [10, 5, 15, 12]], ids=["C14 outside", "C14 inside"])
def test_c14_a_box_given_by_its_corners_is_recognised(tmp_path, box):
    x1, y1, x2, y2 = box
    content = document()
    content["annotations"][0].update(bbox=box, segmentation=[[x1, y1, x2, y1, x2, y2, x1, y2]], area=DELETED and None)
    with pytest.raises(DataError, match="look like x1, y1, x2, y2"):
        read_coco(lay_out(tmp_path, content))


def test_c11_a_turned_photograph_is_explained(tmp_path):
    file = lay_out(tmp_path, document())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "images" / "a.png", exif=exif)
    with pytest.raises(DataError, match=r"30 x 20 pixels, but the file has 20 x 30(.|\n)*EXIF orientation is 6"):
        read_coco(file)


def test_c28_a_picture_in_two_splits(tmp_path):
    lay_out(tmp_path, document(), "train.json")
    lay_out(tmp_path, document(), "val.json")
    with pytest.raises(DataError, match="the picture is in the splits train and val") as caught:
        read_coco(tmp_path)
    assert caught.value.total == 2


def test_c28_a_picture_listed_twice(tmp_path):
    content = document()
    content["images"][1]["file_name"] = "a.png"
    with pytest.raises(DataError, match=r"a.png: the picture is listed twice"):
        read_coco(lay_out(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("not json", "not JSON|truncated", id="C01 not JSON"),
        pytest.param('{"images": [', "ends in the middle", id="C01 truncated"),
        pytest.param('{"images": [1,]}', "line 1, byte", id="C01 trailing comma"),
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="C01 BOM"),
        pytest.param('{"images": [], "annotations": []}'.encode("utf-16"), "UTF-16", id="C01 UTF-16"),
        pytest.param("[" * 70 + "]" * 70, "nested too deep", id="C02 depth"),
        pytest.param("[" * 100_000 + "]" * 100_000, "nested too deep", id="C02 recursion"),
        pytest.param("[]", "expected an object with images", id="C05 list"),
        pytest.param("", "empty", id="C01 empty"),
    ],
)
def test_files_that_are_no_json_object(tmp_path, text, message):
    file = lay_out(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_coco(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("spelling", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_c03_numbers_that_are_none(tmp_path, spelling):
    content = document()
    content["annotations"][1]["bbox"][2] = 424242
    content["annotations"][0]["segmentation"][0][3] = 424242
    with pytest.raises(DataError) as caught:
        read_coco(lay_out(tmp_path, json.dumps(content).replace("424242", spelling)))
    assert {issue.where for issue in caught.value.issues} == {
        "/annotations/1/bbox/2",
        "/annotations/0/segmentation/0/3",
    }
    assert {issue.value for issue in caught.value.issues} == {spelling}


def test_c04_repeated_keys(tmp_path):
    text = json.dumps(document()).replace('"id": 5', '"id": 5, "id": 6')
    with pytest.raises(DataError, match=r"/annotations/1.*more than once.*'id'"):
        read_coco(lay_out(tmp_path, text))


def test_all_defects_are_collected(tmp_path):
    content = document()
    for index in range(3):
        content["annotations"][index]["bbox"] = [0, 0, 99, 99]
    content["images"][1]["width"] = 31
    with pytest.raises(DataError) as caught:
        read_coco(lay_out(tmp_path, content))
    assert caught.value.total == 4


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a COCO file or a folder with some"):
        read_coco(tmp_path)
    with pytest.raises(DataError, match="expected a COCO file"):
        read_coco(tmp_path / "nowhere.json")


def test_other_json_files_are_not_taken_for_coco(tmp_path):
    (tmp_path / "a.json").write_text('{"shapes": [], "imagePath": "a.png"}')
    (tmp_path / "b.json").write_text('{"images": 3}')
    (tmp_path / "c.json").write_text("")
    assert not looks_like_coco(tmp_path)
    assert not looks_like_coco(tmp_path / "a.json")
    lay_out(tmp_path, document())
    assert looks_like_coco(tmp_path)
    assert looks_like_coco(tmp_path / "instances.json")


@pytest.mark.parametrize("name", ["out", "out/all.json"])
def test_written_and_read_again_nothing_has_changed(tmp_path, name):
    first = read_coco(lay_out(tmp_path / "in", document()))
    write_coco(tmp_path / name, first)
    again = read_coco(tmp_path / name, images=tmp_path / "in" / "images" if name.endswith("json") else None)
    assert again.labels == first.labels
    for one, other in zip(first.records, again.records, strict=True):
        assert (one.id, one.size, one.split) == (other.id, other.size, other.split)
        for before, after in zip(one.objects.annotations, other.objects.annotations, strict=True):
            for name in ("class_id", "box", "crowd", "id"):
                assert getattr(before, name) == getattr(after, name)
            if isinstance(before.shape, Polygons):
                assert all(np.array_equal(a, b) for a, b in zip(before.shape.rings, after.shape.rings, strict=True))
            else:
                assert before.shape == after.shape
    write_coco(tmp_path / "again", again)
    write_coco(tmp_path / "once more", read_coco(tmp_path / "again"))
    texts = [(tmp_path / folder / "annotations" / "instances.json").read_text() for folder in ("again", "once more")]
    assert texts[0] == texts[1]


def test_what_is_written_is_what_pycocotools_reads(tmp_path):
    from pycocotools.coco import COCO

    first = read_coco(lay_out(tmp_path / "in", document()))
    write_coco(tmp_path / "out", first)
    theirs = COCO(str(tmp_path / "out" / "annotations" / "instances.json"))
    entries = theirs.loadAnns(theirs.getAnnIds(imgIds=[1]))
    masks = first.truth(0).masks
    found = [theirs.annToRLE(entry)["counts"] for entry in entries]
    assert [counts if isinstance(counts, bytes) else counts.encode() for counts in found] == masks.to_rle()
    assert [entry["area"] for entry in entries] == masks.areas().tolist()
