"""torchvision's detectors beside ours, decision by decision.

A detector is not continuous. Rounding decides where a score or an overlap is at its limit, and where a sample of
RoIAlign is at the edge of the map, beyond which it counts as nothing: the 7e-7 by which our resize and PyTorch's differ
moved a box of random weights by 0.35 pixels, in torchvision alone as between torchvision and us. So numbers are
compared with numbers, from the same input and for the same regions, and decisions with those that torchvision takes on
the same numbers. That holds on every processor and with any number of threads. How near our input is to torchvision's
own is asked in `tests/data/feed`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_inference
from torchvision.ops import clip_boxes_to_image

from everymask.core.arrays import Array
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess
from everymask.data.formats.coco.instances import read_coco
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.roi_align import build_pooler

BOXES, SCORES = 1e-2, 1e-4
"""By how much boxes (in pixels) and probabilities may differ."""


def real_pictures(shared: Path, count: int) -> Dataset:
    """The first photographs of COCO that show few objects."""
    folder = shared / "coco128_seg"
    dataset = read_coco(folder / "instances.json", images=folder / "images" / "train2017", policy="skip")
    annotated = [index for index, record in enumerate(dataset.records) if 0 < len(record.objects.annotations) <= 12]
    return dataset.subset(annotated[:count])


class Numbers(NamedTuple):
    """What a network calculates before it decides: of every anchor, and then of every region."""

    maps: list[Tensor]
    objectness: Tensor
    deltas: Tensor


@torch.inference_mode()
def expected_detections(
    reference: nn.Module, network: RCNN, preprocess: Preprocess, picture: Array, *, to_the_bit: bool
) -> dict[str, Tensor]:
    """The detections that torchvision makes of our network's numbers, after these were compared with its own.

    `to_the_bit`: the pyramid and the RPN say the same without any rounding, as they are calculated by the same kernels.
    """
    image, placement = preprocess.apply(picture)
    batch = reference.transform.batch_images([torch.from_numpy(image)])
    # As our backend lays it out: another layout is calculated by other kernels.
    images = ImageList(batch.contiguous(memory_format=torch.channels_last), [placement.resized])
    theirs, ours = _their_numbers(reference, images), _our_numbers(network, images)
    for mine, other in zip((*ours.maps, *ours[1:]), (*theirs.maps, *theirs[1:]), strict=True):
        if to_the_bit:
            assert torch.equal(mine, other)
        torch.testing.assert_close(mine, other, rtol=0, atol=_of_range(other))
    torch.testing.assert_close(ours.objectness.sigmoid(), theirs.objectness.sigmoid(), rtol=0, atol=SCORES)
    proposals = _same_proposals(reference, network, images, ours)
    logits, deltas = _same_regions(reference, network, images, (ours, theirs), proposals)
    boxes, scores, labels = reference.roi_heads.postprocess_detections(logits, deltas, [proposals], images.image_sizes)
    found = {"boxes": boxes[0], "labels": labels[0], "scores": scores[0]}
    if network.has_masks:
        heads = reference.roi_heads
        pooled = heads.mask_roi_pool(_named(theirs.maps), boxes, images.image_sizes)
        found["masks"] = maskrcnn_inference(heads.mask_predictor(heads.mask_head(pooled)), labels)[0]
    answer: dict[str, Tensor] = reference.transform.postprocess([found], images.image_sizes, [placement.original])[0]
    return answer


def same_objects(found: InstanceSet, expected: dict[str, Tensor]) -> np.ndarray:
    """For each expected object the row of ours: scores that differ by less than the tolerance may change places."""
    boxes, class_ids = expected["boxes"].numpy(), expected["labels"].numpy() - 1
    assert len(found) == len(boxes)
    if not len(found):
        return np.zeros(0, np.int64)
    distance = np.abs(found.boxes[None] - boxes[:, None]).max(axis=2)
    distance[class_ids[:, None] != found.class_ids[None]] = np.inf
    rows = distance.argmin(axis=1)
    assert sorted(rows.tolist()) == list(range(len(found)))
    np.testing.assert_allclose(found.boxes[rows], boxes, atol=BOXES)
    np.testing.assert_allclose(found.scores[rows], expected["scores"], atol=SCORES)
    return rows


def _of_range(values: Tensor) -> float:
    return SCORES * max(1.0, float(values.abs().max()))


def _named(maps: list[Tensor]) -> dict[str, Tensor]:
    """As torchvision's poolers look them up; the coarsest of all is for the RPN alone."""
    return {**{str(level): x for level, x in enumerate(maps[:-1])}, "pool": maps[-1]}


