"""Label Studio: its run-lengths, every kind of region, annotators, names of pictures, JSON-min."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.label_studio.files import looks_like_label_studio, read_label_studio, write_label_studio
from everymask.data.formats.label_studio.rle import brush_from_mask, mask_from_brush
from everymask.data.formats.table import find_formats, read_dataset
from everymask.data.records import Annotation, Objects, Polygons, Record, Rle
from everymask.errors import DataError

SIZE = (40, 60)
POINTS = [[10.0, 10.0], [50.0, 10.0], [50.0, 60.0]]
TRIANGLE = [[6.0, 4.0], [30.0, 4.0], [30.0, 24.0]]


def region(kind: str, label: str | None = "a", number: str = "r1", **value) -> dict:
    labels = {f"{kind}labels": [label]} if label is not None else {}
    sizes = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    return {"id": number, "type": f"{kind}labels", "from_name": "x", "to_name": "image", **sizes,
            "value": {**value, **labels}}  # fmt: skip


def polygon(label: str = "a", points=POINTS) -> dict:
    return region("polygon", label, points=points, closed=True)


def annotation(*results: dict, **more) -> dict:
    return {"id": 1, "was_cancelled": False, "result": list(results), **more}


def task(*annotations: dict, image: str = "/data/upload/1/0a1b2c3d-p.png", **more) -> dict:
    return {"id": 1, "data": {"image": image}, "annotations": list(annotations), "predictions": [], **more}


def project(root: Path, *tasks: dict, picture: str = "p.png", name: str = "project-1-at-2024.json") -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    Image.new("L", SIZE[::-1]).save(root / "images" / picture)
    (root / name).write_text(json.dumps(list(tasks)))
    return root


def codes(root: Path) -> list[str]:
    return [issue.code for issue in read_label_studio(root, policy="skip").issues]


def reference_decode(data: list[int]) -> list[int]:
    """The format bit by bit, as its text says."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < count:
        kind = take(1)
        length = take(sizes[take(2)]) + 1
        out += [take(word)] * length if kind else [take(word) for _ in range(length)]
    return out


@pytest.mark.parametrize("seed", range(12))
def test_brushes_keep_every_pixel_and_are_what_the_format_says(seed):
    random = rng(seed, "brush")
    size = ((1, 1), (1, 9), (7, 3), (40, 60), (300, 257), (129, 140))[seed % 6]
    mask = random.random(size) < (0.02, 0.5, 0.98, 1.1, -1)[seed % 5]
    data = brush_from_mask(mask)
    values = np.array(reference_decode(data)).reshape(*size, 4)
    assert np.array_equal(values, np.repeat(np.where(mask, 255, 0)[..., None], 4, axis=2))
    assert np.array_equal(mask_from_brush(data, size), mask)


def test_runs_of_single_values_are_read(tmp_path):
    """As the tool writes soft edges: alpha from 0 to 255, each value once."""
    alpha = np.array([[0, 1, 128, 255]])
    values = np.stack([np.full((1, 4), 7), np.full((1, 4), 8), np.full((1, 4), 9), alpha], axis=2).ravel()
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "0" + "01" + f"{values.size - 1:04b}" + "".join(f"{value:08b}" for value in values)
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    data = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert mask_from_brush(data, (1, 4)).tolist() == [[False, True, True, True]]


def test_d17_run_lengths_of_another_size_are_a_defect(tmp_path):
    brush = region("brush", format="rle", rle=brush_from_mask(np.ones((40, 59), bool)))
    with pytest.raises(DataError, match=r"/0/annotations/0/result/0/value/rle.*4 x 40 x 60 = 9600 values"):
        read_label_studio(project(tmp_path, task(annotation(brush))))
    brush["value"]["rle"] = brush_from_mask(np.eye(40, 60, dtype=bool))[:30]
    assert codes(project(tmp_path, task(annotation(brush, polygon())))) == ["rle-counts"]
    brush["value"]["rle"] = [300]
    assert codes(project(tmp_path, task(annotation(brush)))) == ["rle-counts"]


def test_d18_percent_beyond_100(tmp_path):
    far = polygon(points=[[110, 10], [150, 10], [150, 60]])
    near = polygon(points=[[90, 10], [104, 10], [104, 60]])
    dataset = read_label_studio(project(tmp_path, task(annotation(far, near))), policy="skip")
    assert [issue.code for issue in dataset.issues] == ["shape-outside", "shape-clipped"]
    assert dataset.truth(0).boxes.tolist() == [[54, 4, 60, 17]]  # the edge passes the middle of the last column at 17.1


