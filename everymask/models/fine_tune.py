"""Starting from other weights: keep all that fits, class by class, and say what was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from everymask.core.labels import Labels
from everymask.errors import WeightsError
from everymask.models.regions.rcnn import RCNN
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import SemanticModel

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
    module: RCNN | SemanticModel, labels: Labels, tensors: Mapping[str, Tensor], source_labels: Labels | None
) -> FitReport:
    """Copy into `module` every tensor that fits it.

    Tensors with a row per class take the rows of classes that bear the same name in `source_labels`, and in detectors
    the background's; the other rows stay as initialised. `WeightsError` when nothing of the encoder fits.
    """
    own = module.state_dict()
    rows_per_class, background = _class_tensors(module)
    classifiers = {_CLASSIFIER} if isinstance(module, RCNN) else {n for n in rows_per_class if n.endswith("weight")}
    kept: list[str] = []
    reset: list[str] = []
    with torch.no_grad():
        for name, target in own.items():
            if name.endswith("num_batches_tracked"):
                continue
            source = tensors.get(name)
            rows = rows_per_class.get(name)
            if source is None:
                reset.append(name)
            elif rows and source_labels is not None and _fits(source, target, rows, background + len(source_labels)):
                _copy_rows(target, source, rows, background, labels, source_labels)
                kept.append(name)
            elif source.shape == target.shape and not rows:
                target.copy_(source)
                kept.append(name)
            else:
                reset.append(name)
    encoder = "backbone.body." if isinstance(module, RCNN) else "backbone."
    if not any(name.startswith(encoder) for name in kept):
        raise WeightsError(
            f"none of the encoder's weights fit this network; what was found are {', '.join(list(tensors)[:3])}, ...",
            hint="choose the same --encoder as that of the weights; known are the names of everymask, torchvision, "
            "segmentation_models.pytorch, transformers' SegFormer, and the authors of HRNet and PIDNet",
        )
    known = source_labels.names if source_labels and not classifiers.isdisjoint(kept) else ()
    return FitReport(
        kept=tuple(kept),
        reset=tuple(reset),
        classes_kept=tuple(name for name in labels.names if name in known),
        classes_reset=tuple(name for name in labels.names if name not in known),
    )


def has_as_many_classes(module: RCNN | SemanticModel, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all tensors with a row per class are there, with as many rows as in `module`."""
    own = module.state_dict()
    return all(name in tensors and tensors[name].shape == own[name].shape for name in _class_tensors(module)[0])


def _class_tensors(module: RCNN | SemanticModel) -> tuple[dict[str, int], int]:
    """Tensors with rows for each class, and how many; and how many classes stand before the first, as background."""
    if isinstance(module, RCNN):
        tensors = {f"{layer}.{kind}": rows for layer, rows in _ROWS_PER_CLASS.items() for kind in ("weight", "bias")}
        return tensors, 1
    own = module.state_dict()
    if module.spec.head == "binary":
        return {}, 0
    with torch.device("meta"):
        larger = build_semantic(module.spec, module.num_classes + 1).state_dict()
    return {name: 1 for name, tensor in own.items() if tensor.shape != larger[name].shape}, 0


def _fits(source: Tensor, target: Tensor, rows: int, classes: int) -> bool:
    """Whether a tensor with `rows` rows per class has them for all `classes`, as wide as the target's."""
    return source.shape[1:] == target.shape[1:] and len(source) == rows * classes


def _copy_rows(
    target: Tensor, source: Tensor, rows: int, background: int, labels: Labels, source_labels: Labels
) -> None:
    target[: background * rows].copy_(source[: background * rows])
    for index, name in enumerate(labels.names, start=background):
        if name in source_labels.names:
            place = background + source_labels.names.index(name)
            target[index * rows : (index + 1) * rows].copy_(source[place * rows : (place + 1) * rows])
