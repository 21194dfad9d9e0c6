"""Panoptic data through all verbs, as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import everymask
from everymask.cli import run
from everymask.core.segmentation import PanopticMap
from everymask.data.formats.table import read_dataset
from everymask.data.panoptic import read_numbers
from everymask.data.scenery import write_scenes
from everymask.data.shapes import write_shapes
from everymask.infer.result import Result


def call(*arguments: object) -> int:
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert call(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_check_counts_segments_and_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "data", train=3, val=1, size=64)
    found = answer(capsys, "check", tmp_path / "data")
    assert (found["task"], found["pictures"], found["no_truth"]) == ("panoptic", 4, 0)
    assert found["classes"]["sky"] == {"train": 3, "val": 1}
    assert sum(row["train"] for row in found["shares"].values()) == pytest.approx(1)
    assert call("check", tmp_path / "data", "--report", tmp_path / "page.html") == 0
    shown = capsys.readouterr().out
    assert "panoptic maps" in shown and "Segments by class" in shown and "Pixels by class" in shown
    assert "panoptic: things one by one" in (tmp_path / "page.html").read_text("utf-8")


def test_objects_are_converted_by_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "data", train=3, val=1, size=64)
    assert call("convert", tmp_path / "data", "--to", "coco-panoptic", "--out", tmp_path / "no") == 2
    assert "--things" in capsys.readouterr().err
    rule = ("--things", "square", "circle", "--stuff", "triangle", "background")
    found = answer(capsys, "convert", tmp_path / "data", "--to", "coco-panoptic", "--out", tmp_path / "out", *rule)
    assert found["loss"]["lossy"] == 0 and found["hidden"]["compared"] > 0 and not (tmp_path / "no").exists()
    made = read_dataset(tmp_path / "out")
    assert made.labels.names == ("square", "circle", "triangle", "background") and made.labels.things == {0, 1}
    assert all(made.panoptic_map(row).ids.all() for row in range(4))
    assert answer(capsys, "check", tmp_path / "data", *rule)["task"] == "panoptic"
    assert (
        call("convert", tmp_path / "data", "--to", "coco-panoptic", "--out", tmp_path / "no", "--things", "sqare") == 2
    )
    assert "did you mean square" in capsys.readouterr().err


def test_things_are_converted_to_objects_and_what_is_lost_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "data", train=2, val=1, size=64)
    convert = ("convert", tmp_path / "data", "--out")
    found = answer(capsys, *convert, tmp_path / "coco", "--to", "coco")
    whole = read_dataset(tmp_path / "data")
    segments = [one.class_id in whole.labels.things for row in range(3) for one in whole.panoptic_map(row).segments]
    assert (found["loss"]["compared"], found["loss"]["lossy"]) == (sum(segments), 0)
    assert sum(found["loss"]["others"].values()) == len(segments) - sum(segments) > 0
    assert read_dataset(tmp_path / "coco").kind == "objects"
    assert call(*convert, tmp_path / "no", "--to", "coco", "--strict") == 3 and not (tmp_path / "no").exists()
    again = {"compared": sum(segments), **answer(capsys, *convert, tmp_path / "maps", "--to", "image-masks")["loss"]}
    assert again["lossy"] == 0 and [what for what in again["others"] if "one region with others" in what]


@pytest.mark.slow
def test_all_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train, go on, evaluate, compare, predict, judge what was predicted, and JSON there and back."""
    data, out, first = tmp_path / "data", tmp_path / "masks", tmp_path / "runs" / "a"
    write_scenes(data, train=6, val=4, size=64)
    train = ("train", data, "--weights", "none", "--batch", 3, "--model", "panoptic-fpn-small", "--device", "cpu")
    assert call(*train, "--epochs", 1, "--out", first) == 0
    assert call("train", data, "--resume", "--epochs", 2, "--out", first) == 0
    assert "PQ" in capsys.readouterr().out and (first / "report.html").stat().st_size > 10_000
    assert call(*train, "--epochs", 1, "--seed", 1, "--weights", first, "--out", tmp_path / "runs" / "b") == 0
    scores = answer(capsys, "evaluate", first, data, "--split", "val")
    assert scores["num_pictures"] == 4 and 0 <= scores["all"]["pq"] <= 1 and scores["stuff"]["num_classes"] == 3
    compared = answer(capsys, "compare", first, tmp_path / "runs" / "b", data, "--split", "val")
    assert compared["name"] == "PQ"
    found = answer(capsys, "predict", first, data / "images" / "val", "--out", out, "--min-score", 0.6)
    document = json.loads((out / "predictions.json").read_text("utf-8"))
    assert found["pictures"] == len(document["images"]) == len(document["annotations"]) == 4
    assert [entry["isthing"] for entry in document["categories"]] == [1, 1, 1, 0, 0, 0]
    with (out / "predictions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == found["segments"] == sum(len(entry["segments_info"]) for entry in document["annotations"])
    for entry in document["annotations"]:
        ids = read_numbers(out / "panoptic" / entry["file_name"])
        assert set(np.unique(ids).tolist()) - {0} == {one["id"] for one in entry["segments_info"]}
        assert all((ids == one["id"]).sum() == one["area"] for one in entry["segments_info"])
    again = answer(capsys, "evaluate", out, data, "--split", "val")
    assert again["num_pictures"] == 4 and again["stuff"] == scores["stuff"]
    picture = next((data / "images" / "val").iterdir())
    result = everymask.load(first).predict(picture)
    assert isinstance(result.panoptic, PanopticMap) and "sky" in repr(result)
    back = Result.from_json(json.loads(json.dumps(result.to_json())), result.sample.image)
    assert np.array_equal(back.panoptic.ids, result.panoptic.ids) and back.panoptic.segments == result.panoptic.segments
    assert result.draw(names=False).shape == (64, 64, 3)
    assert call("evaluate", first, data, "--split", "val", "--calibration") == 2
    assert "things and stuff" in capsys.readouterr().err
    things = ("--model", "mask-rcnn-small", "--encoder", "mobilenetv3_small_100", "--epochs", 1, "--batch", 3)
    things += ("--weights", "none", "--device", "cpu")
    assert call("train", data, "--task", "instance", *things, "--out", tmp_path / "things") == 0
    assert "3 classes" in capsys.readouterr().err
    classes = (
        "--weights",
        "none",
        "--batch",
        3,
        "--epochs",
        1,
        "--encoder",
        "mobilenetv3_small_100",
        "--device",
        "cpu",
    )
    assert call("train", data, "--model", "unet", *classes, "--out", tmp_path / "runs" / "c") == 0
    assert answer(capsys, "evaluate", tmp_path / "runs" / "c", data, "--split", "val")["mean_iou"] >= 0


@pytest.mark.slow
def test_a_training_on_objects_by_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "data", train=4, val=2, size=64)
    rule = ("--things", "square,circle", "--stuff", "triangle,background")
    small = ("--weights", "none", "--batch", 2, "--epochs", 1, "--model", "panoptic-fpn-small", "--device", "cpu")
    assert call("train", tmp_path / "data", *rule, *small, "--out", tmp_path / "run") == 0
    assert answer(capsys, "evaluate", tmp_path / "run", tmp_path / "data", "--split", "val")["num_pictures"] == 2
    assert call("train", tmp_path / "data", "--resume", "--epochs", 2, "--out", tmp_path / "run") == 0
    assert call("train", tmp_path / "data", "--model", "mask-rcnn-small", *rule, "--out", tmp_path / "no") == 2
    assert "the task is panoptic, but MaskRCNN finds objects" in capsys.readouterr().err