def test_every_kind_of_region(tmp_path):
    mask = np.zeros(SIZE, bool)
    mask[3:9, 40:51] = True
    results = [
        polygon("b"),
        region("brush", format="rle", rle=brush_from_mask(mask)),
        region("ellipse", x=50, y=50, radiusX=25, radiusY=20, rotation=90),
        region("rectangle", x=50, y=25, width=20, height=25, rotation=90),
    ]
    results = [{**result, "id": f"r{number}"} for number, result in enumerate(results)]
    dataset = read_label_studio(project(tmp_path, task(annotation(*results))))
    assert dataset.labels.names == ("a", "b")
    truth = dataset.truth(0)
    assert truth.class_ids.tolist() == [1, 0, 0, 0]
    assert truth.masks.to_rle()[:1] == Masks.from_polygons([[np.array(TRIANGLE)]], SIZE).to_rle()
    assert truth.masks.to_rle()[1:2] == Masks.from_dense(mask[None]).to_rle()
    assert np.isclose(truth.masks.areas()[2], math.pi * 15 * 8, rtol=0.01)
    assert truth.boxes[2].tolist() == [22, 5, 38, 35]
    # A rectangle turns about its upper left corner, (30, 10): 12 wide and 10 high, its right side then points down.
    assert truth.boxes[3].tolist() == [20, 10, 30, 22]
    assert dataset.issues == ()


def test_only_upright_rectangles_are_boxes(tmp_path):
    dataset = read_label_studio(
        project(tmp_path, task(annotation(region("rectangle", x=50, y=25, width=20, height=25))))
    )
    assert dataset.boxes_only
    assert dataset.truth(0).boxes.tolist() == [[30, 10, 42, 20]]
    write_label_studio(tmp_path / "out", dataset)
    assert read_label_studio(tmp_path / "out").truth(0).boxes.tolist() == [[30, 10, 42, 20]]


def test_labels_in_a_result_of_their_own(tmp_path):
    shape = region("polygon", None, points=POINTS) | {"type": "polygon"}
    label = {"id": "r1", "type": "labels", "value": {"points": POINTS, "labels": ["cell"]}}
    dataset = read_label_studio(project(tmp_path, task(annotation(shape, label))))
    assert dataset.labels.names == ("cell",)
    assert len(dataset.truth(0)) == 1
    assert codes(project(tmp_path, task(annotation(shape)))) == ["label-missing"]


def test_of_several_annotations_the_newest_that_counts_is_read(tmp_path):
    old, new = annotation(polygon("old"), updated_at="2024-01-02"), annotation(polygon("new"), updated_at="2024-03-01")
    cancelled = annotation(polygon("no"), was_cancelled=True, updated_at="2025-01-01")
    guess = [{"result": [polygon("guess")]}]
    root = project(tmp_path, task(new, old, cancelled, predictions=guess))
    dataset = read_label_studio(root)
    assert dataset.labels.names == ("new",)
    assert [(issue.code, issue.severity) for issue in dataset.issues] == [("several-annotations", "warning")]


def test_what_nobody_annotated_is_told_from_what_shows_nothing(tmp_path):
    project(tmp_path, picture="q.png")
    project(tmp_path, picture="r.png")
    cancelled = annotation(polygon(), was_cancelled=True)
    tasks = [
        task(annotation()),
        task(predictions=[{"result": [polygon()]}], image="q.png"),
        task(cancelled, image="r.png"),
    ]
    dataset = read_label_studio(project(tmp_path, *tasks))
    assert {record.image.name: record.annotated for record in dataset.records} == {
        "p.png": True, "q.png": False, "r.png": False,
    }  # fmt: skip
    assert [(issue.code, issue.count) for issue in dataset.issues] == [("not-annotated", 2)]
    assert dataset.labels.names == ("object",)


@pytest.mark.parametrize(
    "named",
    ["/data/upload/1/0a1b2c3d-p.png", "upload/1/p.png", "/data/local-files/?d=some%20where/p.png", "p.png",
     "s3://bucket/folder/p.png", "https://host:8080/x/p.png?signature=a%2Fb", "C:\\data\\p.png",
     "http://localhost:8080/data/local-files/?d=images\\p.png"],
)  # fmt: skip
def test_spellings_of_a_pictures_place(tmp_path, named):
    dataset = read_label_studio(project(tmp_path, task(annotation(polygon()), image=named)))
    assert dataset.records[0].image == tmp_path / "images" / "p.png"


def test_the_name_with_label_studios_digits_is_taken_first(tmp_path):
    project(tmp_path, picture="0a1b2c3d-p.png")
    dataset = read_label_studio(project(tmp_path, task(annotation(polygon()))))
    assert dataset.records[0].image.name == "0a1b2c3d-p.png"


def test_another_key_may_name_the_picture(tmp_path):
    found = task(annotation(polygon()))
    found["data"] = {"photo": "p.png", "text": "a cell", "split": "valid"}
    dataset = read_label_studio(project(tmp_path, found))
    assert dataset.splits() == {"val": 1}
    found["data"] = {"text": "a cell"}
    assert codes(project(tmp_path, found)) == ["file-name"]


