"""Which program's whole model a checkpoint is, by the names of its tensors, and its network as one of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from everymask.errors import ConfigError, DataError, EverymaskError, WeightsError, printable
from everymask.models.base import Network
from everymask.models.build import build_bare, with_memory
from everymask.models.card import Card
from everymask.models.checkpoint import check_fit, load_exactly
from everymask.models.foreign.detectors import benchmark, detectron2, matterport, mmdetection, rfdetr
from everymask.models.foreign.files.stored import Stored, views
from everymask.models.foreign.maps import keras_unet, mmsegmentation
from everymask.models.foreign.whole import Whole

_Translate: TypeAlias = Callable[[Stored, Mapping[str, Tensor], str], Whole]
# Names of which one is in every checkpoint of a program, and in no other's.
_PROGRAMS: tuple[tuple[tuple[str, ...], _Translate], ...] = (
    (detectron2.SIGNS, detectron2.from_detectron2),
    (benchmark.SIGNS, benchmark.from_benchmark),
    (mmdetection.SIGNS, mmdetection.from_mmdetection),
    (mmsegmentation.SIGNS, mmsegmentation.from_mmsegmentation),
    (matterport.SIGNS, matterport.from_matterport),
    (rfdetr.SIGNS, rfdetr.from_rfdetr),
)
_AROUND = "what the training had around the network"
_log = logging.getLogger(__name__)


def translated(stored: Stored, path: Path) -> Whole | None:
    """The whole model that a checkpoint is; None where it is of none of these programs.

    `WeightsError` where it is of a network that does not exist here, or damaged.
    """
    for view in views(stored.tensors):
        for signs, translate in _PROGRAMS:
            if any(sign in view for sign in signs):
                whole = _checked(translate, stored, view, path)
                if len(view) < len(stored.tensors):
                    around = {name: _AROUND for name in stored.tensors if not name.endswith(tuple(view))}
                    whole = replace(whole, unused={**whole.unused, **around})
                return whole
        if keras_unet.is_keras(view):
            return _checked(keras_unet.from_keras_unet, stored, view, path)
    return None


def load_whole(whole: Whole, path: Path) -> tuple[Network, Card]:
    """Its network in evaluation mode, and what it means. What was recognised, and what was assumed, is logged."""
    _log.warning("%s is taken for a %s; the file does not state its licence", printable(path), whole)
    module = with_memory(build_bare(whole.spec, len(whole.labels)))
    load_exactly(module, whole.tensors, path)
    source = f"{whole.origin}: {path.name}"
    return module.eval(), Card(whole.spec, whole.labels, whole.preprocess, source=source)


def _checked(translate: _Translate, stored: Stored, view: Mapping[str, Tensor], path: Path) -> Whole:
    """The model, whose tensors are all that its network has; none of the memory of another network is taken."""
    try:
        whole = translate(stored, view, path.name)
        check_fit(build_bare(whole.spec, len(whole.labels)), whole.tensors, "it")
    except WeightsError as error:
        raise WeightsError(f"{printable(path)}: {error.message}", hint=error.hint) from error
    except (ConfigError, DataError) as error:
        raise WeightsError(f"{printable(path)} tells of a network that cannot be: {error.message}") from error
    except EverymaskError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError) as error:  # what layers make of wrong shapes
        raise WeightsError(
            f"{printable(path)} is damaged: its tensors do not fit together: {printable(error)}"
        ) from error
    return whole
