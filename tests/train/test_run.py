"""A whole training on drawn shapes with the smallest detector: what lies in the run folder, and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from everymask.backends.devices import has_fast_bf16
from everymask.backends.pytorch import build_predictor
from everymask.core.processes.rank import Rank
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, NotAnnotated, Objects
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, DataError, WeightsError
from everymask.models.checkpoint import load_model, read_model
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from everymask.settings.config import TrainConfig
from everymask.train.folder.layout import open_folder
from everymask.train.folder.logs import read_log
from everymask.train.run import Run, train, train_as

TINY = {"encoder": "mobilenetv3_small_100", "fpn_channels": 16, "rpn_channels": 16, "box_fcs": (32,), "box_samples": 16}
TINY |= {"rpn_pre_nms": (50, 50), "rpn_post_nms": (20, 20), "anchor_sizes": (8, 16, 24, 32, 48), "max_detections": 10}
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, train=6, val=2, size=64)
    return folder


def settings(shapes: Path, out: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {"data": str(shapes), "out": str(out), "epochs": 2, "batch": 2, "size": 64}
    values |= {"model": MaskRCNN(**TINY, mask_convs=(16,), mask_channels=16), "device": "cpu", "lr": 0.01}
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(shapes, tmp_path_factory.mktemp("runs") / "a"), console=QUIET)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_model(folder / "best.safetensors")[0]


def test_a_run_folder_is_everything(run: Run) -> None:
    files = {path.name for path in run.folder.iterdir() if not path.name.startswith(".")}
    assert files >= {
        "config.json",
        "origin.json",
        "splits.json",
        "log.jsonl",
        "best.safetensors",
        "report.html",
        "state",
    }
    assert run.reason == "finished"
    assert run.steps == 6
    assert run.report is not None
    assert run.report.pictures == 2
    kinds = [entry["kind"] for entry in read_log(run.folder / "log.jsonl")]
    assert kinds.count("validation") == 2
    assert (run.folder / "report.html").read_text().startswith("<!doctype html>")


def test_the_model_predicts_and_knows_what_it_is(run: Run, shapes: Path) -> None:
    module, card = load_model(run.folder / "best.safetensors")
    assert card.labels.names == ("square", "circle", "triangle")
    assert set(card.metrics) >= {"mask AP", "mask AP50", "box AP"}
    assert card.preprocess.mean != (0.485, 0.456, 0.406)
    sample = read_dataset(shapes).split("val")[0]
    result = build_predictor(module, card, "cpu").predict(sample)
    assert result.sample.size == (64, 64)


def test_the_stored_settings_are_complete(run: Run) -> None:
    stored = json.loads((run.folder / "config.json").read_text())
    assert stored["weight_decay"] == 1e-4
    assert stored["precision"] == ("bf16" if has_fast_bf16(torch.device("cpu")) else "fp32")
    assert stored["epochs"] == 2


def test_same_seed_same_weights_whatever_prepares_the_pictures(run: Run, shapes: Path, tmp_path: Path) -> None:
    again = train(settings(shapes, tmp_path / "b", workers=1), console=QUIET)
    first, second = weights(run.folder), weights(again.folder)
    assert all(torch.equal(first[name], second[name]) for name in first)


def interrupt_second_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send Ctrl-C to this process while it does the second step from now on."""
    calls = []
    loss = RCNN.loss

    def stop(self: RCNN, *arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RCNN, "loss", stop)


