"""A semantic network that knows classes by their brightness, and pictures in which they have just that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from everymask.backends.pytorch import build_predictor
from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.infer.predictor import Predictor
from everymask.models.card import Card
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.semantic import Head, UNet

STEP = 50


class GreyModel(SemanticModel):
    """Class k is what is as bright as `levels[k]`; binary: what is brighter than the mean of both is foreground."""

    def __init__(self, levels: Sequence[float], head: Head = "multiclass") -> None:
        super().__init__(UNet(channels=1, head=head), len(levels))
        self.levels = nn.Parameter(torch.tensor(levels, dtype=torch.float32))

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        images = images.mean(dim=1, keepdim=True)
        if self.num_logits == 1:
            return (images - self.levels.mean(),)
        return (100 - (images - self.levels[:, None, None]).square(),)


def grey_model(
    labels: Labels, levels: Sequence[float] | None = None, head: Head = "multiclass", *, channels: int = 1
) -> Predictor:
    """The model whose class k is of brightness `STEP` * k, or of `levels[k]`."""
    module = GreyModel([float(STEP * k) for k in range(len(labels))] if levels is None else levels, head)
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    preprocess = Preprocess(channels, scale=1, mean=zeros, std=ones, resize=Resize(rule="none"), divisor=8)
    return build_predictor(module, Card(module.spec, labels, preprocess), "cpu", precision="exact")


def write_grey(folder: Path, maps: Sequence[np.ndarray], names: Sequence[str] = ("ground", "road", "sky")) -> Labels:
    """Pictures p0, p1 ... as bright as their label maps say, and the maps with their classes' names."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, ids in enumerate(maps):
        shown = np.where(ids == 255, 0, ids * STEP).astype(np.uint8)
        Image.fromarray(shown).save(folder / "images" / f"p{number}.png")
        Image.fromarray(ids.astype(np.uint8)).save(folder / "masks" / f"p{number}.png")
    rows = "".join(f"{k},{name}\n" for k, name in enumerate(names))
    (folder / "classes.csv").write_text(f"number,name\n{rows}", encoding="utf-8")
    return labels_of(names)
