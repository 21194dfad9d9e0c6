"""Where a training starts when nothing is said: trained weights that can be had, else nothing, and a line about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from everymask.core.labels import labels_of
from everymask.errors import WeightsError
from everymask.models.blocks.encoders import imagenet_weights
from everymask.models.pretrained import check_encoder, published_encoder
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.named import network
from everymask.models.specs.regions import ENCODERS, MaskRCNN, mask_rcnn_small
from everymask.models.specs.semantic import DeepLabV3, PIDNet, UNet
from everymask.settings.config import TrainConfig
from everymask.train.run import train
from everymask.train.start import build_start, trained_as, usual_source

ENCODER = "mobilenetv3_small_100"
FILE = "mobilenetv3_small_100.lamb_in1k.safetensors"
SMALL = mask_rcnn_small(encoder=ENCODER, fpn_channels=16, box_fcs=(16,), mask_convs=(16,), mask_channels=16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like that at Hugging Face, made here: the whole network with its classifier."""
    file = tmp_path_factory.mktemp("weights") / FILE
    with torch.random.fork_rng():
        torch.manual_seed(5)
        save_file(timm.create_model(ENCODER).state_dict(), file)
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "everymask").mkdir(parents=True)
    return tmp_path / "cache" / "everymask"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def mirror(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on loopback that has the file where Hugging Face has it."""
    place = tmp_path / "served" / "timm" / "mobilenetv3_small_100.lamb_in1k" / "resolve" / "main"
    place.mkdir(parents=True)
    shutil.copy(weights, place / "model.safetensors")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as httpd:
        thread = Thread(target=httpd.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{httpd.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.delenv("EVERYMASK_OFFLINE")
        yield address
        httpd.shutdown()
        thread.join()


def test_an_encoders_weights_are_fetched_said_and_used(mirror: str, cache: Path, weights: Path) -> None:
    said: list[str] = []
    source, lost = usual_source("auto", SMALL, 3, said.append)
    assert source is not None and source.spec is None and lost == ()
    assert (cache / FILE).read_bytes() == weights.read_bytes()
    assert len(said) == 1 and f"the ImageNet weights of {ENCODER}: 10.2 MB, apache-2.0 (timm), from {mirror}" in said[0]
    module, line = build_start(SMALL, labels_of(["a"]), source, 0)
    assert line.endswith("encoder trained on ImageNet (timm/mobilenetv3_small_100.lamb_in1k, apache-2.0 (timm))")
    stored = load_file(weights)
    own = {name.removeprefix("backbone.body."): tensor for name, tensor in module.state_dict().items()}
    shared = [name for name in own if name in stored]
    assert len(shared) > 150 and all(torch.equal(own[name], stored[name]) for name in shared)


def test_an_encoders_first_layer_is_adapted_to_other_channels(cache: Path, weights: Path) -> None:
    shutil.copy(weights, cache)
    source, _ = usual_source("auto", SMALL, 5, pytest.fail)
    module, _ = build_start(replace(SMALL, channels=5), labels_of(["a"]), source, 0)
    assert module.state_dict()["backbone.body.conv_stem.weight"].shape[1] == 5


@pytest.mark.parametrize("word", ["auto", "required", "imagenet"])
def test_without_network_only_auto_goes_on_and_says_what_is_lost(word: str, cache: Path) -> None:
    if word != "auto":
        with pytest.raises(WeightsError, match="EVERYMASK_OFFLINE"):
            usual_source(word, SMALL, 3, pytest.fail)
        return
    source, (line,) = usual_source(word, SMALL, 3, pytest.fail)
    assert source is None
    assert "random weights" in line and "\n" not in line
    assert "https://huggingface.co/timm/mobilenetv3_small_100.lamb_in1k/resolve/main/model.safetensors" in line
    assert str(cache / FILE) in line


def test_none_is_silent() -> None:
    assert usual_source("none", SMALL, 3, pytest.fail) == (None, ())


@pytest.mark.parametrize("content", [b"not a model", None], ids=["no safetensors", "of another network"])
def test_a_file_in_the_cache_that_does_not_fit_is_named(content: bytes | None, cache: Path, weights: Path) -> None:
    (cache / FILE).write_bytes(content or b"")
    if content is None:
        save_file({"conv_stem.weight": torch.zeros(16, 3, 3, 3)}, cache / FILE)
    source, (line,) = usual_source("auto", SMALL, 3, pytest.fail)
    assert source is None and FILE in line
    with pytest.raises(WeightsError, match=FILE):
        usual_source("required", SMALL, 3, pytest.fail)


def test_of_some_networks_there_are_no_weights(cache: Path) -> None:
    source, (line,) = usual_source("auto", PIDNet(), 3, pytest.fail)
    assert source is None and "pidnet_s" in line
    with pytest.raises(WeightsError, match="pidnet_s"):
        usual_source("required", PIDNet(), 3, pytest.fail)


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        (network("mask-rcnn"), "maskrcnn-resnet50-fpn-coco"),
        (network("mask-rcnn-v2"), "maskrcnn-resnet50-fpn-v2-coco"),
        (network("faster-rcnn"), "fasterrcnn-resnet50-fpn-coco"),
        (network("deeplabv3"), "deeplabv3-resnet50-coco-voc"),
        (DeepLabV3(encoder="resnet101"), "deeplabv3-resnet101-coco-voc"),
        (DeepLabV3(head="binary"), "deeplabv3-resnet50-coco-voc"),
        (network("lraspp", head="binary"), "lraspp-mobilenet-v3-large-coco-voc"),
        (MaskRCNN(encoder="resnet18"), None),
        (MaskRCNN(norm="group"), None),
        (network("mask-rcnn-small"), None),
        (UNet(), None),
    ],
)
def test_the_catalogues_weights_are_of_this_very_network(spec: ModelSpec, row: str | None) -> None:
    found = trained_as(spec)
    assert (found and found[0].name) == row
    if found:
        assert replace(found[1], **{"head": "multiclass"} if hasattr(found[1], "head") else {}) == found[0].spec
        assert getattr(found[1], "head", None) == getattr(spec, "head", None)


def test_every_encoder_of_detectors_has_published_weights_with_a_licence() -> None:
    for name in ENCODERS:
        known, published = imagenet_weights(name), published_encoder(name)
        assert known is not None and published is not None
        assert known.licence in ("apache-2.0", "bsd-3-clause", "mit")
        assert published.url == f"https://huggingface.co/{known.repository}/resolve/main/model.safetensors"
    lite = imagenet_weights("tf_efficientnet_lite0")
    assert lite is not None and lite.mean == (0.5, 0.5, 0.5), "not every encoder wants the same normalisation"


def test_a_file_for_another_encoder_is_refused(weights: Path) -> None:
    check_encoder(ENCODER, weights)
    with pytest.raises(WeightsError, match="resnet18"):
        check_encoder("resnet18", weights)


@pytest.mark.slow
def test_a_run_starts_from_the_cache_and_goes_on_without_it(
    shapes: Path, cache: Path, weights: Path, tmp_path: Path
) -> None:
    shutil.copy(weights, cache)
    config = TrainConfig(data=str(shapes), out=str(tmp_path / "run"), model=SMALL, epochs=1, batch=1, size=64)
    console = Console(record=True, file=StringIO(), width=400)
    train(config, console=console)
    assert "encoder trained on ImageNet" in console.export_text()
    (cache / FILE).unlink()
    longer = Console(record=True, file=StringIO(), width=400)
    train(replace(config, resume=True, epochs=2), console=longer)
    assert "weights" not in longer.export_text()