def test_an_interrupted_run_goes_on_to_the_same_weights(
    run: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K01: Ctrl-C leaves a model and a state."""
    interrupt_second_step(monkeypatch)
    config = settings(shapes, tmp_path / "c")
    stopped = train(config, console=QUIET)
    assert (stopped.reason, stopped.signal, stopped.steps) == ("interrupted", signal.SIGINT, 2)
    assert (tmp_path / "c" / "best.safetensors").exists()
    assert (tmp_path / "c" / "report.html").exists()
    resumed = train(replace(config, resume=True), console=QUIET)
    assert (resumed.reason, resumed.steps) == ("finished", 6)
    first, second = weights(run.folder), weights(resumed.folder)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_finished_run_can_be_trained_further(run: Run, shapes: Path, tmp_path: Path) -> None:
    config = settings(shapes, tmp_path / "r", schedule="constant", warmup_steps=1)
    train(config, console=QUIET)
    longer = train(replace(config, resume=True, epochs=3), console=QUIET)
    assert (longer.reason, longer.steps) == ("finished", 9)
    notes = [entry["text"] for entry in read_log(longer.folder / "log.jsonl") if entry["kind"] == "note"]
    assert "3 epochs instead of 2: the learning rate follows the new end" in notes
    again = train(settings(shapes, tmp_path / "r", resume=True, epochs=None, lr=None), console=QUIET)
    assert again.steps == 9, "the new end is remembered"
    at_once = train(replace(config, out=str(tmp_path / "s"), epochs=3), console=QUIET)
    state = sorted((longer.folder / "state").iterdir())[-1], sorted((at_once.folder / "state").iterdir())[-1]
    first, second = (load_file(folder / "tensors.safetensors") for folder in state)
    assert all(torch.equal(first[name], second[name]) for name in first), "as if it had been so long from the start"


def test_a_changed_data_set_is_not_continued_with(run: Run, shapes: Path) -> None:
    """Fault F29."""
    dataset = read_dataset(shapes)
    first = dataset.records[0]
    grown = replace(first, truth=Objects(first.objects.annotations * 9))
    with pytest.raises(DataError, match=r"1 truth changed \(1 in train\)(.|\n)*3 objects were annotated, and 27 are"):
        train(
            settings(shapes, run.folder, resume=True),
            dataset=replace(dataset, records=(grown, *dataset.records[1:])),
            console=QUIET,
        )


def test_fine_tuning_keeps_what_fits(run: Run, shapes: Path, tmp_path: Path) -> None:
    dataset = read_dataset(shapes)
    labels = replace(dataset.labels, names=("circle", "star", "square"), colours=())
    tuned = train(
        settings(shapes, tmp_path / "d", weights=str(run.folder), layers="heads", epochs=1, lr=1e-6),
        dataset=replace(dataset, labels=labels),
        console=QUIET,
    )
    notes = " ".join(entry["text"] for entry in read_log(tuned.folder / "log.jsonl") if entry["kind"] == "note")
    assert "classes kept: circle, square; new classes: star" in notes
    before, after = weights(run.folder), weights(tuned.folder)
    assert torch.equal(before["backbone.body.conv_stem.weight"], after["backbone.body.conv_stem.weight"])
    scores = "roi_heads.box_predictor.cls_score.weight"
    assert torch.allclose(before[scores][2], after[scores][1], atol=1e-3), "circle moved with its row"


def test_weights_bring_their_network(run: Run, shapes: Path, tmp_path: Path) -> None:
    config = settings(shapes, tmp_path / "e", weights=str(run.folder), model=MaskRCNN(), epochs=1)
    assert train(config, console=QUIET).config.model.encoder == "mobilenetv3_small_100"


def test_a_drawn_split_is_written_down(shapes: Path, tmp_path: Path) -> None:
    dataset = read_dataset(shapes)
    loose = replace(dataset, records=tuple(replace(record, split=None) for record in dataset.records))
    train(settings(shapes, tmp_path / "f", epochs=1, val_fraction=0.25), dataset=loose, console=QUIET)
    splits = json.loads((tmp_path / "f" / "splits.json").read_text())
    assert {name: len(ids) for name, ids in splits.items() if name != "checksum"} == {"train": 6, "val": 2}


def test_without_validation_the_last_weights_are_kept(shapes: Path, tmp_path: Path) -> None:
    dataset = read_dataset(shapes).split("train")
    outcome = train(settings(shapes, tmp_path / "g", epochs=1, val_fraction=0.0), dataset=dataset, console=QUIET)
    assert outcome.report is None
    assert load_model(tmp_path / "g" / "best.safetensors")[1].metrics == {}


@pytest.mark.slow
def test_without_validation_a_run_that_went_on_keeps_its_last_weights(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(shapes).split("train")
    interrupt_second_step(monkeypatch)
    config = settings(shapes, tmp_path / "l", epochs=1, val_fraction=0.0)
    train(config, dataset=dataset, console=QUIET)
    stopped = weights(tmp_path / "l")
    train(replace(config, resume=True), dataset=dataset, console=QUIET)
    resumed = weights(tmp_path / "l")
    assert any(not torch.equal(stopped[name], resumed[name]) for name in stopped)


def test_splits_that_leave_pictures_over_are_refused(shapes: Path, run: Run) -> None:
    dataset = read_dataset(shapes)
    loose = replace(dataset, records=(replace(dataset.records[0], split=None), *dataset.records[1:]))
    before = weights(run.folder)
    with pytest.raises(DataError, match=r"1 picture without a split"):
        train(settings(shapes, run.folder, overwrite=True), dataset=loose, console=QUIET)
    assert weights(run.folder).keys() == before.keys()


@pytest.mark.parametrize(("split", "part"), [("train", "training"), ("val", "validation")])
def test_pictures_without_objects_cannot_be_learned_from_or_judged_by(
    split: str, part: str, shapes: Path, tmp_path: Path
) -> None:
    """B11."""
    dataset = read_dataset(shapes)
    records = tuple(replace(record, truth=Objects()) if record.split == split else record for record in dataset.records)
    with pytest.raises(DataError, match=f"the {part} pictures show no objects"):
        train(settings(shapes, tmp_path / "m"), dataset=replace(dataset, records=records), console=QUIET)


def test_a_class_that_no_training_picture_shows_is_named(shapes: Path, tmp_path: Path) -> None:
    """B11."""
    dataset = read_dataset(shapes)
    labels = replace(dataset.labels, names=(*dataset.labels.names, "star"), colours=())
    ended = train(settings(shapes, tmp_path / "n", epochs=1), dataset=replace(dataset, labels=labels), console=QUIET)
    notes = [entry["text"] for entry in read_log(ended.folder / "log.jsonl") if entry["kind"] == "note"]
    assert "no training picture shows star" in notes


def boxes_only(dataset: Dataset) -> Dataset:
    records = []
    for row, record in enumerate(dataset.records):
        boxes = dataset.truth(row).boxes.tolist()
        objects = tuple(
            Annotation(item.class_id, BoxOnly(), tuple(box))
            for item, box in zip(record.objects.annotations, boxes, strict=True)
        )
        records.append(replace(record, truth=Objects(objects)))
    return replace(dataset, records=tuple(records), boxes_only=True)


@pytest.mark.slow
def test_boxes_train_a_detector_and_no_masks(shapes: Path, tmp_path: Path) -> None:
    dataset = boxes_only(read_dataset(shapes))
    with pytest.raises(DataError, match="faster-rcnn"):
        train(settings(shapes, tmp_path / "h"), dataset=dataset, console=QUIET)
    config = settings(shapes, tmp_path / "i", model=FasterRCNN(**TINY), epochs=1)
    outcome = train(config, dataset=dataset, console=QUIET)
    assert outcome.report is not None
    assert outcome.report.scores.mask is None


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        pytest.param({"device": "cuda:99"}, ConfigError, "cuda:99", id="F17 no such device"),
        pytest.param({"batch": 7}, ConfigError, "6 training pictures", id="F15 no step"),
        pytest.param({"weights": "nowhere"}, WeightsError, "nowhere", id="E01 no weights"),
        pytest.param({"weights": "maskrcnn-resnet50-fpn-coco"}, WeightsError, "bf2d0c1e.pth", id="weights to download"),
        pytest.param({"layers": "decoder"}, ConfigError, "decoder", id="no layer learns"),
        pytest.param({"data": "nowhere"}, DataError, "nowhere", id="F07 no data"),
    ],
)
def test_what_cannot_work_is_refused(
    shapes: Path,
    tmp_path: Path,
    changes: dict[str, object],
    error: type[Exception],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(error, match=named):
        train(settings(shapes, tmp_path / "j", **changes), console=QUIET)
    assert not (tmp_path / "j").exists(), "nothing remains"


def test_replacing_a_run_waits_until_the_new_one_can_begin(run: Run, shapes: Path) -> None:
    before = weights(run.folder)
    with pytest.raises(DataError, match="nowhere"):
        train(settings(shapes, run.folder, overwrite=True, data="nowhere"), console=QUIET)
    assert weights(run.folder).keys() == before.keys()


def test_a_process_that_does_not_lead_writes_nothing(shapes: Path, tmp_path: Path) -> None:
    with open_folder(tmp_path / "o", resume=False, overwrite=False) as folder:
        ended = train_as(Rank(1, 2), settings(shapes, folder, epochs=1), console=QUIET)
        assert [path.name for path in folder.iterdir()] == [".lock"], "that of the first"
    assert (ended.reason, ended.steps, ended.report) == ("finished", 3, None)


def test_a_split_without_training_pictures(shapes: Path, tmp_path: Path) -> None:
    """F16."""
    with pytest.raises(ConfigError, match="its splits are val"):
        train(settings(shapes, tmp_path / "k"), dataset=read_dataset(shapes).split("val"), console=QUIET)


@pytest.mark.slow
def test_pictures_that_are_not_annotated_are_left_out_and_counted_once(shapes: Path, tmp_path: Path, run: Run) -> None:
    dataset = read_dataset(shapes)
    loose = replace(dataset.records[0], id="loose", truth=NotAnnotated(), split=None)
    mixed = replace(dataset, records=(loose, *dataset.records))
    shown = io.StringIO()
    ended = train(settings(shapes, tmp_path / "n"), dataset=mixed, console=Console(file=shown, width=200))
    assert shown.getvalue().count("1 picture is not annotated, and left out") == 1
    assert json.loads((ended.folder / "splits.json").read_text()) == json.loads(
        (run.folder / "splits.json").read_text()
    )
    found = weights(ended.folder)
    for name, values in weights(run.folder).items():
        assert torch.equal(values, found[name]), name
