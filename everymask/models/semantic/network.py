"""What all semantic networks share: logits per pixel, and the loss between them and label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, assert_never

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.arrays import IntArray
from everymask.core.segmentation import ChangeMap, InstanceSet, Segmentation, SemanticMap, expected, expected_either
from everymask.errors import ConfigError, DataError
from everymask.models.base import Batch, ClassRows, Criterion, Network, SemanticOutputs
from everymask.models.blocks.layers import Classifier
from everymask.models.change.dates import side_by_side
from everymask.models.semantic.pixel_losses import IGNORED, FromTo, binary_cross_entropy, cross_entropy
from everymask.models.specs.change import ChangeModelSpec
from everymask.models.specs.semantic import Head, SemanticModelSpec
from everymask.models.steps import Steps, pixel_steps, taking_maps
from everymask.models.tracing import same_size

AUXILIARY_WEIGHT = 0.4


class SemanticModel(Network):
    """A network that says of every pixel what it is; architectures implement `logits`.

    `backbone` is the encoder, where a network has one. `criterion` (logits [B, K, H, W], target) -> scalar is what
    training minimises; its target is as `semantic_targets` describes. It is no part of the weights: set a function or a
    plain object, not a module with parameters. The default is cross-entropy. `kind` is what the logits become.
    """

    spec: SemanticModelSpec | ChangeModelSpec
    kind: type[SemanticMap] = SemanticMap

    def __init__(self, spec: SemanticModelSpec | ChangeModelSpec, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes = num_classes
        self.num_logits: int = logit_count(spec.head, num_classes)
        self.criterion: Criterion = usual_criterion(spec.head)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        """Logits [B, K, H, W] at the size of `images` [B, C, H, W], the network's answer first.

        With `auxiliary` those of its auxiliary heads follow, which only training needs.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, windows: Tensor | None = None) -> SemanticOutputs:
        """Predict for pictures [B, C, H, W] of any size; `windows` (pictures without their padding) change nothing."""
        return SemanticOutputs(self._answers(images.to(self.dtype))[0], self.spec.head, self.kind)

    def _answers(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        """`logits`; those of dates that are seen apart come side by side."""
        found = self.logits(images, auxiliary=auxiliary)
        return tuple(map(side_by_side, found)) if self.spec.head == "from-to" else found

    def look_into(self, images: Tensor, windows: Tensor, truth: Segmentation | None = None) -> Steps:
        """The maps that its parts give, and what every pixel is."""
        with taking_maps(self, (images.shape[2], images.shape[3])) as maps:
            answer = self(images, windows)
        return Steps(tuple(maps), pixels=pixel_steps(answer.logits[0].float(), answer.head))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """`loss_segmentation`, and `loss_aux`: 0.4 times the sum over the auxiliary heads. Dropout draws anew."""
        images = batch.images
        target = semantic_targets(batch, self.num_classes, self.spec.head).to(images.device, non_blocking=True)
        with drawing_from(generator, images.device):
            main, *others = (plane.float() for plane in self._answers(images, auxiliary=True))
        losses = {"loss_segmentation": self.criterion(main, target)}
        if others:
            losses["loss_aux"] = (
                AUXILIARY_WEIGHT * torch.stack([self.criterion(plane, target) for plane in others]).sum()
            )
        return losses

    def train(self, mode: bool = True) -> Self:
        """As usual, but frozen norms never move."""
        super().train(mode)
        if self.spec.norm == "frozen":
            body: Any = getattr(self, "backbone", None)
            for module in [] if body is None else body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """Its classifiers, the auxiliary ones too."""
        return tuple(name for name, module in self.named_modules() if isinstance(module, Classifier))

    def class_rows(self) -> ClassRows:
        """A row of each classifier for each class; none with the head "binary", whose one row is no class's own."""
        names = () if self.spec.head == "binary" else self.exact_parts
        tensors = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
        return ClassRows(dict.fromkeys(tensors, 1), 0, frozenset(tensors[::2]))

    def minimise(self, criterion: Callable[[Head], Criterion]) -> None:
        self.criterion = criterion(self.spec.head)

    def with_detections(self, most: int) -> SemanticModel:
        raise ConfigError(
            "the number of detections limits objects, but this model says of every pixel what it is",
            hint="leave out max-detections",
        )

    @property
    def dtype(self) -> torch.dtype:
        """What pictures must be for this network."""
        return next(self.parameters()).dtype


@contextmanager
def drawing_from(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """Dropout within draws what follows from `generator`, and leaves torch's global generators as they were."""
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def usual_criterion(head: Head) -> Criterion:
    """Cross-entropy."""
    if head == "from-to":
        return FromTo(binary_cross_entropy, cross_entropy)
    return cross_entropy if head == "multiclass" else binary_cross_entropy


def logit_count(head: Head, num_classes: int) -> int:
    """Channels of the logits; `ConfigError` unless a binary head has two classes."""
    if num_classes < 1:
        raise ConfigError(f"a network needs at least one class, but got {num_classes}")
    if head == "binary" and num_classes != 2:
        raise ConfigError(
            f"a binary network tells foreground from background, which are two classes, but got {num_classes}",
            hint='choose head "multiclass", or "multilabel" if classes may overlap',
        )
    return 1 if head == "binary" else num_classes


def semantic_targets(batch: Batch, num_classes: int, head: Head) -> Tensor:
    """What the logits of a batch should say, int64; `IGNORED` where there is no truth, as in the padding.

    [B, H, W] class ids from label maps, in which their `ignore` stands for that. For the head "multilabel" truths may
    also be objects, whose masks then are planes [B, K, H, W] of 0 and 1 in which crowds are ignored; for "from-to" they
    are [B, 2, H, W], what was there and what is. `DataError` for other truths and for ids that no class has.
    """
    size = (batch.images.shape[2], batch.images.shape[3])
    planes = [
        _target(truth, num_classes, head, size, file)
        for truth, file in zip(batch.truths, batch.files or [""] * len(batch.truths), strict=True)
    ]
    if len({plane.ndim for plane in planes}) > 1:
        planes = [plane if plane.ndim == 3 else _one_plane_each(plane, num_classes) for plane in planes]
    return torch.from_numpy(np.stack(planes)).long()


def _target(truth: Segmentation | None, num_classes: int, head: Head, size: tuple[int, int], file: str) -> IntArray:
    if head == "from-to":
        change = expected(ChangeMap, truth, file)
        if change.was is None:
            raise DataError(
                f"{file}: it is known what changed, but not what became of what",
                hint="give labels of both dates, label1/ and label2/, or leave out --head",
            )
        return np.stack([_id_plane(one, num_classes, size, file) for one in (change.exchanged(), change)])
    if head != "multilabel":
        return _id_plane(expected(SemanticMap, truth, file), num_classes, size, file)
    match expected_either(SemanticMap, InstanceSet, truth, file):
        case SemanticMap() as ids:
            return _id_plane(ids, num_classes, size, file)
        case InstanceSet() as objects:
            return _object_planes(objects, num_classes, size)
        case other:
            assert_never(other)


def _id_plane(truth: SemanticMap, num_classes: int, size: tuple[int, int], file: str) -> IntArray:
    """[H, W]: the class of each pixel, `IGNORED` without truth and beyond the map."""
    ids = truth.ids
    if ids.ndim != 2 or ids.shape[0] > size[0] or ids.shape[1] > size[1]:
        raise DataError(f"{file}: the label map is {list(ids.shape)}, but the picture in the network {list(size)}")
    known = ids != truth.ignore
    wrong = known & ((ids < 0) | (ids >= num_classes))
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise DataError(
            f"{file}: the label map has {ids[y, x]} at x={x}, y={y}, but there are {num_classes} classes",
            hint=f"ids are 0 to the number of classes less one, and {truth.ignore} where pixels are ignored",
        )
    plane = np.full(size, IGNORED, np.int32)
    np.copyto(plane[: ids.shape[0], : ids.shape[1]], ids, where=known, casting="unsafe")
    return plane


def _object_planes(truth: InstanceSet, num_classes: int, size: tuple[int, int]) -> IntArray:
    """[K, H, W]: where each class holds."""
    if truth.masks is None:
        raise DataError("a multilabel network learns from masks, but these objects have boxes only")
    planes = np.full((num_classes, *size), IGNORED, np.int8)
    height, width = truth.masks.size
    planes[:, :height, :width] = 0
    crowd = np.zeros(len(truth), bool) if truth.crowd is None else truth.crowd
    for row in np.argsort(~crowd, kind="stable"):
        inside = truth.masks.to_dense(int(row))
        planes[truth.class_ids[row], :height, :width][inside] = IGNORED if crowd[row] else 1
    return planes


def _one_plane_each(ids: IntArray, num_classes: int) -> IntArray:
    planes = (np.arange(num_classes)[:, None, None] == ids).astype(np.int8)
    planes[:, ids == IGNORED] = IGNORED
    return planes


def resize(maps: Tensor, size: tuple[int, int] | torch.Size, *, align_corners: bool = False) -> Tensor:
    """Maps [B, C, h, w] at another size, bilinear; the same maps where the size is theirs."""
    if same_size(maps.shape[-2:], size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)
