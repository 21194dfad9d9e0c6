"""Where a training starts from: nothing, an encoder, or a whole network with other classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from everymask.classical.bases import MethodSpec
from everymask.core.label_sets import coco_80_labels
from everymask.core.labels import Labels
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import MachineError, WeightsError
from everymask.models.base import Network
from everymask.models.blocks.encoders import imagenet_weights
from everymask.models.blocks.lora import ADAPTED, adapt
from everymask.models.build import build, build_bare
from everymask.models.catalog import catalog, published_as, weights_named
from everymask.models.checkpoint import describes_itself, read_model
from everymask.models.fetching import PATIENCE, UNASKED, Published, fetch, is_offline
from everymask.models.fine_tune import fit_weights, has_as_many_classes
from everymask.models.foreign.files.stored import read_stored, unwrapped, views
from everymask.models.foreign.recognise import ONE_STAGE_ORIGINS, Foreign, recognised
from everymask.models.foreign.torchvision import upgrade_names
from everymask.models.foreign.translate import translated
from everymask.models.pretrained import (
    check_encoder,
    check_encoder_tensors,
    fetch_weights,
    published,
    published_encoder,
)
from everymask.models.published.weights import Weights
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.named import with_options
from everymask.models.specs.onestage import published_preprocess
from everymask.settings.facts import Start
from everymask.settings.plan import Plan
from everymask.settings.recipes import model_for_weights
from everymask.settings.schedule import lora_rank
from everymask.settings.semantic_recipes import LONGEST
from everymask.train.folder.layout import BEST

_ENCODER = "imagenet"
# What the first layer of a bare encoder of timm or torchvision is called.
_FIRST_LAYERS = ("conv1.weight", "conv1.0.weight", "conv_stem.weight", "stem.0.weight", "stem.conv1.weight",
                 "patch_embed.proj.weight")  # fmt: skip
_USUAL = ("auto", "required")
WORDS = (*_USUAL, "none", _ENCODER)
"""What `TrainConfig.weights` may be besides a name: then the network decides which weights they are."""


@dataclass(frozen=True, slots=True)
class Source:
    """Weights to start from: tensors by name, the network and the classes they belong to; or another program's
    checkpoint; or the file of an `encoder`, or the tensors of a `bare` one by timm's names. `origin` says where they
    come from.
    """

    start: Start
    tensors: Mapping[str, Tensor] | None = None
    spec: ModelSpec | None = None
    labels: Labels | None = None
    foreign: Foreign | None = None
    encoder: Path | None = None
    bare: Mapping[str, Tensor] | None = None
    origin: str = ""


def read_source(weights: str) -> Source | None:
    """What `TrainConfig.weights` names: a run folder, a model file, a checkpoint of another program, or a row of the
    catalogue; None for one of `WORDS`.

    `WeightsError` when there is no such file or it cannot be used.
    """
    if weights in WORDS:
        return None
    path = Path(weights)
    if not path.exists() and weights in {row.name for row in catalog()}:
        path = fetch_weights(weights_named(weights))
    path = path / BEST if path.is_dir() else path
    if not path.exists():
        raise WeightsError(
            f"there are no weights {weights!r}",
            hint='name a run folder, a model file (.safetensors, .pth), a name of `everymask models`, or "imagenet"',
        )
    if path.suffix == ".safetensors" and describes_itself(path):
        tensors, card = read_model(path)
        assert not isinstance(card.spec, MethodSpec)  # which is refused, since nothing can be built of it
        return Source(Start(card.preprocess, detects=True), tensors, card.spec, card.labels)
    return _checkpoint(path)


def usual_source(
    weights: str, spec: ModelSpec, channels: int, say: Callable[[str], None] | None
) -> tuple[Source | None, tuple[str, ...]]:
    """What the words "auto", "required" and "imagenet" mean for a network and pictures of so many channels.

    They are the catalogue's weights of that very network (not for "imagenet"), else ImageNet's of its encoder, from the
    cache or fetched, of which `say` is told before (None: from the cache alone). A source with a `spec` has the network
    as its weights need it. Where "auto" can have none, a line says what is lost and how to get it; for the others it is
    a `WeightsError`.
    """
    if weights not in (*_USUAL, _ENCODER):
        return None, ()
    patience, refused = PATIENCE if weights == _ENCODER else UNASKED, None
    trained = trained_as(spec) if weights in _USUAL and channels in (1, 3) else None
    try:
        if trained is not None:
            row, network = trained
            return replace(_checkpoint(_had(published(row), patience, say)), spec=network), ()
    except (WeightsError, MachineError) as error:
        refused = error
    try:
        return _imagenet(spec, patience, say), ()
    except (WeightsError, MachineError) as error:
        refused = refused or error
    if weights != "auto":
        raise refused
    return None, (
        f"training starts from random weights, which takes longer and more pictures: {refused.message}; {refused.hint}",
    )


def trained_as(spec: ModelSpec) -> tuple[Weights, ModelSpec] | None:
    """The catalogue's weights of this very network, and the network as they need it; its head is its own."""
    head = getattr(spec, "head", None)
    asked = with_options(spec, None, None, "multiclass" if head else None)
    for row in (row for row in catalog() if row.auto):
        alike = type(row.spec) is type(spec) and row.spec.encoder == spec.encoder
        network = model_for_weights(asked, row.spec) if alike else asked
        if network == row.spec:
            return row, with_options(network, None, None, head)
    return None


