"""Many small pictures: in batches, read ahead and written meanwhile, beside one file after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch

from benchmarks.compare import Bar, Comparison, Disagreement, Memory, compare, compare_memory
from benchmarks.page import Section
from everymask.backends.pytorch import build_predictor
from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.core.segmentation import SemanticMap
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.pictures.read import read_header, write_image
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import mask_rcnn_small
from everymask.models.specs.semantic import UNet
from everymask.results.output import OutputFolder
from everymask.results.writing_instances import InstanceFolder
from everymask.results.writing_semantic import SemanticFolder

COUNT, SIDE = 48, 256
NUCLEI = Path("../shared/data/nuclei/train")
PEER = "one after the other"
SETTING = f"""{COUNT} PNG files of {SIDE} × {SIDE} pixels (microscope pictures of nuclei, or made-up ones where these
are not there), which a network with random weights predicts: U-Net on ResNet-34 with 2 classes, and `mask-rcnn-small`
with one class, up to 100 objects per picture. Both sides are everymask: `Predictor.stream`, as `predict(list)` and
`everymask predict` use it, beside a loop that reads a file, predicts it alone and, where results are written, writes
before it reads the next. Written are overlays, maps or numbered objects and the tables, as by `everymask predict`."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and what it is called here."""

    name: str
    spec: ModelSpec
    classes: tuple[str, ...]


NETWORKS = (
    Network("U-Net", UNet(), ("background", "nucleus")),
    Network("mask-rcnn-small", mask_rcnn_small(max_detections=100), ("nucleus",)),
)


@cache
def pictures() -> tuple[Path, ...]:
    """The files, of one size."""
    size = (SIDE, SIDE)
    real = [file for file in sorted(NUCLEI.glob("*.png")) if read_header(file).size == size][:COUNT]
    if len(real) == COUNT:
        return tuple(real)
    folder = Path(tempfile.gettempdir()) / f"everymask-made-up-{SIDE}"
    files = [folder / f"{place}.png" for place in range(COUNT)]
    for place, file in enumerate(files):
        small = rng(place, "picture").integers(0, 256, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
        write_image(file, small.repeat(8, 0).repeat(8, 1))
    return tuple(files)


@cache
def predictor(network: Network) -> Predictor:
    """The network with the same random weights each time."""
    torch.manual_seed(0)
    module = build(network.spec, len(network.classes))
    preprocess = Preprocess(resize=Resize(SIDE, 1024, "shrink"))
    return build_predictor(module.eval(), Card(network.spec, labels_of(network.classes), preprocess), "cpu")


def ours(network: Network, *, written: bool) -> Callable[[], list[Result]]:
    """All pictures by `stream`."""
    return partial(_run, network, written=written, results=lambda model: model.stream(pictures()))


def theirs(network: Network, *, written: bool) -> Callable[[], list[Result]]:
    """One after the other."""
    return partial(_run, network, written=written, results=lambda model: map(model.predict, pictures()))


def _run(network: Network, *, written: bool, results: Callable[[Predictor], Iterator[Result]]) -> list[Result]:
    found = []
    with _folder(network) as folder:
        for result in results(predictor(network)):
            if written:
                folder.add(result.sample, result.segmentation)
            found.append(result)
    return found


@contextmanager
def _folder(network: Network) -> Iterator[OutputFolder[Any]]:
    out, labels = Path(tempfile.mkdtemp()), labels_of(network.classes)
    try:
        with (SemanticFolder if len(labels) > 1 else InstanceFolder)(out, labels) as folder:
            yield folder
    finally:
        rmtree(out)


def same(first: list[Result], second: list[Result]) -> str:
    """How equal the answers are, in words; `Disagreement` where more than rounding separates them."""
    apart = [_apart(*pair) for pair in zip(first, second, strict=True)]
    mean = sum(apart) / len(apart)
    if mean > 0.02:
        raise Disagreement(f"{mean:.1%} of the answers differ")
    return f"{mean:.2%} of pixels or objects differ"


def _apart(first: Result, second: Result) -> float:
    """The share of pixels that differ, or of objects that the other has no like of."""
    if isinstance(first.segmentation, SemanticMap):
        return float((first.semantic.ids != second.semantic.ids).mean())
    found, other = first.instances.masks, second.instances.masks
    assert found is not None and other is not None
    return float((found.iou(other).max(axis=1, initial=0) < 0.8).mean()) if len(found) else float(len(other) > 0)


def run() -> Section:
    """48 files of 256 x 256 pixels, U-Net and mask-rcnn-small; beside one file after the other"""
    rows: list[Comparison] = []
    memory: list[Memory] = []
    for network in NETWORKS:
        for written, words in ((False, "predicted"), (True, "predicted and written")):
            calls = ours(network, written=written), theirs(network, written=written)
            rows.append(compare(f"{network.name}, {words}", *calls, peer=PEER, same=same, rounds=7, count=COUNT))
        sides = partial(ours, network, written=True), partial(theirs, network, written=True)
        memory.append(compare_memory(f"{network.name}, predicted and written", *sides, peer=PEER))
    return Section(
        title="Prediction: many small pictures",
        setting=SETTING,
        packages=("torch",),
        threads=f"{torch.get_num_threads()} of torch on both sides",
        times=tuple(rows),
        memory=tuple(memory),
        bars=tuple(Bar(row.what, row.ratio, 1.3) for row in rows),
    )
