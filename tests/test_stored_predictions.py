"""Predictions that lie in files are judged as the model that made them is, and as COCO's own code judges them."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from everymask.cli import run
from everymask.core.labels import Labels, labels_of
from everymask.core.randomness import rng
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import write_coco
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, DataError
from everymask.evaluate import compare, evaluate
from everymask.infer.result import Result
from everymask.infer.stored import are_predictions, read_predictions
from everymask.metrics.instances import InstanceMetric
from everymask.results.writing_instances import InstanceFolder
from everymask.results.writing_semantic import SemanticFolder
from tests.grey_model import grey_model, write_grey

NAMES = ("ground", "road", "sky")
COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=2, val=6, size=64)
    return read_dataset(folder)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("grey")
    write_grey(folder, [rng(index, "m").integers(3, size=(12, 9)).repeat(3, 0) for index in range(5)], NAMES)
    return read_dataset(folder)


def guessed(truth: InstanceSet, row: int) -> InstanceSet:
    """About what a fair model would say."""
    draw = rng(row, "guess")
    masks = truth.masks
    assert masks is not None
    moved = masks.cut((2, 0, masks.size[1], masks.size[0]))
    shifted = type(masks).from_dense(np.stack([np.pad(moved.to_dense(i), ((0, 0), (0, 2))) for i in range(len(truth))]))
    scores = draw.random(len(truth)).astype(np.float32)
    return InstanceSet(shifted.boxes().astype(np.float32), truth.class_ids, scores, shifted)


def direct(dataset: Dataset, most: int = 100) -> InstanceMetric:
    metric = InstanceMetric(dataset.labels, max_detections=most)
    for row in range(len(dataset)):
        sample = dataset[row]
        assert isinstance(sample.truth, InstanceSet)
        metric.update(guessed(sample.truth, row), sample.truth, sample)
    return metric


def predicted(folder: Path, dataset: Dataset, labels: Labels | None = None) -> Path:
    """What `predict` would have written."""
    own = labels or dataset.labels
    order = np.array([own.names.index(name) for name in dataset.labels.names])
    with InstanceFolder(folder, own, inputs=[dataset.root]) as output:
        for row in range(len(dataset)):
            sample = dataset[row]
            assert isinstance(sample.truth, InstanceSet)
            found = guessed(sample.truth, row)
            output.add(sample, replace(found, class_ids=order[found.class_ids]))
    return folder


def test_own_folders_give_the_numbers_of_the_model(shapes: Dataset, tmp_path: Path) -> None:
    expected = direct(shapes).compute()
    assert 0.1 < expected.headline < 0.9
    other = labels_of([*reversed(shapes.labels.names), "moon"])
    for folder in (predicted(tmp_path / "a", shapes), predicted(tmp_path / "b", shapes, other)):
        for source in (folder, folder / "predictions.json"):
            report = evaluate(read_predictions(source, shapes), shapes)
            assert report.numbers() == pytest.approx(expected.numbers(), abs=1e-6)
            assert report.scores.interval == pytest.approx(expected.interval, nan_ok=True)
            by_picture = [(row.id, row.score) for row in report.scores.by_picture()]
            assert by_picture == [(row.id, row.score) for row in expected.by_picture()]


def test_results_as_a_list_go_by_the_ids_of_the_data_set(shapes: Dataset, tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", shapes)
    coco = read_dataset(tmp_path / "coco")
    documents = [json.loads(file.read_text()) for file in sorted((tmp_path / "coco/annotations").glob("*.json"))]
    assert {row["id"] for row in documents[0]["images"]} & {row["id"] for row in documents[1]["images"]}
    val = coco.split("val")
    rows = {record.image.name: row for row, record in enumerate(val.records)}
    entries = []
    for image in documents[1]["images"]:
        sample = val[rows[image["file_name"]]]
        assert isinstance(sample.truth, InstanceSet)
        found = guessed(sample.truth, rows[image["file_name"]])
        entries += Result(sample, found, val.labels).to_coco(image["id"])
    (tmp_path / "results.json").write_text(json.dumps(entries))
    report = evaluate(read_predictions(tmp_path / "results.json", val), val)
    assert report.numbers() == pytest.approx(direct(val).compute().numbers(), abs=1e-6)
    with pytest.raises(DataError, match=r"stands for another picture .*\n.*--split val"):
        read_predictions(tmp_path / "results.json", coco)


def test_without_a_coco_file_results_go_by_the_pictures_ids(shapes: Dataset, tmp_path: Path) -> None:
    write_dataset(tmp_path / "labelme", shapes, "labelme")
    dataset = read_dataset(tmp_path / "labelme")
    entries = []
    for row in range(len(dataset)):
        sample = dataset[row]
        assert isinstance(sample.truth, InstanceSet)
        entries += Result(sample, guessed(sample.truth, row), dataset.labels).to_coco()
    (tmp_path / "results.json").write_text(json.dumps(entries))
    report = evaluate(read_predictions(tmp_path / "results.json", dataset), dataset)
    assert report.numbers() == pytest.approx(direct(dataset).compute().numbers(), abs=1e-6)


def official(truth: Path, results: Path, kind: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        found = COCOeval(annotated, annotated.loadRes(str(results)), kind)
        found.params.imgIds = sorted(annotated.getImgIds())
        found.evaluate()
        found.accumulate()
        found.summarize()
    return [float(value) for value in found.stats]


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_the_official_examples_have_the_official_numbers(shared: Path, tmp_path: Path, kind: str) -> None:
    truth = shared / "coco_eval/instances_val2014_100.json"
    results = shared / f"coco_eval/instances_val2014_fake{kind}100_results.json"
    document = json.loads(truth.read_text())
    folder = tmp_path / "val2014"
    folder.mkdir()
    for image in document["images"]:
        Image.new("L", (image["width"], image["height"])).save(folder / image["file_name"])
    # Areas that contradict their masks are ignored with a warning; here all are the masks' own.
    sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    for entry in document["annotations"]:
        parts = coco_mask.frPyObjects(entry["segmentation"], *sizes[entry["image_id"]])
        entry["area"] = int(coco_mask.area(coco_mask.merge(parts) if isinstance(parts, list) else parts))
    truth = tmp_path / "instances_val2014.json"
    truth.write_text(json.dumps(document))
    dataset = read_dataset(truth, policy="skip")
    assert len(dataset) == 100
    stored = read_predictions(results, dataset)
    scores = evaluate(stored, dataset).scores
    numbers = scores.mask if kind == "segm" else scores.box  # type: ignore[attr-defined]
    ours = [getattr(numbers, name) for name in COCO_NUMBERS]
    assert ours == pytest.approx(official(truth, results, kind), abs=1e-6)


def test_folders_of_label_maps_give_the_numbers_of_the_model(maps: Dataset, tmp_path: Path) -> None:
    model = grey_model(labels_of(["ground", "sky", "road"]))
    expected = evaluate(model, maps).numbers()
    assert 0 < expected["mIoU"] < 0.9
    with SemanticFolder(tmp_path / "own", model.labels, inputs=[maps.root]) as folder:
        for result in model.answers(maps):
            folder.add(result.sample, result.semantic)
    plain = tmp_path / "plain"
    plain.mkdir()
    for record in maps.records:
        ids = np.asarray(Image.open(next((tmp_path / "own/maps").rglob(f"{record.id}.png"))))
        Image.fromarray(np.array([0, 2, 1], np.uint8)[ids]).save(plain / f"{record.id}.png")
    for source in (tmp_path / "own", plain):
        assert are_predictions(source)
        stored = read_predictions(source, maps)
        assert evaluate(stored, maps).numbers() == pytest.approx(expected)
        assert compare(stored, model, maps).difference == 0


def test_python_takes_paths(shapes: Dataset, tmp_path: Path) -> None:
    folder = predicted(tmp_path / "out", shapes)
    expected = direct(shapes).compute().headline
    assert evaluate(folder, shapes.root).headline == pytest.approx(expected, abs=1e-6)
    assert compare(str(folder), folder / "predictions.json", shapes.root).difference == 0
    with pytest.raises(ConfigError, match="load it first"):
        evaluate(tmp_path / "nothing", shapes)


def test_maps_of_object_numbers_are_objects_of_the_one_class(shapes: Dataset, tmp_path: Path) -> None:
    one = replace(
        shapes,
        labels=labels_of(["thing"]),
        records=tuple(
            replace(
                r, truth=replace(r.objects, annotations=tuple(replace(a, class_id=0) for a in r.objects.annotations))
            )
            for r in shapes.records
        ),
    )
    for row, record in enumerate(one.records):
        truth = one.truth(row)
        assert isinstance(truth, InstanceSet)
        Image.fromarray(truth.to_ids().astype(np.uint16)).save(tmp_path / f"{record.image.stem}.png")
    assert evaluate(read_predictions(tmp_path, one), one).headline > 0.7
    with pytest.raises(DataError, match="do not say which of the 3 classes"):
        read_predictions(tmp_path, shapes)


def test_bad_predictions_are_named(shapes: Dataset, maps: Dataset, tmp_path: Path) -> None:
    shapes = shapes.split("val")
    record = shapes.records[0]
    entry = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 1, 5, 5]}
    table = {
        "score": ({**entry, "score": "high"}, "/0/score: expected a number"),
        "no score": ({k: v for k, v in entry.items() if k != "score"}, "/0/score: expected a number"),
        "class": ({**entry, "category_id": 9}, "/0/category_id: expected the id of a category"),
        "box": ({**entry, "bbox": [1, 2, 3]}, "/0/bbox: expected four numbers"),
        "size": ({**entry, "segmentation": {"size": [3, 3], "counts": "9"}}, "/0/segmentation/size: expected"),
        "runs": ({**entry, "segmentation": {"size": list(record.size), "counts": "~"}}, "/0/segmentation: expected"),
        "other": ({**entry, "image_id": 70}, "none of its 1 objects is of a picture"),
        "text": ("x", "/0: expected an object with an image_id"),
    }
    file = tmp_path / "results.json"
    for broken, message in table.values():
        file.write_text(json.dumps([broken]))
        with pytest.raises(DataError, match=message):
            evaluate(read_predictions(file, shapes), shapes)
    for text, message in (("7", "expected an object or a list"), ('{"images": []}', "expected COCO results")):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_predictions(file, shapes)
    with pytest.raises(DataError, match="does not exist"):
        read_predictions(tmp_path / "nothing.json", shapes)
    folder = tmp_path / "maps"
    folder.mkdir()
    with pytest.raises(DataError, match="there is no label map in it"):
        read_predictions(folder, maps)
    name = maps.records[0].id
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / f"{name}.png")
    stored = read_predictions(folder, maps)
    with pytest.raises(DataError, match="expected a map of 9 x 36 pixels"):
        evaluate(stored, maps)
    with pytest.raises(DataError, match=r"no prediction for the picture .* 1 other\n.*--split val"):
        evaluate(stored, maps.subset([1]))
    with pytest.raises(ConfigError, match="calibration needs the probability"):
        evaluate(stored, maps, calibration=True)
    with pytest.raises(ConfigError, match="at least 1"):
        stored.with_detections(0)


def test_the_commands_take_predictions(shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = predicted(tmp_path / "out", shapes)
    whole = direct(shapes).compute().headline
    assert run(["evaluate", str(folder), str(shapes.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mask"]["AP"] == pytest.approx(whole, abs=1e-6)
    assert run(["evaluate", str(folder), str(shapes.root), "--split", "val"]) == 0
    capsys.readouterr()
    assert run(["compare", str(folder), str(folder / "predictions.json"), str(shapes.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] == 0
    assert run(["evaluate", str(folder), str(shapes.root), "--tta-flip", "both"]) == 2
    assert "cannot be made anew" in capsys.readouterr().err
