"""Prepared pictures of different sizes in one array."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.data.feed.pipelines import Prepared
from everymask.data.feed.preprocess import Size


def stack(prepared: Sequence[Prepared], divisor: int, memory: FloatArray | None = None) -> FloatArray:
    """Pictures [B, C, H, W] float32, padded with zeros at right and bottom; H and W become multiples of `divisor`.

    They are put into `memory` (flat float32) if there is room.
    """
    sizes = [frame_of(picture, divisor) for picture in prepared]
    shape = (len(prepared), prepared[0].image.shape[0], max(size[0] for size in sizes), max(size[1] for size in sizes))
    count = math.prod(shape)
    images = np.empty(shape, np.float32) if memory is None or len(memory) < count else memory[:count].reshape(shape)
    for row, picture in zip(images, prepared, strict=True):
        tall, wide = picture.image.shape[1:]
        row[:, :tall, :wide] = picture.image
        row[:, tall:] = 0
        row[:, :tall, wide:] = 0
    return images


def frame_of(picture: Prepared, divisor: int) -> Size:
    """(H, W) of a batch that has this picture alone."""
    height, width = picture.image.shape[1:]
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def windows_of(prepared: Sequence[Prepared]) -> IntArray:
    """[B, 4] int64 xyxy: where each picture lies without any padding."""
    return np.array([picture.placement.inside for picture in prepared], np.int64).reshape(-1, 4)


def frames(images: FloatArray) -> IntArray:
    """[B, 4] int64 xyxy: the whole of each picture [B, C, H, W], padding included."""
    return np.tile(np.array([0, 0, images.shape[3], images.shape[2]], np.int64), (len(images), 1))
