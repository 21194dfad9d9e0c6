"""Methods without a network learn in one go, and leave the folder of a run as networks do."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from everymask.api import load
from everymask.classical.bases import MethodSpec
from everymask.classical.forest import Forest, features_of, grow
from everymask.classical.specs import KMeans, Otsu, PixelForest, Watershed
from everymask.cli import run as command
from everymask.core.json.sealed import read_sealed
from everymask.data.formats.table import read_dataset
from everymask.errors import ConfigError, DataError, WeightsError
from everymask.evaluate import evaluate
from everymask.models.method_file import load_method, save_method
from everymask.settings.config import TrainConfig, config_from_json
from everymask.train.entry import train
from everymask.train.folder.ended import read_ended
from everymask.train.folder.progress import Run
from everymask.train.methods.run import forecast_method
from everymask.train.runs.found import read_runs
from tests.absent import TORCH, without
from tests.classical.blobs import blobs, write_blobs

QUIET = Console(quiet=True)
SMALL = PixelForest(trees=5, depth=6, sigmas=(1.0, 2.0), samples_per_picture=300)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("discs") / "data")


def learn(data: Path, model: MethodSpec, out: Path) -> Run:
    pytest.importorskip("skimage")
    return train(TrainConfig(data=str(data), out=str(out), model=model), console=QUIET)


@pytest.fixture(scope="module")
def otsu(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return learn(discs, Otsu(blur=3.0), tmp_path_factory.mktemp("runs") / "otsu")


@pytest.fixture(scope="module")
def forest(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return learn(discs, SMALL, tmp_path_factory.mktemp("runs") / "forest")


@pytest.mark.parametrize("name", ["otsu", "forest"])
def test_a_run_folder_as_others_have(name: str, discs: Path, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    files = {"best.safetensors", "config.json", "data.json", "ended.json", "log.jsonl", "origin.json", "report.html"}
    assert files | {"splits.json"} == {path.name for path in run.folder.iterdir() if not path.name.startswith(".")}
    ended = read_ended(run.folder)
    assert ended is not None and ended.how == "finished" and ended.score is not None
    assert run.report is not None and ended.score.value == run.report.headline > 0.85
    again = evaluate(load(run.folder), discs, split="val")
    assert again.headline == run.report.headline
    config = config_from_json(read_sealed(run.folder / "config.json"))
    assert config.method == load(run.folder).card.spec and config.task == "semantic"
    row = read_runs(run.folder.parent).rows[0]
    assert row.state == "finished" and row.score == ended.score and row.model in ("otsu", "pixel-forest")
    assert "5 steps" not in (run.folder / "report.html").read_text("utf-8")


def test_what_was_set_is_not_tuned(otsu: Run, discs: Path, tmp_path: Path) -> None:
    spec = load(otsu.folder).card.spec
    assert isinstance(spec, Otsu) and spec.blur == 3.0 and spec != Otsu(blur=3.0)
    tuned, usual = (load(otsu.folder), learn(discs, Otsu(), tmp_path / "free"))
    assert usual.report is not None and otsu.report is not None
    assert usual.report.headline >= otsu.report.headline and tuned.labels.names == ("background", "disc")
    notes = [json.loads(line)["text"] for line in (usual.folder / "log.jsonl").read_text("utf-8").splitlines()]
    assert any("before any was tried" in note for note in notes)


def test_the_same_settings_learn_the_same(forest: Run, discs: Path, tmp_path: Path) -> None:
    again = learn(discs, SMALL, tmp_path / "again")
    assert (again.folder / "best.safetensors").read_bytes() == (forest.folder / "best.safetensors").read_bytes()


def test_a_forest_says_what_that_of_scikit_learn_says() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 6)).astype(np.float32)
    classes = (values[:, 0] + values[:, 3] > 0.3).astype(np.int64) * 2  # class 1 never occurs
    spec = PixelForest(trees=8, depth=5, classes=3)
    found = grow(spec, values, classes, seed=3)
    theirs = ensemble.RandomForestClassifier(8, max_depth=5, random_state=3).fit(values, classes)
    new = rng.normal(size=(1000, 6)).astype(np.float32)
    assert np.allclose(found(new)[:, [0, 2]], theirs.predict_proba(new), atol=1e-6)
    assert not found(new)[:, 1].any()
    # A value that is just a threshold goes the same way.
    edges = np.repeat(found.threshold[np.isfinite(found.threshold)][:, None], 6, axis=1)
    assert np.allclose(found(edges)[:, [0, 2]], theirs.predict_proba(edges), atol=1e-6)


def test_features_are_those_of_scikit_image_and_strips_change_nothing(
    forest: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skimage.feature import multiscale_basic_features

    from everymask.classical import forest as module

    picture = np.ascontiguousarray(blobs()[0].transpose(2, 0, 1) / 255, np.float32)
    expected = multiscale_basic_features(picture.transpose(1, 2, 0), sigma_min=1, sigma_max=2, channel_axis=-1)
    assert np.array_equal(features_of(SMALL, picture), expected)
    assert expected.shape[2] == module.num_features(SMALL, 3)
    whole = load(forest.folder).predict(blobs()[0]).semantic.ids
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 1500)
    assert (load(forest.folder).predict(blobs()[0]).semantic.ids == whole).all()


def test_a_flipped_bit_is_found(forest: Run, tmp_path: Path) -> None:
    content = bytearray((forest.folder / "best.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="do not match their hash"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("child", np.zeros_like),
        ("feature", lambda array: array + 1000),
        ("probability", lambda array: array * np.float32(np.nan)),
        ("threshold", lambda array: array.astype(np.float64)),
        ("roots", lambda array: array - 1),
        ("depth", lambda array: array + 1000),
    ],
)
def test_trees_that_are_none_are_refused(name: str, change: object, forest: Run, tmp_path: Path) -> None:
    """With a hash that fits: somebody else's program may have written them."""
    found = load_method(forest.folder / "best.safetensors")
    assert found is not None and found[2] is not None and callable(change)
    _, card, trees = found
    save_method(tmp_path / "b.safetensors", card, replace(trees, **{name: change(getattr(trees, name))}))
    with pytest.raises(WeightsError, match="the trees of the forest cannot be used"):
        load(tmp_path / "b.safetensors")
    arrays = trees.arrays() | {"more": np.zeros(1, np.float32)}
    with pytest.raises(WeightsError, match="cannot be used"):
        Forest.from_arrays(arrays, 24, 2)


