"""Settings refuse what cannot be used, say why, and survive JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from everymask.data.feed.augment import Augment
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import MaskRCNN, mask_rcnn_small
from everymask.models.specs.semantic import HRNet, UNet
from everymask.settings.config import TrainConfig, config_from_json
from everymask.settings.going_on import changed_settings, continued
from everymask.settings.schedule import Phase, layer_phases, phase_at, seconds


@pytest.mark.parametrize("model", [None, UNet(encoder="plain", decoder_channels=(16, 8)), HRNet(ocr=True)])
def test_any_model_survives_json(model: ModelSpec | None) -> None:
    config = TrainConfig(data="cells", model=model, task="semantic", loss="ce+0.5*dice")
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


def test_settings_survive_json() -> None:
    config = TrainConfig(
        data="cells",
        model=MaskRCNN(encoder="resnet18", anchor_sizes=(8, 16, 32, 64, 128)),
        size=(256, 320),
        augment=Augment(vertical=0.5, scale=(0.5, 2.0)),
        milestones=(0.5,),
        layers="heads:2,all",
        lr=0.01,
    )
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"batch": "8"}, "batch", id="F02 text for a number"),
        pytest.param({"batch": True}, "batch", id="F02 truth for a number"),
        pytest.param({"epochs": 1.5}, "epochs", id="F02 part of an epoch"),
        pytest.param({"optimizer": "adam"}, "adamw, sgd", id="F02 unknown optimizer"),
        pytest.param({"lr": -0.1}, "lr", id="F03 lr below 0"),
        pytest.param({"lr": 0.0}, "lr", id="F03 lr 0"),
        pytest.param({"head_lr": 0.0}, "head_lr", id="F03 head_lr 0"),
        pytest.param({"lr": float("nan")}, "lr", id="F03 lr nan"),
        pytest.param({"lr": float("inf")}, "lr", id="F03 lr inf"),
        pytest.param({"batch": 0}, "batch", id="F03 batch 0"),
        pytest.param({"momentum": 1.0}, "momentum", id="F03 momentum 1"),
        pytest.param({"ema": 1.0}, "ema", id="F03 ema 1"),
        pytest.param({"milestones": (0.9, 0.7)}, "milestones", id="F03 milestones fall"),
        pytest.param({"size": 8}, "size", id="F14 crop too small"),
        pytest.param({"size": (64, 64, 3)}, "size", id="F14 crop with three sides"),
        pytest.param({"resume": True, "overwrite": True}, "resume", id="F10 exclusive"),
        pytest.param({"val_fraction": 0.6, "test_fraction": 0.4}, "train on", id="F16 nothing left"),
        pytest.param({"time_limit": "30 minutes"}, "90s, 30m, 2h", id="F03 time limit"),
        pytest.param({"layers": "heads:5,all", "epochs": 5}, "epoch 5", id="F03 phase never begins"),
        pytest.param({"layers": "heads,all"}, "heads", id="F03 phase without end"),
        pytest.param({"layers": "(head"}, "regular expression", id="F03 layers regex"),
        pytest.param({"out": "runs/\x07"}, "out", id="F20 control character"),
        pytest.param({"workers": 5000}, "workers", id="F18 workers"),
        pytest.param({"task": "tracking"}, "instance, panoptic, semantic", id="F02 unknown task"),
        pytest.param({"loss": "ce+dise"}, "did you mean 'dice'", id="F02 unknown loss"),
        pytest.param({"class_weights": None}, "auto, none", id="F02 nothing for a choice"),
        pytest.param({"model": "maskrcnn"}, "did you mean mask-rcnn", id="F02 unknown model"),
        pytest.param({"model": MaskRCNN}, r"model=MaskRCNN(", id="F02 a class for a network"),
        pytest.param({"model": 50}, "a network or its name", id="F02 a number for a network"),
        pytest.param({"model": "mask-rcnn", "encoder": "resnet51"}, "resnet50", id="F02 unknown encoder"),
        pytest.param({"encoder": "resnet51"}, "did you mean resnet50", id="F02 unknown encoder alone"),
        pytest.param({"encoder": "hrnet_w18"}, "--model unet", id="F02 encoder of one task alone"),
        pytest.param({"model": "mask-rcnn", "head": "binary"}, "finds objects", id="F02 head of objects"),
        pytest.param({"norm": "layer"}, "batch, frozen, group", id="F02 unknown norm"),
        pytest.param({"task": "Instance"}, "did you mean instance", id="F02 task in capitals"),
        pytest.param({"label_smoothing": 1.0}, "label_smoothing", id="F03 nothing left of the truth"),
    ],
)
def test_unusable_settings_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace("(", r"\(")):
        TrainConfig(**({"data": "cells"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ({"model": "mask-rcnn-small"}, mask_rcnn_small()),
        ({"model": "unet", "encoder": "resnet18", "head": "binary"}, UNet(encoder="resnet18", head="binary")),
        ({"model": MaskRCNN(channels=4), "encoder": "resnet18"}, MaskRCNN(channels=4, encoder="resnet18")),
        ({"head": "multilabel"}, UNet(head="multilabel")),
    ],
)
def test_networks_have_in_python_the_names_of_the_command_line(words: dict[str, object], model: ModelSpec) -> None:
    config = TrainConfig(data="d", **words)  # type: ignore[arg-type]
    assert config.model == config.network == model
    assert (config.encoder, config.norm, config.head) == (None, None, None)
    assert config_from_json({"data": "d", **{name: word for name, word in words.items() if name != "model"}})
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_run_goes_on_by_the_words_with_which_it_began() -> None:
    """Also one of an earlier version, which kept the words for the encoder in the model."""
    stored = TrainConfig(data="d", model=MaskRCNN(encoder="resnet18"), task="instance", epochs=3)
    words = TrainConfig(data="d", encoder="resnet18", norm="batch", resume=True)
    for origin in (replace(words, resume=False), TrainConfig(data="d", model=MaskRCNN(encoder="resnet18"))):
        assert continued(stored, origin, words).model == stored.model
        with pytest.raises(ConfigError, match="encoder was 'resnet18', now 'resnet34'"):
            continued(stored, origin, replace(words, encoder="resnet34"))


def test_paths_may_be_paths() -> None:
    config = TrainConfig(data=Path("d"), out=Path("o"), images=Path("i"), weights=Path("w"))  # type: ignore[arg-type]
    assert (config.data, config.out, config.images, config.weights) == ("d", "o", "i", "w")


@pytest.mark.parametrize(
    ("values", "near"),
    [
        pytest.param({"data": "d", "epoch": 3}, "'epochs'", id="F01 typo"),
        pytest.param({"data": "d", "augment": {"flp": 1.0}}, "'augment.flip'", id="F01 typo inside"),
    ],
)
def test_unknown_settings_get_the_nearest_name(values: dict[str, object], near: str) -> None:
    with pytest.raises(ConfigError, match=near):
        config_from_json(values)


def test_missing_data_is_named() -> None:
    with pytest.raises(ConfigError, match="'data'"):
        config_from_json({"epochs": 3})


def test_changed_settings_lists_both_values() -> None:
    before, after = TrainConfig(data="d", seed=1), TrainConfig(data="d", seed=2)
    assert changed_settings(before, after) == {"seed": (1, 2)}


@pytest.mark.parametrize(
    ("text", "wanted"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("0.5H", 1800)]
)
def test_durations(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "30", "m", "0s", "-5m", "5m2h"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="90s, 30m, 2h"):
        seconds(text)


def test_phases_follow_each_other() -> None:
    phases = layer_phases("heads:5, 4+:10, all")
    assert phases == (Phase("heads", 5), Phase("4+", 15), Phase("all", None))
    assert [phase_at(phases, epoch).selection for epoch in (0, 4, 5, 14, 15, 99)] == [
        "heads", "heads", "4+", "4+", "all", "all",
    ]  # fmt: skip


def test_an_expression_may_hold_colons() -> None:
    assert layer_phases(r"(?:rpn|roi)\..*") == (Phase(r"(?:rpn|roi)\..*", None),)
