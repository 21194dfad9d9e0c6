"""Every method without a network on every picture of COCO128: whether it answers, and in which time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2

from benchmarks.compare import Bar
from benchmarks.page import Section, Unavailable
from everymask.backends.methods import build_method
from everymask.classical.named import METHODS
from everymask.core.sample import Sample
from everymask.data.pictures.read import read_image

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco128_seg"
_LIMIT = 2.0


def run() -> Section:
    """Every method without a network on every picture of COCO128."""
    files = sorted(DATA.rglob("*.jpg"))
    if not files:
        raise Unavailable(f"there are no pictures in {DATA}")
    cv2.setNumThreads(1)
    samples = [Sample(read_image(file), id=file.stem, file=str(file)) for file in files]
    pixels = sum(sample.image.shape[0] * sample.image.shape[1] for sample in samples) / 1e6
    bars = []
    for name, kind in METHODS.items():
        if kind.learns:
            continue
        took = seconds(name, samples)
        bars.append(Bar(f"{name}, per megapixel", took / pixels, _LIMIT, unit="s", at_most=True))
        print(f"{name:18} {took / pixels:.2f} s per megapixel", flush=True)
    return Section(
        "Methods without a network",
        f"Every method with its usual settings on the {len(samples)} pictures of COCO128 ({pixels:.1f} megapixels), "
        "from the array to the label map or the objects. Every one answers for every picture.",
        ("opencv-python-headless", "scikit-image", "scikit-learn"),
        "1; processor time, so that other work on the machine does not count",
        bars=tuple(bars),
        notes=(
            "grabcut, random-walker, chan-vese, active-contour and mean-shift shrink pictures first (`side`), so that "
            "larger pictures cost them less per megapixel; with `--set side=0` they do not.",
        ),
    )


def seconds(name: str, samples: list[Sample]) -> float:
    """Processor time of a method for all pictures, after one that is not counted."""
    model = build_method(METHODS[name]())
    model.predict(replace(samples[0], truth=None))
    began = time.process_time()
    for sample in samples:
        found = model.predict(sample).segmentation
        assert found.size in (None, sample.size), f"{name}: {sample.file}"
    return time.process_time() - began
