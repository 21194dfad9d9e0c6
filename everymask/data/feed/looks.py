"""Changes to the look of a training picture: colours, sharpness, noise. Its geometry and its truth stay.

What is drawn comes from the `generator` that is passed in. Pictures are [H, W, C] of any channel count, uint8, uint16
or float32. A picture may have become float32 by resizing; `top`, the largest value that its file can hold, then says
where it is clipped and what noise is relative to. Without `top` floats are not clipped, and their full range is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.sample import Sample
from everymask.data.feed.augment import Augment
from everymask.data.feed.resample import as_stored

_TOP = {"uint8": 255.0, "uint16": 65535.0}


def top_of(image: Array) -> float | None:
    """The largest value that the picture's stored type holds; None for floats."""
    return _TOP.get(image.dtype.name)


def as_in_file(sample: Sample, top: float | None) -> Sample:
    """The sample with its picture in the type of its file, which is known by `top`, to be looked at."""
    for name, value in _TOP.items():
        if value == top:
            return replace(sample, image=as_stored(sample.image, np.dtype(name)))
    return sample


def vary_look(
    sample: Sample, augment: Augment, draw: Callable[[str], np.random.Generator], top: float | None = None
) -> Sample:
    """The sample with its colours, sharpness and noise changed; `draw` gives the generator of an operation."""
    changes = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if any(changes):
        brightness, contrast, saturation, hue = changes
        generator = draw("colour")
        sample = colour(
            sample, generator, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, top=top
        )
    generator = draw("blur")
    if generator.random() < augment.blur:
        sample = blur(sample, generator.uniform(0.1, 1) * augment.blur_sigma)
    generator = draw("noise")
    if generator.random() < augment.noise:
        sample = noise(sample, generator, generator.uniform(0.1, 1) * augment.noise_std, top)
    return sample


def colour(
    sample: Sample,
    generator: np.random.Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    top: float | None = None,
) -> Sample:
    """Brightness, contrast, saturation (relative changes up to these) and hue (turn up to this part of a circle).

    Saturation and hue are left alone unless there are 3 channels.
    """
    bright, sharp, vivid = 1 + generator.uniform(-1, 1, 3) * (brightness, contrast, saturation)
    turn = 2 * math.pi * generator.uniform(-hue, hue)
    image = sample.image
    gain, offset = bright * sharp, float(image.mean()) * bright * (1 - sharp)
    if image.shape[2] == 3 and (saturation or hue):
        matrix = np.hstack((_colour_matrix(vivid, turn) * gain, np.full((3, 1), offset)))
        turned = np.asarray(cv2.transform(np.ascontiguousarray(image), matrix), image.dtype)
        return replace(sample, image=turned if top_of(image) else _stored(turned, image, top))
    moved = image * np.float32(gain)
    moved += np.float32(offset)
    return replace(sample, image=_stored(moved, image, top))


def _colour_matrix(saturation: float, turn: float) -> FloatArray:
    """[3, 3]: turn and stretch the chroma plane of YIQ, leave the luma."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = saturation * math.cos(turn), saturation * math.sin(turn)
    matrix: FloatArray = np.linalg.inv(to_yiq) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ to_yiq
    return matrix


def blur(sample: Sample, sigma: float) -> Sample:
    """Gaussian blur with a standard deviation of `sigma` pixels."""
    if sigma <= 0:
        return sample
    image = cv2.GaussianBlur(np.ascontiguousarray(sample.image), (0, 0), sigma)
    return replace(sample, image=image.reshape(sample.image.shape))


def noise(sample: Sample, generator: np.random.Generator, std: float, top: float | None = None) -> Sample:
    """Gaussian noise; `std` is relative to the full range."""
    image = sample.image
    drawn = generator.standard_normal(image.shape, np.float32)
    drawn *= np.float32(std * (top_of(image) or top or 1.0))
    drawn += image
    return replace(sample, image=_stored(drawn, image, top))


def _stored(values: Array, like: Array, top: float | None) -> Array:
    """Float values in the type of `like`, clipped to what it, or the file that it came from, can hold."""
    whole, top = top_of(like) is not None, top_of(like) or top
    if whole:
        np.rint(values, out=values)
    if top is not None:
        np.clip(values, 0, top, out=values)
    return values.astype(like.dtype, copy=False)
