"""Networks that answer prompts become two graphs in one bundle, which answers as the network does."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.api import load
from everymask.backends.pytorch import TorchBackend
from everymask.cli import run
from everymask.errors import ConfigError, WeightsError
from everymask.export.check import apart
from everymask.export.onnx_graph import to_onnx
from everymask.export.prompted import trace_both
from everymask.infer.decoding.prompted import MaskArrays, PromptArrays, chosen_masks
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.prompted.hiera import HieraPyramid, HieraSize
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.prompted.tiny_vit import TinyViT
from everymask.models.prompted.vit import ImageEncoderViT
from everymask.models.specs.prompted import PromptedSmall, prompted_labels, prompted_preprocess
from everymask.runtimes.bundle import ANSWERING, RUNTIMES, GraphFacts, read_bundle, write_bundle
from everymask.runtimes.loading import engine_of
from everymask.runtimes.prompted import PromptedBackend
from tests.models.networks import PROMPTED, shared_network
from tests.runtimes.bundles import small_bundle

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


def asked(side: int, places: int) -> list[PromptArrays]:
    """Of each kind: one point, several, a box, a box with a point, an earlier answer with a point, and that alone."""
    draw = np.random.default_rng(0)
    points = (draw.random((5, 2, 2)) * side).astype(np.float32)
    masks = draw.normal(size=(5, places, places)).astype(np.float32) * 4
    box, on = np.tile(np.array((2, 3)), (5, 1)), np.ones((5, 1), np.int64)
    return [
        PromptArrays(points[:1, :1], on[:1], None, several=True),
        PromptArrays(points[:, :1], on, None, several=True, least=0.0),
        PromptArrays(points, np.tile(np.array((1, 0)), (5, 1))),
        PromptArrays(points[:2], box[:2]),
        PromptArrays(np.concatenate([points, points[:, :1]], axis=1), np.concatenate([box, on], axis=1)),
        PromptArrays(points[:, :1], on, masks),
        PromptArrays(points[:1, :0], on[:1, :0], masks[:1]),
    ]


def thin_network(name: str) -> PromptedNetwork:
    """The network with fewer of its encoder's blocks, but of each kind one, and none of its numbers 0."""
    network = copy.deepcopy(shared_network(PROMPTED[name]))
    assert isinstance(network, PromptedNetwork)
    encoder = network.image_encoder
    draw = torch.Generator().manual_seed(0)
    match encoder:
        case ImageEncoderViT():
            encoder.blocks = encoder.blocks[1:3]
        case TinyViT():
            for stage in encoder.layers:
                stage.blocks = stage.blocks[:1]
        case HieraPyramid():
            network.image_encoder = HieraPyramid(HieraSize(32, 1, (1, 1, 2, 1), whole=(3,)), 3, 256)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * (0.1 if parameter.ndim == 1 else 0.05))
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_the_graphs_say_what_the_network_says(name: str) -> None:
    spec, network = PROMPTED[name], thin_network(name)
    own = TorchBackend(network, torch.device("cpu"))
    image = torch.rand(3, 64, 51, generator=torch.Generator().manual_seed(0)).numpy()
    expected = own.encode(image)
    looking, answering = map(to_onnx, trace_both(network))
    for runtime in RUNTIMES:
        engines = [engine_of(graph, runtime, "fp32", threads=1) for graph in (looking, answering)]
        backend = PromptedBackend(engines[0], engines[1], spec, "digest")
        seen = backend.encode(image)
        for mine, theirs in zip(expected.maps, seen.maps, strict=True):
            assert apart({"map": mine}, {"map": theirs}).difference < 1e-3
        for prompts in asked(spec.side, 4 * seen.maps[0].shape[-1]):
            assert_alike(own.answer(expected, prompts), backend.answer(seen, prompts))


@pytest.mark.slow
def test_mobile_sam_looks_as_the_network_does() -> None:
    """It answers with SAM's own decoder."""
    network = thin_network("mobile-sam")
    own, graph = TorchBackend(network, torch.device("cpu")), to_onnx(trace_both(network)[0])
    image = torch.rand(3, 40, 64, generator=torch.Generator().manual_seed(0)).numpy()
    for runtime in RUNTIMES:
        engine = engine_of(graph, runtime, "fp32", threads=1)
        seen = PromptedBackend(engine, engine, PROMPTED["mobile-sam"], "digest").encode(image)
        assert apart({"map": own.encode(image).maps[0]}, {"map": seen.maps[0]}).difference < 1e-3


