"""A file is called exported once its own runtime has run it and it answers as the model does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from everymask.api import load
from everymask.cli import run
from everymask.core.files import write_json
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes
from everymask.data.splits import write_split
from everymask.errors import ConfigError, WeightsError
from everymask.export import exporting
from everymask.export.check import Apart, apart
from everymask.export.exporting import ExportConfig, export
from everymask.export.graph import trace
from everymask.export.layers import LayerApart, first_apart
from everymask.export.pictures import Chosen, choose_pictures, needed
from everymask.export.triton import describe
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.inference import folded
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet
from everymask.runtimes.bundle import RUNTIMES, read_bundle
from everymask.runtimes.loading import digest_of
from everymask.runtimes.on_openvino import calculates
from everymask.settings.config import TrainConfig
from everymask.train.folder.layout import BEST, CONFIG, SPLITS
from tests.commands.small_models import MAPS, OBJECTS, make_model
from tests.export.graphs import traced_once, written_once
from tests.runtimes.bundles import small_bundle

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", autouse=True)
def once() -> Iterator[None]:
    """Each network is traced and written once for all tests here: that takes nearly all of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "trace", traced_once())
        patch.setattr(exporting, "to_onnx", written_once())
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), MAPS, 64)


@pytest.fixture(scope="module")
def bundle(model: Path) -> Path:
    out = model.with_name("m.emz")
    export(ExportConfig(source=str(model), out=out))
    return out


@pytest.mark.slow
def test_the_bundle_says_what_it_is_and_answers_as_the_model(model: Path, bundle: Path) -> None:
    held, (_, card) = read_bundle(bundle), load_model(model)
    assert held.card == card and held.facts.batch == "any" and held.facts.precision == "fp32"
    assert held.check["outputs"]["difference"] < 1e-5 and held.check["metric"] is None
    assert b"site-packages" not in held.graph and str(Path.cwd()).encode() not in held.graph
    images = [np.random.default_rng(k).integers(0, 256, (50 + k, 70, 1)).astype(np.uint8) for k in range(3)]
    own, exported = load(model, precision="exact"), load(bundle)
    for one, other in zip(own.predict(images), exported.predict(images), strict=True):
        assert (one.semantic.ids != other.semantic.ids).mean() < 1e-3


