"""Methods without a network on the command line: predicted, judged and compared as networks are, and without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from everymask.api import load
from everymask.backends.methods import build_method
from everymask.classical.specs import MarkerWatershed
from everymask.cli import run
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes
from everymask.evaluate import compare
from tests.absent import TORCH, without
from tests.classical.blobs import CENTRES, blobs, write_blobs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(blobs()[0]).save(folder / "discs.png")
    Image.fromarray(255 - blobs()[0][..., 0]).save(folder / "dark.png")
    return folder


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("discs") / "data")


def test_a_method_predicts_where_there_is_nothing_but_the_base(photos: Path, tmp_path: Path) -> None:
    words = ["predict", "--model", "otsu", str(photos), "--out", str(tmp_path / "masks"), "--set", "blur=1.5"]
    objects = ["predict", "marker-watershed", str(photos), "--out", str(tmp_path / "objects")]
    more = ["predict", "watershed", str(photos), "--out", str(tmp_path / "none")]
    done = without((*TORCH, "skimage", "sklearn", "scipy"), words, objects, more)
    assert done.stdout.count("code 0") == 2 and "code 4" in done.stdout, done.stderr
    assert 'pip install "everymask[classical]"' in done.stderr
    assert {path.name for path in (tmp_path / "masks" / "maps").iterdir()} == {"discs.png", "dark.png"}
    assert not (tmp_path / "none" / "predictions.json").exists()
    found = json.loads((tmp_path / "objects" / "predictions.json").read_text())
    assert len(found["annotations"]) == 2 * len(CENTRES)


def test_models_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    assert {"otsu", "watershed", "pixel-forest"} <= set(json.loads(capsys.readouterr().out)["methods"])
    assert run(["models"]) == 0
    assert "without a network: otsu, multi-otsu*" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["otsu", "PHOTOS", "--set", "blurr=1"], "did you mean blur? there are side=0"),
        (["ostu", "PHOTOS"], "did you mean otsu?"),
        (["pixel-forest", "PHOTOS"], "everymask train DATA --model pixel-forest"),
        (["otsu", "PHOTOS", "--tile", "64"], "looks at whole pictures"),
        (["otsu", "PHOTOS", "--split-h", "2"], "add --split-objects"),
        (["watershed", "PHOTOS", "--split-objects"], "leave out split-objects"),
        (["otsu", "PHOTOS", "--max-detections", "5"], "with --split-objects its foreground becomes objects"),
        (["PHOTOS", "otsu"], "did you mean: everymask predict otsu"),
        (["--model", "otsu", "--model", "li", "PHOTOS"], "--model is given twice"),
        (["RUN", "PHOTOS", "--set", "blur=1"], "--set is for methods that have a name"),
    ],
)
def test_what_cannot_be_says_why(
    words: list[str], said: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    places = {"PHOTOS": str(photos), "RUN": str(tmp_path)}
    assert run(["predict", *(places.get(word, word) for word in words), "--out", str(tmp_path / "out")]) in (2, 3, 5)
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists() or "tile" in said or "whole" in said


def test_it_is_judged_and_compared_as_networks_are(discs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    assert run(["evaluate", "otsu", str(discs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_iou"] > 0.9
    split = ["--split-objects", "--split-sigma", "1"]
    assert run(["evaluate", "--model=otsu", str(discs), "--json", *split]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["mask"]["AP50"] > 0.9
    assert run(["compare", "canny", "otsu", str(discs), "--json", *split]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["first"] < found["second"] and found["num_pictures"] == 6 and found["name"] == "mask AP"


def test_it_is_compared_with_a_network_by_the_same_limit(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network gives up to 100 objects; how many a method gives means nothing to it."""
    write_shapes(tmp_path / "shapes", train=6, val=0, size=64)
    dataset = read_dataset(tmp_path / "shapes")
    method = build_method(MarkerWatershed())
    named = replace(method, card=replace(method.card, labels=dataset.labels))
    found = compare(load(tiny), named, dataset)
    assert found.name == "mask AP" and found.num_pictures == 6


@pytest.mark.slow
def test_a_split_prediction_in_shards_is_the_same(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    words = ["predict", "otsu", str(photos), "--split-objects", "--out", str(tmp_path / "shards")]
    assert run([*words, "--engine", "local", "--workers", "1", "--table", "coco"]) == 0
    tables = [path for path in (tmp_path / "shards").rglob("*.json*") if "annotations" in path.read_text("utf-8")]
    assert tables
