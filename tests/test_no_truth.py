"""What stands for no truth is said by the labels alone, and all who read, vary, learn from or judge label maps obey."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from everymask.core.labels import Labels, labels_of
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Placement, Preprocess, Resize
from everymask.data.feed.semantic_pipelines import SemanticPipeline
from everymask.data.formats.labelmaps.tables import table_text
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.pictures.read import read_label_map
from everymask.data.records import Objects
from everymask.errors import DataError
from everymask.evaluate import evaluate
from everymask.infer.decoding.semantic import decode_semantic
from everymask.infer.result import Result
from everymask.metrics.semantic import SemanticMetric
from everymask.models.base import collate
from everymask.models.semantic.network import SemanticModel, semantic_targets
from everymask.models.semantic.pixel_losses import IGNORED
from everymask.models.specs.semantic import UNet
from everymask.results.writing_semantic import SemanticFolder
from everymask.viz.semantic import draw_semantic
from tests.contracts.test_formats import make_fake
from tests.contracts.test_semantic_formats import LABELS
from tests.data.semantic_files import make_semantic, put
from tests.grey_model import grey_model, write_grey
from tests.metrics.samples import named

MANY = 300
VARIED = replace(Augment.none(), flip=0.5, rotate=0.5, scale=(0.4, 1.6), angle=30.0, elastic=0.5, elastic_sigma=3.0)
AS_IT_IS = Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3, resize=Resize(1, 9999, "none"))


def with_ignore(dataset: Dataset, ignore: int) -> Dataset:
    return replace(dataset, labels=replace(dataset.labels, ignore=ignore))


class Pixelwise(SemanticModel):
    """The least of networks: a linear layer for each pixel."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(UNet(), num_classes)
        self.layer = nn.Conv2d(3, num_classes, 1)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        return (self.layer(images),)


@pytest.mark.parametrize(("classes", "ignore"), [(0, 255), (3, 255), (255, 255), (256, 65_535), (MANY, 65_535)])
def test_unless_it_is_said_it_is_255_or_the_last_of_16_bits(classes: int, ignore: int) -> None:
    labels = labels_of(f"c{k}" for k in range(classes))
    assert labels.ignore == ignore
    assert Labels.from_json(labels.to_json()) == labels
    assert Labels.from_json({**labels.to_json(), "ignore": 255}).ignore == ignore, "as earlier versions wrote it"


@pytest.mark.parametrize(("classes", "ignore"), [(3, 0), (3, 2), (10, 7), (MANY, 255), (3, -2)])
def test_it_is_no_class(classes: int, ignore: int) -> None:
    with pytest.raises(DataError, match=f"but ignore is {ignore}"):
        Labels(tuple(f"c{k}" for k in range(classes)), ignore=ignore)


def test_what_the_labels_say_is_kept() -> None:
    labels = Labels(("a", "b", "c"), ignore=7)
    assert Labels.from_json(labels.to_json()).ignore == 7


@pytest.mark.parametrize("ignore", [3, 7, 254, 300])
def test_read_varied_and_learned_from_it_is_the_same_whatever_stands_for_no_truth(tmp_path: Path, ignore: int) -> None:
    usual = make_semantic(tmp_path, labels_of(["a", "b", "c"]))
    other = with_ignore(usual, ignore)
    for row in range(len(usual)):
        expected, found = usual.label_map(row).ids, other.label_map(row).ids
        assert (expected == 255).any() and found.dtype == np.min_scalar_type(ignore)
        np.testing.assert_array_equal(found, np.where(expected == 255, ignore, expected.astype(int)))
    targets, scores = [], []
    for dataset in (usual, other):
        pipeline = SemanticPipeline(packed(dataset), AS_IT_IS, VARIED, 3, (64, 64))
        batch = collate([pipeline(epoch, row) for epoch in range(4) for row in range(4)], 32)
        targets.append(semantic_targets(batch, 3, "multiclass"))
        metric = SemanticMetric(dataset.labels, void="wrong")
        for row in range(4):
            truth = dataset.label_map(row)
            nothing = replace(truth, ids=np.zeros_like(truth.ids))
            metric.update(nothing, truth, named(str(row), truth.size))
        scores.append(metric.compute().to_json())
    assert torch.equal(*targets) and (targets[0] == IGNORED).float().mean() > 0.1
    assert scores[0] == scores[1]


