"""The command line with models that give label maps: evaluate, compare, predict."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.api import load
from everymask.cli import run
from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.pictures.read import read_label_map
from everymask.evaluate import evaluate
from everymask.infer.tiling import Tiling
from everymask.infer.variants import TestTimeAugmentation
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet
from tests.grey_model import write_grey

NAMES = ("ground", "road", "sky")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grey") / "data"
    write_grey(folder, [rng(k, "map").integers(3, size=(4, 5)).repeat(6, 0).repeat(6, 1) for k in range(4)], NAMES)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two run folders with small networks that have learned nothing."""
    folders = []
    for seed in (1, 2):
        spec = UNet(encoder=PLAIN_ENCODER, channels=1, decoder_channels=(8, 4), decoder_norm="none")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = build_semantic(spec, 3)
        preprocess = Preprocess(1, 255.0, (0.2,), (0.2,), Resize(rule="none"), divisor=8)
        folders.append(tmp_path_factory.mktemp(f"run{seed}"))
        save_model(folders[-1] / "best.safetensors", module, Card(spec, labels_of(NAMES), preprocess))
    return [str(folder) for folder in folders]


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_evaluate_prints_the_overlap_of_each_class(
    runs: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = json.loads(answer(capsys, "evaluate", runs[0], data, "--json"))
    text = answer(capsys, "evaluate", runs[0], data)
    assert re.search(rf"mIoU +{scores['mean_iou']:.3f}", text)
    assert "4 pictures; pixels without truth are ignored" in text
    assert re.search(rf"sky +{scores['per_class']['sky']['iou']:.3f}", text)
    assert "wrong" in answer(capsys, "evaluate", runs[0], data, "--void", "wrong")


def test_evaluate_says_whether_the_model_is_as_sure_as_it_is_right(
    runs: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(answer(capsys, "evaluate", runs[0], data, "--calibration", "--json"))["calibration"]
    assert sum(found["counts"]) == 4 * 24 * 30
    text = answer(capsys, "evaluate", runs[0], data, "--calibration")
    assert f"Calibration: ECE {found['expected_error']:.3f}, MCE {found['largest_error']:.3f}" in text
    assert len(re.findall(r"^ *0\.\d\d to .* %", text, re.MULTILINE)) == np.count_nonzero(found["counts"])
    assert "Calibration" not in answer(capsys, "evaluate", runs[0], data)


def test_variants_of_a_picture_are_averaged(
    runs: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = ("--tta-flip", "both", "--tta-scales", "0.75,1,1.25")
    model = load(runs[0], device="cpu")
    better = model.with_augmentation(TestTimeAugmentation("both", (0.75, 1, 1.25)))
    scores = [evaluate(each, data).scores.mean_iou for each in (model, better)]
    assert scores[0] != scores[1]
    assert json.loads(answer(capsys, "evaluate", runs[0], data, "--json", *variants))["mean_iou"] == scores[1]
    assert json.loads(answer(capsys, "compare", *runs, data, "--json", *variants))["first"] == scores[1]
    answer(capsys, "predict", runs[0], data / "images", "--out", tmp_path, *variants)
    expected = better.predict(data / "images" / "p1.png").semantic.ids
    np.testing.assert_array_equal(read_label_map(tmp_path / "maps" / "p1.png"), expected)


def test_compare_says_whether_the_difference_is_real(
    runs: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(answer(capsys, "compare", *runs, data, "--json"))
    assert found["difference"] == found["second"] - found["first"]
    text = answer(capsys, "compare", *runs, data)
    assert f"mIoU on 4 pictures: {found['first']:.3f} and {found['second']:.3f}" in text
    assert ("the difference is real" in text) == (found["p_value"] < 0.05)
    assert "p = 1.0000: the difference may be chance" in answer(capsys, "compare", runs[0], runs[0], data)


def test_predict_writes_label_maps_and_says_what_they_show(
    runs: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(answer(capsys, "predict", runs[0], data / "images", "--out", tmp_path / "a", "--json"))
    assert (found["pictures"], found["failed"]) == (4, [])
    assert sum(found["pixels"].values()) == 4 * 24 * 30
    ids = read_label_map(tmp_path / "a" / "maps" / "p0.png")
    assert ids.shape == (24, 30) and set(np.unique(ids)) <= {0, 1, 2}
    assert not (tmp_path / "a" / "predictions.json").exists()
    text = answer(capsys, "predict", runs[0], data / "images", "--out", tmp_path / "b", "--overlay", "none")
    assert re.search(r"\d+ % \w+.* in 4 pictures: ", text)
    assert not (tmp_path / "b" / "overlays").exists()


def test_predict_with_a_tile_that_covers_the_picture_writes_the_same(
    runs: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [
        answer(capsys, "predict", runs[0], data / "images", "--out", tmp_path / name, *more).replace(f"/{name}", "")
        for name, more in {"a": (), "b": ("--tile", "32")}.items()
    ]
    assert said[0] == said[1]
    written = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")}
    assert len(written) == 10
    for path in written:
        assert (tmp_path / "b" / path).read_bytes() == (tmp_path / "a" / path).read_bytes()


def test_predict_by_tiles_reads_and_writes_strips(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = rng(5, "picture").integers(0, 256, (75, 50)).astype(np.uint8)
    for name in ("a.png", "b.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:-2000])
    tiles, out = ("--tile", "24", "--tile-overlap", "0.5"), tmp_path / "out"
    capsys.readouterr()
    arguments = ["predict", runs[0], *(str(tmp_path / name) for name in ("a.png", "b.tif", "c.png"))]
    assert run([*arguments, "--out", str(out), "--maps", "tif", "--json", *tiles]) == 3
    printed = capsys.readouterr()
    assert "c.png" in printed.err
    found = json.loads(printed.out)
    assert (found["pictures"], sum(found["pixels"].values())) == (2, 2 * 75 * 50)
    expected = load(runs[0]).predict(pixels, tiling=Tiling(24, 0.5)).semantic.ids
    assert sorted(path.name for path in (out / "maps").iterdir()) == ["a.tif", "b.tif"]
    for name in ("a", "b"):
        np.testing.assert_array_equal(read_label_map(out / f"maps/{name}.tif"), expected)


def test_a_picture_that_is_shrunk_much_is_spoken_of(
    runs: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = load(runs[0], device="cpu")
    card = replace(model.card, preprocess=replace(model.card.preprocess, resize=Resize(8, 14, "shrink")))
    save_model(tmp_path / "best.safetensors", build_semantic(model.card.spec, 3), card)
    answer(capsys, "predict", tmp_path, data / "images", "--out", tmp_path / "a")
    [message] = [record.getMessage() for record in caplog.records]
    assert "4 pictures" in message and "--tile" in message
    caplog.clear()
    answer(capsys, "predict", tmp_path, data / "images", "--out", tmp_path / "b", "--tile", "16")
    assert not caplog.records


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("predict", "RUN", "DATA", "--out", "OUT", "--max-detections", "3"), "max-detections", id="limit"),
        pytest.param(("predict", "RUN", "DATA", "--out", "OUT", "--tile", "0"), "side of a tile", id="tile"),
        pytest.param(("evaluate", "RUN", "DATA", "--tta-scales", "0"), "scales must be above 0", id="F03 scale"),
        pytest.param(("compare", "DATA", "RUN", "DATA"), "no best.safetensors", id="no model"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...],
    message: str,
    runs: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = {"RUN": runs[0], "DATA": str(data), "OUT": str(tmp_path / "out")}
    assert run([words.get(word, word) for word in arguments]) in (2, 5)
    assert message in " ".join(capsys.readouterr().err.split())
