"""Starting from other weights: keep all that fits, class by class, and say what was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from everymask.core.labels import Labels
from everymask.errors import WeightsError
from everymask.models.base import ClassKind, Network
from everymask.models.checkpoint import check_finite


@dataclass(frozen=True, slots=True)
class FitReport:
    """What fine-tuning took over: names of tensors kept and reset, and classes whose rows were found by name."""

    kept: tuple[str, ...]
    reset: tuple[str, ...]
    classes_kept: tuple[str, ...]
    classes_reset: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.kept) + len(self.reset)
        text = f"kept {len(self.kept)} of {total} weight tensors"
        if self.classes_kept or self.classes_reset:
            text += f"; classes kept: {', '.join(self.classes_kept) or 'none'}"
        if self.classes_reset:
            text += f"; new classes: {', '.join(self.classes_reset)}"
        if self.reset:
            text += f"; started afresh: {', '.join(self.reset)}"
        return text


def fit_weights(
    module: Network, labels: Labels, tensors: Mapping[str, Tensor], source_labels: Labels | None
) -> FitReport:
    """Copy into `module` every tensor that fits it.

    Tensors with a row per class take the rows of classes that bear the same name in `source_labels`, and in detectors
    the background's; the other rows stay as initialised. Rows of things also come from a network that finds objects
    only, and a network that compares two dates takes the encoder of one that sees one picture. `WeightsError` when
    nothing of the encoder fits, and for numbers that are not finite.
    """
    own = module.state_dict()
    of_classes = module.class_rows()
    tensors = _seen_twice(module, tensors)
    check_finite({name: tensor for name, tensor in tensors.items() if name in own}, "the weights to start from")
    kept: list[str] = []
    reset: list[str] = []
    with torch.no_grad():
        for name, target in own.items():
            if name.endswith("num_batches_tracked"):
                continue
            source = tensors.get(name)
            rows = of_classes.counts.get(name)
            kind = of_classes.kinds.get(name)
            known = None if source_labels is None else names_of(source_labels, kind)
            if source is not None and known is not None and name in of_classes.squares and source.ndim == 2:
                source = _with_columns(target, source, of_classes.background, names_of(labels, kind), known)
            if source is None:
                reset.append(name)
            elif rows and known is not None and _fits(source, target, rows * (of_classes.background + len(known))):
                _copy_rows(target, source, rows, of_classes.background, names_of(labels, kind), known)
                kept.append(name)
            elif source.shape == target.shape and not rows:
                target.copy_(source)
                kept.append(name)
            else:
                reset.append(name)
    if not any(name.startswith(module.encoder_prefix) for name in kept):
        raise WeightsError(
            f"none of the encoder's weights fit this network; what was found are {', '.join(list(tensors)[:3])}, ...",
            hint="choose the same --encoder as that of the weights; known are the names of everymask, torchvision, "
            "segmentation_models.pytorch, transformers' SegFormer, and the authors of HRNet and PIDNet",
        )
    found = {
        name
        for tensor in of_classes.classifiers.intersection(kept)
        for name in names_of(labels, of_classes.kinds.get(tensor))
        if source_labels is not None and name in source_labels.names
    }
    return FitReport(
        kept=tuple(kept),
        reset=tuple(reset),
        classes_kept=tuple(name for name in labels.names if name in found),
        classes_reset=tuple(name for name in labels.names if name not in found and of_classes.counts),
    )


def names_of(labels: Labels, kind: ClassKind | None) -> tuple[str, ...]:
    """The classes that are things, or stuff; all where it is not asked for, or nothing says which are which."""
    if kind is None or not labels.things:
        return labels.names
    return tuple(name for row, name in enumerate(labels.names) if (row in labels.things) == (kind == "things"))


def _seen_twice(module: Network, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors, those of an encoder that saw one picture under the names that it has where it sees two dates."""
    prefix, alone = module.encoder_prefix, module.single_prefix
    if alone is None or any(name.startswith(prefix) for name in tensors):
        return tensors
    return {
        f"{prefix}{name.removeprefix(alone)}" if name.startswith(alone) else name: tensor
        for name, tensor in tensors.items()
    }


def has_as_many_classes(module: Network, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all tensors with a row per class are there, with as many rows as in `module`."""
    own = module.state_dict()
    return all(name in tensors and tensors[name].shape == own[name].shape for name in module.class_rows().counts)


def _fits(source: Tensor, target: Tensor, rows: int) -> bool:
    """Whether a tensor has so many rows, each as wide as the target's."""
    return source.shape[1:] == target.shape[1:] and len(source) == rows


def _with_columns(
    target: Tensor, source: Tensor, background: int, names: Sequence[str], source_names: Sequence[str]
) -> Tensor:
    """A source whose columns are those of the target; those of new classes are 0."""
    if source.shape[1] != background + len(source_names):
        return source
    columns = source.new_zeros(source.shape[0], target.shape[1])
    _copy_rows(columns.t(), source.t(), 1, background, names, source_names)
    return columns


def _copy_rows(
    target: Tensor, source: Tensor, rows: int, background: int, names: Sequence[str], source_names: Sequence[str]
) -> None:
    target[: background * rows].copy_(source[: background * rows])
    for index, name in enumerate(names, start=background):
        if name in source_names:
            known = background + source_names.index(name)
            target[index * rows : (index + 1) * rows].copy_(source[known * rows : (known + 1) * rows])
