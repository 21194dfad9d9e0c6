"""What is chosen for a network of queries, by the task that it serves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from everymask.errors import ConfigError
from everymask.models.specs.queries import Mask2Former, QueryTask, mask2former_small
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.plan import InstanceSettings, PanopticSettings, Plan, SemanticSettings
from everymask.tasks.table import task_named
from tests.settings.test_panoptic_recipes import FACTS, MEASURED


def plan(task: QueryTask, facts: Facts = FACTS, objects: int = 6, **settings: object) -> Plan:
    config = TrainConfig(data="x", model=mask2former_small(task=task), **settings)  # type: ignore[arg-type]
    return task_named(task).recipe(config, replace(MEASURED, max_objects=objects), facts)


def test_from_scratch_all_learns_at_one_rate_and_from_an_encoder_that_at_a_tenth() -> None:
    scratch = plan("panoptic", batch=16)
    assert (scratch.optimizer, scratch.weight_decay, scratch.head_lr) == ("adamw", 0.05, 1.0)
    start = Start(MEASURED_FEED, detects=False)
    tuned = plan("panoptic", replace(FACTS, start=start), batch=16)
    assert (tuned.lr, tuned.head_lr, tuned.clip_norm) == (pytest.approx(1e-5), pytest.approx(10), 0.01)
    assert scratch.lr > 10 * tuned.lr and scratch.ema > 0 == tuned.ema
    asked = plan("panoptic", lr=0.5, epochs=7, clip_norm=0.0)
    assert (asked.lr, asked.head_lr, asked.epochs, asked.clip_norm) == (0.5, 1.0, 7, math.inf)


MEASURED_FEED = plan("panoptic").preprocess


def test_each_task_has_its_own_settings() -> None:
    panoptic, objects, maps = (plan(task) for task in ("panoptic", "instance", "semantic"))
    assert isinstance(panoptic.model, Mask2Former) and panoptic.model.things == (0, 1, 2)
    assert panoptic.task_settings == PanopticSettings(things=(), stuff=())
    assert objects.task_settings == InstanceSettings(max_detections=100)
    assert maps.task_settings == SemanticSettings(loss="", class_weights=(), label_smoothing=0.0)
    assert maps.task_settings.pixel_loss is None, "the network has its own"
    assert isinstance(maps.model, Mask2Former) and maps.model.things == ()


def test_there_are_queries_for_all_that_a_picture_shows() -> None:
    assert [model.queries for model in (plan("panoptic").model, plan("instance", objects=30).model)] == [40, 40]  # type: ignore[union-attr]
    many = plan("instance", objects=200).model
    assert isinstance(many, Mask2Former) and (many.queries, many.max_detections) == (260, 260)
    stuffed = plan("panoptic", objects=60)
    assert isinstance(stuffed.model, Mask2Former) and stuffed.model.queries == 90
    assert "90 queries: a picture holds up to 63 of what they find" in stuffed.reasons
    assert plan("instance", objects=200, max_detections=50).settings.max_detections == 50


def test_what_another_task_is_told_is_refused() -> None:
    with pytest.raises(ConfigError, match="a Mask2Former has a loss of its own"):
        plan("semantic", loss="dice")
    with pytest.raises(ConfigError, match="max_detections is a setting of networks that find objects"):
        plan("semantic", max_detections=5)
    with pytest.raises(ConfigError, match=r"has no things(.|\n)*--task semantic"):
        plan("panoptic", Facts(num_classes=3))
