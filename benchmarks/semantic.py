"""Semantic networks beside segmentation_models.pytorch and torchvision: from the same picture to logits per pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.compare import Bar, Comparison, Disagreement, Memory, compare, compare_memory
from benchmarks.page import Section
from everymask.api import load
from everymask.data.formats.table import read_dataset
from everymask.evaluate import evaluate
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.smp import from_smp
from everymask.models.inference import ready_to_predict
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.semantic import DeepLabV3, DeepLabV3Plus, PSPNet, SemanticModelSpec, UNet, as_smp

CLASSES = 21
SIZES = (512, 1024)
CAMVID = Path("../shared/data/camvid")
TRAINED = Path("runs/camvid")
SETTING = f"""Networks with {CLASSES} classes, the same weights on both sides: random ones, with the statistics of their
norms taken from random pictures, so that no layer fades out. Both sides start from one normalised picture, float32
[1, 3, H, W], and end with logits [1, {CLASSES}, H, W]. The peers run as their documentation says: evaluation mode,
`torch.inference_mode()`, float32. segmentation_models.pytorch (smp) is asked for its default networks on ResNet-34,
torchvision for DeepLabV3 on ResNet-50."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the peer's and what it is called here."""

    name: str
    peer: str
    spec: SemanticModelSpec


NETWORKS = (
    Network("U-Net", "smp", as_smp(UNet(encoder="resnet34"))),
    Network("DeepLabV3+", "smp", as_smp(DeepLabV3Plus(encoder="resnet34"))),
    Network("PSPNet", "smp", as_smp(PSPNet(encoder="resnet34"))),
    Network("DeepLabV3", "torchvision", DeepLabV3(encoder="resnet50")),
)


def peer_module(network: Network) -> nn.Module:
    """The peer's network, with weights that are the same each time."""
    torch.manual_seed(0)
    if network.peer == "torchvision":
        from torchvision.models.segmentation import deeplabv3_resnet50

        module: nn.Module = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True)
    else:
        import segmentation_models_pytorch as smp

        kinds: dict[str, Any] = {"U-Net": smp.Unet, "DeepLabV3+": smp.DeepLabV3Plus, "PSPNet": smp.PSPNet}
        module = kinds[network.name](network.spec.encoder, encoder_weights=None, classes=CLASSES)
    return with_statistics(module)


def with_statistics(module: nn.Module) -> nn.Module:
    """The network in evaluation mode, its norms as if random pictures had been learned from."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    with torch.inference_mode():
        module.train()(torch.randn(4, 3, 256, 256))
    return module.eval()


def our_module(network: Network, peer: nn.Module) -> SemanticModel:
    """Our network with the peer's weights."""
    module = build_semantic(network.spec, CLASSES)
    weights = peer.state_dict()
    load_exactly(module, from_smp(weights, network.spec) if network.peer == "smp" else weights, network.name)
    return module


def picture(side: int) -> Tensor:
    """A normalised picture [1, 3, side, side]."""
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def theirs(network: Network, side: int) -> Callable[[], Tensor]:
    """The peer's logits."""
    return partial(predict_by_peer, peer_module(network), picture(side))


def predict_by_peer(module: nn.Module, images: Tensor) -> Tensor:
    """Logits [1, K, H, W]."""
    with torch.inference_mode():
        found = module(images)
        logits: Tensor = found["out"] if isinstance(found, dict) else found
        return logits


def ours(network: Network, side: int, dtype: torch.dtype | None) -> Callable[[], Tensor]:
    """Our logits, of the network made ready to predict."""
    module = ready_to_predict(our_module(network, peer_module(network)), dtype)
    return partial(predict_by_us, module, picture(side))


def predict_by_us(module: SemanticModel, images: Tensor) -> Tensor:
    """Logits [1, K, H, W]."""
    with torch.inference_mode():
        logits: Tensor = module(images.contiguous(memory_format=torch.channels_last)).logits
        return logits


def equal(found: Tensor, expected: Tensor) -> str:
    """How far logits lie apart, in words; `Disagreement` beyond a thousandth of their spread."""
    error, spread = float((found - expected).abs().max()), float(expected.std())
    if error > 1e-3 * spread:
        raise Disagreement(f"logits differ by up to {error:.1e}, their standard deviation is {spread:.2g}")
    return f"logits within {error / spread:.0e} of their standard deviation"


def deviation(found: Tensor, expected: Tensor) -> float:
    """How far logits lie apart on average, as a part of their standard deviation."""
    return float((found - expected).abs().mean() / expected.std())


def usual_deviation(network: Network, side: int) -> float:
    """What bfloat16 changes in the peer's logits where PyTorch's autocast chooses what it calculates."""
    call = theirs(network, side)
    with torch.autocast("cpu", torch.bfloat16):
        rough = call()
    return deviation(rough.float(), call())


def alike(found: Tensor, expected: Tensor, *, usual: float) -> str:
    """What bfloat16 changes, in words; `Disagreement` where that is half as much again as is usual.

    Deep networks of random weights enlarge every rounding; what it means for classes, a trained network tells.
    """
    error = deviation(found, expected)
    if error > 1.5 * usual:
        raise Disagreement(f"logits differ by {error:.3f} of their standard deviation on average, not by {usual:.3f}")
    return f"logits differ by {error:.3f} of their standard deviation on average (under autocast {usual:.3f})"


def camvid_scores() -> tuple[float, float] | None:
    """mIoU of the trained CamVid model on the validation pictures, exact and fast; None where it is not there."""
    if not TRAINED.is_dir() or not CAMVID.is_dir():
        return None
    pictures = read_dataset(CAMVID).split("val")
    exact = evaluate(load(TRAINED, device="cpu", precision="exact"), pictures).headline
    return exact, evaluate(load(TRAINED, device="cpu"), pictures).headline


def run() -> Section:
    """U-Net, DeepLabV3+, PSPNet beside smp, DeepLabV3 beside torchvision, 512 and 1024 pixels, float32 and bfloat16"""
    rows: list[Comparison] = []
    memory: list[Memory] = []
    bars: list[Bar] = []
    for network in NETWORKS:
        for side in SIZES:
            usual = usual_deviation(network, side)
            for dtype, words, limit in ((None, "float32", 1.5), (torch.bfloat16, "bfloat16", 2.5)):
                what = f"{network.name}, {side} × {side}, {words}"
                calls = ours(network, side, dtype), theirs(network, side)
                same = equal if dtype is None else partial(alike, usual=usual)
                rows.append(compare(what, *calls, peer=network.peer, same=same, rounds=5 if side == 512 else 3))
                bars.append(Bar(what, rows[-1].ratio, limit))
                if side == SIZES[-1]:
                    measured = partial(ours, network, side, dtype), partial(theirs, network, side)
                    memory.append(compare_memory(what, *measured, peer=network.peer))
    scores = camvid_scores()
    if scores is None:
        notes = [f"The mIoU of the fast path was not measured: that needs {TRAINED} (see results.md) and {CAMVID}."]
    else:
        found = f"float32 {scores[0]:.4f}, bfloat16 {scores[1]:.4f}"
        notes = [f"mIoU of the trained CamVid model on its validation pictures: {found}."]
    return Section(
        title="Prediction: semantic networks",
        setting=SETTING,
        packages=("torch", "torchvision", "segmentation-models-pytorch"),
        threads=f"{torch.get_num_threads()} on both sides",
        times=tuple(rows),
        memory=tuple(memory),
        bars=tuple(bars),
        notes=tuple(notes),
    )