def assert_alike(one: MaskArrays, other: MaskArrays) -> None:
    assert one.prompts.tolist() == other.prompts.tolist() and len(one.prompts)
    found = apart({"logits": one.logits, "scores": one.scores}, {"logits": other.logits, "scores": other.scores})
    assert found.difference < 1e-3


def test_of_all_masks_those_are_chosen_that_the_network_would_give() -> None:
    logits = np.full((2, 4, 2, 2), -1.0, np.float32)
    logits[0, 0] = 0.01  # nothing of it is there at a threshold of 0.05
    scores = np.array([[0.9, 0.1, 0.3, 0.2], [0.9, 0.1, 0.2, 0.3]], np.float32)
    none = np.zeros((2, 0, 2), np.float32)
    alone = PromptArrays(none, none[..., 0].astype(np.int64))
    np.testing.assert_allclose(chosen_masks(logits, scores, alone, steadied=False).scores, [0.9, 0.9])
    np.testing.assert_allclose(chosen_masks(logits, scores, alone, steadied=True).scores, [0.3, 0.9])
    several = chosen_masks(logits, scores, replace(alone, several=True, least=0.15), steadied=True)
    np.testing.assert_allclose(several.scores, [0.3, 0.2, 0.2, 0.3])
    assert several.prompts.tolist() == [0, 0, 1, 1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small network with random weights."""
    spec = PromptedSmall(side=64, width=32)
    file = tmp_path_factory.mktemp("prompted") / "m.safetensors"
    save_model(file, shared_network(spec, 1), Card(spec, prompted_labels(), prompted_preprocess(spec)))
    return file


@pytest.mark.slow
def test_a_bundle_answers_as_the_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.emz"
    assert run(["export", str(model), "--out", str(out)]) == 0
    assert "run by onnxruntime" in capsys.readouterr().out
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    own, exported = load(model, precision="exact").session(image), load(out).session(image)
    for prompts in ({"points": [[20, 30]]}, {"points": [[40, 10]], "labels": [0]}, {"boxes": [5, 5, 40, 30]}):
        one, other = own.predict(**prompts).instances, exported.predict(**prompts).instances  # type: ignore[arg-type]
        assert one.masks is not None and other.masks is not None
        assert (one.masks.to_dense(0) != other.masks.to_dense(0)).mean() < 1e-3
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    Image.fromarray(image).save(tmp_path / "a.png")
    words = [str(out), str(tmp_path / "a.png"), "--out", str(tmp_path / "masks")]
    assert run(["predict", *words, "--everything", "--points-per-side", "4"]) == 0
    assert run(["predict", *words[:3], str(tmp_path / "none")]) == 2
    assert "finds nothing unasked" in capsys.readouterr().err
    exported.save(tmp_path / "look")
    with pytest.raises(WeightsError, match="another network has seen"):
        load(model).session(image, embedding=tmp_path / "look").predict(points=[[20, 30]])
    without = replace(read_bundle(out), answering=b"")
    write_bundle(tmp_path / "half.emz", without)
    with pytest.raises(WeightsError, match=rf"lacks {ANSWERING}"):
        load(tmp_path / "half.emz")


def test_only_bundles_hold_two_graphs(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--out", "m.onnx"], "becomes two graphs"),
        (["--to", "pt2", "--out", "m.pt2"], "becomes two graphs"),
        (["--layout", "triton", "--out", str(tmp_path / "m")], "becomes two graphs"),
        (["--precision", "int8", "--out", "m.emz"], "int8 yet"),
        (["--max-detections", "5", "--out", "m.emz"], "no number of detections"),
    ):
        assert run(["export", str(model), *words]) == 2
        assert said in capsys.readouterr().err


def test_a_second_graph_of_a_network_that_answers_once_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m.emz", replace(small_bundle(), answering=b"graph", facts=GraphFacts()))
    with pytest.raises(WeightsError, match=rf"has {ANSWERING}"):
        load(tmp_path / "m.emz")


def test_a_bundle_takes_no_number_of_objects() -> None:
    backend = PromptedBackend(None, None, PromptedSmall(), "digest")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no number of detections"):
        backend.with_detections(5)
