"""From a detector's mask logits to run-lengths, beside torchvision's pasting and pycocotools' encoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.compare import Bar, Comparison, Disagreement, Memory, compare, peak_memory, seconds_of
from benchmarks.page import Section, seconds_text
from everymask.core.arrays import FloatArray
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.infer.decoding.instances import paste_masks

SIDE = 28
ROUNDS = 15
CHECKED = 20  # objects of the large picture whose run-lengths are compared one by one
GIGABYTE = 10**9
PEER = "torchvision and pycocotools"
SETTING = f"""Both sides start from {SIDE} × {SIDE} mask logits of noisy, uneven ellipses and their boxes, and end with
COCO's compressed run-lengths: everymask as `predict` does it, with `paste_masks(...).to_rle()` and the rule
`torchvision`; the peer with the sigmoid, `paste_masks_in_image`, `> 0.5` and `pycocotools.mask.encode` of each mask, as
torchvision's own evaluation does it. The sides of the boxes are log-normal, most of them small and a few very large."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`count` objects in a picture of `size`; sides of boxes spread by a factor of e around `typical`, to `largest`."""

    count: int
    size: tuple[int, int]
    typical: float
    largest: float

    def __str__(self) -> str:
        return f"{self.count} objects, {self.size[1]} × {self.size[0]}"


SMALL = Scene(100, (480, 640), 45, 480)
LARGE = Scene(300, (3000, 4000), 180, 1500)