def test_no_network_starts_from_a_method(forest: Run, discs: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=str(discs), out=str(tmp_path / "a"), model="unet", weights=str(forest.folder), epochs=1)
    with pytest.raises(ConfigError, match="PixelForest is a method without a network"):
        train(config, console=QUIET)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": KMeans()}, "k-means has nothing to learn"),
        ({"model": Watershed()}, "watershed has nothing to learn"),
        ({"model": "otsu", "epochs": 3}, "epochs is a setting of networks"),
        ({"model": "otsu", "task": "instance"}, "the task is instance, but otsu says of every pixel"),
        ({"model": "otsu", "weights": "imagenet"}, "starts from no weights"),
    ],
)
def test_what_means_nothing_is_refused(changes: dict[str, object], said: str, discs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        train(TrainConfig(data=str(discs), out=str(tmp_path / "run"), **changes), console=QUIET)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="encoder is a setting of networks"):
        TrainConfig(data=str(discs), model="otsu", encoder="resnet18")


def test_there_is_nothing_to_resume(otsu: Run, discs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (otsu.folder / "best.safetensors").read_bytes()
    for more in ((), ("--model", "otsu")):
        assert command(["train", str(discs), "--out", str(otsu.folder), "--resume", *more]) == 2
        assert "there is nothing to go on with" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="not empty"):
        learn(discs, Otsu(), otsu.folder)
    assert (otsu.folder / "best.safetensors").read_bytes() == before


def test_plan_says_what_train_will_do(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    out = ["--out", str(tmp_path / "none")]
    assert command(["plan", str(discs), "--model", "otsu", *out]) == 0
    said = capsys.readouterr().out
    assert "in one go" in said and "on 5 training pictures" in said
    words = ["--model", "pixel-forest", "--set", "trees=20", "sigmas=1,2", "samples_per_picture=200", "--json"]
    assert command(["plan", str(discs), *words, *out]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["seconds"] < 600 and found["settings"]["model"]["trees"] == 20
    assert not (tmp_path / "none").exists()
    _, seconds = forecast_method(TrainConfig(data=str(discs), model="li"))
    assert math.isfinite(seconds)


def test_several_classes_are_for_the_forest(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tells two classes apart, but the data have 4 classes"):
        learn(shapes, Otsu(), tmp_path / "a")
    run = learn(shapes, SMALL, tmp_path / "b")
    assert run.report is not None and len(load(run.folder).labels) == 4


def test_it_learns_without_torch(discs: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    run, masks = str(tmp_path / "run"), str(tmp_path / "masks")
    words = ["train", str(discs), "--model", "otsu", "--out", run]
    done = without(TORCH, words, ["predict", run, str(discs), "--out", masks], ["evaluate", run, str(discs)])
    assert done.stdout.count("code 0") == 3, done.stdout + done.stderr
    assert (tmp_path / "run" / "best.safetensors").exists() and (tmp_path / "masks" / "maps").is_dir()


def test_pictures_that_change_meanwhile_are_noticed(discs: Path, tmp_path: Path) -> None:
    dataset = read_dataset(discs)
    assert len(dataset) == 6
    with pytest.raises(DataError):
        learn(tmp_path / "nothing", Otsu(), tmp_path / "run")