def _had(file: Published, patience: float, say: Callable[[str], None] | None) -> Path:
    """The file, fetched if need be and if `say` can be told."""
    if say is None and not is_offline() and not file.place().is_file():
        raise WeightsError(
            f"training first fetches {file.title} ({file.licence}) from {file.url} and starts from them",
            hint=file.by_hand(),
        )
    return fetch(file, patience=patience, say=say)


def _imagenet(spec: ModelSpec, patience: float, say: Callable[[str], None] | None) -> Source:
    known, file = imagenet_weights(spec.encoder), published_encoder(spec.encoder)
    if known is None or file is None:
        raise WeightsError(
            f"there are no ImageNet weights of {spec.encoder} to fetch",
            hint="train from scratch (--weights none), or name a file of your own with --weights FILE",
        )
    stored = _had(file, patience, say)
    check_encoder(spec.encoder, stored)
    start = Start(Preprocess(mean=known.mean, std=known.std), detects=False)
    return Source(start, encoder=stored, origin=f"{known.repository}, {file.licence}")


def _checkpoint(path: Path) -> Source:
    """A PyTorch file, or a safetensors file of another program."""
    stored = read_stored(path)
    whole = translated(stored, path)
    row = published_as(path)
    if whole is not None:
        licence = "" if row is None else f", {row.licence}"
        origin = f"{path.name}, {whole}{licence}"
        return Source(Start(whole.preprocess, detects=True), whole.tensors, whole.spec, whole.labels, origin=origin)
    tensors = upgrade_names(unwrapped(stored.tensors))
    foreign = recognised(tensors)
    if foreign is not None and foreign.origin in ONE_STAGE_ORIGINS:
        return _one_stage(tensors, foreign)
    if foreign is not None:
        fed = Preprocess(resize=Resize(short=1, long=LONGEST, rule="shrink"))
        return Source(Start(fed, detects=True, adapts=True), tensors, foreign.spec, foreign=foreign)
    bare = next((view for view in views(stored.tensors) if any(name in view for name in _FIRST_LAYERS)), None)
    if row is None and bare is not None:
        return Source(Start(Preprocess(), detects=False), bare=bare, origin=path.name)
    if row is None:
        return Source(Start(Preprocess(), detects=True), tensors)
    start, origin = Start(row.preprocess, detects=True), f"{row.name}, {row.licence}"
    return Source(start, tensors, row.spec, row.labels, origin=origin)


def _one_stage(tensors: Mapping[str, Tensor], foreign: Foreign) -> Source:
    """A one-stage detector, fed as it was trained; 80 classes are COCO's, and found by their names."""
    spec: Any = foreign.spec
    start, coco = Start(published_preprocess(spec), detects=True), coco_80_labels()
    bare = build_bare(spec, len(coco))
    named = foreign.fitting(bare)
    if has_as_many_classes(bare, named):
        return Source(start, named, spec, coco, origin=foreign.origin)
    return Source(start, tensors, spec, foreign=foreign)


def build_start(spec: ModelSpec, labels: Labels, source: Source | None, seed: int) -> tuple[Network, str]:
    """The network, initialised by `seed` and then from `source`, and a line about what it starts with."""
    with _encoder_file(spec, source) as encoder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng(seed, "weights").integers(2**63)))
        module = build(spec, len(labels), pretrained_encoder=encoder)
    parameters = f"{sum(parameter.numel() for parameter in module.parameters()):,} parameters"
    if source is None:
        return module, f"{parameters}, from scratch"
    if source.tensors is None:
        known = "of a checkpoint" if source.bare else "trained on ImageNet"
        return module, f"{parameters}, encoder {known} ({source.origin})"
    if source.foreign is None:
        origin = f"weights {source.origin}; " if source.origin else ""
        return module, f"{parameters}; {origin}{fit_weights(module, labels, source.tensors, source.labels)}"
    return module, f"{parameters}; {_fit_foreign(module, labels, source.foreign)}"


def adapted_for(module: Network, plan: Plan) -> tuple[str, ...]:
    """Give the encoder low-rank updates, drawn by the seed, where a phase of the plan lets such learn; a line about it.

    `ConfigError` where the encoder has no attention.
    """
    rank = max(lora_rank(phase.selection) for phase in plan.phases)
    if not rank:
        return ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng(plan.seed, "lora").integers(2**63)))
        adapt(module, rank, alpha=rank)
    count = sum(
        value.numel() for name, value in module.named_parameters() if name.rpartition(".")[2].startswith(ADAPTED)
    )
    return (f"low-rank updates of rank {rank} beside the encoder's attention, {count:,} parameters, merged when saved",)


@contextmanager
def _encoder_file(spec: ModelSpec, source: Source | None) -> Iterator[Path | None]:
    """The file of the encoder's weights; of a `bare` one, which may lie in any checkpoint, while it is read."""
    if source is None or source.bare is None:
        yield source.encoder if source else None
        return
    cure = "name the encoder that they are of, with --encoder"
    check_encoder_tensors(spec.encoder, source.bare, Path(source.origin), cure)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "encoder.safetensors"
        save_file({name: tensor.contiguous().clone() for name, tensor in source.bare.items()}, file)
        yield file


def _fit_foreign(module: Network, labels: Labels, foreign: Foreign) -> str:
    """Start from another program's weights, whose classes have no names; what was done, in words."""
    tensors = foreign.fitting(module)
    same = has_as_many_classes(module, tensors)
    report = fit_weights(module, labels, tensors, labels if same else None)
    classes = f"; its {len(labels)} classes are taken for these, in their order" if report.classes_kept else ""
    return f"weights by {foreign.origin}{classes}; {report}"
