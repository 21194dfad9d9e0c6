"""Pictures of five bands go all the way: read, checked, learned from, predicted on and drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rich.console import Console

from everymask.backends.pytorch import build_predictor
from everymask.cli import run as everymask
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess
from everymask.data.formats.coco.instances import write_coco
from everymask.data.formats.table import read_dataset
from everymask.data.pictures.read import read_image
from everymask.data.records import Annotation, Objects, Record, Rle
from everymask.data.shapes import LABELS, ShapesConfig, draw_shapes
from everymask.errors import DataError
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model
from everymask.models.specs.regions import MaskRCNN
from everymask.settings.config import TrainConfig
from everymask.train.run import train
from everymask.viz.draw import displayable

TINY = MaskRCNN(
    encoder="mobilenetv3_small_100", fpn_channels=16, rpn_channels=16, box_fcs=(32,), box_samples=16,
    rpn_pre_nms=(50, 50), rpn_post_nms=(20, 20), anchor_sizes=(8, 16, 24, 32, 48), max_detections=10,
    mask_convs=(16,), mask_channels=16, score_threshold=0,
)  # fmt: skip


def bands(colours: np.ndarray) -> np.ndarray:
    """Twelve-bit values [H, W, 5] of a picture [H, W, 3]: the colours, their darkness, and an even band."""
    words = colours.astype(np.uint16) * 16
    dark = 4080 - words.max(axis=2)
    return np.dstack([words, dark, np.full_like(dark, 700)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six TIFFs of 64 x 64 with five bands of uint16, planar and interleaved, and their objects as COCO."""
    drawn, folder = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("data")
    records = []
    for index in range(6):
        sample = draw_shapes(ShapesConfig(pictures=6, size=(64, 64)), index)
        truth, stored = sample.truth, bands(sample.image)
        file, planar = drawn / f"{index}.tif", bool(index % 2)
        tifffile.imwrite(
            file,
            np.moveaxis(stored, 2, 0) if planar else stored,
            planarconfig="separate" if planar else "contig",
            photometric="minisblack",
            compression="zlib",
        )
        runs = [Rle(counts) for counts in truth.masks.to_rle()]
        objects = tuple(Annotation(int(kind), shape) for kind, shape in zip(truth.class_ids, runs, strict=True))
        records.append(Record(str(index), file, (64, 64), Objects(objects), "train" if index < 4 else "val"))
    write_coco(folder, Dataset(LABELS, tuple(records), "shapes", drawn))
    return folder


def test_five_bands_from_disk_to_drawing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = sorted((data / "images" / "val").glob("*.tif"))[0]
    sample = read_dataset(data).split("val")[0]
    expected = bands(draw_shapes(ShapesConfig(pictures=6, size=(64, 64)), 4).image)
    np.testing.assert_array_equal(sample.image, expected)

    assert everymask(["check", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pixels"] == {"5 x uint16": 6}

    config = TrainConfig(data=str(data), out=str(tmp_path / "run"), model=TINY, epochs=1, batch=2, size=64)
    trained = train(replace(config, device="cpu"), console=Console(quiet=True))
    assert trained.steps == 2
    _, card = load_model(trained.folder / "best.safetensors")
    assert card.spec.channels == card.preprocess.channels == 5
    assert card.preprocess.scale == 4095
    images = [item.image / 4095 for item in read_dataset(data).split("train")]
    np.testing.assert_allclose(card.preprocess.mean, np.mean(images, axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(card.preprocess.std[:4], np.std(images, axis=(0, 1, 2))[:4], atol=1e-5)

    request = [str(picture), "--out", str(tmp_path / "found"), "--min-score", "1"]
    assert everymask(["predict", str(trained.folder), *request]) == 0
    (overlay,) = (tmp_path / "found" / "overlays").iterdir()
    np.testing.assert_array_equal(read_image(overlay), displayable(sample.image[..., :3]))


def test_a31_another_number_of_bands_is_refused_by_name(data: Path, tmp_path: Path) -> None:
    predictor = build_predictor(build(TINY, 3), Card(TINY, LABELS, Preprocess()), "cpu")
    picture = sorted((data / "images" / "val").glob("*.tif"))[0]
    with pytest.raises(DataError, match="takes pictures with 3 channels, but this one has 5"):
        predictor.predict(picture)