def made_up(scene: Scene) -> tuple[FloatArray, FloatArray]:
    """Logits [N, 28, 28] and boxes [N, 4] of a scene; the same at every call."""
    draw = rng(0, scene.count, "mask encoding benchmark")
    limits = np.array(scene.size[::-1], np.float64)
    typical = np.exp(draw.normal(np.log(scene.typical), 1, (scene.count, 1)))
    shape = np.exp(draw.normal(0, 0.4, (scene.count, 1)))
    sides = np.minimum(np.clip(typical, 6, scene.largest) * np.concatenate([shape**0.5, shape**-0.5], axis=1), limits)
    corners = np.clip(draw.uniform(0, limits, (scene.count, 2)) - sides / 2, 0, limits - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    return np.stack([_logits(draw) for _ in range(scene.count)]), boxes


def _logits(draw: np.random.Generator) -> FloatArray:
    import cv2

    angle, flatness = draw.uniform(0, np.pi), draw.uniform(1, 2)
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    uneven = cv2.resize(draw.normal(0, 1, (7, 7)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    logits = 8 * (0.9 - np.hypot(along, across * flatness)) + uneven + draw.normal(0, 0.3, (SIDE, SIDE))
    return np.asarray(logits, np.float32)


def peer_strings(logits: FloatArray, boxes: FloatArray, size: tuple[int, int]) -> list[bytes]:
    from pycocotools import mask

    pixels = peer_pixels(logits, boxes, size)
    return [mask.encode(np.asfortranarray(pixel, np.uint8))["counts"] for pixel in pixels]


def peer_pixels(logits: FloatArray, boxes: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Masks [N, H, W] bool."""
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    probabilities = torch.from_numpy(logits)[:, None].sigmoid()
    return np.asarray(paste_masks_in_image(probabilities, torch.from_numpy(boxes), size)[:, 0] > 0.5)


def agreement(ours: list[bytes], theirs: list[bytes], size: tuple[int, int]) -> str:
    """In words how equal the masks are; `Disagreement` below 99.99 % of all pixels that either side calls object."""
    mine, others = Masks.from_rle(ours, size), Masks.from_rle(theirs, size)
    both = [mine[index : index + 1].iou(others[index : index + 1])[0, 0] for index in range(len(ours))]
    union = (mine.areas() + others.areas()) / (1 + np.array(both))
    share = 1 - float((union * (1 - np.array(both)))[union > 0].sum() / max(union.sum(), 1))
    if len(ours) != len(theirs) or share < 0.9999:
        raise Disagreement(f"{share:.6%} of the pixels are equal")
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    return f"{same} of {len(ours)} run-lengths are the same bytes; {share:.4%} of the object pixels are equal"


def same_pixels(ours: Masks, theirs: FloatArray) -> str:
    return agreement(ours.to_rle(), Masks.from_dense(theirs).to_rle(), ours.size)


def prepare(call: Callable[..., object], scene: Scene) -> Callable[[], object]:
    """A call on a scene, for a process of its own; a first call on a small picture loads the libraries."""
    logits, boxes = made_up(scene)
    call(logits[:2], boxes[:2] / 100, (40, 40))
    return partial(call, logits, boxes, scene.size)


def ours_strings(logits: FloatArray, boxes: FloatArray, size: tuple[int, int]) -> list[bytes]:
    return ours_pixels(logits, boxes, size).to_rle()


def ours_pixels(logits: FloatArray, boxes: FloatArray, size: tuple[int, int]) -> Masks:
    return paste_masks(logits, boxes, size, "torchvision")


def _times() -> tuple[Comparison, Comparison]:
    inputs = (*made_up(SMALL), SMALL.size)
    theirs = partial(peer_strings, *inputs)
    same = partial(agreement, size=SMALL.size)
    strings, pixels = f"{SMALL}: logits to run-lengths", f"{SMALL}: logits to pixels (`Masks`)"
    return (
        compare(
            strings, partial(ours_strings, *inputs), theirs, peer=PEER, same=same, rounds=ROUNDS, count=SMALL.count
        ),
        compare(
            pixels,
            partial(ours_pixels, *inputs),
            partial(peer_pixels, *inputs),
            peer="torchvision",
            same=same_pixels,
            rounds=ROUNDS,
            count=SMALL.count,
        ),
    )


def _large_memory() -> tuple[Memory, str]:
    """Peak memory on the large picture, and how the peer's was found."""
    ours = peak_memory(partial(prepare, ours_strings, LARGE))
    dense = LARGE.count * LARGE.size[0] * LARGE.size[1]
    # The masks as float32, once one by one and once stacked, and a byte for each pixel that was compared with one half.
    need = 9 * dense + 2 * GIGABYTE
    if _free() > need:
        theirs, how = peak_memory(partial(prepare, peer_strings, LARGE)), "The peer's memory was measured"
    else:
        theirs = 4 * dense
        how = f"The peer's memory is at least N × H × W × 4 bytes; to measure it {need / GIGABYTE:.0f} GB must be free"
    return Memory(f"{LARGE}: logits to run-lengths", PEER, ours, theirs), how


def _free() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def run() -> Section:
    """mask logits to run-lengths, 100 objects and 12 megapixels; peer: torchvision and pycocotools"""
    times = _times()
    logits, boxes = made_up(LARGE)
    seconds = float(np.median([seconds_of(partial(ours_strings, logits, boxes, LARGE.size)) for _ in range(7)]))
    one_by_one = [peer_strings(logits[i : i + 1], boxes[i : i + 1], LARGE.size)[0] for i in range(CHECKED)]
    equal = agreement(ours_strings(logits[:CHECKED], boxes[:CHECKED], LARGE.size), one_by_one, LARGE.size)
    memory, how = _large_memory()
    mean = (boxes[:, 2:] - boxes[:, :2]).mean(axis=0)
    return Section(
        title="Masks to run-lengths",
        setting=SETTING,
        packages=("opencv-python-headless", "pycocotools", "torch", "torchvision"),
        threads="everymask one, torchvision all cores, pycocotools one",
        times=times,
        memory=(memory,),
        bars=(
            Bar(times[0].what, times[0].ratio, 15),
            Bar(f"{LARGE}: peak extra memory", memory.ours / 1e6, 150, "MB", at_most=True),
            Bar(f"{LARGE}: time", seconds, 1, "s", at_most=True),
        ),
        notes=(
            f"{LARGE}: {seconds_text(seconds)} for all. Same answer, the first {CHECKED}, which the peer pasted one by "
            f"one: {equal}.",
            f"{LARGE}: boxes of {mean[0]:.0f} × {mean[1]:.0f} pixels on average.",
            f"{how}.",
        ),
    )
