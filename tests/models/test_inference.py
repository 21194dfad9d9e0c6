"""A network made ready to predict is the same function."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from everymask.models.blocks.encoders import build_encoder
from everymask.models.build import build
from everymask.models.inference import fold_norms, ready_to_predict
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.roi_align import build_pooler
from everymask.models.specs.regions import ENCODERS, MaskRCNN, Norm, RegionProfile, mask_rcnn_small
from tests.quick import quick


def with_statistics(module: nn.Module) -> nn.Module:
    """Norms that do something, as after training."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values, low in (
                (norm.running_var, 0.5),
                (norm.weight, 0.5),
                (norm.running_mean, -0.5),
                (norm.bias, -0.5),
            ):
                assert values is not None
                values.data.uniform_(low, low + 1, generator=generator)
    return module.eval()


def small(norm: Norm = "batch") -> RCNN:
    torch.manual_seed(0)
    spec = mask_rcnn_small(norm=norm, score_threshold=0.0, max_detections=20, rpn_post_nms=(50, 50))
    module = with_statistics(build(spec, 3))
    assert isinstance(module, RCNN)
    return module


@pytest.mark.parametrize("name", quick(ENCODERS, ["resnet18", "mobilenetv3_small_100"]))
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_every_encoder_folds_completely(name: str, norm: Norm) -> None:
    torch.manual_seed(0)
    body = with_statistics(build_encoder(name, 3, norm, RegionProfile()))
    folded = copy.deepcopy(body)
    fold_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    picture = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for before, after in zip(body(picture), folded(picture), strict=True):
            torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4 * float(before.abs().max()))


def test_norms_that_depend_on_the_picture_stay() -> None:
    ready = ready_to_predict(small("group"))
    assert any(isinstance(module, nn.GroupNorm) for module in ready.modules())


def test_exact_means_the_same_detections() -> None:
    module, picture = small(), torch.randn(2, 3, 96, 128)
    with torch.inference_mode():
        before, after = module(picture), ready_to_predict(module)(picture)
    torch.testing.assert_close(after.boxes, before.boxes, rtol=0, atol=1e-2)
    torch.testing.assert_close(after.scores, before.scores, rtol=0, atol=1e-4)
    assert before.mask_logits is not None and after.mask_logits is not None
    torch.testing.assert_close(after.mask_logits, before.mask_logits, rtol=1e-3, atol=1e-3)


def test_bfloat16_keeps_the_last_layers_exact_and_the_original_as_it_was() -> None:
    module, picture = small(), torch.randn(1, 3, 96, 128)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    ready = ready_to_predict(module, torch.bfloat16)
    predictor = ready.get_submodule("roi_heads.box_predictor")
    assert {p.dtype for p in predictor.parameters()} == {torch.float32}
    assert ready.backbone.dtype == torch.bfloat16
    with torch.inference_mode():
        found = ready(picture)
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    assert found.mask_logits is not None and found.mask_logits.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("ratio", [0, 2])
def test_regions_are_cut_at_exact_places_out_of_bfloat16_maps(ratio: int) -> None:
    """bfloat16 holds 300.5 as 300: boxes must not be rounded with the maps."""
    torch.manual_seed(0)
    maps = [torch.randn(1, 8, 512 // stride, 512 // stride) for stride in (4, 8, 16, 32)]
    boxes, index = (
        torch.tensor([[300.5, 200.3, 420.7, 301.9], [3.3, 400.1, 500.9, 510.2]]),
        torch.zeros(2, dtype=torch.int64),
    )
    profile = RegionProfile(roi_sampling_ratio=ratio)
    exact = build_pooler([x.bfloat16().float() for x in maps], (512, 512), profile).pool(boxes, index, 7)
    fast = build_pooler([x.bfloat16() for x in maps], (512, 512), profile).pool(boxes, index, 7)
    assert fast.dtype == torch.bfloat16
    torch.testing.assert_close(fast.float(), exact, rtol=0.02, atol=0.02)


def test_more_detections_share_the_weights_of_a_ready_network() -> None:
    ready = ready_to_predict(small())
    more = ready.with_detections(40)
    assert (more.spec.max_detections, ready.spec.max_detections) == (40, 20)
    assert more.rpn.spec.rpn_post_nms[1] >= 80
    assert more.backbone is ready.backbone and more.rpn.head is ready.rpn.head
    with torch.inference_mode():
        assert len(more(torch.randn(1, 3, 128, 128)).scores) <= 40


def test_a_mask_is_calculated_for_its_class_only_and_is_that_of_all_classes() -> None:
    torch.manual_seed(0)
    predictor = build(MaskRCNN(encoder="resnet18"), 5).get_submodule("roi_heads.mask_predictor")
    features, rows = torch.randn(4, 256, 14, 14), torch.tensor([1, 5, 2, 2])
    with torch.inference_mode():
        every, own = predictor(features), predictor.own_class(features, rows)  # type: ignore[operator]
    torch.testing.assert_close(own, every[torch.arange(4), rows], rtol=1e-4, atol=1e-5)
