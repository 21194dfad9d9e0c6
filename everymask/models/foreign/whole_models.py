"""Checkpoints of other programs that are whole models: their names tell the network, and little more is needed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from everymask.core.label_sets import CITYSCAPES, coco_80_labels
from everymask.core.labels import Labels, labels_of
from everymask.data.change.coding import CHANGE
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import DataError, WeightsError, printable
from everymask.models.base import Network
from everymask.models.build import build_bare, with_memory
from everymask.models.card import Card
from everymask.models.checkpoint import describes_itself, load_exactly
from everymask.models.foreign.files.stored import SUFFIXES, classes_beside, read_stored
from everymask.models.foreign.recognise import ONE_STAGE_ORIGINS, Foreign, recognised
from everymask.models.foreign.translate import load_whole, translated
from everymask.models.foreign.whole import Whole
from everymask.models.specs.change import TinyCD
from everymask.models.specs.onestage import published_preprocess
from everymask.models.specs.prompted import prompted_labels, prompted_preprocess
from everymask.models.specs.queries import QueryTask
from everymask.models.specs.semantic import PIDNet

_COCO: dict[int, tuple[QueryTask, tuple[int, ...]]] = {133: ("panoptic", tuple(range(80))), 80: ("instance", ())}
_QUERIES = ("transformers' Mask2Former", "transformers' EoMT", "EoMT's authors")
_log = logging.getLogger(__name__)


def read_foreign(path: Path) -> Foreign | Whole | None:
    """Another program's checkpoint in that file; None where it is none, or not one that is known.

    `WeightsError` where the file is damaged or holds more than tensors.
    """
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        return None
    if path.suffix.lower() == ".safetensors" and describes_itself(path):
        return None
    stored = read_stored(path)
    return translated(stored, path) or recognised(stored.tensors)


def load_foreign(foreign: Foreign | Whole, path: Path) -> tuple[Network, Card]:
    """The network of a checkpoint in evaluation mode, and what it means.

    What answers prompts is fed as its authors did, and has one class; so are one-stage detectors, whose 80 classes are
    COCO's.

    Else pictures are fed as they are, normalised as for ImageNet, and those of a Mask2Former of COCO's classes as for
    COCO. Classes are called as in the `config.json` of transformers beside it, as those of Cityscapes where HRNet's or
    PIDNet's authors have 19, else by their numbers; of TinyCD they are what changed and what did not.
    `WeightsError` where the names of its tensors do not tell the network, and where it is only an encoder.
    """
    if isinstance(foreign, Whole):
        return load_whole(foreign, path)
    cure = f"start from it: everymask train DATA --weights {path}"
    if foreign.spec is None:
        raise WeightsError(
            f"{printable(path)} holds weights by {foreign.origin}, which say neither their classes nor the network",
            hint=f"{cure} --model ... --encoder ...",
        )
    if "SAM" in foreign.origin:
        return _load_prompted(foreign, foreign.spec, path)
    spec: Any = foreign.spec
    if isinstance(spec, PIDNet):
        spec = replace(spec, auxiliary=False)
    if isinstance(spec, TinyCD):
        module = with_memory(build_bare(spec, len(CHANGE)))
        load_exactly(module, foreign.fitting(module), path)
        fed = Preprocess(resize=Resize(rule="none"), divisor=8, dates=2)
        return module.eval(), Card(spec, CHANGE, fed, source=f"{foreign.origin}: {path.name}")
    if foreign.origin in _QUERIES:
        return _load_queries(foreign, spec, path)
    probe = build_bare(spec, 2)
    named = foreign.fitting(probe)
    last = named.get(next(iter(probe.class_rows().counts)))
    if last is None:
        raise WeightsError(f"{printable(path)} holds an encoder by {foreign.origin}, and no classes", hint=cure)
    module = with_memory(build_bare(spec, len(last)))
    load_exactly(module, named, path)
    labels = _labels(foreign, path, len(last))
    coco = foreign.origin in ONE_STAGE_ORIGINS
    fed = published_preprocess(spec) if coco else Preprocess(resize=Resize(rule="none"))
    card = Card(spec, labels, fed, source=f"{foreign.origin}: {path.name}")
    return module.eval(), card


def _load_prompted(foreign: Foreign, spec: Any, path: Path) -> tuple[Network, Card]:
    module = with_memory(build_bare(spec, 1))
    load_exactly(module, foreign.fitting(module), path)
    card = Card(spec, prompted_labels(), prompted_preprocess(spec), source=f"{foreign.origin}: {path.name}")
    return module.eval(), card


def _load_queries(foreign: Foreign, spec: Any, path: Path) -> tuple[Network, Card]:
    """Its file does not say what the answers are to become: panoptic maps where the classes are COCO's 133, objects
    where they are its 80, else a class for every pixel, which all such networks can tell.
    """
    classifier = next(name for name in foreign.tensors if name.endswith(("class_predictor.bias", "class_head.bias")))
    count = len(foreign.tensors[classifier]) - 1
    task, things = _COCO.get(count, ("semantic", ()))
    spec = replace(spec, task=task, things=things)
    module = with_memory(build_bare(spec, count))
    load_exactly(module, foreign.fitting(module), path)
    labels = replace(_labels(foreign, path, count), things=frozenset(things))
    resize = Resize(800, 1333, rule="detectron2") if count in _COCO else Resize(rule="none")
    return module.eval(), Card(spec, labels, Preprocess(resize=resize), source=f"{foreign.origin}: {path.name}")


def _labels(foreign: Foreign, path: Path, count: int) -> Labels:
    if foreign.origin in ONE_STAGE_ORIGINS and count == len(coco_80_labels()):
        return coco_80_labels()
    if not foreign.origin.startswith("transformers") and count == len(CITYSCAPES):
        return CITYSCAPES
    names = classes_beside(path)[:count]
    try:
        if len(names) == count:
            return labels_of(names)
    except DataError:  # such as two of one name
        pass
    _log.warning("%s does not name its classes; they are called by their numbers, 0 to %d", path, count - 1)
    return labels_of(f"class {class_id}" for class_id in range(count))
