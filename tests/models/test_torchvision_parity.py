"""Our Mask R-CNN and torchvision's are the same network: same weights, same detections, same losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from everymask.backends.pytorch import TorchBackend, build_predictor
from everymask.core.label_sets import coco_labels
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.infer.predictor import Predictor
from everymask.models.base import Batch
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import MaskRCNN, mask_rcnn_v2
from tests.models.torchvision_detectors import expected_detections, real_pictures, same_objects

pytestmark = pytest.mark.slow

SHORT, LONG = 128, 176
PICTURES = 20
PROPOSALS = 200
# v1 learns more slowly, so it takes more steps and is less sure of what it finds.
STEPS = {"v1": 14, "v2": 12}
SURE = {"v1": 0.1, "v2": 0.2}
VERSIONS = {"v1": (maskrcnn_resnet50_fpn, MaskRCNN()), "v2": (maskrcnn_resnet50_fpn_v2, mask_rcnn_v2())}


@pytest.fixture(scope="module")
def photographs(shared: Path) -> Dataset:
    return real_pictures(shared, PICTURES)


@pytest.fixture(scope="module", params=list(VERSIONS))
def trained(request: pytest.FixtureRequest, photographs: Dataset) -> tuple[nn.Module, MaskRCNN]:
    """torchvision's model, trained until it finds objects, and the spec of ours."""
    factory, spec = VERSIONS[request.param]
    torch.manual_seed(0)
    model = factory(
        weights=None,
        weights_backbone=None,
        num_classes=91,
        min_size=SHORT,
        max_size=LONG,
        box_score_thresh=SURE[request.param],
        box_batch_size_per_image=64,
        rpn_post_nms_top_n_train=PROPOSALS,
        rpn_post_nms_top_n_test=PROPOSALS,
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.3
    pictures = [_for_torchvision(photographs, index) for index in range(6)]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4 if request.param == "v1" else 1e-3)
    for step in range(STEPS[request.param]):
        pair = [pictures[(2 * step + k) % 6] for k in (0, 1)]
        losses = model([image for image, _ in pair], [{k: v.clone() for k, v in truth.items()} for _, truth in pair])
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    return model.eval(), replace(spec, score_threshold=SURE[request.param], rpn_post_nms=(PROPOSALS, PROPOSALS))


def _for_torchvision(dataset: Dataset, index: int) -> tuple[Tensor, dict[str, Tensor]]:
    sample = dataset[index]
    truth = sample.truth
    assert isinstance(truth, InstanceSet) and truth.masks is not None
    image = torch.tensor(sample.image).permute(2, 0, 1).float() / 255
    dense = np.stack([truth.masks.to_dense(k) for k in range(len(truth))])
    return image, {
        "boxes": torch.from_numpy(truth.boxes),
        "labels": torch.from_numpy(truth.class_ids) + 1,
        "masks": torch.from_numpy(dense).byte(),
    }


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("ready", [False, True], ids=["as trained", "made ready"])
def test_same_detections_on_real_pictures(
    trained: tuple[nn.Module, MaskRCNN], photographs: Dataset, *, ready: bool
) -> None:
    """Made ready to predict, norms are folded and convolutions calculated otherwise: the same but for rounding."""
    reference, spec = trained
    ours = build(spec, 90).eval()
    ours.load_state_dict(reference.state_dict())
    preprocess = Preprocess(resize=Resize(SHORT, LONG))
    card = Card(spec, coco_labels(), preprocess)
    backend = TorchBackend(ours, torch.device("cpu"))
    predictor = build_predictor(ours, card, "cpu", precision="exact") if ready else Predictor(backend, card)
    network = predictor.backend.module
    assert isinstance(network, RCNN)
    found, equal, pixels = 0, 0, 0
    pictures = PICTURES if torch.get_num_threads() == 2 else PICTURES // 4
    for index in range(pictures):
        picture = photographs[index].image
        expected = expected_detections(reference, network, preprocess, picture, to_the_bit=not ready)
        instances = predictor.predict(picture).instances
        rows = same_objects(instances, expected)
        assert instances.masks is not None
        for k, soft in zip(rows, expected["masks"][:, 0].numpy() > 0.5, strict=True):
            mine = instances.masks.to_dense(int(k))
            equal += np.count_nonzero(mine & soft)
            pixels += np.count_nonzero(mine | soft)
        found += len(instances)
    assert found >= 2 * pictures, "the weights must give real detections, or equality means nothing"
    assert equal / pixels >= 0.999


@pytest.mark.parametrize("version", list(VERSIONS))
def test_same_training_losses(version: str, photographs: Dataset) -> None:
    """With every anchor and region sampled, nothing is left to chance."""
    factory, spec = VERSIONS[version]
    everything, proposals = 10**6, 100
    torch.manual_seed(0)
    reference = factory(
        weights=None,
        weights_backbone=None,
        num_classes=91,
        rpn_batch_size_per_image=everything,
        box_batch_size_per_image=everything,
        rpn_post_nms_top_n_train=proposals,
    ).train()
    spec = replace(spec, rpn_samples=everything, box_samples=everything, rpn_post_nms=(proposals, proposals))
    ours = build(spec, 90).train()
    ours.load_state_dict(reference.state_dict())
    size = (128, 160)
    images, truths, targets = [], [], []
    for index in (0, 1):
        sample = photographs[index]
        assert isinstance(sample.truth, InstanceSet) and sample.truth.masks is not None
        masks = sample.truth.masks.resize(size)
        kept = masks.areas() > 4
        masks = masks[kept]
        boxes, class_ids = masks.boxes(), sample.truth.class_ids[kept]
        images.append(torch.from_numpy(cv2.resize(sample.image, size[::-1])).permute(2, 0, 1).float() / 255)
        truths.append(InstanceSet(boxes, class_ids, masks=masks))
        dense = np.stack([masks.to_dense(k) for k in range(len(masks))])
        targets.append(
            {
                "boxes": torch.from_numpy(boxes),
                "labels": torch.from_numpy(class_ids) + 1,
                "masks": torch.from_numpy(dense).byte(),
            }
        )
    _without_resizing(reference)
    expected = reference(images, targets)
    normalised = torch.stack([reference.transform.normalize(image) for image in images])
    losses = ours.loss(
        Batch(normalised, torch.tensor([(0, 0, *size[::-1])] * 2), tuple(truths), ("a", "b"), ("a", "b"))
    )
    assert set(losses) == set(expected)
    for name, value in expected.items():
        assert abs(losses[name].item() - value.item()) < 1e-4, name


def _without_resizing(model: nn.Module) -> None:
    resize: Callable[..., tuple[Tensor, dict[str, Tensor]]] = lambda image, target=None: (image, target)  # noqa: E731
    model.transform.resize = resize