def test_what_goes_nowhere_is_said_before_anything_is_made(model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.emz").touch()
    for changes, message in (
        ({"out": Path("m.xml")}, "did you mean --to openvino"),
        ({"out": Path("m.zip")}, "ends in .emz or .onnx"),
        ({"precision": "bf16"}, "calculates in fp32, fp16, int8"),
        ({"out": tmp_path / "m.emz"}, "is there already"),
        ({"pictures": 1}, "at least 2"),
        ({"layout": "triton", "to": "pt2"}, "is that of an ONNX file"),
        ({"layout": "triton", "out": Path("m.emz")}, "is the model's folder"),
        ({"layout": "triton", "out": Path("a b")}, "in letters, digits"),
        ({"layout": "triton", "out": tmp_path}, "is there already"),
        ({"max_loss": 2}, "between 0 and 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            ExportConfig(**({"source": str(model), "out": Path("m.emz")} | changes))  # type: ignore[arg-type]


def test_a_graph_that_answers_otherwise_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the exporter, or the runtime, has a fault."""

    def faulty(network: Any, channels: int, divisor: int) -> Any:
        network.classifier.weight.data += 0.05
        made = trace(network, channels, divisor)
        network.classifier.weight.data -= 0.05
        return made

    monkeypatch.setattr(exporting, "trace", faulty)
    with pytest.raises(WeightsError, match=r"logits differs by.* 0.001 of its largest value is classifier, by"):
        export(ExportConfig(source=str(model), out=tmp_path / "m.pt2", to="pt2"))
    assert not (tmp_path / "m.pt2").exists()


def test_how_far_answers_lie_apart() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 100]], np.float32)
    one = {"boxes": boxes, "class_ids": np.array([0, 1]), "scores": np.array([0.9, 0.5]), "cut": np.zeros(1)}
    turned = {name: value[::-1] if name != "cut" else value for name, value in one.items()}
    assert apart(one, turned) == Apart(0.0, "", 0, 4)
    assert apart(one, one | {"boxes": boxes + 0.5}).difference == pytest.approx(0.005)
    other = apart(one, one | {"class_ids": np.array([0, 0])})
    assert (other.unmatched, other.detections) == (2, 4) and not other.within("fp32") and other.within("bf16")
    none = {name: value[:0] for name, value in one.items()}
    assert apart(none, none) == Apart(0.0, "", 0, 0) and apart(one, none).unmatched == 2
    broken = {"logits": np.array([1, np.nan, 1]), "others": np.ones(3)}
    assert not apart({"logits": np.ones(3), "others": np.ones(3)}, broken).within("int8")
    with pytest.raises(WeightsError, match=r"gives logits \[2\]"):
        apart({"logits": np.ones(3)}, {"logits": np.ones(2)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of label maps, whose network has learned nothing, and its data."""
    folder = tmp_path_factory.mktemp("run")
    write_shapes(folder / "data", train=2, val=3, size=64)
    spec = UNet(encoder=PLAIN_ENCODER, decoder_channels=(8, 4), decoder_norm="none")
    pictures = read_dataset(folder / "data", task="semantic")
    preprocess = Preprocess(3, 255.0, (0.4,) * 3, (0.3,) * 3, Resize(64, 64))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build(spec, len(pictures.labels)).eval()
    save_model(folder / "run" / BEST, network, Card(spec, pictures.labels, preprocess))
    write_split(folder / "run" / SPLITS, pictures)
    config = TrainConfig(data=str(folder / "data"), out=str(folder / "run"), task="semantic", model="unet")
    write_json(folder / "run" / CONFIG, config.to_json())
    return folder / "run"


def test_the_metric_is_compared_on_the_pictures_that_validated(trained: Path, tmp_path: Path) -> None:
    found = export(ExportConfig(source=str(trained), out=tmp_path / "m.pt2", to="pt2")).check
    assert found.pictures == 3 and found.compared is not None
    assert found.compared.name == "mIoU" and found.compared.num_pictures == 3
    assert abs(found.compared.difference) < 1e-4 and found.loss == -found.compared.difference


@pytest.mark.slow
def test_too_great_a_loss_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def worse(*given: Any) -> Any:
        found = exporting_compare(*given)
        return replace(found, second=found.first - 0.01, difference=-0.01)

    exporting_compare = exporting.compare_metric
    monkeypatch.setattr(exporting, "compare_metric", worse)
    config = ExportConfig(source=str(trained), out=tmp_path / "m.pt2", to="pt2")
    with pytest.raises(WeightsError, match=r"loses 0\.0100 of mIoU"):
        export(config)
    assert not config.out.exists()
    assert export(replace(config, max_loss=0.02)).out.exists()


@pytest.mark.slow
def test_int8_leaves_layers_in_float_until_the_metric_holds(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def loses(config: ExportConfig, check: Any) -> bool:
        tried.append(check.compared.num_pictures)
        return len(tried) < 3

    monkeypatch.setattr(exporting, "_loses", loses)
    found = export(ExportConfig(source=str(trained), out=tmp_path / "m.emz", precision="int8"))
    held = read_bundle(found.out)
    assert len(tried) == 3 and len(found.left) == 2 and held.facts.precision == "int8"
    left = {"calibration_pictures": 2, "left_in_float": list(found.left)}
    assert held.made_from == {"weights": digest_of(trained / BEST), **left}
    assert b"DequantizeLinear" in held.graph
    assert found.check.apart.difference < 0.3
    picture = next(iter(read_dataset(trained.parent / "data", task="semantic").split("val")))
    one, other = (load(found.out, runtime=name).predict(picture).semantic.ids for name in RUNTIMES)
    assert (one == other).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_in_half_a_file_is_half_as_large_and_answers_nearly_the_same(
    target: Any, bundle: Path, model: Path, tmp_path: Path
) -> None:
    if target == "openvino" and not calculates("fp16"):
        pytest.skip("this processor does not calculate in fp16")
    found = export(ExportConfig(source=str(model), out=tmp_path / "m.emz", to=target, precision="fp16"))
    assert read_bundle(found.out).facts.precision == "fp16"
    assert found.size < 0.7 * bundle.stat().st_size
    assert 1e-6 < found.check.apart.difference < 0.03


@pytest.mark.slow
def test_a_layer_that_differs_in_a_runtime_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an optimisation of the runtime has a fault."""

    written = exporting.to_onnx

    def faulty(traced: Any) -> bytes:
        graph = onnx.load_from_string(written(traced))
        layers = [node for node in graph.graph.node if node.op_type == "Conv"]
        weight = next(value for value in graph.graph.initializer if value.name == layers[3].input[1])
        weight.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(weight), weight.name))
        data: bytes = graph.SerializeToString()
        return data

    monkeypatch.setattr(exporting, "to_onnx", faulty)
    network, _ = load_model(model)
    names = [name for name, part in folded(network).named_modules() if isinstance(part, torch.nn.Conv2d)]
    for target in ("onnx", "openvino"):
        with pytest.raises(WeightsError, match=f"largest value is {re.escape(names[3])}, by"):
            export(ExportConfig(source=str(model), out=tmp_path / "m.emz", to=target))


def test_the_first_layer_that_differs() -> None:
    own = {name: np.full((2, 2), value, np.float32) for name, value in (("a", 1), ("b", 2), ("c", 4))}
    assert first_apart(own, own, 1e-3) is None
    other = {"a": own["a"] * 1.0001, "b": own["b"] * 1.5, "c": own["c"] * 9}
    assert first_apart(own, other, 1e-3) == LayerApart("b", 0.5)
    assert first_apart(own, {"b": np.zeros(3), "c": own["c"] * 2}, 1e-3) == LayerApart("c", 1.0)
    assert first_apart(own, {"a": own["a"] * np.nan}, 1e-3).name == "a"  # type: ignore[union-attr]


def test_int8_wants_pictures_of_a_training(model: Path) -> None:
    _, card = load_model(model)
    chosen = choose_pictures(model, card, None, None, 10)
    assert chosen == Chosen(None, None)
    with pytest.raises(ConfigError, match="--data DATA"):
        needed(chosen.train, "int8 is calibrated on pictures of the training")


@pytest.mark.slow
def test_detectors_go_there_too(tmp_path: Path) -> None:
    # Three levels in place of five: the exporter takes time for each.
    spec = replace(OBJECTS, encoder="resnet18", fpn_stages="last", shared_anchor_sizes=True)
    source = make_model(tmp_path, spec, 64)
    assert run(["export", str(source), "--out", str(tmp_path / "m.emz"), "--max-detections", "5"]) == 0
    image = np.random.default_rng(0).integers(0, 256, (60, 64, 1)).astype(np.uint8)
    own, exported = load(source, precision="exact").with_detections(5), load(tmp_path / "m.emz")
    for one, other in zip(own.predict([image, image]), exported.predict([image, image]), strict=True):
        assert len(one.instances) == len(other.instances) == 5
        np.testing.assert_allclose(one.instances.boxes, other.instances.boxes, atol=1e-3)
        assert one.instances.masks is not None and other.instances.masks is not None
        assert one.cut_below == pytest.approx(other.cut_below, abs=1e-5)
    with pytest.raises(ConfigError, match="export it again with --max-detections 9"):
        exported.with_detections(9)


@pytest.mark.slow
def test_in_tritons_layout_the_graph_is_described(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "cells"
    found = export(ExportConfig(source=str(model), out=out, layout="triton"))
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.*")) == [
        "1/model.onnx", "config.pbtxt", "labels.txt",
    ]  # fmt: skip
    assert found.size == sum(file.stat().st_size for file in out.rglob("*.*"))
    text = (out / "config.pbtxt").read_text("utf-8")
    assert 'name: "cells"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n' in text
    assert '{ name: "images", data_type: TYPE_FP32, dims: [-1, 1, -1, -1] }' in text
    assert '{ name: "logits", data_type: TYPE_FP32, dims: [-1, ' in text
    with pytest.raises(ConfigError, match="is there already"):
        ExportConfig(source=str(model), out=out, layout="triton")
    assert export(ExportConfig(source=str(model), out=out, layout="triton", overwrite=True)).size == found.size
    assert [child.name for child in out.parent.iterdir()] == ["cells"]


def test_the_description_for_triton_names_what_a_graph_takes_and_gives() -> None:
    text = describe("a-b", small_bundle().graph)
    assert text.splitlines() == [
        'name: "a-b"',
        'platform: "onnxruntime_onnx"',
        "max_batch_size: 0",
        "input [",
        '  { name: "images", data_type: TYPE_FP32, dims: [-1, 1, -1, -1] }',
        "]",
        "output [",
        '  { name: "logits", data_type: TYPE_FP32, dims: [-1, 2, -1, -1] }',
        "]",
    ]


def test_the_list_says_where_networks_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["targets"]
    assert {row["target"] for row in rows} >= {"onnx", "openvino", "pt2", "litert", "coreml", "executorch"}
    assert run(["export", "runs/a"]) == 2
