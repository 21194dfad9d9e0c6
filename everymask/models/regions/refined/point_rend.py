"""PointRend (Kirillov et al. 2020) on Mask R-CNN: masks that are asked point by point where they are least sure."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.base import ClassRows
from everymask.models.blocks.points import unsure_points
from everymask.models.regions.mask_targets import point_targets
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.refined.point_heads import CoarseHead, PointHead
from everymask.models.regions.roi_align import Pooler, RegionPooler
from everymask.models.regions.roi_heads import mask_loss
from everymask.models.regions.samples import Known, Sampled, image_index
from everymask.models.specs.regions import PointRend
from everymask.models.tracing import numbers, tracing

_FINEST = 4
_AT_ONCE = 64


class PointRendNetwork(RCNN):
    """`RCNN` with a coarse head and a point head in place of the mask head; both read the map of stride 4."""

    spec: PointRend

    def __init__(self, spec: PointRend, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes, pretrained_encoder=pretrained_encoder)
        del self.roi_heads["mask_head"], self.roi_heads["mask_predictor"]
        self.roi_heads["coarse_head"] = CoarseHead(spec.fpn_channels, spec.coarse_fcs, num_classes, spec.coarse_side)
        self.roi_heads["point_head"] = PointHead(spec.fpn_channels, spec.point_fcs, num_classes)

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The last layers of the boxes, of the coarse masks and of points."""
        return (*super().exact_parts, "roi_heads.coarse_head.prediction", "roi_heads.point_head.predictor")

    def class_rows(self) -> ClassRows:
        """Rows of the box predictor; of the coarse masks as many as these have pixels, of the layers of points one for
        what they make of each class's coarse mask, and of the last one of these a column too.
        """
        boxes = {"cls_score": 1, "bbox_pred": 4}
        counts = {
            f"roi_heads.box_predictor.{name}.{kind}": rows
            for name, rows in boxes.items()
            for kind in ("weight", "bias")
        }
        counts |= {f"roi_heads.coarse_head.prediction.{kind}": self.spec.coarse_side**2 for kind in ("weight", "bias")}
        counts |= {f"roi_heads.point_head.fcs.{layer}.coarse": 1 for layer in range(len(self.spec.point_fcs))}
        last = "roi_heads.point_head.predictor"
        counts |= {f"{last}.fine.weight": 1, f"{last}.fine.bias": 1, f"{last}.coarse": 1}
        classifiers = frozenset({"roi_heads.box_predictor.cls_score.weight"})
        return ClassRows(counts, 1, classifiers, squares=frozenset({f"{last}.coarse"}))

    def _mask_losses(
        self, pooler: Pooler, positives: Sampled, known: Known, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        boxes, index, planes = torch.cat(positives.regions), image_index(positives.regions), torch.cat(positives.labels)
        coarse = self._coarse(pooler, boxes, index)
        own = coarse[torch.arange(len(planes), device=planes.device), planes]
        wanted = self._mask_targets(known.objects, positives, own.shape[-1]).to(own.device)
        points = unsure_points(own.detach(), self.spec.train_points, generator)
        said = self._at(pooler, coarse, boxes, index, planes, points)
        return {
            "loss_mask": mask_loss(own, wanted),
            "loss_mask_point": mask_loss(said, _targets(known, positives, points)),
        }

    def _mask_logits(self, pooler: Pooler, boxes: Tensor, image_index: Tensor, planes: Tensor) -> Tensor:
        if tracing():
            return self._subdivided(pooler, boxes, image_index, planes)
        parts = zip(boxes.split(_AT_ONCE), image_index.split(_AT_ONCE), planes.split(_AT_ONCE), strict=True)
        return torch.cat([self._subdivided(pooler, *part) for part in parts])

    def _subdivided(self, pooler: Pooler, boxes: Tensor, image_index: Tensor, planes: Tensor) -> Tensor:
        """Masks [N, M, M]: each is doubled in size, and asked again at as many points as the first had pixels."""
        spec = self.spec
        coarse = self._coarse(pooler, boxes, image_index)
        side, count = spec.start_side, spec.start_side**2
        points = _regular(side, boxes).expand(boxes.shape[0], -1, -1)
        logits = self._at(pooler, coarse, boxes, image_index, planes, points)
        for _ in range(spec.subdivisions):
            before = logits.unflatten(1, (side, side))
            side *= 2
            doubled = F.interpolate(before[:, None], scale_factor=2.0, mode="bilinear", align_corners=False).flatten(1)
            unsure = doubled.abs().topk(count, dim=1, largest=False).indices
            points = (torch.stack([unsure % side, unsure // side], dim=2) + 0.5) / side
            logits = doubled.scatter(1, unsure, self._at(pooler, coarse, boxes, image_index, planes, points))
        return logits.unflatten(1, (side, side))

    def _coarse(self, pooler: Pooler, boxes: Tensor, image_index: Tensor) -> Tensor:
        """Logits [N, 1 + classes, S, S]."""
        side = 2 * self.spec.coarse_side
        points = _regular(side, boxes).expand(boxes.shape[0], -1, -1)
        pooled = self._fine(pooler, boxes, image_index, points).permute(0, 2, 1).unflatten(2, (side, side))
        return cast(CoarseHead, self.roi_heads["coarse_head"])(pooled)  # type: ignore[no-any-return,unused-ignore]

    def _at(
        self, pooler: Pooler, coarse: Tensor, boxes: Tensor, image_index: Tensor, planes: Tensor, points: Tensor
    ) -> Tensor:
        """[N, P]: logits of the planes [N] at `points` [N, P, 2] of the boxes [N, 4], xy in 0-1."""
        fine = self._fine(pooler, boxes, image_index, points)
        known = F.grid_sample(coarse, 2 * points[:, :, None] - 1, align_corners=False)[..., 0].transpose(1, 2)
        return cast(PointHead, self.roi_heads["point_head"])(fine, known, planes)  # type: ignore[no-any-return,unused-ignore]

    @staticmethod
    def _fine(pooler: Pooler, boxes: Tensor, image_index: Tensor, points: Tensor) -> Tensor:
        """Features [N, P, C] of `points` [N, P, 2] of the boxes [N, 4], from the map of stride 4."""
        assert isinstance(pooler, RegionPooler)
        finest = pooler.maps[0]
        sides = _FINEST * numbers([finest.shape[3], finest.shape[2]], boxes)
        places = 2 * (boxes[:, None, :2] + points * (boxes[:, 2:] - boxes[:, :2])[:, None]) / sides - 1
        parts, chosen = [], []
        for picture in range(finest.shape[0]):
            rows = (image_index == picture).nonzero()[:, 0]
            # With one point more, for there may be none.
            grid = torch.cat([places[rows].flatten(0, 1), places.new_zeros(1, 2)])
            found = F.grid_sample(finest[picture : picture + 1].float(), grid[None, :, None], align_corners=False)
            parts.append(found[0, :, :-1, 0].t().unflatten(0, (-1, points.shape[1])))
            chosen.append(rows)
        return torch.cat(parts)[torch.cat(chosen).argsort()]


def _regular(side: int, like: Tensor) -> Tensor:
    """[1, side * side, 2]: the middles of the cells of a grid, row by row, xy in 0-1."""
    middles = (torch.arange(side, device=like.device) + 0.5) / side
    ys, xs = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([xs, ys], dim=-1).reshape(1, -1, 2)


def _targets(known: Known, positives: Sampled, points: Tensor) -> Tensor:
    counts = [len(own) for own in positives.regions]
    parts = [
        torch.from_numpy(point_targets(truth.masks, row.cpu().numpy(), box.cpu().numpy(), own.cpu().numpy()))
        for truth, box, row, own in zip(
            known.objects, positives.regions, positives.matches, points.split(counts), strict=True
        )
        if truth.masks is not None
    ]
    return torch.cat(parts).to(points.device)
