"""Model files with random weights: for one grey channel and two classes, of label maps and of objects; of changes."""

from __future__ import annotations

from pathlib import Path

import torch

from everymask.core.labels import labels_of
from everymask.data.change.coding import CHANGE
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.change import FCSiam
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet

MAPS = UNet(encoder=PLAIN_ENCODER, channels=1, decoder_channels=(8, 4), decoder_norm="none")
CHANGES = FCSiam(widths=(4, 8), fusion="concat")
OBJECTS = MaskRCNN(
    encoder="mobilenetv3_small_100",
    channels=1,
    fpn_channels=16,
    box_fcs=(16,),
    mask_convs=(16,),
    score_threshold=0,
    max_detections=10,
)


def make_model(folder: Path, spec: ModelSpec, side: int) -> Path:
    """A file in `folder` with the network, which takes pictures of `side` pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build(spec, 2)
    file = folder / f"{type(spec).__name__}.safetensors"
    preprocess = Preprocess(1, 255.0, (0.2,), (0.2,), Resize(side, side))
    save_model(file, module, Card(spec, labels_of(["cat", "dog"]), preprocess))
    return file


def make_change_model(folder: Path) -> Path:
    """A file in `folder` with a network that compares two dates of three channels."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build(CHANGES, len(CHANGE))
    file = folder / "FCSiam.safetensors"
    preprocess = Preprocess(resize=Resize(rule="none"), divisor=4, dates=2)
    save_model(file, module, Card(CHANGES, CHANGE, preprocess))
    return file
