"""Starting from other weights: keep all that fits, class by class, and say what was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from everymask.core.labels import Labels
from everymask.errors import WeightsError

_ROWS_PER_CLASS = {
    "roi_heads.box_predictor.cls_score": 1,
    "roi_heads.box_predictor.bbox_pred": 4,
    "roi_heads.mask_predictor.mask_fcn_logits": 1,
}
_CLASSIFIER = "roi_heads.box_predictor.cls_score.weight"


@dataclass(frozen=True, slots=True)
class FitReport:
    """What fine-tuning took over: names of tensors kept and reset, and classes whose rows were found by name."""

    kept: tuple[str, ...]
    reset: tuple[str, ...]
    classes_kept: tuple[str, ...]
    classes_reset: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.kept) + len(self.reset)
        text = (
            f"kept {len(self.kept)} of {total} weight tensors; classes kept: {', '.join(self.classes_kept) or 'none'}"
        )
        if self.classes_reset:
            text += f"; new classes: {', '.join(self.classes_reset)}"
        if self.reset:
            text += f"; started afresh: {', '.join(self.reset)}"
        return text


def fit_weights(
    module: nn.Module, labels: Labels, tensors: Mapping[str, Tensor], source_labels: Labels | None
) -> FitReport:
    """Copy into `module` every tensor that fits it.

    Tensors with a row per class take the background's row and the rows of classes that bear the same name in
    `source_labels`; the other rows stay as initialised. `WeightsError` when nothing of the encoder fits.
    """
    own = module.state_dict()
    kept: list[str] = []
    reset: list[str] = []
    with torch.no_grad():
        for name, target in own.items():
            if name.endswith("num_batches_tracked"):
                continue
            source = tensors.get(name)
            rows = _ROWS_PER_CLASS.get(name.rpartition(".")[0])
            if source is None:
                reset.append(name)
            elif rows and source_labels is not None and _fits(source, target, rows, source_labels):
                _copy_rows(target, source, rows, labels, source_labels)
                kept.append(name)
            elif source.shape == target.shape and not rows:
                target.copy_(source)
                kept.append(name)
            else:
                reset.append(name)
    if not any(name.startswith("backbone.body") for name in kept):
        raise WeightsError(
            "none of the encoder's weights fit this network", hint="choose the same --encoder as that of the weights"
        )
    known = source_labels.names if source_labels and _CLASSIFIER in kept else ()
    return FitReport(
        kept=tuple(kept),
        reset=tuple(reset),
        classes_kept=tuple(name for name in labels.names if name in known),
        classes_reset=tuple(name for name in labels.names if name not in known),
    )


def _fits(source: Tensor, target: Tensor, rows: int, source_labels: Labels) -> bool:
    """Whether a tensor with `rows` rows per class has them for all source classes, as wide as the target's."""
    return source.shape[1:] == target.shape[1:] and len(source) == rows * (1 + len(source_labels))


def _copy_rows(target: Tensor, source: Tensor, rows: int, labels: Labels, source_labels: Labels) -> None:
    target[:rows].copy_(source[:rows])
    for index, name in enumerate(labels.names, start=1):
        if name in source_labels.names:
            place = 1 + source_labels.names.index(name)
            target[index * rows : (index + 1) * rows].copy_(source[place * rows : (place + 1) * rows])
