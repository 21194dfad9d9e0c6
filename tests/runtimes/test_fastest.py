"""The runtime that is the fastest on a machine is found by trying, remembered, and said."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.api import load
from everymask.cli import run
from everymask.errors import ConfigError
from everymask.runtimes.bundle import GraphFacts, write_bundle
from everymask.runtimes.fastest import Fastest, key_of, measure, remember, remembered
from everymask.runtimes.loading import BUNDLE, digest_of, engines_of
from everymask.train.folder.layout import BEST
from tests.runtimes.bundles import small_bundle

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

GREY = [np.full((8, 8, 1), value, np.uint8) for value in (0, 200)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "m.emz", small_bundle())
    return tmp_path / "m.emz"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        Image.fromarray(GREY[1][..., 0]).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def clock(*seconds: float) -> Any:
    """A clock by which each round's turns take so long."""
    turns = [time for took in seconds for time in (0.0, took)]
    # It is looked at when it begins, and before the second and third round.
    return partial(next, iter([0.0, *turns, 0.0, *turns, 0.0, *turns]))


@pytest.mark.parametrize(
    ("seconds", "fastest"), [((2.0, 1.0), "openvino"), ((1.0, 2.0), "onnxruntime"), ((1.0, 0.97), "onnxruntime")]
)
def test_the_usual_one_is_left_only_for_one_that_is_clearly_faster(
    file: Path, seconds: tuple[float, float], fastest: str
) -> None:
    names: Any = ("onnxruntime", "openvino")
    tried = measure([(name, partial(load, file, runtime=name)) for name in names], GREY, clock(*seconds))
    assert tried is not None
    found, model = tried
    assert found == Fastest(fastest, dict(zip(names, (took / 2 for took in seconds), strict=True)))  # type: ignore[arg-type]
    assert model.backend.device.startswith(fastest)


def test_what_cannot_run_here_is_left_out(file: Path) -> None:
    def absent() -> Any:
        raise ConfigError("no such device")

    tried = measure([("onnxruntime", absent), ("openvino", partial(load, file, runtime="openvino"))], GREY)
    assert tried is not None and [*tried[0].seconds] == ["openvino"]
    assert measure([("onnxruntime", absent)], GREY) is None
    unreadable: Any = ["none.png"]
    assert measure([("onnxruntime", partial(load, file, runtime="onnxruntime"))], unreadable) is None


def test_what_is_remembered_is_of_this_model_and_these_options(file: Path, tmp_path: Path) -> None:
    found = Fastest("openvino", {"onnxruntime": 0.5, "openvino": 0.25})
    key = key_of([file], ["onnxruntime", "openvino"], "cpu")
    remember(key, found)
    assert remembered(key) == found
    write_bundle(tmp_path / "other.emz", replace(small_bundle(), made_from={"a": 1}))
    others = (key_of([tmp_path / "other.emz"], ["onnxruntime", "openvino"], "cpu"), key_of([file], ["openvino"], "cpu"))
    assert [remembered(other) for other in others] == [None, None]


def test_only_runtimes_that_answer_alike_compete(file: Path, tmp_path: Path) -> None:
    assert engines_of(file) == ["onnxruntime", "openvino"]
    write_bundle(tmp_path / "r.emz", replace(small_bundle(), facts=GraphFacts("int8", "openvino")))
    assert engines_of(tmp_path / "r.emz") == ["openvino"]


def bundle_beside(run_folder: Path, precision: Any = "fp32", weights: str | None = None) -> Path:
    """A run folder whose weights are no weights, and the bundle that says it was made of them."""
    run_folder.mkdir()
    (run_folder / BEST).write_bytes(b"weights")
    made_from = {"weights": weights or digest_of(run_folder / BEST)}
    write_bundle(run_folder / BUNDLE, replace(small_bundle(), facts=GraphFacts(precision), made_from=made_from))
    return run_folder


def test_a_run_is_answered_by_the_bundle_that_was_made_of_its_weights(tmp_path: Path) -> None:
    folder = bundle_beside(tmp_path / "a")
    assert load(folder, runtime="openvino").backend.device == "openvino cpu"
    assert engines_of(folder / BEST) == ["torch", "onnxruntime", "openvino"]
    for name, changes, message in (
        ("b", {"weights": "0" * 64}, "was made of other weights"),
        ("c", {"precision": "int8"}, "does not answer as the run does"),
    ):
        other = bundle_beside(tmp_path / name, **changes)
        assert engines_of(other / BEST) == ["torch"]
        with pytest.raises(ConfigError, match=message):
            load(other, runtime="openvino")
    (folder / BUNDLE).unlink()
    with pytest.raises(ConfigError, match=r"there is no model\.emz beside it"):
        load(folder, runtime="onnxruntime")


def test_predict_tries_says_and_remembers(
    file: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for number in range(2):
        assert run(["predict", str(file), str(pictures), "--out", str(tmp_path / f"o{number}")]) == 0
        said.append(capsys.readouterr().err)
    assert said[0].startswith("runtime ") and "measured before" not in said[0]
    assert said[1] == said[0].replace("\n", " (measured before)\n")
    assert run(["predict", str(file), str(pictures), "--out", str(tmp_path / "o2"), "--runtime", "openvino"]) == 0
    assert capsys.readouterr().err == ""


def test_evaluate_takes_what_is_remembered(
    file: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(GREY[1][..., 0]).save(tmp_path / "data" / "images" / f"{number}.png")
        Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "data" / "masks" / f"{number}.png")
    (tmp_path / "data" / "classes.csv").write_text("number,name\n0,dark\n1,bright\n", encoding="utf-8")
    engines = engines_of(file)
    remember(key_of([file], engines, "auto", "auto"), Fastest("openvino", {"onnxruntime": 2.0, "openvino": 1.0}))
    assert run(["evaluate", str(file), str(tmp_path / "data"), "--json"]) == 0
    assert "runtime openvino: 1.000 s per picture here, onnxruntime 2.000 (measured before)" in capsys.readouterr().err
