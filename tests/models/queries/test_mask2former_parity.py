"""Our Mask2Former and transformers' are the same network: same weights, same answers, same losses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig
from transformers.models.mask2former import modeling_mask2former

from everymask.core.labels import labels_of
from everymask.errors import WeightsError
from everymask.models.build import build
from everymask.models.checkpoint import load_exactly
from everymask.models.fine_tune import fit_weights
from everymask.models.foreign.mask2former import from_mask2former, mask2former_of
from everymask.models.foreign.recognise import recognise
from everymask.models.foreign.whole_models import load_foreign, read_foreign
from everymask.models.queries.losses import Answer, matched_losses
from everymask.models.queries.matching import match
from everymask.models.queries.network import QueryNetwork
from everymask.models.queries.targets import Targets

pytestmark = pytest.mark.slow

CLASSES, QUERIES, POINTS = 5, 7, 50
STAGES = ["stage1", "stage2", "stage3", "stage4"]
ENCODERS = {
    "resnet18": ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=STAGES,
    ),
    "swin_tiny_patch4_window7_224": SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_features=STAGES
    ),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """That a ResNet is no usual encoder for it, transformers says each time."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


@cache
def reference(encoder: str) -> Mask2FormerForUniversalSegmentation:
    """With random weights of which none is zero, so that offsets and levels matter."""
    config = Mask2FormerConfig(
        backbone_config=ENCODERS[encoder], feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=48, dim_feedforward=64, encoder_layers=2, decoder_layers=5, num_attention_heads=4,
        num_queries=QUERIES, num_labels=CLASSES, train_num_points=POINTS,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Mask2FormerForUniversalSegmentation(config)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point() and not name.startswith(
                    ("model.pixel_level_module.encoder", "criterion")
                ):
                    tensor.add_(0.1 * torch.randn(tensor.shape))
                elif tensor.is_floating_point() and ("running_var" in name or "norm" in name):
                    tensor.add_(0.3 * torch.rand(tensor.shape))
    return model.eval()


@cache
def ours(encoder: str) -> QueryNetwork:
    state = reference(encoder).state_dict()
    spec = replace(mask2former_of(state), task="panoptic", things=(0,), points=POINTS)
    assert (spec.encoder, spec.heads, spec.layers, spec.pixel_layers) == (encoder, 4, 4, 2)
    module = build(spec, CLASSES).eval()
    load_exactly(module, from_mask2former(state), encoder)
    assert isinstance(module, QueryNetwork)
    return module


def pictures(height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def as_theirs(classes: torch.Tensor) -> torch.Tensor:
    return classes.roll(-1, dims=2)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_same_answers_of_every_layer(encoder: str) -> None:
    with torch.inference_mode():
        expected = reference(encoder)(pictures(), output_auxiliary_logits=True)
        found = ours(encoder).answers(pictures())
    layers = [*expected.auxiliary_logits, expected]
    assert len(found) == len(layers) == 5
    assert expected.masks_queries_logits.std() > 0.5 < expected.class_queries_logits.std() * 2
    for mine, theirs in zip(found, layers, strict=True):
        torch.testing.assert_close(as_theirs(mine.classes), theirs["class_queries_logits"], atol=1e-4, rtol=0)
        torch.testing.assert_close(mine.masks, theirs["masks_queries_logits"], atol=1e-4, rtol=0)


def truths() -> list[Targets]:
    draw = torch.Generator().manual_seed(2)
    return [
        Targets(torch.tensor(ids), (torch.rand(len(ids), 64, 96, generator=draw) > 0.7).float())
        for ids in ([3, 0, 4], [1])
    ]


def test_same_pairs_at_the_same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.rand(1, POINTS, 2, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(modeling_mask2former.torch, "rand", lambda *size, **options: points)
    with torch.inference_mode():
        answer = ours("resnet18").answers(pictures())[-1]
        expected = reference("resnet18").criterion.matcher(
            answer.masks, as_theirs(answer.classes), [t.masks for t in truths()], [t.class_ids for t in truths()]
        )
        spec = ours("resnet18").spec
        for classes, masks, truth, (queries, rows) in zip(
            answer.classes, answer.masks, truths(), expected, strict=True
        ):
            mine = match(classes, masks, truth, points, spec)
            assert torch.equal(mine[0], queries) and torch.equal(mine[1], rows)


def test_same_losses_of_the_same_pairs_and_points(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(torch.tensor([1, 4, 6]), torch.tensor([2, 0, 1])), (torch.tensor([3]), torch.tensor([0]))]
    points = torch.rand(4, POINTS, 2, generator=torch.Generator().manual_seed(3))
    criterion: Any = reference("resnet18").criterion
    monkeypatch.setattr(criterion, "sample_points_using_uncertainty", lambda *given: points)
    with torch.inference_mode():
        answer: Answer = ours("resnet18").answers(pictures())[-1]
        masks, ids = [t.masks for t in truths()], [t.class_ids for t in truths()]
        expected = criterion.loss_masks(answer.masks, masks, pairs, torch.tensor(4.0))
        expected |= criterion.loss_labels(as_theirs(answer.classes), ids, pairs)
        found = matched_losses(answer, truths(), pairs, points, ours("resnet18").spec)
    for mine, theirs, weight in (("class", "cross_entropy", 2), ("pixels", "mask", 5), ("dice", "dice", 5)):
        torch.testing.assert_close(found[f"loss_{mine}"], weight * expected[f"loss_{theirs}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_its_files_of_old_and_of_new_names_load(encoder: str, tmp_path: Path) -> None:
    """Files keep the names of transformers 4, memory has those of transformers 5."""
    reference(encoder).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    if "swin" in encoder:
        name = "model.pixel_level_module.encoder.encoder.layers.0.blocks.0.attention.self.query.weight"
        assert name in stored and name not in reference(encoder).state_dict()
    filed, live = from_mask2former(stored), from_mask2former(reference(encoder).state_dict())
    assert filed.keys() == live.keys()
    assert all(torch.equal(filed[name], live[name]) for name in live)
    foreign = read_foreign(tmp_path / "model.safetensors")
    assert foreign is not None
    module, card = load_foreign(foreign, tmp_path / "model.safetensors")
    assert card.spec == replace(mask2former_of(stored), task="semantic")
    assert card.labels.names == tuple(f"LABEL_{number}" for number in range(CLASSES))
    with torch.inference_mode():
        found = module(pictures()).logits
        answer = reference(encoder)(pictures())
    votes = torch.einsum(
        "bqk,bqhw->bkhw",
        answer.class_queries_logits.softmax(dim=2)[..., :-1],
        torch.nn.functional.interpolate(answer.masks_queries_logits, scale_factor=4, mode="bilinear").sigmoid(),
    )
    torch.testing.assert_close(found.exp(), votes, atol=1e-4, rtol=0)


def test_a_training_starts_from_its_weights() -> None:
    foreign = recognise(reference("resnet18").state_dict())
    assert foreign is not None and foreign.origin == "transformers' Mask2Former"
    module = build(replace(ours("resnet18").spec, task="instance", things=()), CLASSES)
    report = fit_weights(module, labels_of("abcde"), foreign.fitting(module), None)
    assert report.reset == ("class_predictor.weight", "class_predictor.bias")


def test_what_is_none_is_refused() -> None:
    state = reference("swin_tiny_patch4_window7_224").state_dict()
    with pytest.raises(WeightsError, match=r"not a Mask2Former of transformers: it has head\.weight"):
        from_mask2former(state | {"head.weight": torch.zeros(1)})
    partial = {name: tensor for name, tensor in state.items() if ".0.attention.k_proj." not in name}
    with pytest.raises(WeightsError, match="not the keys and values"):
        from_mask2former(partial)
    name = "model.pixel_level_module.encoder.swin.embeddings.patch_embeddings.projection.weight"
    with pytest.raises(WeightsError, match=r"encoder that does not exist here(.|\n)*swin_tiny"):
        mask2former_of(state | {name: torch.zeros(64, 3, 4, 4)})
