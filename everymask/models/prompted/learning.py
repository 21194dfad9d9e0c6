"""How networks learn to answer prompts: they are asked as a user would ask, and corrected where they are wrong.

Kirillov et al. 2023, appendix A ("Losses and training"); the places of clicks as by RITM (Sofiiuk et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.segmentation import InstanceSet, Segmentation, expected
from everymask.metrics.prompted.clicks import drawn_click, pointed_at
from everymask.models.base import PromptBatch
from everymask.models.blocks.overlap import dice_loss

Asking: TypeAlias = Callable[[PromptBatch], tuple[Tensor, Tensor]]
"""Gives of P prompts the logits [P, M, h, w] of one mask or three, and the IoU [P, M] that these probably have."""
_CLICKS = 4
_OBJECTS = 3  # of a picture
_FOCAL = 20.0
_ALPHA, _GAMMA = 0.25, 2.0
_JITTER, _MOST_JITTER = 0.1, 20 / 1024  # of a box's sides, and of the network's square
_SMALLEST = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """P objects of a batch: the picture [P] that each is in, its share [P, h, w] of each place of the logits (0-1),
    and its box [P, 4] xyxy in pixels of the network's square of `side`.
    """

    pictures: IntArray
    shares: FloatArray
    boxes: FloatArray
    side: int

    @property
    def masks(self) -> BoolArray:
        """Where the objects are, [P, h, w]."""
        return self.shares > 0.5


def drawn_objects(
    truths: Sequence[Segmentation | None], side: int, places: int, draw: np.random.Generator
) -> Objects | None:
    """Up to three objects of each picture, for logits of `places` x `places`; None where there are none.

    Objects so thin that no place is theirs are left out.
    """
    pictures, shares, boxes = [], [], []
    for picture, truth in enumerate(truths):
        objects = expected(InstanceSet, truth, "a training picture")
        if objects.masks is None:
            continue
        rows = draw.permutation(pointed_at(objects))
        kept = 0
        for row in rows.tolist():
            if kept == _OBJECTS:
                break
            share = _shares(objects.masks.to_dense(row), side, places)
            if (share > 0.5).any():
                kept += 1
                pictures.append(picture)
                shares.append(share)
                boxes.append(objects.masks.boxes()[row])
    if not pictures:
        return None
    return Objects(np.array(pictures, np.int64), np.stack(shares), np.stack(boxes).astype(np.float32), side)


def _shares(mask: BoolArray, side: int, places: int) -> FloatArray:
    """How much of each of `places` x `places` parts of a square of `side` pixels a mask at its upper left fills."""
    square = np.zeros((side, side), np.float32)
    square[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(cv2.resize(square, (places, places), interpolation=cv2.INTER_AREA), np.float32)


def click_losses(ask: Asking, objects: Objects, draw: np.random.Generator, device: torch.device) -> dict[str, Tensor]:
    """The mean losses of four clicks, each of which corrects the answer before, and of a box: focal (times 20), dice
    and iou.

    The first click may mean three things: only the best of its three masks counts. `iou` is how far the IoU that the
    network thinks its masks have is from what they have, squared.
    """
    target = torch.from_numpy(objects.shares).to(device)
    found = np.zeros_like(objects.masks)
    points, labels = np.zeros((len(found), 0, 2), np.float32), np.zeros((len(found), 0), np.int64)
    masks: Tensor | None = None
    answers = []
    for turn in range(_CLICKS):
        clicked, told = _clicks(objects, found, draw)
        points, labels = np.concatenate([points, clicked], axis=1), np.concatenate([labels, told], axis=1)
        losses, best = _judged(*ask(_prompts(points, labels, masks, several=turn == 0, device=device)), target)
        answers.append(losses)
        masks = best.detach()
        found = (masks > 0).cpu().numpy()
    corners = _jittered(objects, draw).reshape(-1, 2, 2)
    boxed = _prompts(corners, np.tile(np.array((2, 3)), (len(corners), 1)), None, several=False, device=device)
    answers.append(_judged(*ask(boxed), target)[0])
    return {name: torch.stack([losses[name] for losses in answers]).mean() for name in answers[0]}


def _prompts(
    points: FloatArray, labels: IntArray, masks: Tensor | None, *, several: bool, device: torch.device
) -> PromptBatch:
    places, told = torch.from_numpy(points).to(device), torch.from_numpy(labels).to(device)
    return PromptBatch(places, told, masks, several, -math.inf)


def _judged(logits: Tensor, scores: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The losses of P answers of M masks, of which the best count, and the logits [P, h, w] of these."""
    wanted = target[:, None].expand_as(logits)
    focal, dice = _FOCAL * _focal(logits, wanted), dice_loss(logits.sigmoid(), wanted, (2, 3))
    best = (focal + dice).argmin(dim=1, keepdim=True)
    with torch.no_grad():
        shown, there = logits > 0, wanted > 0.5
        iou = (shown & there).sum((2, 3)) / (shown | there).sum((2, 3)).clamp(min=1)
    losses = {
        "focal": focal.gather(1, best).mean(),
        "dice": dice.gather(1, best).mean(),
        "iou": F.mse_loss(scores, iou),
    }
    return losses, logits[torch.arange(len(logits), device=logits.device), best[:, 0]]


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """[P, M], the mean over all places (Lin et al. 2017)."""
    error = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    shown = logits.sigmoid()
    wrong = shown * (1 - wanted) + (1 - shown) * wanted
    weight = _ALPHA * wanted + (1 - _ALPHA) * (1 - wanted)
    return (weight * wrong**_GAMMA * error).mean((2, 3))


def _clicks(objects: Objects, found: BoolArray, draw: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """A further click for each object: points [P, 1, 2] xy in pixels of the square, and labels [P, 1]."""
    step = objects.side / found.shape[-1]
    clicks = [drawn_click(truth, answer, draw) for truth, answer in zip(objects.masks, found, strict=True)]
    places = np.array([(click.x, click.y) for click in clicks], np.float32)
    # The middle of a place of the logits; pixels are numbered by their middles too.
    return ((places + 0.5) * step - 0.5)[:, None], np.array([[click.positive] for click in clicks], np.int64)


def _jittered(objects: Objects, draw: np.random.Generator) -> FloatArray:
    """The boxes as somebody would draw them: each side up to a tenth of the object off, and inside the square."""
    boxes = objects.boxes
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    most = _MOST_JITTER * objects.side
    moved = boxes + np.clip(draw.normal(size=boxes.shape) * _JITTER * sides, -most, most)
    moved = np.clip(moved, 0, objects.side)
    thin = (moved[:, 2:] - moved[:, :2] < _SMALLEST).any(axis=1)
    moved[thin] = boxes[thin]
    return moved.astype(np.float32)
