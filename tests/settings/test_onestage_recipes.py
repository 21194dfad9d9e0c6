"""What is chosen for a one-stage detector."""

from __future__ import annotations

from dataclasses import replace

import pytest

from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.onestage import YOLOX, RTMDetIns, published_preprocess, published_profile
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.onestage_recipes import resolve_one_stage
from everymask.tasks.instance import INSTANCE

MEASURED = Fingerprint(
    500, 50, 128, 128, 3, "uint8", 255.0, (0.5,) * 3, (0.2,) * 3, (30, 35, 40, 44, 46), 6, 0.0, (), (1, 1, 1, 1, 1)
)
FACTS = Facts(num_classes=3)
PUBLISHED = YOLOX(profile=published_profile(YOLOX()))
START = Start(published_preprocess(YOLOX()), detects=True)


def test_from_scratch_pictures_are_normalised_as_measured_and_padding_is_their_mean() -> None:
    plan = INSTANCE.recipe(TrainConfig(data="x", model="yolox-nano"), MEASURED, FACTS)
    assert plan.model == YOLOX() and not plan.model.profile.padding
    assert (plan.preprocess.mean, plan.preprocess.divisor, plan.preprocess.bgr) == ((0.5,) * 3, 32, False)
    assert (plan.optimizer, plan.ema, plan.crop, plan.settings.max_detections) == ("adamw", 0.998, (128, 128), 300)


def test_a_profile_without_its_weights_is_not_kept() -> None:
    plan = resolve_one_stage(TrainConfig(data="x", model=PUBLISHED), MEASURED, FACTS)
    assert plan.model == YOLOX()


def test_from_published_weights_they_are_fed_as_these_and_padded_no_more_than_needed() -> None:
    config = TrainConfig(data="x", model=PUBLISHED, batch=8)
    plan = resolve_one_stage(config, MEASURED, replace(FACTS, start=START))
    assert plan.model == PUBLISHED
    assert plan.preprocess == replace(published_preprocess(YOLOX()), divisor=32)
    scratch = resolve_one_stage(config, MEASURED, FACTS)
    assert plan.lr == pytest.approx(scratch.lr / 5) and plan.epochs < scratch.epochs


def test_many_objects_raise_the_limit_and_what_is_set_stays() -> None:
    crowded = replace(MEASURED, max_objects=400)
    plan = resolve_one_stage(TrainConfig(data="x", model="rtmdet-ins-tiny"), crowded, FACTS)
    assert plan.model == RTMDetIns(max_detections=550)
    config = TrainConfig(data="x", model="yolox-s", optimizer="sgd", batch=64, max_detections=7, epochs=3)
    plan = resolve_one_stage(config, crowded, FACTS)
    assert (plan.lr, plan.weight_decay, plan.model.max_detections, plan.epochs) == (0.01, 5e-4, 7, 3)


def test_norms_and_heads_are_settings_of_others() -> None:
    with pytest.raises(ConfigError, match="norm is a setting of"):
        TrainConfig(data="x", model="yolox-nano", norm="group")
    with pytest.raises(ConfigError, match="there is no encoder 'resnet50'"):
        TrainConfig(data="x", model="rtmdet-ins-tiny", encoder="resnet50")
