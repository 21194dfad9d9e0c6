"""Where a training starts from: nothing, an encoder, or a whole network with other classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from everymask.core.labels import Labels
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError
from everymask.models.base import Network
from everymask.models.build import build
from everymask.models.catalog import catalog, published_as, weights_named
from everymask.models.checkpoint import describes_itself, read_model
from everymask.models.fine_tune import fit_weights, has_as_many_classes
from everymask.models.foreign.recognise import Foreign, recognise
from everymask.models.foreign.torchvision import read_state_dict, upgrade_names
from everymask.models.pretrained import fetch_weights
from everymask.models.specs.any_spec import ModelSpec
from everymask.settings.facts import Start
from everymask.settings.semantic_recipes import LONGEST
from everymask.train.folder.layout import BEST

_ENCODER = "imagenet"


@dataclass(frozen=True, slots=True)
class Source:
    """Weights to start from: tensors by name (none: the encoder's own), the network and the classes they belong to;
    or another program's checkpoint.
    """

    start: Start
    tensors: Mapping[str, Tensor] | None = None
    spec: ModelSpec | None = None
    labels: Labels | None = None
    foreign: Foreign | None = None


def read_source(weights: str | None) -> Source | None:
    """What `TrainConfig.weights` names: a run folder, a model file, a checkpoint of another program, a row of the
    catalogue, or "imagenet".

    `WeightsError` when there is no such file or it cannot be used.
    """
    if weights is None:
        return None
    if weights == _ENCODER:
        return Source(Start(Preprocess(), detects=False))
    path = Path(weights)
    if not path.exists() and weights in {row.name for row in catalog()}:
        path = fetch_weights(weights_named(weights))
    path = path / BEST if path.is_dir() else path
    if not path.exists():
        raise WeightsError(
            f"there are no weights {weights!r}",
            hint='name a run folder, a .safetensors or .pth file, a name of `everymask models`, or "imagenet"',
        )
    if path.suffix == ".safetensors" and describes_itself(path):
        tensors, card = read_model(path)
        return Source(Start(card.preprocess, detects=True), tensors, card.spec, card.labels)
    tensors = upgrade_names(read_state_dict(path))
    foreign = recognise(tensors)
    if foreign is not None:
        fed = Preprocess(resize=Resize(short=1, long=LONGEST, rule="shrink"))
        return Source(Start(fed, detects=True, adapts=True), tensors, foreign.spec, foreign=foreign)
    published = published_as(path)
    if published is None:
        return Source(Start(Preprocess(), detects=True), tensors)
    return Source(Start(published.preprocess, detects=True), tensors, published.spec, published.labels)


def build_start(spec: ModelSpec, labels: Labels, source: Source | None, seed: int) -> tuple[Network, str]:
    """The network, initialised by `seed` and then from `source`, and a line about what it starts with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng(seed, "weights").integers(2**63)))
        module = build(spec, len(labels), pretrained_encoder=source is not None and source.tensors is None)
    parameters = f"{sum(parameter.numel() for parameter in module.parameters()):,} parameters"
    if source is None:
        return module, f"{parameters}, from scratch"
    if source.tensors is None:
        return module, f"{parameters}, encoder trained on ImageNet"
    if source.foreign is None:
        return module, f"{parameters}; {fit_weights(module, labels, source.tensors, source.labels)}"
    return module, f"{parameters}; {_fit_foreign(module, labels, source.foreign)}"


def _fit_foreign(module: Network, labels: Labels, foreign: Foreign) -> str:
    """Start from another program's weights, whose classes have no names; what was done, in words."""
    tensors = foreign.fitting(module)
    same = has_as_many_classes(module, tensors)
    report = fit_weights(module, labels, tensors, labels if same else None)
    classes = f"; its {len(labels)} classes are taken for these, in their order" if report.classes_kept else ""
    return f"weights by {foreign.origin}{classes}; {report}"
