"""What is chosen for networks that answer prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from everymask.errors import ConfigError
from everymask.models.specs.prompted import SAM, SAM2, PromptedModelSpec, PromptedSmall, prompted_preprocess
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.plan import Plan
from everymask.settings.prompted_recipes import resolve_prompted
from tests.settings.test_recipes import PHOTOS

FACTS = Facts(num_classes=3, bf16=True)


def plan(model: PromptedModelSpec | None, facts: Facts = FACTS, **changes: Any) -> Plan:
    return resolve_prompted(TrainConfig(data="d", model=model or PromptedSmall(), **changes), PHOTOS, facts)


def start_of(model: PromptedModelSpec, *, foreign: bool = False) -> Start:
    return Start(prompted_preprocess(model), detects=True, adapts=foreign)


def test_the_small_network_sees_the_pictures_at_their_size() -> None:
    found = plan(None)
    side = found.crop[0]
    assert found.crop == (side, side) and side % 32 == 0 and side >= min(512, PHOTOS.long)
    assert isinstance(found.model, PromptedSmall) and found.model.side == side
    assert (found.preprocess.resize.rule, found.preprocess.resize.long, found.preprocess.divisor) == (
        "segment-anything", side, side,
    )  # fmt: skip
    assert not found.bf16 and found.optimizer == "adamw" and found.ema > 0
    assert plan(None, replace(FACTS, gpu=True)).bf16
    assert plan(PromptedSmall(side=96)).crop == (96, 96)
    assert plan(None, size=160).model == PromptedSmall(side=160)


def test_a_small_network_from_scratch_takes_many_small_steps() -> None:
    found = plan(None)
    assert found.batch == 4 and found.warmup_steps <= 50 and any("batches of 4" in reason for reason in found.reasons)
    assert plan(None, replace(FACTS, processes=2)).batch == 8 and plan(None, batch=6).batch == 6
    assert plan(None, batch=32).lr == plan(None, batch=8).lr > found.lr, "large batches get no higher rate"


def test_trained_weights_are_fine_tuned_gently_at_their_side() -> None:
    for model in (SAM(encoder="tiny_vit"), SAM2()):
        found = plan(model, replace(FACTS, start=start_of(model, foreign=True)))
        assert found.crop == (1024, 1024) and found.lr < 2e-4 and found.model == model
        assert found.preprocess.resize == prompted_preprocess(model).resize
    assert plan(SAM(encoder="tiny_vit"), replace(FACTS, start=start_of(SAM())), size=512).crop == (512, 512)
    small = PromptedSmall(side=64)
    assert plan(small, replace(FACTS, start=start_of(small))).crop == (64, 64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resize": (100, 200)}, "leave out resize"),
        ({"size": (64, 96)}, "sees squares"),
        ({"size": 512, "model": SAM()}, "squares of 1024"),
        ({"size": 100}, "multiple of 32"),
        ({"max_detections": 5}, "leave out max_detections"),
        ({"loss": "dice"}, "leave out loss"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], said: str) -> None:
    model = changes.pop("model", PromptedSmall())
    with pytest.raises(ConfigError) as refused:
        plan(model, replace(FACTS, start=start_of(model)), **changes)
    assert said in str(refused.value)
