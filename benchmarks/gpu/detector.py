"""Mask R-CNN with ResNet-50 beside torchvision's, predicting and learning, with the memory that both take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.compare import Bar, Disagreement, Memory, compare
from benchmarks.crowds import crowd
from benchmarks.gpu.found import Found, Sizes, peak_on, waited, whole_float32
from benchmarks.inference import agreement as same_objects
from benchmarks.inference import likeness, predict_by_torchvision, torchvision_model
from benchmarks.training import CLASSES, agreement, batch, step, torchvision_network, truth_of
from everymask.backends.pytorch import build_predictor
from everymask.core.arrays import ByteArray
from everymask.data.feed.preprocess import Resize
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import MaskRCNN

PEER = "torchvision"


def predicting(device: torch.device, sizes: Sizes, detector: tuple[RCNN, Card]) -> Found:
    """Pictures in memory to boxes, classes, scores and masks on the CPU, in each batch; exact, and the fast path."""
    module, card = detector
    card = replace(card, preprocess=replace(card.preprocess, resize=Resize(*sizes.picture)))
    peer = torchvision_model(module, sizes.picture).to(device)
    times, memory = [], []
    for count in sizes.batches:
        pictures = [crowd(index, sizes.picture, sizes.tiles).image for index in range(count)]
        theirs = waited(partial(predict_by_torchvision, peer, pictures), device)
        exact = build_predictor(module, card, str(device), precision="exact")
        fast = build_predictor(module, card, str(device), precision="auto")
        what = f"prediction, batch {count}"
        ours = waited(partial(answers, exact, pictures), device)
        timed = partial(compare, rounds=sizes.rounds, count=count)
        with whole_float32():
            times.append(timed(f"{what}, exact", ours, theirs, same=same_or_alike, peer=f"{PEER}, float32"))
        ours = waited(partial(answers, fast, pictures), device)
        times.append(timed(f"{what}, fast path", ours, theirs, same=likeness, peer=f"{PEER}, float32 (TF32)"))
        memory.append(Memory(f"{what}, fast path", PEER, peak_on(device, ours), peak_on(device, theirs)))
    bars = tuple(Bar(row.what, row.ratio, 1.0) for row in times)
    return Found(tuple(times), tuple(memory), bars)


def answers(predictor: Predictor, pictures: list[ByteArray]) -> list[Result]:
    """All pictures in one batch."""
    return list(predictor.stream(pictures, batch=len(pictures)))


def same_or_alike(ours: list[Result], theirs: list[dict[str, Tensor]]) -> str:
    """In words how equal the detections are. Kernels of a GPU round otherwise: one at the limit may come or go."""
    try:
        return same_objects(ours, theirs)
    except Disagreement as reason:
        return f"{likeness(ours, theirs)} ({reason})"


def learning(device: torch.device, sizes: Sizes) -> Found:
    """One optimizer step, both in bfloat16 by autocast, and torchvision's also as its references write it."""
    calls: list[Callable[[], float]] = [our_step(device, sizes)]
    calls += [their_step(device, sizes, bf16=bf16) for bf16 in (True, False)]
    ours, autocast, plain = (waited(call, device) for call in calls)
    times = [
        compare("a training step", ours, call, peer=f"{PEER}, {name}", same=agreement, rounds=sizes.rounds)
        for name, call in (("autocast", autocast), ("float32 (TF32)", plain))
    ]
    memory = Memory("a training step", f"{PEER}, autocast", peak_on(device, ours), peak_on(device, autocast))
    bars = tuple(Bar(f"a training step beside {row.peer}", row.ratio, 1.0) for row in times)
    return Found(tuple(times), (memory,), bars)


def our_step(device: torch.device, sizes: Sizes) -> Callable[[], float]:
    """As `everymask train` makes it."""
    torch.manual_seed(0)
    module = build(MaskRCNN(box_samples=sizes.regions), CLASSES).train()
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = batch(sizes.train, sizes.picture, sizes.tiles).to(device, channels_last=True)
    optimizer = torch.optim.SGD(module.parameters(), 1e-4, momentum=0.9)
    return partial(step, optimizer, lambda: module.loss(pictures), bf16=True)


def their_step(device: torch.device, sizes: Sizes, *, bf16: bool) -> Callable[[], float]:
    """The same of torchvision's model."""
    peer, pictures = (
        torchvision_network(sizes.regions).to(device),
        batch(sizes.train, sizes.picture, sizes.tiles).to(device),
    )
    targets = truth_of(pictures)
    optimizer = torch.optim.SGD(peer.parameters(), 1e-4, momentum=0.9)
    return partial(step, optimizer, lambda: peer(pictures.images, targets), bf16=bf16)
