"""Proposals that no network makes: boxes of selective search in what the network sees."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from everymask.classical.selective_search import SelectiveSearch
from everymask.core.arrays import ByteArray, FloatArray
from everymask.models.regions.boxes import clip_boxes

_MOST_KEPT = 4096


class Searches:
    """Pictures are searched once: boxes of the last 4,096 are kept, by what the picture shows.

    A mirrored picture has the same boxes mirrored, so that a training which mirrors searches no more often. Threads may
    share it.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[SelectiveSearch, bytes], FloatArray] = OrderedDict()
        self._lock = Lock()

    def boxes(self, picture: ByteArray, search: SelectiveSearch) -> FloatArray:
        """Boxes [N, 4] xyxy of a picture uint8 [H, W, 3]."""
        mirrored = np.ascontiguousarray(picture[:, ::-1])
        own, other = (hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in (picture, mirrored))
        key = search, min(own, other)
        with self._lock:
            found = self._known.get(key)
        if found is None:
            found = search.boxes(picture if own <= other else mirrored)
            with self._lock:
                self._known[key] = found
                while len(self._known) > _MOST_KEPT:
                    self._known.popitem(last=False)
        if own <= other:
            return found
        width = np.float32(picture.shape[1])
        return np.stack([width - found[:, 2], found[:, 1], width - found[:, 0], found[:, 3]], axis=1)


_SEARCHES = Searches()


@torch.no_grad()
def searched(images: Tensor, windows: Tensor, search: SelectiveSearch) -> list[Tensor]:
    """Proposals [P, 4] of each of pictures [B, C, H, W] without their padding, which lie in `windows` [B, 4] xyxy."""
    proposals = []
    for image, window in zip(images, windows.to(images.device), strict=True):
        left, top, right, bottom = window.cpu().tolist()
        boxes = torch.from_numpy(_SEARCHES.boxes(shown(image[:, top:bottom, left:right]), search))
        placed = boxes.to(images.device) + window[[0, 1, 0, 1]].to(torch.float32)
        proposals.append(clip_boxes(placed, window))
    return proposals


def shown(image: Tensor) -> ByteArray:
    """What the network sees [C, h, w] as a picture uint8 [h, w, 3]: its first three channels, or the first alone."""
    planes = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    low, high = planes.min(), planes.max()
    bytes_ = ((planes - low) * (255 / (high - low).clamp(min=1e-12))).round().to(torch.uint8)
    picture: ByteArray = np.ascontiguousarray(bytes_.permute(1, 2, 0).cpu().numpy())
    return picture
