"""Exported networks in their runtimes, beside the peers' own in PyTorch."""

from __future__ import annotations

import os
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.compare import Bar, Comparison, compare
from benchmarks.crowds import crowd
from benchmarks.inference import agreement, predict_by_torchvision, torchvision_model
from benchmarks.page import Section
from benchmarks.semantic import NETWORKS, equal, our_module, peer_module, picture, predict_by_peer
from everymask.core.arrays import ByteArray
from everymask.core.label_sets import coco_labels
from everymask.data.feed.batches import frames
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.export.graph import trace
from everymask.export.onnx_graph import to_onnx
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import MaskRCNN
from everymask.runtimes.backend import Engine, GraphBackend
from everymask.runtimes.bundle import RUNTIMES
from everymask.runtimes.loading import engine_of

SIDE = 512
BARS = {"U-Net": 1.6, "Mask R-CNN": 2.2}
SETTING = f"""What `everymask export` writes, in float32, on {SIDE} × {SIDE} pixels. U-Net with ResNet-34 and its peer
as in the section on semantic networks: from one normalised picture to logits. Mask R-CNN with ResNet-50, random
weights that find 100 objects: from a picture in uint8 to boxes, classes, scores and masks. The weights are the
same on both sides; the peers run in PyTorch as their documentation says."""


def engines(graph: bytes, threads: int) -> list[tuple[str, Engine]]:
    """The graph in each runtime."""
    return [(name, engine_of(graph, name, "fp32", "cpu", threads)) for name in RUNTIMES]


def logits_of(engine: Engine, images: Tensor) -> Tensor:
    """Logits [1, K, H, W]."""
    given = images.numpy()
    return torch.from_numpy(engine(given, frames(given))["logits"])


def unet_rows(threads: int) -> list[Comparison]:
    """U-Net from a normalised picture to logits; peer: smp."""
    network = NETWORKS[0]
    peer, images = peer_module(network), picture(SIDE)
    graph = to_onnx(trace(our_module(network, peer).eval(), 3, 32))
    theirs = partial(predict_by_peer, peer, images)
    return [
        compare(f"{network.name}, {name}", partial(logits_of, engine, images), theirs, peer="smp", same=equal, rounds=7)
        for name, engine in engines(graph, threads)
    ]


def predict(predictor: Predictor, image: ByteArray) -> Result:
    """One picture."""
    return predictor.predict(image)


def detector() -> RCNN:
    """A Mask R-CNN of random weights, by which no two scores are alike: it finds 100 objects in any picture."""
    torch.manual_seed(0)
    network = build(MaskRCNN(), len(coco_labels()))
    assert isinstance(network, RCNN)
    norms = [part for part in network.backbone.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        network.train().backbone(torch.randn(2, 3, 256, 256))
        for name, parameter in network.named_parameters():
            if name.endswith(("rpn.head.cls_logits.weight", "box_predictor.cls_score.weight")):
                parameter.normal_(std=0.1)
    return network.eval()


def detector_rows(threads: int) -> list[Comparison]:
    """Mask R-CNN from a picture to masks; peer: torchvision."""
    network = detector()
    card = Card(network.spec, coco_labels(), Preprocess(resize=Resize(SIDE, SIDE)))
    graph = to_onnx(trace(network, 3, card.preprocess.divisor))
    image = crowd(0, (SIDE, SIDE)).image
    theirs = partial(predict_by_torchvision, torchvision_model(network, (SIDE, SIDE)), [image])
    rows = []
    for name, engine in engines(graph, threads):
        predictor = Predictor(GraphBackend(engine, card.spec, one_by_one=True), card)
        ours = partial(predict, predictor, image)
        rows.append(compare(f"Mask R-CNN, {name}", ours, theirs, peer="torchvision, eager", same=agreement, rounds=7))
    return rows


def run() -> Section:
    """Exported U-Net R34 and Mask R-CNN R50 on 512 x 512 pixels, float32; peers: smp, torchvision in PyTorch"""
    threads = torch.get_num_threads()
    rows = [*unet_rows(threads), *detector_rows(threads)]
    best = {network: max(row.ratio for row in rows if row.what.startswith(f"{network},")) for network in BARS}
    return Section(
        title="Exported networks: ONNX Runtime and OpenVINO",
        setting=SETTING,
        packages=("torch", "torchvision", "onnxruntime", "openvino", "segmentation-models-pytorch"),
        threads=f"{threads} on both sides, of {os.cpu_count()} cores",
        times=tuple(rows),
        bars=tuple(Bar(f"{network}, float32, best runtime", best[network], limit) for network, limit in BARS.items()),
    )
