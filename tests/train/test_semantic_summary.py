"""The report of a run whose model gives label maps."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.evaluate import Report, evaluate
from everymask.infer.predictor import Predictor
from everymask.settings.config import TrainConfig
from everymask.train.folder.progress import Progress
from everymask.train.folder.summary import write_summary
from tests.grey_model import grey_model, write_grey

NAMES = ("ground", "road", "sky")


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("grey") / "data"
    maps = [rng(k, "map").integers(3, size=(4, 5)).repeat(8, 0).repeat(8, 1) for k in range(4)]
    maps[0][:2] = 255
    write_grey(folder, maps, NAMES)
    return read_dataset(folder)


@pytest.fixture(scope="module")
def model() -> Predictor:
    """One that takes half of the sky for road."""
    return grey_model(labels_of(NAMES), [0.0, 50.0, 200.0])


def written(folder: Path, val: Dataset, report: Report | None, predictor: Predictor | None) -> str:
    place = {"step": 4, "epoch": 1.0, "seconds": 60.0}
    step = {"kind": "step", **place, "loss": 1.0, "lr": 0.1, "images_per_second": 3.0, "memory_mb": 99}
    validation = {"kind": "validation", **place, "mIoU": 0.5, "pixel accuracy": 0.75}
    (folder / "log.jsonl").write_text(f"{json.dumps(step)}\n{json.dumps(validation)}\n", encoding="utf-8")
    config, progress = TrainConfig(data="data", out=str(folder)), Progress(step=7, seconds=90.0)
    progress.sums, progress.summed = {"loss": 6.0}, 3
    write_summary(folder, config, val, val, report, predictor, "done", progress, 1234.0)
    return (folder / "report.html").read_text("utf-8")


def test_it_shows_classes_confusion_curves_and_pictures(tmp_path: Path, val: Dataset, model: Predictor) -> None:
    report = evaluate(model, val)
    text = written(tmp_path, val, report, model)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings[:6] == [
        "Result", "Typical pictures", "Worst pictures", "Training", "Classes", "Confusion between classes",
    ]  # fmt: skip
    low, high = report.scores.interval
    assert f"4 validation pictures; 95 % interval {low:.3f} to {high:.3f}" in text
    sky = text[text.index('class="swatch"') :]
    red, green, blue = model.card.labels.colours[2]
    assert f'background:rgb({red}, {green}, {blue})"></i>sky' in sky
    assert f"{report.scores.per_class['sky'].iou:.3f}<i>" in text
    assert text.count("<img") == 8, "two typical and the two worst, each twice"
    assert all(f"<title>{name}</title>" in text for name in ("mIoU", "pixel accuracy", "loss"))
    assert "pixels by class, val" in html.unescape(text)


def test_the_worst_pictures_come_worst_first(tmp_path: Path, val: Dataset, model: Predictor) -> None:
    report = evaluate(model, val)
    text = written(tmp_path, val, report, model)
    ranked = [row.id for row in sorted(report.scores.pictures, key=lambda row: row.mean_iou)]
    shown = re.findall(r"<h3>(.*?)</h3>", text)
    assert shown == [ranked[3], ranked[2], ranked[0], ranked[1]]


def test_the_confusion_is_in_per_cent_of_the_truth(tmp_path: Path, val: Dataset, model: Predictor) -> None:
    report = evaluate(model, val)
    text = written(tmp_path, val, report, model)
    table = text[text.index('class="heat"') :]
    cells = re.findall(r"--share:(\d+)%\">([\d.\u202f]+)<", table[: table.index("</table>")])
    assert [share for share, _ in cells] == ["100", "0", "0", "0", "100", "0", "0", "100", "0"]
    assert all(share == number for share, number in cells)


def test_without_a_report_it_shows_how_training_went(tmp_path: Path, val: Dataset) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", written(tmp_path, val, None, None))
    assert headings == ["Result", "Training", "Data set", "Settings", "Versions"]


def test_a_short_run_has_its_chart_time_and_memory(tmp_path: Path, val: Dataset) -> None:
    """Steps after the last line of the log count, also where there is none yet: as the terminal says."""
    text = written(tmp_path, val, None, None)
    for shown in ("1.5 minutes", "7 steps; ended: done", "1,234 MB"):
        assert shown in text
    (tmp_path / "log.jsonl").unlink()
    progress = Progress(step=2, seconds=3.21, sums={"loss": 6.0}, summed=2)
    write_summary(tmp_path, TrainConfig(data="d"), val, val, None, None, "time limit", progress, 99.0)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "3.2 seconds" in text
    assert "<title>loss</title>" in text and "<circle" in text


def test_pictures_without_truth_are_no_panels(tmp_path: Path, val: Dataset, model: Predictor) -> None:
    report = evaluate(model, val)
    pictures = tuple(replace(row, mean_iou=float("nan")) for row in report.scores.pictures)
    assert "<img" not in written(
        tmp_path, val, replace(report, scores=replace(report.scores, pictures=pictures)), model
    )


def test_classes_keep_their_colours_whatever_their_order(tmp_path: Path, val: Dataset) -> None:
    """Truth and a perfect prediction look the same, although model and data number the classes differently."""
    model = grey_model(labels_of(["sky", "road", "ground"]), [100.0, 50.0, 0.0])
    text = written(tmp_path, val, evaluate(model, val), model)
    pictures = re.findall(r'src="(data:image/jpeg[^"]+)"', text)
    shown = {row.id for row in val.records}
    assert len(shown) == 4
    same = [first == second for first, second in zip(pictures[::2], pictures[1::2], strict=True)]
    assert np.count_nonzero(same) >= 3, "all but the one that has pixels without truth"
