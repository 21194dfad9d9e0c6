"""A row of the catalogue of pretrained weights."""

from __future__ import annotations

from dataclasses import dataclass

from everymask.core.labels import Labels
from everymask.data.feed.preprocess import Preprocess
from everymask.models.specs.any_spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Weights:
    """Published weights: `sha256` is the start of the file's hash, `metrics` what the publisher measured.

    `params` counts the parameters, `megabytes` the file. `recipe` says how they were trained. `md5` is the start of the
    file's MD5, where that is what the publisher tells. `auto`: a training takes them unasked where the network is the
    same.
    """

    name: str
    spec: ModelSpec
    labels: Labels
    preprocess: Preprocess
    url: str
    sha256: str
    licence: str
    metrics: tuple[tuple[str, float], ...]
    params: int
    megabytes: float
    recipe: str
    md5: str = ""
    auto: bool = True