def test_json_min(tmp_path):
    value = {**polygon("a")["value"], "original_width": 60, "original_height": 40}
    other = {**polygon("b")["value"], "original_width": 60, "original_height": 40}
    rows = [
        {"image": "/data/upload/p.png", "id": 1, "tag": [other], "annotator": 1, "updated_at": "2024-01-01"},
        {"image": "/data/upload/p.png", "id": 1, "tag": [value], "annotator": 2, "updated_at": "2024-05-01"},
    ]
    dataset = read_dataset(project(tmp_path, *rows))
    assert (dataset.format, dataset.labels.names) == ("label-studio", ("a",))
    assert dataset.truth(0).masks.to_rle() == Masks.from_polygons([[np.array(TRIANGLE)]], SIZE).to_rle()
    assert [issue.code for issue in dataset.issues] == ["several-annotations"]


def test_the_configuration_gives_the_order_of_classes(tmp_path):
    root = project(tmp_path, task(annotation(polygon("a"))))
    config = '<View><PolygonLabels name="x" toName="image"><Label value="z"/><Label value="Long" alias="a"/>'
    (root / "label_config.xml").write_text(f"{config}</PolygonLabels></View>")
    assert read_label_studio(root).labels.names == ("z", "a")


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (region("polygon", points=[[1, 2], [3, 4]]), "point-count"),
        (region("polygon", points=[[1, 2], [3, "4"], [5, 6]]), "point"),
        (region("polygon", points=None), "point"),
        (region("polygon", points=[]), "point-count"),
        (region("polygon", "", points=POINTS), "label-missing"),
        (region("ellipse", x=50, y=50, radiusX=0, radiusY=20), "zero-area"),
        (region("rectangle", x=50, y=50, width=-3, height=20), "zero-area"),
        (region("rectangle", x=50, y=50, width="3", height=20), "number"),
        (region("brush", format="png", rle=[]), "rle-counts"),
        (region("bitmask", imageDataURL="data:"), "shape-type"),
        (region("keypoint", x=1, y=1, width=1), "no-area-keypoint"),
        ({"id": "c", "type": "choices", "value": {"choices": ["good"]}}, "no-shape-choices"),
        ({**polygon(), "original_width": 61}, "picture-size"),
        ({**polygon(), "image_rotation": 90}, "image-rotation"),
        ("text", "result"),
    ],
)
def test_bad_regions_are_named_and_the_others_stay(tmp_path, bad, code):
    if isinstance(bad, dict):
        bad = {**bad, "id": "bad"}
    dataset = read_label_studio(project(tmp_path, task(annotation(bad, polygon()))), policy="skip")
    assert [issue.code for issue in dataset.issues] == [code]
    assert len(dataset.truth(0)) == (2 if code == "image-rotation" else 1)


@pytest.mark.parametrize("kind", ["choices{", "{0}", "{count", "%d", "}"])
def test_a_kind_of_any_spelling_is_named_and_counted(tmp_path, kind):
    other = {"id": "c", "type": kind, "value": {}}
    dataset = read_label_studio(project(tmp_path, task(annotation(other, other, polygon()))), policy="skip")
    (issue,) = dataset.issues
    assert kind in issue.message
    assert issue.count == 2


def test_coco_is_not_taken_for_label_studio_nor_the_reverse(tmp_path, shared):
    root = project(tmp_path, task(annotation(polygon("images"), polygon("categories"))))
    assert [found.name for found in find_formats(root)] == ["label-studio"]
    assert [found.name for found in find_formats(shared / "cases/ls_coco_win")] == ["coco"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/results.json").write_text('[{"image_id": 1, "segmentation": [], "score": 0.5}]')
    assert not looks_like_label_studio(tmp_path / "other")


def test_what_is_lost_in_writing_is_counted(tmp_path, caplog):
    Image.new("L", SIZE[::-1]).save(tmp_path / "ä p.png")
    rings = tuple(np.array([[x, 2.0], [x + 9.25, 3.0], [x + 4.0, 20.25]]) for x in (3.0, 20.0))
    objects = (
        Annotation(0, Polygons(rings)),
        Annotation(0, Rle(Masks.from_dense(np.ones((1, *SIZE), bool)).to_rle()[0]), crowd=True),
        Annotation(0, Rle(Masks.from_dense(np.zeros((1, *SIZE), bool)).to_rle()[0])),
    )
    made = Dataset(
        labels_of(["z", "a"]), (Record("ä p", tmp_path / "ä p.png", SIZE, Objects(objects)),), "fake", tmp_path
    )
    write_label_studio(tmp_path / "out", made)
    assert "1 crowd regions left out" in caplog.text
    assert "1 objects without a pixel left out" in caplog.text
    again = read_label_studio(tmp_path / "out")
    assert again.labels.names == ("z", "a")
    assert again.truth(0).masks.to_rle() == made.truth(0).masks.to_rle()[:1]
