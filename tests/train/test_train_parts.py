"""Learning rate, parameter groups, layer presets, and the average of the weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from everymask.errors import ConfigError
from everymask.models.build import build
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import HRNet, PIDNet, SegFormer, SemanticModelSpec, UNet, UPerNet
from everymask.train.ema import Ema
from everymask.train.layers import frozen_parameters, is_selected, learning_parameters, select_layers
from everymask.train.optim import build_optimizer, clip_gradients, learning_rate, set_rate
from tests.train.tiny_training import Tiny, planned, settings

RUN = Path("runs/never-written")


def test_warm_up_rises_to_the_full_rate() -> None:
    config = planned(settings(RUN, schedule="constant", warmup_steps=10, lr=1.0))
    rates = [learning_rate(config, step, 100) for step in range(12)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[5] == pytest.approx(0.5005)
    assert rates[10:] == [1.0, 1.0]


def test_multistep_divides_by_ten_at_fractions_of_the_run() -> None:
    config = planned(settings(RUN, schedule="multistep", milestones=(0.5, 0.75), warmup_steps=0, lr=1.0))
    rates = [learning_rate(config, step, 8) for step in range(8)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_falls_from_the_full_rate_to_zero() -> None:
    config = planned(settings(RUN, schedule="cosine", warmup_steps=10, lr=1.0))
    assert learning_rate(config, 10, 110) == 1.0
    assert learning_rate(config, 60, 110) == pytest.approx(0.5)
    assert learning_rate(config, 110, 110) == pytest.approx(0.0)


def test_poly_and_linear_fall_with_the_rest_of_the_run() -> None:
    for schedule, half in (("linear", 0.5), ("poly", 0.5**0.9)):
        config = planned(settings(RUN, schedule=schedule, warmup_steps=0, lr=1.0))
        assert [learning_rate(config, step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, half, 0.0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_and_biases_do_not_decay(optimizer: str) -> None:
    module = Tiny()
    groups = build_optimizer(module, planned(settings(RUN, optimizer=optimizer, weight_decay=0.1))).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    wanted = {name: 0.1 if parameter.ndim > 1 else 0.0 for name, parameter in module.named_parameters()}
    assert {name: decay[id(parameter)] for name, parameter in module.named_parameters()} == wanted
    assert wanted["backbone.body.bn1.weight"] == 0.0


def test_all_but_the_encoder_learns_at_its_multiple_of_the_rate() -> None:
    module = Tiny()
    optimizer = build_optimizer(module, planned(settings(RUN, head_lr=10.0, weight_decay=0.1)))
    set_rate(optimizer, 0.5)
    groups = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    found = {name: groups[id(parameter)] for name, parameter in module.named_parameters()}
    assert (found["head.weight"], found["head.bias"]) == ((5.0, 0.1), (5.0, 0.0))
    assert (found["backbone.body.conv1.weight"], found["backbone.body.bn1.weight"]) == ((0.5, 0.1), (0.5, 0.0))
    assert len(optimizer.param_groups) == 4
    assert len(build_optimizer(module, planned(settings(RUN))).param_groups) == 2


def test_clipping_shortens_only_long_gradients() -> None:
    parameter = nn.Parameter(torch.zeros(4))
    for limit, length in ((math.inf, 6.0), (10.0, 6.0), (1.5, 1.5)):
        parameter.grad = torch.full((4,), 3.0)
        assert float(clip_gradients([parameter], limit)) == pytest.approx(6.0)
        assert float(parameter.grad.norm()) == pytest.approx(length, rel=1e-5)


@pytest.mark.parametrize(
    ("selection", "stages"),
    [("heads", ""), ("5+", "5"), ("4+", "45"), ("3+", "345"), ("all", "12345")],
)
def test_presets_train_stages_of_the_encoder(selection: str, stages: str) -> None:
    body = {"1": "conv1.weight", "2": "layer1.0.conv1.weight", "3": "layer2.1.bn1.bias", "4": "layer3.0.conv2.weight"}
    body |= {"5": "layer4.1.conv1.weight"}
    with torch.device("meta"):
        module = build(MaskRCNN(encoder="resnet18"), 2)
    learning = {stage for stage, name in body.items() if is_selected(module, f"backbone.body.{name}", selection)}
    assert learning == set(stages)
    assert is_selected(module, "backbone.fpn.inner_blocks.0.0.weight", selection)
    assert is_selected(module, "roi_heads.box_predictor.cls_score.weight", selection)


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv3_small_100"])
def test_every_parameter_of_an_encoder_belongs_to_one_stage(encoder: str) -> None:
    module = build(MaskRCNN(encoder=encoder, fpn_channels=8, box_fcs=(8,), mask_convs=(8,), mask_channels=8), 2)
    names = [name for name, _ in module.named_parameters() if name.startswith("backbone.body.")]
    presets = ("heads", "5+", "4+", "3+", "all")
    learning = [sum(is_selected(module, name, preset) for name in names) for preset in presets]
    assert learning[0] == 0
    assert learning == sorted(set(learning)), "each preset trains more than the one before"
    stem = [name for name in names if not is_selected(module, name, "3+")]
    assert stem
    assert not any(name.startswith(("backbone.body.layer4", "backbone.body.blocks.5")) for name in stem)


@pytest.mark.parametrize(
    "spec",
    [
        UNet(encoder="resnet18"),
        UNet(encoder="efficientnet_b0"),
        UNet(encoder="plain", decoder_channels=(32, 16, 8, 4)),
        UPerNet(encoder="convnext_atto"),
        HRNet(),
        SegFormer(),
        PIDNet(),
    ],
    ids=lambda spec: str(spec.encoder),
)
def test_presets_train_stages_of_every_semantic_network(spec: SemanticModelSpec) -> None:
    with torch.device("meta"):
        module = build(spec, 3)
    names = [name for name, _ in module.named_parameters()]
    presets = ("heads", "5+", "4+", "3+")
    learning = [{name for name in names if is_selected(module, name, preset)} for preset in presets]
    assert learning[0] == {name for name in names if not name.startswith("backbone.")}
    sizes = [len(chosen) for chosen in (*learning, names)]
    assert sizes == sorted(set(sizes)), "each preset trains more than the one before"


def test_layers_that_do_not_learn_keep_weights_and_statistics() -> None:
    module = Tiny()
    select_layers(module, "heads")
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert module.training
    assert not module.backbone.body.bn1.training
    select_layers(module, "all")
    assert module.backbone.body.bn1.training


def test_an_expression_selects_by_name_and_must_match() -> None:
    module = Tiny()
    select_layers(module, r"layer[24]\.weight")
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    assert learning == {"backbone.body.layer2.weight", "backbone.body.layer4.weight"}
    with pytest.raises(ConfigError, match=r"'decoder'.*\n.*backbone.body.conv1.weight"):
        select_layers(module, "decoder")


def test_norms_that_the_model_freezes_stay_frozen() -> None:
    spec = MaskRCNN(encoder="resnet18", norm="frozen", fpn_channels=8, box_fcs=(8,), mask_convs=(8,), mask_channels=8)
    module = build(spec, 2)
    frozen = frozen_parameters(module)
    select_layers(module, "all", frozen)
    assert "backbone.body.bn1.weight" in frozen
    assert {name for name, p in module.named_parameters() if not p.requires_grad} == frozen


def test_average_follows_slowly_and_faster_at_first() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    ema = Ema(module, 0.9)
    nn.init.ones_(module.weight)
    ema.update(0)
    assert float(ema.module.weight) == pytest.approx(0.9)
    nn.init.zeros_(module.weight)
    ema.update(10_000)
    assert float(ema.module.weight) == pytest.approx(0.81)
    assert not ema.module.weight.requires_grad


def test_average_includes_the_statistics() -> None:
    module = nn.BatchNorm1d(2)
    ema = Ema(module, 0.5)
    module.running_mean.fill_(1.0)
    module.num_batches_tracked.fill_(7)
    ema.update(10_000)
    assert ema.module.running_mean.tolist() == [0.5, 0.5]
    assert int(ema.module.num_batches_tracked) == 7


@pytest.mark.parametrize(("typed", "meant"), [("head", "heads"), ("al", "all"), ("haeds", "heads")])
def test_a_preset_with_a_typing_mistake_is_not_a_regular_expression(typed: str, meant: str) -> None:
    module = build(MaskRCNN(encoder="mobilenetv3_small_100", fpn_channels=8), 1)
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        learning_parameters(module, typed)
