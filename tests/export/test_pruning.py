"""A U-Net loses whole channels and is rebuilt from its spec and a table; what it loses of the metric is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from everymask.api import load
from everymask.cli import run
from everymask.core.files import write_json
from everymask.core.labels import labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, WeightsError
from everymask.export import pruned_run
from everymask.export.pruned_run import PruneConfig, PrunedRun, prune_run
from everymask.export.pruning import prune
from everymask.models.base import Network
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.inference import ready_to_predict
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.semantic import FCN, PLAIN_ENCODER, SemanticModelSpec, UNet
from everymask.settings.config import TrainConfig
from everymask.train.folder.layout import BEST, CONFIG

pytest.importorskip("torch_pruning")
SMALL = UNet(encoder=PLAIN_ENCODER, decoder_channels=(64, 32))
WIDE = UNet(encoder="resnet18", decoder_channels=(64, 32, 32, 32, 16))


def seeded(spec: SemanticModelSpec) -> Network:
    """Random weights; norms that have seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(spec, 3)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean = torch.randn(module.num_features)
                module.running_var = torch.rand(module.num_features) + 0.5
    return network.eval()


@pytest.mark.parametrize("mode", ["nearest", pytest.param("transposed", marks=pytest.mark.slow)])
def test_spec_and_table_rebuild_what_was_pruned(mode: Any, tmp_path: Path) -> None:
    pruned = prune(seeded(replace(SMALL, upsampling=mode)), 0.5)
    spec = pruned.network.spec
    assert isinstance(spec, UNet)
    assert pruned.after < 0.4 * pruned.before and ("decoder.1.conv2.0", 16, 16) in spec.pruned
    card = Card(spec, labels_of(["a", "b", "c"]), Preprocess())
    save_model(tmp_path / BEST, pruned.network, card)
    rebuilt, held = load_model(tmp_path / BEST)
    assert held == card
    images = torch.rand(1, 3, 33, 70, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        own = pruned.network(images).logits
        assert torch.equal(own, rebuilt(images).logits)
        torch.testing.assert_close(ready_to_predict(rebuilt)(images).logits, own, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_encoders_of_timm_are_pruned_and_pruned_again() -> None:
    once = prune(seeded(WIDE), 0.3)
    twice = prune(once.network, 0.3)
    assert twice.before == once.after and twice.after < 0.7 * once.after


def test_the_channels_that_go_are_those_of_small_weights() -> None:
    network = seeded(SMALL)
    first = network.get_submodule("backbone.levels.0.0.0")
    assert isinstance(first.weight, torch.nn.Parameter)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("backbone.levels.0.0"):
                parameter[::2] *= 1e-3
    kept = prune(network, 0.5).network.get_submodule("backbone.levels.0.0.0").weight
    assert torch.equal(kept, first.weight[1::2])  # type: ignore[arg-type]


def test_specs_without_a_table_are_stored_as_before() -> None:
    assert "pruned" not in spec_to_json(SMALL)
    table = (("decoder.0.conv1.0", 8, 8),)
    assert spec_from_json(json.loads(json.dumps(spec_to_json(replace(SMALL, pruned=table))))).pruned == table  # type: ignore[union-attr]


def test_a_table_that_does_not_fit_is_refused() -> None:
    for row in (("decoder.0.conv1.0", 4096, 8), ("decoder.0.conv1.1", 8, 8), ("nothing", 8, 8), ("classifier", 8, 0)):
        with pytest.raises(ConfigError, match="the network has no layer"):
            build(replace(SMALL, pruned=(row,)), 3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (FCN(encoder="resnet18"), "FCN cannot be pruned yet"),
        (replace(SMALL, fusion="early"), "UNet cannot be pruned yet for two dates"),
        (replace(SMALL, decoder_norm="group"), "is neither a plain convolution nor a batch norm"),
        (UNet(encoder="mobilenetv3_small_100"), "is neither a plain convolution"),
    ],
)
def test_what_cannot_be_pruned_says_so(spec: SemanticModelSpec, message: str) -> None:
    with torch.device("meta"):
        network = build(spec, 3)
    with pytest.raises(ConfigError, match=message):
        prune(network, 0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a network that has learned nothing, and its data."""
    folder = tmp_path_factory.mktemp("run")
    write_shapes(folder / "data", train=4, val=2, size=32)
    labels = read_dataset(folder / "data", task="semantic").labels
    network = seeded(SMALL) if len(labels) == 3 else build(SMALL, len(labels)).eval()
    save_model(folder / "run" / BEST, network, Card(SMALL, labels, Preprocess(3, resize=Resize(32, 32))))
    config = TrainConfig(
        data=str(folder / "data"), out=str(folder / "run"), task="semantic", model=SMALL, batch=2, workers=0, size=32
    )
    write_json(folder / "run" / CONFIG, config.to_json())
    return folder / "run"


@pytest.mark.slow
def test_a_pruned_run_learns_on_and_is_compared(trained: Path, tmp_path: Path) -> None:
    config = PruneConfig(source=str(trained), out=str(tmp_path / "p"), ratio=0.5, time_limit="2s", max_loss=1)
    found = prune_run(config)
    assert isinstance(found, PrunedRun)
    assert found.after < found.before and found.compared.name == "mIoU" and found.compared.num_pictures == 2
    assert found.run.config.time_limit == "2s" and load(tmp_path / "p").card.spec.pruned  # type: ignore[union-attr]
    data = str(trained.parent / "data")
    assert run(["train", data, "--resume", "--out", str(tmp_path / "p"), "--time-limit", "3s"]) == 0


@pytest.mark.slow
def test_too_great_a_loss_is_refused_and_the_run_stays(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(*given: Any) -> Any:
        found = compare(*given)
        return replace(found, second=found.first - 0.1, difference=-0.1)

    compare = pruned_run.compare_metric
    monkeypatch.setattr(pruned_run, "compare_metric", worse)
    config = PruneConfig(source=str(trained), out=str(tmp_path / "p"), ratio=0.5, time_limit="1s")
    with pytest.raises(WeightsError, match=r"loses 0\.1000 of mIoU"):
        prune_run(config)
    assert (tmp_path / "p" / BEST).is_file()


def test_what_means_nothing_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([str(trained), "--ratio", "1.5"], "between 0 and 1"),
        ([str(trained), "--max-loss", "2"], "between 0 and 1"),
        ([str(trained / BEST)], "is no run folder"),
        (["otsu"], "is no run folder"),
    ):
        assert run(["prune", *words, "--out", str(tmp_path / "p")]) == 2
        assert said in capsys.readouterr().err
    assert run(["prune", str(trained), "--out", str(trained)]) == 2
    assert "a folder of its own" in capsys.readouterr().err
