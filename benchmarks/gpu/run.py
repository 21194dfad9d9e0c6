"""All of it in turn, and the section of docs/benchmarks.md that it makes."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial

import torch

from benchmarks.compare import Bar
from benchmarks.crowds import trained_detector
from benchmarks.gpu import detector, maps
from benchmarks.gpu.found import Found, Sizes
from benchmarks.gpu.killed import killed
from benchmarks.gpu.parity import parity
from benchmarks.page import Section, Unavailable
from everymask.models.card import Card
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.any_spec import FAMILIES

NETWORKS = tuple(str(name) for family in FAMILIES for name in family.named)
FULL = Sizes(
    networks=NETWORKS,
    side=256,
    picture=(800, 1333),
    tiles=(8, 8),
    batches=(1, 16),
    train=8,
    regions=512,
    map_side=512,
    rounds=5,
    killed=60,
)
SETTING = """All that only a GPU can show, on {device}. Every network of `everymask models`, with random weights:
losses, length of the gradient and answers beside those of the CPU in float32. Mask R-CNN with ResNet-50 on pictures of
{height} × {width} pixels in memory, to boxes, classes, scores and masks, and one optimizer step on {train} of them,
beside torchvision. U-Net on ResNet-34, {train} pictures of {side} × {side} pixels, beside segmentation_models.pytorch
(smp). A training that is killed and goes on. "float32" is without TF32, which PyTorch otherwise lets convolutions
take."""


def run() -> Section:
    """all that only a GPU can show: parity with the CPU, Mask R-CNN and U-Net beside their peers, kill and resume"""
    if not torch.cuda.is_available():
        raise Unavailable("python -m benchmarks gpu needs a GPU, and PyTorch finds none on this machine")
    device = torch.device("cuda")
    return measure(device, FULL, partial(trained_detector, device))


def measure(device: torch.device, sizes: Sizes, network: Callable[[], tuple[RCNN, Card]]) -> Section:
    """Every part on the device, of those sizes; `network` gives the detector that predicts.

    A part that fails is told, with its traceback on stderr, and the others are measured all the same.
    """
    parts: Mapping[str, Callable[[], Found]] = {
        "parity": lambda: parity(device, sizes),
        "Mask R-CNN, prediction": lambda: detector.predicting(device, sizes, network()),
        "Mask R-CNN, training": lambda: detector.learning(device, sizes),
        "U-Net, prediction": lambda: maps.predicting(device, sizes),
        "U-Net, training": lambda: maps.learning(device, sizes),
        "kill and resume": lambda: killed(device, sizes),
    }
    found, failed, began = [], [], time.monotonic()
    for name, part in parts.items():
        print(f"{time.monotonic() - began:6.0f} s  {name}", flush=True)
        try:
            found.append(part())
        except Exception as error:
            traceback.print_exc()
            failed.append(
                f"**Not measured: {name}**: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}."
            )
    return Section(
        title="On a GPU",
        setting=SETTING.format(
            device=named(device),
            height=sizes.picture[0],
            width=sizes.picture[1],
            train=sizes.train,
            side=sizes.map_side,
        ),
        packages=("torch", "torchvision", "segmentation-models-pytorch"),
        threads=f"{torch.get_num_threads()} on both sides",
        times=tuple(row for each in found for row in each.times),
        memory=tuple(row for each in found for row in each.memory),
        bars=(
            *(row for each in found for row in each.bars),
            Bar("parts that failed", len(failed), 0, "", at_most=True),
        ),
        notes=(*failed, *(note for each in found for note in each.notes)),
    )


def named(device: torch.device) -> str:
    """The GPU's name and memory."""
    if device.type != "cuda":
        return f"the {device.type.upper()}"
    about = torch.cuda.get_device_properties(device)
    return f"{about.name} ({about.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda})"
