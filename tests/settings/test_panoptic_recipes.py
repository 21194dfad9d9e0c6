"""What is chosen for a panoptic training, and that each choice is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.panoptic import PanopticFPN, panoptic_fpn_small
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts
from everymask.settings.panoptic_recipes import resolve_panoptic
from everymask.settings.plan import PanopticSettings
from everymask.settings.recipes import resolve

MEASURED = Fingerprint(
    500,
    50,
    128,
    128,
    3,
    "uint8",
    255.0,
    (0.5,) * 3,
    (0.2,) * 3,
    (30, 35, 40, 44, 46),
    6,
    0.0,
    (0.5, 0.5),
    (1, 1, 1, 1, 1),
)
FACTS = Facts(num_classes=6, things=(0, 1, 2))


def test_things_come_from_the_data_and_all_else_is_as_for_objects() -> None:
    plan = resolve_panoptic(TrainConfig(data="x", model=panoptic_fpn_small()), MEASURED, FACTS)
    assert isinstance(plan.model, PanopticFPN) and plan.model.things == (0, 1, 2)
    assert plan.task_settings == PanopticSettings(things=(), stuff=())
    assert plan.reasons[0] == "3 classes are things, 3 stuff"
    alike = resolve(TrainConfig(data="x", model="mask-rcnn-small"), MEASURED, replace(FACTS, things=()))
    for name in ("epochs", "lr", "batch", "crop", "optimizer", "ema", "weight_decay", "preprocess"):
        assert getattr(plan, name) == getattr(alike, name)
    assert plan.model.anchor_sizes == alike.model.anchor_sizes
    assert plan.settings.max_detections is None, "which is a setting of networks that find objects"


def test_what_is_set_stays() -> None:
    config = TrainConfig(data="x", task="panoptic", encoder="resnet34", things=("car",), epochs=7, lr=0.5)
    plan = resolve_panoptic(config, MEASURED, FACTS)
    assert (plan.model.encoder, plan.epochs, plan.lr) == ("resnet34", 7, 0.5)
    assert plan.task_settings == PanopticSettings(things=("car",), stuff=())


def test_without_things_there_is_no_panoptic_training() -> None:
    with pytest.raises(ConfigError, match=r"has no things(.|\n)*--things person,car"):
        resolve_panoptic(TrainConfig(data="x"), MEASURED, Facts(num_classes=3))
    with pytest.raises(ConfigError, match="this recipe is for panoptic-fpn, but the model is UNet"):
        resolve_panoptic(TrainConfig(data="x", model="unet"), MEASURED, FACTS)
