"""The same network on the CPU and on another device: losses, gradients and answers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import Bar
from benchmarks.gpu.found import Found, Sizes, whole_float32
from benchmarks.training import batch
from everymask.core.segmentation import SemanticMap
from everymask.models.base import Batch, Network, SemanticOutputs
from everymask.models.build import build
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.named import network
from everymask.train.step import TrainStep

CLASSES = 3
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Gaps:
    """How far a network's losses, the length of its gradient and its answers are from those on the CPU, relatively."""

    losses: float
    gradient: float
    answers: float


def parity(device: torch.device, sizes: Sizes) -> Found:
    """All networks in float32 and in bfloat16, beside float32 on the CPU."""
    bars, notes = [], []
    found = {name: gaps_of(name, device, sizes.side) for name in sizes.networks}
    # The gradient is not asked for in bfloat16: norms over two pictures, of which some networks have one of a single
    # pixel, enlarge every rounding of it without bound.
    for index, kind, part, limit in (
        (0, "float32", "losses", 1e-3),
        (0, "float32", "gradient", 1e-2),
        (0, "float32", "answers", 1e-3),
        (1, "bfloat16", "losses", 0.1),
        (1, "bfloat16", "answers", 0.2),
    ):
        gaps = {name: getattr(pair[index], part) for name, pair in found.items()}
        worst = max(gaps, key=gaps.__getitem__)
        what = f"{part} of {len(gaps)} networks in {kind}, beside float32 on the CPU: largest difference"
        bars.append(Bar(what, gaps[worst], limit, "of their size", at_most=True))
        notes.append(f"{part}, {kind}: the largest difference is that of {worst}.")
    return Found(bars=tuple(bars), notes=tuple(notes))


def gaps_of(name: str, device: torch.device, side: int) -> tuple[Gaps, Gaps]:
    """Of a network with random weights: in float32, and in bfloat16 as training and prediction have it."""
    spec = network(name)
    assert spec is not None
    torch.manual_seed(0)
    module = build(spec, CLASSES)
    pictures = batch(2, (side, side), (2, 2)) if isinstance(module, RCNN) else maps(side)
    with whole_float32():
        here = calculated(module, pictures, CPU, bf16=False)
        there = calculated(module, pictures, device, bf16=False)
    rough = calculated(module, pictures, device, bf16=True)
    return gaps(here, there), gaps(here, rough)


def gaps(here: tuple[dict[str, float], float, Tensor], there: tuple[dict[str, float], float, Tensor]) -> Gaps:
    """Losses by their sum, answers by their standard deviation."""
    total = sum(here[0].values())
    losses = max(abs(here[0][key] - there[0][key]) for key in here[0]) / max(abs(total), 1e-9)
    answers = float((here[2] - there[2]).abs().mean() / here[2].std())
    return Gaps(losses, abs(here[1] - there[1]) / max(here[1], 1e-9), answers)


def calculated(
    module: Network, pictures: Batch, device: torch.device, *, bf16: bool
) -> tuple[dict[str, float], float, Tensor]:
    """The losses, the length of the gradient, and the answer in evaluation mode, of a copy on the device."""
    own = copy.deepcopy(module).to(device).train()
    for part in own.modules():
        if "Drop" in type(part).__name__:  # which draws other numbers on other devices
            part.eval()
    losses = TrainStep(own, device, bf16=bf16)(pictures, torch.Generator().manual_seed(0))
    torch.stack([loss.float() for loss in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [value.grad.float().norm() for value in own.parameters() if value.grad is not None]
    length = torch.stack(gradients).norm().item()
    own.eval()
    images = pictures.images.to(device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        if isinstance(own, RCNN):
            answer = own.rpn(own.backbone(images), (images.shape[2], images.shape[3]))[0]
        else:
            outputs = own(images)
            assert isinstance(outputs, SemanticOutputs)
            answer = outputs.logits
    return {key: loss.item() for key, loss in losses.items()}, length, answer.float().cpu()


def maps(side: int) -> Batch:
    """Two pictures whose brightness tells the class, in bands, and noise."""
    ids = np.broadcast_to(np.arange(side) * CLASSES // side, (side, side)).astype(np.int64)
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    windows = torch.tensor([(0, 0, side, side)] * 2)
    return Batch(
        torch.from_numpy(ids).float() / CLASSES + 0.1 * noise,
        windows,
        (SemanticMap(ids),) * 2,
        ids=("a", "b"),
        files=("a", "b"),
    )
