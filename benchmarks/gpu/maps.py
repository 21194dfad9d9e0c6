"""U-Net beside segmentation_models.pytorch, predicting and learning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.compare import Bar, Disagreement, Memory, compare
from benchmarks.gpu.found import Found, Sizes, peak_on, waited, whole_float32
from benchmarks.semantic import CLASSES, NETWORKS, alike, deviation, equal, our_module, peer_module, predict_by_peer
from everymask.models.inference import ready_to_predict
from everymask.models.semantic.network import SemanticModel

PEER = "smp"
UNET = NETWORKS[0]


def predicting(device: torch.device, sizes: Sizes) -> Found:
    """Normalised pictures on the device to logits there; the same weights on both sides."""
    images = pictures(device, sizes)
    peer = peer_module(UNET)
    module = our_module(UNET, peer)
    peer.to(device)
    theirs = waited(partial(predict_by_peer, peer, images), device)
    timed = partial(compare, rounds=sizes.rounds, count=sizes.train)
    what, times = f"U-Net, prediction, batch {sizes.train}, {sizes.map_side} × {sizes.map_side}", []
    with whole_float32():
        ours = waited(partial(logits_of, ready_to_predict(module, None, device), images), device)
        times.append(timed(f"{what}, float32", ours, theirs, peer=f"{PEER}, float32", same=equal))
        usual = deviation(autocast(theirs, device)().float(), theirs())
    fast = waited(partial(logits_of, ready_to_predict(module, torch.bfloat16, device), images), device)
    rough = partial(alike, usual=usual)
    for name, call in (("float32 (TF32)", theirs), ("autocast", autocast(theirs, device))):
        times.append(timed(f"{what}, bfloat16", fast, call, peer=f"{PEER}, {name}", same=rough))
    memory = Memory(
        f"{what}, bfloat16", f"{PEER}, autocast", peak_on(device, fast), peak_on(device, autocast(theirs, device))
    )
    return Found(tuple(times), (memory,), tuple(Bar(f"{row.what} beside {row.peer}", row.ratio, 1.0) for row in times))


def learning(device: torch.device, sizes: Sizes) -> Found:
    """One step of cross-entropy, both in bfloat16 by autocast and with their pictures channels last."""
    peer = peer_module(UNET)
    module = our_module(UNET, peer)
    images = pictures(device, sizes)
    target = torch.arange(sizes.map_side, device=device) * CLASSES // sizes.map_side
    target = target.expand(sizes.train, sizes.map_side, sizes.map_side)
    ours, theirs = (
        waited(partial(learn, network, optimizer_of(network), answer, images, target), device)
        for network, answer in (
            (moved(module, device), lambda found: found.logits),
            (moved(peer, device), lambda found: found),
        )
    )
    what = f"U-Net, a training step, batch {sizes.train}, {sizes.map_side} × {sizes.map_side}"
    row = compare(what, ours, theirs, peer=f"{PEER}, autocast", same=near, rounds=sizes.rounds, count=sizes.train)
    memory = Memory(what, f"{PEER}, autocast", peak_on(device, ours), peak_on(device, theirs))
    return Found((row,), (memory,), (Bar(row.what, row.ratio, 1.0),))


def learn(
    network: nn.Module, optimizer: torch.optim.Optimizer, answer: Callable[..., Tensor], images: Tensor, target: Tensor
) -> float:
    """The loss before the update."""
    with torch.autocast(images.device.type, torch.bfloat16):
        logits = answer(network(images))
    loss = F.cross_entropy(logits.float(), target)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def near(ours: float, theirs: float) -> str:
    """In words how near the losses are: the weights are the same in the first step, and then nearly so."""
    if abs(ours - theirs) > 0.05 * max(abs(theirs), 1e-3):
        raise Disagreement(f"the losses are {ours:.3f} and {theirs:.3f}")
    return f"losses {ours:.3f} and {theirs:.3f}"


def logits_of(module: SemanticModel, images: Tensor) -> Tensor:
    """Logits [B, K, H, W] on the device."""
    with torch.inference_mode():
        found: Tensor = module(images).logits
        return found


def autocast(call: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """The call, calculated in bfloat16 where PyTorch's autocast chooses to."""

    def rough() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return call().float()

    return rough


def moved(network: nn.Module, device: torch.device) -> nn.Module:
    """On the device, channels last, learning."""
    placed: nn.Module = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed.train()


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    """The same for both."""
    return torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9)


def pictures(device: torch.device, sizes: Sizes) -> Tensor:
    """Normalised pictures [B, 3, side, side], channels last."""
    shape = (sizes.train, 3, sizes.map_side, sizes.map_side)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return images.to(device).contiguous(memory_format=torch.channels_last)
