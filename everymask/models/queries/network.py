"""What all networks of queries share: what their answers become, and the loss between them and the truth."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.segmentation import Segmentation
from everymask.errors import ConfigError
from everymask.models.base import Batch, ClassRows, Network, QueryOutputs, SemanticOutputs
from everymask.models.queries.losses import Answer, query_losses
from everymask.models.queries.targets import query_targets
from everymask.models.semantic.network import drawing_from
from everymask.models.specs.queries import MASK_STRIDE, QueryModelSpec
from everymask.models.steps import QuerySteps, Steps, array, pixel_steps, taking_maps

_LEAST = 1e-6


class QueryNetwork(Network):
    """A network whose queries each answer with a class, or none, and a mask; architectures implement `answers`.

    Masks are logits at a quarter of the frame that is a multiple of `divisor` pixels, filled up with zeros. Of
    `class_predictor` the first row is no class.
    """

    spec: QueryModelSpec
    class_predictor: nn.Linear
    divisor = 32

    def __init__(self, spec: QueryModelSpec, num_classes: int) -> None:
        super().__init__()
        if spec.purpose.counted and (not spec.things or not all(0 <= thing < num_classes for thing in spec.things)):
            raise ConfigError(
                f"a panoptic network finds things, which must be some of its {num_classes} classes, but they are "
                f"{list(spec.things)}",
                hint="a training takes them from the data set; choose another task where nothing is counted",
            )
        if num_classes < 1:
            raise ConfigError(f"a network needs at least one class, but got {num_classes}")
        self.spec = spec
        self.num_classes = num_classes

    def answers(self, images: Tensor, generator: torch.Generator | None = None) -> Sequence[Answer]:
        """What the queries say of pictures [B, C, H, W] whose sides are multiples of `divisor`, the final answer last.

        What is drawn in a training follows from `generator`.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, windows: Tensor | None = None) -> QueryOutputs | SemanticOutputs:
        """Predict for pictures [B, C, H, W] of any size; `windows` (pictures without their padding) change nothing.

        A semantic network gives logits of classes: the logarithm of their shares in what the queries say of a pixel.
        """
        last = self.answers(self._filled(images.to(self.dtype)))[-1].float()
        if not self.spec.purpose.dense:
            return QueryOutputs(last.classes, last.masks, self.spec)
        return SemanticOutputs(self._votes(last, images), "multiclass")

    def look_into(self, images: Tensor, windows: Tensor, truth: Segmentation | None = None) -> Steps:
        """The maps that its parts give, and what the queries say in the end; and of pixels what they are."""
        with taking_maps(self, (images.shape[2], images.shape[3])) as maps:
            last = self.answers(self._filled(images))[-1].float()
        queries = QuerySteps(array(last.classes[0].softmax(dim=1)), array(last.masks[0].sigmoid()))
        pixels = None
        if self.spec.purpose.dense:
            pixels = pixel_steps(self._votes(last, images)[0], "multiclass")
        return Steps(tuple(maps), pixels=pixels, queries=queries)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """`loss_class`, `loss_pixels` and `loss_dice`, each summed over the layers."""
        images = self._filled(batch.images)
        with drawing_from(generator, images.device):
            answers = [answer.float() for answer in self.answers(images, generator)]
        targets = query_targets(batch, self.spec, (images.shape[2], images.shape[3]))
        with torch.autocast(images.device.type, enabled=False):
            return query_losses(answers, targets, self.spec, generator)

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The classifier."""
        return ("class_predictor",)

    def class_rows(self) -> ClassRows:
        """A row of the classifier for each class, behind that of none."""
        names = [f"class_predictor.{name}" for name in ("weight", "bias")]
        return ClassRows(dict.fromkeys(names, 1), 1, frozenset(names[:1]))

    def with_detections(self, most: int) -> QueryNetwork:
        if not self.spec.purpose.limited:
            raise ConfigError(
                "the number of detections limits objects, but this model finds segments or classes of pixels",
                hint="leave out max-detections",
            )
        changed = copy.copy(self)
        changed.spec = replace(self.spec, max_detections=most)
        return changed

    @property
    def dtype(self) -> torch.dtype:
        """What pictures must be for this network."""
        return next(self.parameters()).dtype

    def _votes(self, answer: Answer, images: Tensor) -> Tensor:
        """Logits [B, K, H, W] of the classes of pixels."""
        masks = F.interpolate(answer.masks, scale_factor=MASK_STRIDE, mode="bilinear", align_corners=False)
        masks = masks[..., : images.shape[2], : images.shape[3]].sigmoid()
        votes = torch.einsum("bqk,bqhw->bkhw", answer.classes.softmax(dim=2)[..., 1:], masks)
        return votes.clamp(min=_LEAST).log()

    def _filled(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return F.pad(images, (0, -width % self.divisor, 0, -height % self.divisor))
