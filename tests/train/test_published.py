"""Published recipes: what they set is what is trained with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from everymask.data.fingerprint import Fingerprint
from everymask.data.preprocess import Preprocess
from everymask.models.dense_specs import FCN
from everymask.train.config import TrainConfig, changed_settings
from everymask.train.published import dilated_cityscapes, dilated_voc, hrnet_cityscapes
from everymask.train.recipes import Start
from everymask.train.semantic_recipes import resolve_semantic

PICTURES = {dilated_voc: 10_582, dilated_cityscapes: 2_975, hrnet_cityscapes: 2_975}
STEPS = {dilated_voc: 40_000, dilated_cityscapes: 80_000, hrnet_cityscapes: 120_000}


@pytest.mark.parametrize("recipe", list(PICTURES), ids=lambda recipe: str(recipe.__name__))
def test_a_recipe_is_complete_and_as_long_as_published(recipe: Callable[[str, str], TrainConfig]) -> None:
    config = recipe("d", "runs/x")
    pictures = PICTURES[recipe]
    statistics = {"channels": 3, "dtype": "uint8", "scale": 255.0, "mean": (0.4,) * 3, "std": (0.2,) * 3}
    measured = Fingerprint(pictures, 50, 375.0, 500.0, object_sizes=(), max_objects=0, **statistics)  # type: ignore[arg-type]
    start = Start(Preprocess(), detects=False)
    resolved = resolve_semantic(config, measured, num_classes=20, gpu=True, start=start).config
    assert set(changed_settings(config, resolved)) <= {"validate_every", "size"}, "nothing is left to choose"
    assert resolved.crop == config.crop
    assert resolved.epochs is not None
    assert resolved.batch is not None
    assert resolved.epochs * (pictures // resolved.batch) == pytest.approx(STEPS[recipe], rel=0.02)


def test_other_networks_take_the_same_recipe() -> None:
    assert dilated_voc("d", "runs/x", model=FCN()).model == FCN()
