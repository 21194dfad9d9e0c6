"""Published weights: fetched when they are asked for, checked, and kept in a cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from everymask.errors import WeightsError, listed
from everymask.models.base import Network
from everymask.models.blocks.encoders import encoder_shapes, imagenet_weights
from everymask.models.build import build_bare, with_memory
from everymask.models.card import Card
from everymask.models.checkpoint import check_finite, load_exactly, read_safetensors
from everymask.models.fetching import Published, fetch
from everymask.models.foreign.files.stored import read_stored
from everymask.models.foreign.recognise import recognise
from everymask.models.foreign.torchvision import upgrade_names
from everymask.models.foreign.translate import translated
from everymask.models.published.weights import Weights

_HUGGING_FACE = "https://huggingface.co"


def load_pretrained(weights: Weights, file: Path | None = None) -> tuple[Network, Card]:
    """The network of a row of the catalogue with its weights from `file` (None: fetched), in evaluation mode."""
    file = file or fetch_weights(weights)
    stored = read_stored(file)
    whole = translated(stored, file)
    spec = weights.spec if whole is None else whole.spec
    module = with_memory(build_bare(spec, len(weights.labels)))
    tensors = upgrade_names(stored.tensors) if whole is None else whole.tensors
    foreign = recognise(tensors) if whole is None else None
    load_exactly(module, tensors if foreign is None else foreign.fitting(module), file)
    card = Card(
        spec,
        weights.labels,
        weights.preprocess,
        metrics=dict(weights.metrics),
        licence=weights.licence,
        source=weights.url,
    )
    return module.eval(), card


def published(weights: Weights) -> Published:
    """The file of a row of the catalogue."""
    name = weights.url.rpartition("/")[2]
    return Published(f"the weights {weights.name}", weights.url, name, weights.licence, weights.sha256, weights.md5)


def fetch_weights(weights: Weights) -> Path:
    """The file of a row of the catalogue, from the cache or from its url; as `fetch` does it."""
    return fetch(published(weights))


def published_encoder(encoder: str) -> Published | None:
    """The file of an encoder's ImageNet weights, as timm publishes it at Hugging Face; None where there is none.

    A mirror may stand in `HF_ENDPOINT`. The file is a safetensors file, in which no code can lie.
    """
    known = imagenet_weights(encoder)
    if known is None:
        return None
    server = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUGGING_FACE
    name = known.repository.rpartition("/")[2]
    return Published(
        f"the ImageNet weights of {encoder}",
        f"{server}/{known.repository}/resolve/main/model.safetensors",
        f"{name}.safetensors",
        f"{known.licence} (timm)",
    )


def check_encoder(encoder: str, file: Path) -> None:
    """`WeightsError` where a file does not hold the weights of timm's network of that name."""
    check_encoder_tensors(encoder, read_safetensors(file)[0], file, "remove the file, and it is fetched again")


def check_encoder_tensors(encoder: str, tensors: Mapping[str, Tensor], file: Path, cure: str) -> None:
    """`WeightsError` where tensors are not those of timm's network of that name; `cure` says what to do then."""
    check_finite(tensors, file)
    shapes = encoder_shapes(encoder)
    wrong = [name for name, shape in shapes.items() if name not in tensors or tensors[name].shape != shape]
    if wrong:
        raise WeightsError(
            f"{file} does not hold the weights of {encoder}: missing or of another shape are {listed(wrong, 3)}",
            hint=cure,
        )