def _their_numbers(reference: nn.Module, images: ImageList) -> Numbers:
    maps = list(reference.backbone(images.tensors).values())
    objectness, deltas = reference.rpn.head(maps)
    return Numbers(
        maps,
        torch.cat([x.permute(0, 2, 3, 1).flatten(1) for x in objectness], dim=1),
        torch.cat([x.permute(0, 2, 3, 1).reshape(1, -1, 4) for x in deltas], dim=1),
    )


def _our_numbers(network: RCNN, images: ImageList) -> Numbers:
    maps = network.backbone(images.tensors)
    objectness, deltas, _ = network.rpn(maps, tuple(images.tensors.shape[2:]))
    return Numbers(maps, objectness, deltas)


def _same_proposals(reference: nn.Module, network: RCNN, images: ImageList, numbers: Numbers) -> Tensor:
    """[P, 4]: torchvision's proposals from our numbers, after ours were compared with them."""
    anchors = reference.rpn.anchor_generator(images, numbers.maps)
    boxes = reference.rpn.box_coder.decode(numbers.deltas.reshape(-1, 4), anchors).view(1, -1, 4)
    per_place = reference.rpn.anchor_generator.num_anchors_per_location()
    counts = [x.shape[2] * x.shape[3] * count for x, count in zip(numbers.maps, per_place, strict=True)]
    expected, _ = reference.rpn.filter_proposals(boxes, numbers.objectness, images.image_sizes, counts)
    height, width = images.image_sizes[0]
    own_anchors = network.rpn(numbers.maps, tuple(images.tensors.shape[2:]))[2]
    window = torch.tensor([[0, 0, width, height]])
    found = network.rpn.propose(numbers.objectness, numbers.deltas, own_anchors, window, training=False)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=BOXES)
    return expected[0]


def _same_regions(
    reference: nn.Module, network: RCNN, images: ImageList, numbers: tuple[Numbers, Numbers], proposals: Tensor
) -> tuple[Tensor, Tensor]:
    """Our class logits [P, K + 1] and deltas [P, 4K + 4], after they were compared with torchvision's."""
    ours, theirs = numbers
    heads = reference.roi_heads
    pooled = heads.box_roi_pool(_named(theirs.maps), [proposals], images.image_sizes)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    size = (images.tensors.shape[2], images.tensors.shape[3])
    pooler = build_pooler(ours.maps[: network.spec.pooled_levels], size, network.spec.profile)
    own = pooler.pool(proposals, torch.zeros(len(proposals), dtype=torch.int64), 7)
    own_logits, own_deltas = network.roi_heads["box_predictor"](network.roi_heads["box_head"](own))
    own_deltas = own_deltas.flatten(1)
    scores = logits.softmax(1)
    torch.testing.assert_close(own_logits.softmax(1), scores, rtol=0, atol=SCORES)
    torch.testing.assert_close(own_deltas, deltas, rtol=0, atol=_of_range(deltas))
    # In pixels those that can be found: of other classes a box may grow to a hundred times the picture.
    chosen = scores > heads.score_thresh
    boxes, expected = (
        clip_boxes_to_image(heads.box_coder.decode(x, [proposals]), images.image_sizes[0])[chosen]
        for x in (own_deltas, deltas)
    )
    torch.testing.assert_close(boxes, expected, rtol=0, atol=BOXES)
    return own_logits, own_deltas
