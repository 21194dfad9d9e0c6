"""What every network that answers prompts promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from everymask.core.segmentation import InstanceSet
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.errors import ConfigError
from everymask.models.base import Batch, Embedding, MaskOutputs, Network, PromptBatch, collate
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.inference import ready_to_predict
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.prompted import PROMPTED as FAMILY
from everymask.models.specs.prompted import SAM, SAM2, PromptedSmall, prompted_labels, prompted_preprocess
from everymask.train.layers import learning_parameters
from tests.models.networks import PROMPTED, own_network, shared_network
from tests.quick import quick

IMAGES = torch.rand(2, 3, 64, 51, generator=torch.Generator().manual_seed(0))


def asked(*, several: bool = True) -> PromptBatch:
    """Two prompts: a point and a box with a point beside the object."""
    points = torch.tensor([[[10.0, 20.0], [0, 0], [0, 0]], [[30, 40], [5, 5], [60, 50]]])
    labels = torch.tensor([[1, -1, -1], [0, 2, 3]])
    return PromptBatch(points, labels, None, several, -float("inf"))


def answer(module: Network, images: torch.Tensor = IMAGES[:1]) -> MaskOutputs:
    with torch.no_grad():
        return module.answer(module.embed(images), asked())


def objects_batch() -> Batch:
    """Two pictures of shapes."""
    config = ShapesConfig(size=(64, 64), pictures=2)
    prepared = [prepare(draw_shapes(config, index), Preprocess(resize=Resize(rule="none"))) for index in range(2)]
    return collate(prepared, 64)


@pytest.fixture(params=quick(PROMPTED, ["sam"]))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_look_has_maps_from_coarse_to_fine_and_three_masks_for_each_prompt(name: str) -> None:
    module = shared_network(PROMPTED[name])
    with torch.no_grad():
        seen = module.embed(IMAGES)
    sides = [each.shape[-1] for each in seen.maps]
    coarsest = 8 if name == "prompted-small" else 4
    assert sides == [coarsest, 2 * coarsest, 4 * coarsest][: len(sides)] and all(len(each) == 2 for each in seen.maps)
    found = answer(module)
    assert found.logits.shape == (6, 4 * coarsest, 4 * coarsest) and found.prompts.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.isfinite(found.logits).all() and found.logits.std() > 0 and torch.isfinite(found.scores).all()


def test_a_look_does_not_depend_on_the_batch(name: str) -> None:
    module = shared_network(PROMPTED[name])
    with torch.no_grad():
        both, alone = module.embed(IMAGES), module.embed(IMAGES[1:])
    for mine, theirs in zip(alone.maps, both.maps, strict=True):
        torch.testing.assert_close(mine, theirs[1:], atol=1e-4, rtol=1e-4)


def test_ready_to_predict_it_says_the_same(name: str) -> None:
    module = shared_network(PROMPTED[name])
    expected, found, rough = (
        answer(each) for each in (module, ready_to_predict(module), ready_to_predict(module, torch.bfloat16))
    )
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=1e-3)
    assert rough.logits.dtype == torch.float32
    assert (rough.logits - expected.logits).abs().mean() < 0.1 * expected.logits.std()


def test_saved_and_loaded_it_says_the_same(name: str, tmp_path: Path) -> None:
    spec, module = PROMPTED[name], shared_network(PROMPTED[name])
    save_model(tmp_path / "m.safetensors", module, Card(spec, prompted_labels(), prompted_preprocess(spec)))
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert card.spec == spec and card.preprocess == prompted_preprocess(spec) and not loaded.training
    assert torch.equal(answer(loaded).logits, answer(module).logits)


def test_other_channels_are_seen(name: str) -> None:
    spec = replace(PROMPTED[name], channels=5)
    assert prompted_preprocess(spec).channels == 5
    with torch.no_grad():
        assert isinstance(build(spec, 1).eval().embed(torch.rand(1, 5, 64, 64)), Embedding)


def test_it_learns_and_every_stage_of_its_encoder_has_a_number(name: str) -> None:
    module = own_network(PROMPTED[name])
    losses = module.loss(objects_batch(), torch.Generator().manual_seed(0))
    assert {*losses} == {"focal", "dice", "iou"} and all(torch.isfinite(value) for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    still = [key for key, value in module.named_parameters() if value.requires_grad and value.grad is None]
    assert not still
    stages = {module.encoder_stage(key) for key, _ in module.named_parameters()}
    assert stages == {None, 1, 2, 3, 4, 5}
    assert {key.split(".")[1] for key, _ in module.named_parameters() if module.encoder_stage(key) == 5} >= {"neck"}
    for preset, learns in (("heads", "mask_decoder"), ("5+", "neck"), ("4+", "image_encoder")):
        assert any(learns in key for key in learning_parameters(module, preset))
    assert not any("image_encoder" in key for key in learning_parameters(module, "heads"))


def test_pictures_without_objects_teach_nothing(name: str) -> None:
    module = own_network(PROMPTED[name])
    batch = objects_batch()
    empty = replace(batch, truths=tuple(InstanceSet.empty((64, 64)) for _ in batch.truths))
    total = torch.stack(list(module.loss(empty).values())).sum()
    total.backward()
    assert total == 0 and all(value.grad is not None for value in module.parameters() if value.requires_grad)


def test_it_names_its_exact_parts_and_has_no_classes(name: str) -> None:
    module = shared_network(PROMPTED[name])
    for part in (*module.exact_parts, *module.small_maps):
        assert isinstance(module.get_submodule(part), torch.nn.Module)
    assert not module.class_rows().counts and not module.class_rows().classifiers
    with pytest.raises(ConfigError, match="at most 64 x 64"):
        module.embed(torch.zeros(1, 3, 65, 64))


def test_every_name_has_a_spec_that_is_stored_and_read() -> None:
    for make in FAMILY.named.values():
        assert spec_from_json(spec_to_json(make())) == make()


@pytest.mark.parametrize(
    ("kind", "wrong"), [(SAM, {"encoder": "hiera_t"}), (SAM2, {"encoder": "vit_b"}), (SAM, {"side": 1000}),
                        (SAM2, {"side": 48}), (SAM, {"side": 0}), (SAM, {"channels": 0}),
                        (PromptedSmall, {"encoder": "vit_b"}), (PromptedSmall, {"width": 48})]
)  # fmt: skip
def test_specs_that_cannot_be_built_are_refused(kind: type, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"must be|no encoder"):
        kind(**wrong)
