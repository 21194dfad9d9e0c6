"""What networks take and give: the batch, the outputs, and the two methods that every model has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from everymask.core.segmentation import Segmentation
from everymask.data.feed.batches import stack, windows_of
from everymask.data.feed.pipelines import Prepared


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one step, padded at right and bottom to a common size.

    `images` [B, C, H, W] float32 normalised (padding is 0), `windows` [B, 4] int64 xyxy: where each picture lies
    without any padding, `truths` in the network's frame, `ids` and `files` for messages.
    """

    images: Tensor
    windows: Tensor
    truths: tuple[Segmentation | None, ...]
    ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def to(self, device: torch.device | str, *, channels_last: bool = False) -> Self:
        """The same batch with its pictures on `device`; windows and truths stay where they are."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = self.images.to(device, non_blocking=True, memory_format=layout)
        return type(self)(images, self.windows, self.truths, self.ids, self.files)

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, from which copies to a GPU need not wait."""
        return type(self)(self.images.pin_memory(), self.windows, self.truths, self.ids, self.files)


@dataclass(frozen=True, slots=True)
class RegionOutputs:
    """K detections of a whole batch, surest first within each picture.

    `boxes` [K, 4] xyxy in the network's frame, `class_ids` [K] 0-based without background, `scores` [K] in 0-1,
    `mask_logits` [K, M, M] of the detection's class relative to its box (None without mask head), `image_index` [K].
    """

    boxes: Tensor
    class_ids: Tensor
    scores: Tensor
    mask_logits: Tensor | None
    image_index: Tensor


@dataclass(frozen=True, slots=True)
class SemanticOutputs:
    """What every pixel is: `logits` [B, K, H, W] at the size of the pictures, padding included.

    With softmax over K classes, or a sigmoid per channel: one for foreground, or K independent ones.
    """

    logits: Tensor


class Model(Protocol):
    """What training and prediction need of a network, whatever its task."""

    def __call__(self, images: Tensor, windows: Tensor | None = None) -> RegionOutputs:
        """Predict; `windows` [B, 4] xyxy are the pictures without their padding (None: no padding)."""

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Scalar losses by name; their sum is what is minimised. `generator` draws whatever is sampled."""


def collate(prepared: Sequence[Prepared], divisor: int, memory: Tensor | None = None) -> Batch:
    """Stack prepared pictures: the only place where numpy becomes torch. H and W become multiples of `divisor`.

    The images are put into `memory` (flat float32) if there is room.
    """
    images = stack(prepared, divisor, None if memory is None else memory.numpy())
    return Batch(
        images=torch.from_numpy(images),
        windows=torch.from_numpy(windows_of(prepared)),
        truths=tuple(picture.truth for picture in prepared),
        ids=tuple(picture.id for picture in prepared),
        files=tuple(picture.file for picture in prepared),
    )


class TrainStep(nn.Module):
    """Forward calls `loss`, so that what wraps forward (DDP, torch.compile) can wrap a training step."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        model: Any = self.module
        return model.loss(batch, generator)
