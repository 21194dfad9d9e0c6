"""A data set as PyTorch's data loaders and torchvision's transforms take it, for a training loop of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from everymask.core.arrays import Array
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.infer.exchange.targets import to_torchvision

Item: TypeAlias = tuple[Tensor, dict[str, Any]]
"""A picture and its target."""


class TorchDataset(torch.utils.data.Dataset[Item]):
    """A map-style `torch.utils.data.Dataset` of the pictures of `dataset` that are annotated.

    `data[i]` is the picture, float32 [C, H, W] in 0-1 (of two dates both, one after the other), and a dictionary:

    - `boxes` float32 [N, 4] xyxy in pixels, `labels` int64 [N] (class id + 1: 0 is torchvision's background), `masks`
      uint8 [N, H, W], `area` and `iscrowd` [N]: of each object, class of a label map, or segment. Those whose box
      has no area are left out.
    - `map` int64 [H, W], unless there are boxes only: of label maps and changes the class ids with
      `dataset.labels.ignore` for none, of panoptic maps the segments' ids, of objects their rows + 1.
    - `image_id`: the number of the picture, `i`.

    Pictures, boxes, masks and maps are torchvision's `tv_tensors`, so that `transforms(image, target)`, such as those
    of `torchvision.transforms.v2`, move them together. `DataError` where a file cannot be read.

    >>> data = TorchDataset(em.read_dataset("data").split("train"))
    >>> loader = DataLoader(data, batch_size=2, shuffle=True, collate_fn=as_lists)
    """

    def __init__(self, dataset: Dataset, transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None) -> None:
        self.dataset: Dataset = dataset.annotated()
        self.transforms: Callable[[Any, Any], tuple[Any, Any]] | None = transforms

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item:
        sample = self.dataset[index]
        assert sample.truth is not None  # those without are left out
        regions = sample.truth.regions()
        whole = np.flatnonzero((regions.boxes[:, 2:] > regions.boxes[:, :2]).all(axis=1))
        target = _typed(regions[whole], sample.size)
        target["image_id"] = index
        if regions.masks is not None:
            target["map"] = tv_tensors.Mask(torch.from_numpy(sample.truth.to_ids().astype(np.int64)))
        image = tv_tensors.Image(torch.from_numpy(_unit(sample.stacked)))
        return (image, target) if self.transforms is None else self.transforms(image, target)


def as_lists(items: list[Item]) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """A `collate_fn` for pictures of different sizes: a list of pictures and one of targets, as detectors take them."""
    return [image for image, _ in items], [target for _, target in items]


def _typed(found: InstanceSet, size: tuple[int, int]) -> dict[str, Any]:
    """The target with types of torchvision that its transforms know."""
    target = to_torchvision(found)
    boxes = tv_tensors.BoundingBoxes(target["boxes"], format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size)
    masks = {"masks": tv_tensors.Mask(target["masks"])} if "masks" in target else {}
    return target | {"boxes": boxes} | masks


def _unit(image: Array) -> Array:
    """The picture [H, W, C] as float32 [C, H, W]; whole numbers become 0-1."""
    scale = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    planes: Array = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    return planes / np.float32(scale)
