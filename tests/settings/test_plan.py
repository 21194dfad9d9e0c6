"""A plan leaves nothing open and refuses what belongs to another task, in one place and with the cure."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.settings.plan import GROUPS, Plan, SemanticSettings, plan_of
from everymask.settings.schedule import Phase
from everymask.tasks.table import task_of

MEASURED = Fingerprint(
    pictures=100,
    measured=50,
    short=100.0,
    long=200.0,
    channels=3,
    dtype="uint8",
    scale=255.0,
    mean=(0.4, 0.4, 0.4),
    std=(0.3, 0.3, 0.3),
    object_sizes=(),
    max_objects=0,
    class_shares=(0.9, 0.1),
)
COMPLETE = TrainConfig(
    data="d",
    model=FasterRCNN(),
    epochs=3,
    batch=2,
    size=64,
    optimizer="sgd",
    lr=0.1,
    head_lr=1.0,
    weight_decay=0.0,
    warmup_steps=0,
    validate_every=1,
    max_detections=9,
    precision="fp32",
    workers=0,
)
MAPS = replace(COMPLETE, model=UNet(), loss="ce", max_detections=None)


def planned(config: TrainConfig) -> Plan:
    return plan_of(config, task_of(config.model or MaskRCNN()).settings, MEASURED, Preprocess())


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "epochs",
        "batch",
        "size",
        "optimizer",
        "lr",
        "head_lr",
        "weight_decay",
        "warmup_steps",
        "validate_every",
        "max_detections",
        "workers",
    ],
)
def test_an_open_setting_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"the setting '{name}' is still open"):
        planned(replace(COMPLETE, **{name: None}))


def test_an_open_precision_or_loss_is_named() -> None:
    with pytest.raises(ConfigError, match="'precision' is still open"):
        planned(replace(COMPLETE, precision="auto"))
    with pytest.raises(ConfigError, match="'loss' is still open"):
        planned(replace(MAPS, loss=None))


def test_what_is_absent_is_so_by_its_value() -> None:
    plan = planned(COMPLETE)
    assert (plan.time_limit, plan.patience, plan.clip_norm, plan.ema) == (math.inf, math.inf, math.inf, 0)
    asked = replace(COMPLETE, time_limit="2m", patience=3, clip_norm=0.5, ema=0.9, layers="heads:1,all")
    plan = planned(asked)
    assert (plan.time_limit, plan.patience, plan.clip_norm, plan.ema) == (120, 3, 0.5, 0.9)
    assert plan.phases == (Phase("heads", 1), Phase("all", None))


def test_classes_weigh_as_they_were_measured() -> None:
    plan = planned(replace(MAPS, class_weights="auto"))
    assert isinstance(plan.task_settings, SemanticSettings)
    assert plan.task_settings.class_weights == pytest.approx((1 / math.log(1.92), 1 / math.log(1.12)))


OTHERS: dict[str, tuple[ModelSpec, object, str, str]] = {
    "loss": (FasterRCNN(), "ce", "semantic networks, but FasterRCNN", "--model unet"),
    "class_weights": (FasterRCNN(), "auto", "semantic networks, but FasterRCNN", "--model unet"),
    "label_smoothing": (FasterRCNN(), 0.1, "semantic networks, but FasterRCNN", "--model unet"),
    "max_detections": (UNet(), 9, "networks that find objects, but UNet", "--model mask-rcnn"),
    "things": (UNet(), ("car",), "panoptic networks, but UNet", "--model panoptic-fpn"),
    "stuff": (FasterRCNN(), ("sky",), "panoptic networks, but FasterRCNN", "--model panoptic-fpn"),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_settings_of_another_task_are_refused(name: str) -> None:
    model, value, found, cure = OTHERS[name]
    complete = MAPS if isinstance(model, UNet) else COMPLETE
    with pytest.raises(ConfigError, match=f"{name} is a setting of {found}(.|\n)*leave out {name}.*{cure}"):
        planned(replace(complete, **{name: value}))


def test_every_setting_of_a_task_is_one_of_the_users() -> None:
    own = {column.name for group in GROUPS for column in fields(group)}
    assert own == OTHERS.keys(), "each is refused elsewhere, as tested above"
    assert own <= {column.name for column in fields(TrainConfig)}
