"""Results in the forms that people use."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.infer.result import Result

LABELS = Labels(("cell", "dust"))


def example(size: tuple[int, int] = (40, 50), *, scores: tuple[float, ...] = (0.3, 0.9, 0.9), **sample: Any) -> Result:
    """Three squares of side 10 on a diagonal, each overlapping the next by 5 x 5 pixels."""
    dense = np.zeros((3, *size), bool)
    for k in range(3):
        dense[k, 5 + 5 * k : 15 + 5 * k, 5 + 5 * k : 15 + 5 * k] = True
    masks = Masks.from_dense(dense)
    found = InstanceSet(masks.boxes(), np.array([0, 1, 0]), np.array(scores, np.float32), masks)
    return Result(Sample(np.full((*size, 3), 50, np.uint8), **{"id": "a", **sample}), found, LABELS, 0.25)


def test_instances_are_filtered_by_indexing() -> None:
    result = example()
    sure = replace(result, segmentation=result.instances[result.instances.scores > 0.5])
    assert [row.score for row in sure.table()] == [0.9, 0.9]
    assert len(result.instances) == 3


def test_another_kind_of_segmentation_is_named() -> None:
    result = Result(Sample(np.zeros((4, 4, 3), np.uint8)), SemanticMap(np.zeros((4, 4), int)), LABELS)
    with pytest.raises(ConfigError, match="SemanticMap"):
        _ = result.instances
    with pytest.raises(ConfigError, match="InstanceSet"):
        _ = example().semantic


def test_the_table_has_a_row_per_object() -> None:
    second = example().table()[1]
    assert (second.number, second.name, second.score, second.area) == (2, "dust", 0.9, 100)
    assert second.box == (10.0, 10.0, 20.0, 20.0)


def test_boxes_without_masks_have_the_area_of_the_box() -> None:
    found = InstanceSet(np.array([[1.5, 2, 4, 6]], np.float32), np.array([1]))
    result = Result(Sample(np.zeros((9, 9, 3), np.uint8), id="b"), found, LABELS)
    row = result.table()[0]
    assert (row.area, row.score) == (10, None)
    (entry,) = result.to_coco(7)
    assert entry == {"image_id": 7, "category_id": 2, "bbox": [1.5, 2.0, 2.5, 4.0], "area": 10, "score": 1.0}
    with pytest.raises(DataError, match="no masks"):
        result.to_ids()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_coco_results_are_read_back_by_pycocotools() -> None:
    result = example()
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 3, "height": 40, "width": 50}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "dust"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(result.to_coco(3))
    for row, annotation in enumerate(loaded.loadAnns(loaded.getAnnIds())):
        np.testing.assert_array_equal(loaded.annToMask(annotation), result.instances.masks.to_dense(row))
        assert np.float32(annotation["score"]) == result.instances.scores[row]
        assert annotation["bbox"] == coco_masks.toBbox(annotation["segmentation"]).tolist()
        assert annotation["category_id"] == result.instances.class_ids[row] + 1
    assert {entry["image_id"] for entry in result.to_coco()} == {"a"}


def test_the_surest_object_is_on_top_and_of_equals_the_first() -> None:
    ids = example().to_ids()
    assert ids.dtype == np.int32
    assert ids[6, 6] == 1
    assert ids[12, 12] == 2
    assert ids[17, 17] == 2
    assert ids[22, 22] == 3
    assert ids[0, 0] == 0
    np.testing.assert_array_equal(np.bincount(ids.ravel())[1:], [75, 100, 75])


def test_without_scores_the_first_object_is_on_top() -> None:
    result = example()
    ids = replace(result, segmentation=replace(result.instances, scores=None)).to_ids()
    np.testing.assert_array_equal(np.bincount(ids.ravel())[1:], [100, 75, 75])


def test_no_objects_give_empty_answers() -> None:
    result = Result(Sample(np.zeros((6, 7, 3), np.uint8)), InstanceSet.empty((6, 7), scored=True), LABELS)
    assert result.table() == []
    assert result.to_coco() == []
    assert not result.to_ids().any()
    assert result.to_ids().shape == (6, 7)
    assert "no objects" in repr(result)


def test_saving_writes_the_drawn_picture(tmp_path: Path) -> None:
    result = example()
    result.save(tmp_path / "new" / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), result.draw())
    result.save(tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    with pytest.raises(ConfigError, match="png"):
        result.save(tmp_path / "a.docx")


@pytest.mark.parametrize("channels", [1, 13])
def test_pictures_of_any_kind_can_be_drawn(channels: int) -> None:
    result = example()
    image = np.random.default_rng(0).integers(0, 60_000, (40, 50, channels)).astype(np.uint16)
    assert replace(result, sample=replace(result.sample, image=image)).draw().shape == (40, 50, 3)


def test_a_notebook_gets_a_picture_of_bounded_size() -> None:
    shown = Image.open(io.BytesIO(example((3000, 1500))._repr_png_()))
    assert (shown.format, shown.size) == ("PNG", (512, 1024))


def test_show_displays_in_the_cell_of_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    display = SimpleNamespace(display=shown.append, Image=lambda data: Image.open(io.BytesIO(data)))
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()), display=display)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    example().show()
    assert shown[0].size == (50, 40)


def test_show_opens_the_viewer_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, int]] = []
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(Image.Image, "show", lambda self, title: opened.append(self.size))
    example().show()
    assert opened == [(50, 40)]


def test_the_repr_is_one_short_line() -> None:
    assert repr(example()) == "<Result a: 2 cell, 1 dust, 0.25 s>"
    assert "\n" not in repr(example(id="evil\nname" * 50))
    assert len(repr(example(id="evil\nname" * 50))) < 120
