"""RF-DETR and RF-DETR-Seg (Robinson et al. 2025, "RF-DETR: Neural architecture search for real-time detection
transformers").
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_convert

from everymask.core.segmentation import InstanceSet
from everymask.models.base import Batch, ClassRows, Network, RegionOutputs
from everymask.models.blocks.encoders import build_vit
from everymask.models.detr.decoder import BoxDecoder, Proposals, box_head, class_head, moved
from everymask.models.detr.losses import Answer, Targets, detr_losses
from everymask.models.detr.mask_head import MaskHead
from everymask.models.detr.projector import Projector
from everymask.models.detr.windows import MAPS, windowed_maps
from everymask.models.queries.targets import planes_of
from everymask.models.regions.boxes import clip_boxes, frames, not_smaller_than
from everymask.models.regions.truths import trainable
from everymask.models.semantic.network import drawing_from
from everymask.models.specs.detr import DETR_ENCODERS, DETR_MASK_STRIDE, DetrModelSpec, RFDETRSeg
from everymask.models.tracing import numbers, tracing

_NARROWEST = 1e-2


class RFDETRNetwork(Network):
    """Pictures to boxes; a `RFDETRSeg` spec adds masks."""

    spec: DetrModelSpec
    one_by_one = True

    def __init__(self, spec: DetrModelSpec, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes: int = num_classes
        width, rows = spec.width, spec.groups * spec.queries
        self.backbone: nn.Module = build_vit(
            spec.encoder, spec.channels, spec.patch, spec.side, pretrained=pretrained_encoder
        )
        self.projector: Projector = Projector(MAPS * DETR_ENCODERS[spec.encoder], width)
        self.proposals: nn.ModuleList = nn.ModuleList(Proposals(width, num_classes) for _ in range(spec.groups))
        self.queries: nn.Embedding = nn.Embedding(rows, width)
        self.shifts: nn.Embedding = nn.Embedding(rows, 4)
        nn.init.zeros_(self.shifts.weight)
        self.decoder: BoxDecoder = BoxDecoder(width, spec.heads, spec.read_heads, spec.layers, spec.points, spec.hidden)
        self.classes: nn.Linear = class_head(width, num_classes)
        self.boxes: nn.Sequential = box_head(width)
        self.masks: MaskHead | None = MaskHead(width, spec.layers) if isinstance(spec, RFDETRSeg) else None

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """All from the queries on, where a box begins at the surest places."""
        own = ("proposals", "queries", "shifts", "decoder", "classes", "boxes")
        return own if self.masks is None else (*own, "masks")

    def class_rows(self) -> ClassRows:
        """A row for each class in the last layer, and in that of each group's proposals."""
        owners = ["classes", *(f"proposals.{group}.classes" for group in range(self.spec.groups))]
        names = [f"{owner}.{kind}" for owner in owners for kind in ("weight", "bias")]
        return ClassRows(dict.fromkeys(names, 1), 0, frozenset(name for name in names if name.endswith("weight")))

    def with_detections(self, most: int) -> RFDETRNetwork:
        """Up to `most` objects in a picture, of as many as there are pairs of a query and a class."""
        twin = copy.copy(self)
        twin.spec = replace(self.spec, max_detections=most)
        return twin

    def forward(self, images: Tensor, windows: Tensor | None = None) -> RegionOutputs:
        """Detect in pictures [B, C, H, W]; `windows` [B, 4] xyxy are the pictures without their padding (None: all).

        Masks are logits [K, H / 4, W / 4] of the whole frame, whose sides are filled up to whole windows of patches.
        """
        windows = frames(images) if windows is None else windows.to(images.device)
        images = self._filled(images)
        answer = self.answers(images, last=True)[0].float()
        sides = numbers([images.shape[3], images.shape[2]] * 2, answer.boxes)
        whole = box_convert(answer.boxes, "cxcywh", "xyxy") * sides
        found = [self._found(answer, picture, own, windows[picture]) for picture, own in enumerate(whole)]
        boxes, class_ids, scores, masks, cut = (list(column) for column in zip(*found, strict=True))
        index = torch.cat([own.new_full((own.shape[0],), picture) for picture, own in enumerate(class_ids)])
        logits = None if self.masks is None else torch.cat(masks)
        return RegionOutputs(
            torch.cat(boxes), torch.cat(class_ids), torch.cat(scores), logits, index, "quarter frame", torch.cat(cut)
        )

    def answers(self, images: Tensor, *, last: bool = False) -> list[Answer]:
        """What was proposed and what the queries say after each layer, or only after the `last` one.

        The sides of the pictures [B, C, H, W] are multiples of `spec.divisor`. In training mode the queries are those
        of all groups, group after group. There are fewer queries than the spec says where the picture has fewer
        patches.
        """
        spec, exact = self.spec, self.classes.weight.dtype
        groups = spec.groups if self.training else 1
        maps = windowed_maps(self.backbone, images.to(next(self.backbone.parameters()).dtype), spec.patch, spec.windows)
        plane = self.projector(maps).to(exact)
        size = (plane.shape[2], plane.shape[3])
        pixels = plane.flatten(2).transpose(1, 2)
        count = min(spec.queries, pixels.shape[1])
        proposed = [head(pixels, size, count) for head in self.proposals[:groups]]
        taken, likely, boxes = (torch.cat(column, dim=1) for column in zip(*proposed, strict=True))
        queries, shifts = (
            part.weight.unflatten(0, (spec.groups, -1))[:groups, :count].flatten(0, 1)[None].expand(len(images), -1, -1)
            for part in (self.queries, self.shifts)
        )
        begin = moved(boxes.detach(), shifts)
        found = self.decoder(queries, begin, pixels, size, groups)
        if last:
            found = found[-1:]
        said = [(self.classes(x), moved(begin, self.boxes(x))) for x in found]
        if self.masks is None:
            answers, first = [Answer(*pair, None) for pair in said], Answer(likely, boxes, None)
        else:
            frame = (images.shape[2] // DETR_MASK_STRIDE, images.shape[3] // DETR_MASK_STRIDE)
            fine = F.interpolate(plane, size=frame, mode="bilinear", align_corners=False)
            masks = self.masks(fine, found)
            answers = [Answer(*pair, own) for pair, own in zip(said, masks, strict=True)]
            first = Answer(likely, boxes, self.masks.proposed(fine, taken))
        return answers if last else [first, *answers]

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """`loss_classifier`, `loss_box` and `loss_giou`, with masks `loss_pixels` and `loss_dice` too, each summed over
        the proposals and the layers.
        """
        images = self._filled(batch.images)
        with drawing_from(generator, images.device):
            answers = [answer.float() for answer in self.answers(images)]
        frame = (images.shape[2], images.shape[3])
        targets = [
            _target(trainable(truth, file, masks=self.masks is not None), frame, images, masks=self.masks is not None)
            for truth, file in zip(batch.truths, batch.files or ("",) * len(batch.truths), strict=True)
        ]
        with torch.autocast(images.device.type, enabled=False):
            groups = self.spec.groups if self.training else 1
            return detr_losses(answers, targets, groups, self.spec.class_weight, generator)

    def _filled(self, images: Tensor) -> Tensor:
        if tracing():  # a graph is given such sides alone
            return images
        height, width = images.shape[2:]
        return F.pad(images, (0, -width % self.spec.divisor, 0, -height % self.spec.divisor))

    def _found(
        self, answer: Answer, picture: int, boxes: Tensor, window: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of a picture's surest pairs of a query and a class boxes [K, 4], class ids, scores and masks; and the score
        of the surest beyond them [1].
        """
        inside = clip_boxes(boxes, window)
        scores = answer.classes[picture].sigmoid().masked_fill(~not_smaller_than(inside, _NARROWEST)[:, None], -1)
        pairs = scores.shape[0] * scores.shape[1]
        sure, order = scores.flatten().topk(torch.sym_min(self.spec.max_detections + 1, pairs))
        sure = torch.where(sure >= self.spec.score_threshold, sure, -1)
        sure, beyond = sure[: self.spec.max_detections], sure[self.spec.max_detections :]
        wanted = (sure >= 0).nonzero()[:, 0]
        query, class_ids = order[wanted] // self.num_classes, order[wanted] % self.num_classes
        masks = sure if answer.masks is None else answer.masks.logits(picture, query)
        cut = torch.cat([beyond, beyond.new_zeros(1)]).amax(dim=0, keepdim=True)
        return inside[query], class_ids, sure[wanted], masks, cut


def _target(truth: InstanceSet, frame: tuple[int, int], like: Tensor, *, masks: bool) -> Targets:
    """What a picture shows, in a frame of (H, W), on the device of `like`."""
    sides = torch.tensor([frame[1], frame[0]] * 2, dtype=torch.float32)
    boxes = box_convert(torch.tensor(truth.boxes, dtype=torch.float32), "xyxy", "cxcywh") / sides
    planes = None
    if masks and truth.masks is not None:
        planes = planes_of(truth.masks, range(len(truth)), frame).to(like.device).float()
    class_ids = torch.from_numpy(truth.class_ids.astype(np.int64))
    return Targets(class_ids.to(like.device), boxes.to(like.device), planes)