def test_what_is_filled_up_for_prediction_has_no_truth() -> None:
    sample = Sample(np.zeros((20, 40, 3), np.uint8), SemanticMap(np.ones((20, 40), np.uint8), ignore=7))
    found = prepare(sample, replace(AS_IT_IS, resize=Resize(32, 64, "matterport")))
    assert set(np.unique(found.truth.ids)) == {1, 7} and found.truth.ignore == 7


def test_targets_name_the_number_that_no_class_has() -> None:
    truth = SemanticMap(np.full((4, 4), 255), ignore=7)
    prepared = prepare(Sample(np.zeros((4, 4, 3), np.uint8), truth), AS_IT_IS)
    with pytest.raises(DataError, match=r"the label map has 255 .*\n.*and 7 where pixels are ignored"):
        semantic_targets(collate([prepared], 4), 3, "multiclass")


@pytest.mark.parametrize("name", LABELS)
def test_written_files_do_not_depend_on_it(tmp_path: Path, name: str) -> None:
    labels = labels_of(["sky", "drop", "water"]) if name == "image-masks" else LABELS[name]
    usual = make_semantic(tmp_path, labels, classes=min(19, len(labels)))
    written = []
    for ignore in (255, len(labels), 300):
        folder = tmp_path / str(ignore)
        write_dataset(folder, with_ignore(usual, ignore), name)
        written.append({f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()})
    assert len(written[0]) >= 8 and written[0] == written[1] == written[2]


@pytest.mark.parametrize("ignore", [9, 300])
def test_label_maps_painted_from_objects_hold_it(tmp_path: Path, ignore: int) -> None:
    objects = make_fake(tmp_path)
    crowded = replace(
        objects,
        records=tuple(
            replace(record, truth=Objects(tuple(replace(a, crowd=True) for a in record.objects.annotations)))
            for record in objects.records
        ),
    ).semantic()
    row = next(row for row, record in enumerate(crowded.records) if record.objects.annotations)
    expected, found = crowded.label_map(row).ids, with_ignore(crowded, ignore).label_map(row).ids
    assert (expected == 255).any()
    np.testing.assert_array_equal(found, np.where(expected == 255, ignore, expected.astype(int)))


def test_evaluated_predicted_and_written_it_is_what_the_model_says(tmp_path: Path) -> None:
    maps = [rng(index, "map").integers(3, size=(6, 8)).astype(np.uint8) for index in range(3)]
    for ids in maps:
        ids[:2, :3] = 255
    write_grey(tmp_path / "data", maps, ("a", "b", "c"))
    dataset = read_dataset(tmp_path / "data")
    reports = [
        evaluate(grey_model(replace(dataset.labels, ignore=mine)), with_ignore(dataset, theirs), void=void).to_json()
        for void in ("ignored", "wrong")
        for mine, theirs in ((255, 255), (7, 255), (255, 7), (300, 9))
    ]
    scores = [{k: v for k, v in report.items() if k != "seconds_per_picture"} for report in reports]
    assert scores[0] == scores[1] == scores[2] == scores[3] and scores[4] == scores[5] == scores[6] == scores[7]
    assert scores[0] != scores[4]
    labels = replace(dataset.labels, ignore=7)
    unsure = torch.full((3, 4, 5), -1.0)
    unsure[1, 2:] = 1.0
    place = Placement((4, 5), (4, 5))
    found = decode_semantic(unsure.numpy(), place, "multilabel", ignore=labels.ignore)
    assert found.ids.tolist() == [[7] * 5] * 2 + [[1] * 5] * 2
    image = np.full((4, 5, 3), 90, np.uint8)
    drawn = draw_semantic(image, found, labels, legend=False)
    assert (drawn[:2] == image[:2]).all() and (drawn[2:] != image[2:]).any(axis=2).all()
    result = Result(Sample(image, id="x"), found, labels)
    assert [(row.name, row.pixels) for row in result.areas()] == [("b", 10)]
    with SemanticFolder(tmp_path / "out", labels) as folder:
        folder.add(result.sample, found)
    np.testing.assert_array_equal(read_label_map(tmp_path / "out/maps/x.png"), found.ids)


