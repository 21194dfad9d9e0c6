"""What is chosen for an RF-DETR."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from everymask.data.fingerprint import Fingerprint
from everymask.data.formats.table import read_dataset
from everymask.errors import ConfigError
from everymask.models.specs.detr import DETR, DETR_KINDS, RFDETR, RFDETRSeg, detr_preprocess, rf_detr_seg_tiny
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.tasks.choice import settle_task
from everymask.tasks.instance import INSTANCE
from everymask.train.start import trained_as

MEASURED = Fingerprint(
    500, 50, 120, 90, 3, "uint8", 255.0, (0.5,) * 3, (0.2,) * 3, (30, 35, 40, 44, 46), 6, 0.0, (), (1, 1, 1, 1, 1)
)
FACTS = Facts(num_classes=3)
START = Start(detr_preprocess(RFDETRSeg()), detects=True)


def test_from_scratch_pictures_are_squares_of_their_own_area_in_whole_patches() -> None:
    plan = INSTANCE.recipe(TrainConfig(data="x", model="rf-detr-seg-nano"), MEASURED, FACTS)
    assert (plan.crop, plan.preprocess.divisor, plan.preprocess.mean) == ((132, 132), 12, (0.5,) * 3)
    assert plan.preprocess.resize.size_of((90, 120)) == (132, 132)
    assert plan.model == RFDETRSeg(side=132) and plan.head_lr == 1.0
    assert (plan.optimizer, plan.ema, plan.clip_norm) == ("adamw", 0.998, 1.0)


def test_from_published_weights_all_is_as_their_authors_have_it() -> None:
    config = TrainConfig(data="x", model="rf-detr-seg-nano", batch=16)
    plan = INSTANCE.recipe(config, replace(MEASURED, max_objects=400), replace(FACTS, start=START))
    assert plan.model == RFDETRSeg() and plan.preprocess == detr_preprocess(RFDETRSeg())
    assert (plan.crop, plan.ema, plan.clip_norm, plan.weight_decay) == ((312, 312), 0.993, 0.1, 1e-4)
    assert (plan.lr, plan.head_lr) == (2.5e-5, 4.0)


def test_what_is_set_stays_and_many_objects_need_many_queries() -> None:
    config = TrainConfig(data="x", model="rf-detr-nano", size=100, max_detections=7, lr=1e-3, ema=0.0)
    plan = INSTANCE.recipe(config, replace(MEASURED, max_objects=400), FACTS)
    assert (plan.crop, plan.preprocess.resize.long, plan.lr, plan.head_lr) == ((128, 128), 128, 1e-3, 1.0)
    assert plan.model == RFDETR(side=128, queries=520, max_detections=7)
    asked = replace(config, resize=(64, 96))
    assert INSTANCE.recipe(asked, MEASURED, FACTS).preprocess.resize.size_of((90, 120)) == (64, 85)


def test_each_name_is_a_size_and_starts_from_its_own_weights() -> None:
    found = {name: trained_as(DETR.named[name]()) for name in DETR.named}
    rows = {name: row and row[0].name for name, row in found.items()}
    none = ("rf-detr-seg-tiny", "rf-detr-nano", "rf-detr-small", "rf-detr-medium")
    assert rows == {name: None if name in none else f"{name}-coco" for name in DETR.named}


def test_the_weights_say_the_size_where_no_name_does(shapes: Path) -> None:
    dataset = read_dataset(shapes)
    stored = DETR.named["rf-detr-seg-large"]()
    assert settle_task(TrainConfig(data="x"), dataset, stored)[1] == stored
    named = TrainConfig(data="x", model="rf-detr-seg-small")
    assert settle_task(named, dataset, stored)[1] == DETR.named["rf-detr-seg-small"]()


def test_settings_that_cannot_be_are_named() -> None:
    for kind in DETR_KINDS.values():
        for changes, message in (
            ({"encoder": "resnet50"}, "there is no encoder 'resnet50' here"),
            ({"queries": 0}, "queries must be at least 1, but got 0"),
            ({"side": 100}, "side one of patch, but got 1[26] and 100"),
            ({"width": 90}, "a multiple of 4"),
            ({"heads": 3}, "a multiple of heads and of read_heads"),
            ({"score_threshold": 2.0}, "must lie between 0 and 1"),
        ):
            with pytest.raises(ConfigError, match=message):
                kind(**changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="norm is a setting of"):
        TrainConfig(data="x", model="rf-detr-nano", norm="group")
    assert rf_detr_seg_tiny(queries=9).queries == 9
