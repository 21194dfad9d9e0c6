"""Published recipes: what they set is what is trained with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import Fingerprint
from everymask.models.specs.semantic import FCN, segformer
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.going_on import changed_settings
from everymask.settings.published import (
    dilated_cityscapes,
    dilated_voc,
    hrnet_cityscapes,
    segformer_ade20k,
    segformer_cityscapes,
)
from everymask.settings.semantic_recipes import resolve_semantic


def b0_ade20k(data: str, out: str) -> TrainConfig:
    return segformer_ade20k(data, out, weights="mit_b0.bin")


def b5_cityscapes(data: str, out: str) -> TrainConfig:
    return segformer_cityscapes(data, out, weights="mit_b5.bin", size="b5")


PICTURES = {dilated_voc: 10_582, dilated_cityscapes: 2_975, hrnet_cityscapes: 2_975}
PICTURES |= {b0_ade20k: 20_210, b5_cityscapes: 2_975}
STEPS = {dilated_voc: 40_000, dilated_cityscapes: 80_000, hrnet_cityscapes: 120_000}
STEPS |= {b0_ade20k: 160_000, b5_cityscapes: 160_000}


@pytest.mark.parametrize("recipe", list(PICTURES), ids=lambda recipe: str(recipe.__name__))
def test_a_recipe_is_complete_and_as_long_as_published(recipe: Callable[[str, str], TrainConfig]) -> None:
    config = recipe("d", "runs/x")
    pictures = PICTURES[recipe]
    statistics = {"channels": 3, "dtype": "uint8", "scale": 255.0, "mean": (0.4,) * 3, "std": (0.2,) * 3}
    measured = Fingerprint(pictures, 50, 375.0, 500.0, object_sizes=(), max_objects=0, **statistics)  # type: ignore[arg-type]
    start = Start(Preprocess(), detects=False)
    resolved = resolve_semantic(config, measured, Facts(num_classes=20, gpu=True, start=start)).settings
    assert set(changed_settings(config, resolved)) <= {"validate_every", "size", "precision", "workers"}, (
        "nothing is left to choose"
    )
    assert resolved.crop == config.crop
    assert resolved.epochs is not None
    assert resolved.batch is not None
    assert resolved.epochs * (pictures // resolved.batch) == pytest.approx(STEPS[recipe], rel=0.02)


def test_other_networks_take_the_same_recipe() -> None:
    assert dilated_voc("d", "runs/x", model=FCN()).model == FCN()


def test_sizes_of_segformer_differ_in_crop_and_width() -> None:
    small, large = (segformer_ade20k("d", "runs/x", weights="w", size=size) for size in ("b0", "b5"))
    assert (small.crop, small.resize, small.model) == ((512, 512), (512, 2048), segformer("b0"))
    assert (large.crop, large.resize, large.model) == ((640, 640), (640, 2048), segformer("b5"))
    assert segformer_cityscapes("d", "runs/x", weights="w").head_lr == 10
