"""`everymask predict --outline` and `everymask convert --outline`: boxes become masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.cli import run
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.records import BoxOnly
from everymask.data.shapes import write_shapes
from tests.commands.test_predict_prompted import model, photos

__all__ = ["model", "photos"]


def boxes_only(folder: Path, *, crowd: bool = False) -> Path:
    """A data set of boxes only."""
    write_shapes(folder / "masks", train=2, val=1, size=48)
    masked = read_dataset(folder / "masks")
    records = []
    for row, record in enumerate(masked.records):
        boxes = masked.objects(row).boxes.tolist()
        boxed = tuple(
            replace(each, shape=BoxOnly(), box=tuple(box), area=None, crowd=crowd and place == 0)
            for place, (each, box) in enumerate(zip(record.objects.annotations, boxes, strict=True))
        )
        records.append(replace(record, truth=replace(record.objects, annotations=boxed)))
    write_dataset(folder / "boxes", replace(masked, records=tuple(records), boxes_only=True), "coco")
    return folder / "boxes"


def call(*arguments: object) -> int:
    return run([str(argument) for argument in arguments])


def test_what_a_detector_finds_is_outlined(model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photos.parent / "out"
    options = ("--split-objects", "--outline", model, "--min-score", 0, "--json")
    assert call("predict", "otsu", photos, "--out", out, *options) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
    found = json.loads((out / "predictions.json").read_text("utf-8"))["annotations"]
    assert found and all(row["segmentation"]["counts"] for row in found)


def test_boxes_become_masks_in_another_format(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = boxes_only(tmp_path, crowd=True)
    assert call("convert", data, "--to", "coco", "--out", tmp_path / "out", "--outline", model, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    before, after = read_dataset(data), read_dataset(tmp_path / "out")
    assert said["loss"]["lossy"] == 0 and not after.boxes_only and after.splits() == before.splits()
    for row in range(len(after)):
        boxed, masked = before.objects(row), after.objects(row)
        assert masked.masks is not None and masked.masks.areas().min() > 0
        np.testing.assert_array_equal(masked.class_ids, boxed.class_ids)
        np.testing.assert_allclose(masked.boxes, boxed.boxes)
        assert masked.crowd is not None and masked.crowd[0]
        x1, y1, x2, y2 = boxed.boxes[0]
        assert masked.masks.areas()[0] == pytest.approx((x2 - x1) * (y2 - y1), rel=0.15)


def test_outlined_boxes_are_painted_too(model: Path, tmp_path: Path) -> None:
    data = boxes_only(tmp_path)
    options = ("--outline", model, "--to-semantic")
    assert call("convert", data, "--to", "voc-semantic", "--out", tmp_path / "maps", *options) == 0
    assert read_dataset(tmp_path / "maps").kind == "label maps"


def test_data_with_masks_need_no_outlines(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "masks", train=1, val=1, size=48)
    assert call("convert", tmp_path / "masks", "--to", "coco", "--out", tmp_path / "o", "--outline", model) == 2
    assert "leave out --outline" in capsys.readouterr().err and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("otsu", ("--outline", "{model}"), "leave out outline"),
        ("otsu", ("--split-objects", "--outline", "{model}", "--engine", "local"), "leave out everything"),
        ("otsu", ("--split-objects", "--outline", "mobile-sma"), "did you mean mobile-sam"),
        ("otsu", ("--split-objects", "--outline", "otsu"), "take one such as mobile-sam"),
        ("{model}", ("--outline", "{model}"), "finds nothing unasked"),
    ],
)
def test_models_that_cannot_work_together_are_refused(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str], source: str, options: tuple[str, ...], said: str
) -> None:
    filled = [str(word).format(model=model) for word in (source, photos, "--out", photos.parent / "out", *options)]
    assert call("predict", *filled) in (2, 5)
    assert said in capsys.readouterr().err
