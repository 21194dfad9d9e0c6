"""Our Faster R-CNN on MobileNetV3 and torchvision's are the same network: same weights, same detections and losses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn, fasterrcnn_mobilenet_v3_large_fpn

from everymask.backends.pytorch import TorchBackend
from everymask.core.label_sets import coco_labels
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.infer.predictor import Predictor
from everymask.models.base import Batch
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.catalog import weights_named
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.torchvision import mobilenet_name, upgrade_names
from everymask.models.pretrained import load_pretrained
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import FasterRCNN
from tests.models.torchvision_detectors import expected_detections, real_pictures, same_objects

pytestmark = pytest.mark.slow


SHORT, LONG = 160, 224
PICTURES = 6
MODELS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "full size": (fasterrcnn_mobilenet_v3_large_fpn, "fasterrcnn-mobilenet-v3-large-fpn-coco"),
    "320 pixels": (fasterrcnn_mobilenet_v3_large_320_fpn, "fasterrcnn-mobilenet-v3-large-320-fpn-coco"),
}


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Dataset:
    return real_pictures(shared, PICTURES)


def _network(factory: Callable[..., nn.Module], photographs: Dataset, **options: int) -> nn.Module:
    """torchvision's model with random weights that detect: norms as measured on pictures, heads that disagree."""
    torch.manual_seed(0)
    model = factory(weights=None, weights_backbone=None, num_classes=91, min_size=SHORT, max_size=LONG, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
    with torch.no_grad():
        for head, scale in (("rpn.head.cls_logits", 20.0), ("rpn.head.bbox_pred", 3.0)):
            model.get_submodule(head).weight *= scale
        model.rpn.head.cls_logits.bias -= 3
        model.roi_heads.box_predictor.cls_score.weight *= 15
        images = [_image(photographs, index) for index in range(PICTURES)]
        model.backbone(model.transform(images)[0].tensors)
    return model.eval()


def _image(dataset: Dataset, index: int) -> Tensor:
    return torch.from_numpy(_small(dataset, index)).permute(2, 0, 1).float() / 255


def _small(dataset: Dataset, index: int) -> np.ndarray:
    return cv2.resize(dataset[index].image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)


def _ours(reference: nn.Module, spec: FasterRCNN) -> RCNN:
    ours = build(spec, 90)
    load_exactly(ours, upgrade_names(reference.state_dict()), "torchvision's weights")
    return ours


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", list(MODELS))
def test_same_detections_on_real_pictures(name: str, photographs: Dataset) -> None:
    factory, row = MODELS[name]
    reference, spec = _network(factory, photographs), weights_named(row).spec
    preprocess = Preprocess(resize=Resize(SHORT, LONG))
    # Not made ready for speed: random weights amplify the rounding of folded norms beyond the tolerance.
    network = _ours(reference, spec).eval()
    predictor = Predictor(TorchBackend(network, torch.device("cpu")), Card(spec, coco_labels(), preprocess))
    found = 0
    classes: set[int] = set()
    for index in range(PICTURES):
        picture = _small(photographs, index)
        expected = expected_detections(reference, network, preprocess, picture, to_the_bit=True)
        same_objects(predictor.predict(picture).instances, expected)
        found += len(expected["labels"])
        classes |= set(expected["labels"].tolist())
    assert found >= 100 and len(classes) >= 5, "the weights must detect, or equality means nothing"


def test_weak_regions_are_not_proposed(photographs: Dataset) -> None:
    """Without the threshold there would be more proposals, so that the detections above do depend on it."""
    spec = weights_named("fasterrcnn-mobilenet-v3-large-fpn-coco").spec
    network = _ours(_network(fasterrcnn_mobilenet_v3_large_fpn, photographs), spec).eval()
    image, _ = Preprocess(resize=Resize(SHORT, LONG)).apply(_small(photographs, 0))
    window = torch.tensor([[0, 0, image.shape[2], image.shape[1]]])
    counts = []
    with torch.inference_mode():
        logits, deltas, anchors = network.rpn(network.backbone(torch.from_numpy(image)[None]), image.shape[1:])
        for threshold in (0.05, 0.0):
            network.rpn.spec = replace(spec, rpn_score_threshold=threshold)
            counts.append(len(network.rpn.propose(logits, deltas, anchors, window, training=False)[0]))
    assert 0 < counts[0] < counts[1]


def test_a_picture_without_proposals_has_no_detections() -> None:
    spec = replace(weights_named("fasterrcnn-mobilenet-v3-large-fpn-coco").spec, rpn_score_threshold=1.0)
    with torch.inference_mode():
        assert not len(build(spec, 3).eval()(torch.rand(2, 3, 64, 96)).boxes)


def test_same_training_losses(photographs: Dataset) -> None:
    """With every anchor and region sampled, nothing is left to chance."""
    everything, proposals = 10**6, 100
    options = {
        "rpn_batch_size_per_image": everything,
        "box_batch_size_per_image": everything,
        "rpn_post_nms_top_n_train": proposals,
    }
    reference = _network(fasterrcnn_mobilenet_v3_large_fpn, photographs, **options).train()
    spec = weights_named("fasterrcnn-mobilenet-v3-large-fpn-coco").spec
    spec = replace(
        spec, norm="batch", rpn_samples=everything, box_samples=everything, rpn_post_nms=(proposals, proposals)
    )
    ours = _ours(reference, spec).train()
    images, truths, targets = [], [], []
    size = (SHORT, LONG)
    for index in (0, 1):
        sample = photographs[index]
        assert isinstance(sample.truth, InstanceSet)
        scale = np.array([size[1], size[0]] * 2, np.float32) / np.array([sample.size[1], sample.size[0]] * 2)
        boxes, class_ids = (sample.truth.boxes * scale).astype(np.float32), sample.truth.class_ids
        images.append(torch.from_numpy(cv2.resize(sample.image, size[::-1])).permute(2, 0, 1).float() / 255)
        truths.append(InstanceSet(boxes, class_ids))
        targets.append({"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(class_ids) + 1})
    expected = reference(images, targets)
    normalised = torch.stack([reference.transform.normalize(image) for image in images])
    windows = torch.tensor([(0, 0, *size[::-1])] * 2)
    losses = ours.loss(Batch(normalised, windows, tuple(truths), ("a", "b"), ("a", "b")))
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert abs(losses[name].item() - value.item()) < 1e-4, (name, value.item())


@pytest.mark.parametrize("name", list(MODELS))
def test_a_file_with_the_names_of_the_server_loads(name: str, tmp_path: Path) -> None:
    """Pyramid and RPN have the names of before torchvision 0.13, and frozen norms no counters."""
    factory, row = MODELS[name]
    torch.manual_seed(1)
    original = factory(weights=None, weights_backbone=None, num_classes=91).state_dict()
    tensors = {
        re.sub(r"(_blocks\.\d)\.0\.", r"\1.", new.replace("conv.0.0.", "conv.")): tensor
        for new, tensor in original.items()
        if not new.endswith("num_batches_tracked")
    }
    assert "rpn.head.conv.weight" in tensors and "backbone.fpn.layer_blocks.1.bias" in tensors
    torch.save(tensors, tmp_path / "model.pth")
    module, card = load_pretrained(weights_named(row), tmp_path / "model.pth")
    state = module.state_dict()
    for ours, theirs in (
        ("backbone.body.conv_stem.weight", "backbone.body.0.0.weight"),
        ("backbone.body.blocks.2.1.se.conv_expand.bias", "backbone.body.5.block.2.fc2.bias"),
        ("backbone.body.blocks.6.0.bn1.running_var", "backbone.body.16.1.running_var"),
        ("backbone.fpn.inner_blocks.1.0.bias", "backbone.fpn.inner_blocks.1.0.bias"),
    ):
        assert torch.equal(state[ours], original[theirs])
    assert card.preprocess.resize.short == (320 if "320" in row else 800)


def test_other_names_stay() -> None:
    for name in ("layer1.0.conv1.weight", "17.0.weight", "2.block.9.0.weight", "1.block.2.0.weight"):
        assert mobilenet_name(f"backbone.body.{name}") == f"backbone.body.{name}"