def test_three_hundred_classes_go_all_the_way(tmp_path: Path) -> None:
    labels = labels_of(f"class {k:03}" for k in range(MANY))
    for number in range(3):
        ids = rng(number, "many").integers(MANY, size=(40, 50)).astype(np.uint16)
        ids.ravel()[:MANY] = np.arange(MANY)
        ids[-2:] = 65_535
        put(tmp_path / "data", f"p{number}", ids)
    (tmp_path / "data" / "classes.csv").write_text(table_text(labels))
    dataset = read_dataset(tmp_path / "data", decode=True)
    assert (dataset.format, dataset.labels.names, dataset.labels.ignore) == ("image-masks", labels.names, 65_535)
    stored = np.asarray(Image.open(tmp_path / "data/masks/p1.png"))
    truth = dataset.label_map(1)
    assert truth.ids.dtype == np.uint16
    np.testing.assert_array_equal(truth.ids, stored)

    pipeline = SemanticPipeline(packed(dataset), AS_IT_IS, VARIED, 0, (64, 64))
    network = Pixelwise(MANY)
    losses = network.loss(collate([pipeline(0, row) for row in range(3)], 32))
    assert torch.isfinite(losses["loss_segmentation"]) and 1 < losses["loss_segmentation"] < 1000
    target = semantic_targets(collate([pipeline(0, 0)], 32), MANY, "multiclass")
    assert target.max() > 255 and set(target.unique().tolist()) <= {IGNORED, *range(MANY)}

    metric = SemanticMetric(dataset.labels)
    metric.update(truth, truth, named("p1", truth.size))
    assert metric.compute().mean_iou == 1 and metric.compute().confusion.sum() == (stored < MANY).sum()
    logits = torch.nn.functional.one_hot(torch.from_numpy(truth.ids.astype(np.int64)).clamp(max=MANY), MANY + 1)
    planes = 2.0 * logits.permute(2, 0, 1)[:MANY].float() - 1
    decoded = decode_semantic(planes.numpy(), Placement((40, 50), (40, 50)), "multilabel", ignore=dataset.labels.ignore)
    np.testing.assert_array_equal(decoded.ids, stored)

    with SemanticFolder(tmp_path / "out", dataset.labels, maps="tif") as folder:
        folder.add(dataset[1], decoded)
    np.testing.assert_array_equal(read_label_map(tmp_path / "out/maps/p1.tif"), stored)
    write_dataset(tmp_path / "again", dataset, "image-masks")
    again = read_dataset(tmp_path / "again")
    np.testing.assert_array_equal(again.label_map(1).ids, stored)
    with pytest.raises(DataError, match="hold 255 classes, but there are 300"):
        write_dataset(tmp_path / "voc", with_first(dataset, "background"), "voc-semantic")


def with_first(dataset: Dataset, name: str) -> Dataset:
    return replace(dataset, labels=labels_of((name, *dataset.labels.names[1:])))


@pytest.mark.parametrize("classes", [254, 255])
def test_every_number_of_eight_bits_can_be_a_class(tmp_path: Path, classes: int) -> None:
    labels = labels_of(f"c{k}" for k in range(classes))
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ids[ids == 254] = classes - 1
    put(tmp_path, "a", ids)
    (tmp_path / "classes.csv").write_text(table_text(labels))
    found = read_dataset(tmp_path).label_map(0).ids
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)
