"""What networks take and give, and what every network says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn

from everymask.core.segmentation import Segmentation, SemanticMap
from everymask.data.feed.batches import stack, windows_of
from everymask.data.feed.pipelines import Prepared
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.queries import QueryModelSpec
from everymask.models.specs.regions import MaskPaste
from everymask.models.specs.semantic import Head
from everymask.models.steps import Steps, taking_maps

LAST_STAGE = 5
ClassKind: TypeAlias = Literal["things", "stuff"]

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A scalar that tells how far logits [B, K, H, W] are from a target."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one step, padded at right and bottom to a common size.

    `images` [B, C, H, W] float32 normalised (padding is 0), `windows` [B, 4] int64 xyxy: where each picture lies
    without any padding, `truths` in the network's frame, `ids` and `files` for messages.
    """

    images: Tensor
    windows: Tensor
    truths: tuple[Segmentation | None, ...]
    ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def to(self, device: torch.device | str, *, channels_last: bool = False) -> Self:
        """The same batch with its pictures on `device`; windows and truths stay where they are."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = self.images.to(device, non_blocking=True, memory_format=layout)
        return replace(self, images=images)

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, from which copies to a GPU need not wait."""
        return replace(self, images=self.images.pin_memory())


@dataclass(frozen=True, slots=True)
class RegionOutputs:
    """K detections of a whole batch, surest first within each picture.

    `boxes` [K, 4] xyxy in the network's frame, `class_ids` [K] 0-based without background, `scores` [K] in 0-1,
    `mask_logits` [K, M, M] of the detection's class relative to its box (None without mask head), `image_index` [K];
    `paste` is how these become pixels. `cut` [B] is the score of the surest detection that limits of detections or
    proposals may have cost a picture, else 0 (None: not known).
    """

    boxes: Tensor
    class_ids: Tensor
    scores: Tensor
    mask_logits: Tensor | None
    image_index: Tensor
    paste: MaskPaste
    cut: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What a graph of one picture gives, by name."""
        found = {"boxes": self.boxes, "class_ids": self.class_ids, "scores": self.scores}
        more = {"mask_logits": self.mask_logits, "cut": self.cut}
        return found | {name: tensor for name, tensor in more.items() if tensor is not None}


@dataclass(frozen=True, slots=True)
class SemanticOutputs:
    """What every pixel is: `logits` [B, K, H, W] at the size of the pictures, padding included.

    `head` says what they are to a pixel: softmax over K classes, or a sigmoid per channel: one for foreground, or K
    independent ones. `kind` is what they become: a label map, or what changed.
    """

    logits: Tensor
    head: Head
    kind: type[SemanticMap] = SemanticMap

    def tensors(self) -> dict[str, Tensor]:
        """What a graph gives, by name."""
        return {"logits": self.logits}


@dataclass(frozen=True, slots=True)
class PanopticOutputs:
    """Things one by one, and of every pixel which stuff it is, or that it is a thing.

    The class ids of `regions` are places among `spec.things`. `logits` [B, 1 + S, H, W] are at the size of the
    pictures, padding included: row 0 stands for all things, the others for the stuff classes in their order. `spec`
    says how the two become one map.
    """

    regions: RegionOutputs
    logits: Tensor
    spec: PanopticFPN

    def tensors(self) -> dict[str, Tensor]:
        """What a graph of one picture gives, by name."""
        return self.regions.tensors() | {"logits": self.logits}


@dataclass(frozen=True, slots=True)
class QueryOutputs:
    """What each of Q queries says: `classes` [B, Q, 1 + K] logits, the first of which is none, and `masks` [B, Q, h, w]
    logits at a quarter of the network's frame, padding included. `spec` says what they become.
    """

    classes: Tensor
    masks: Tensor
    spec: QueryModelSpec

    def tensors(self) -> dict[str, Tensor]:
        """What a graph gives, by name."""
        return {"classes": self.classes, "masks": self.masks}


@dataclass(frozen=True, slots=True)
class Embedding:
    """What a network that answers prompts has seen: `maps` [B, C, h, w] at falling strides, the coarsest first."""

    maps: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """P prompts for one picture.

    `points` [P, N, 2] float32 are xy in pixels of the network's square, `labels` [P, N] int64 say what they are: 1 on
    the object, 0 beside it, 2 and 3 the corners of a box, -1 nothing. `masks` [P, h, w] float32 are logits of an
    earlier answer (None: there are none). With `several` an answer is three masks, since a point may mean a part or the
    whole; of these are given those whose score is above `least`.
    """

    points: Tensor
    labels: Tensor
    masks: Tensor | None
    several: bool
    least: float


@dataclass(frozen=True, slots=True)
class MaskOutputs:
    """K masks: `logits` [K, h, w] of the network's square, `scores` [K]: the IoU that each probably has, `prompts` [K]:
    the prompt that each answers, in their order.
    """

    logits: Tensor
    scores: Tensor
    prompts: Tensor


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a network remembers of an object in a video, for one frame.

    `maps` [M, c, h, w] are of frames, `map_ages` [M] int64 how many frames ago they were seen (0: frames with prompts,
    whenever they were). `pointers` [K, width] say what the object was, `pointer_ages` [K] float32 how many frames ago;
    `oldest` is the age that counts as 1.
    """

    maps: Tensor
    map_ages: Tensor
    pointers: Tensor
    pointer_ages: Tensor
    oldest: int


@dataclass(frozen=True, slots=True)
class Followed:
    """An object in a frame of a video: its mask's `logits` [h, w], -1,024 everywhere where it is hidden, the IoU that
    the mask probably has (`score` []), the logit of its being there at all (`presence` []); and what is to be
    remembered of it, `map` [c, h / 4, w / 4] and `pointer` [width].
    """

    logits: Tensor
    score: Tensor
    presence: Tensor
    map: Tensor
    pointer: Tensor


@dataclass(frozen=True, slots=True)
class ClassRows:
    """Which tensors of a network have rows for each class, in the order of the classes.

    `counts` tells by the tensor's name how many rows a class has; the rows of `background` classes (0 or 1) stand
    before those of the first. `classifiers` are the tensors among them that decide on the class. Of a panoptic network
    `kinds` tells which tensors have rows for things or for stuff alone. `squares` are tensors that have a column, too,
    for each of their rows.
    """

    counts: Mapping[str, int]
    background: int
    classifiers: frozenset[str]
    kinds: Mapping[str, ClassKind] = field(default_factory=dict)
    squares: frozenset[str] = frozenset()


Keeping: TypeAlias = "Callable[[Tensor, Network], tuple[Tensor, ...]]"
"""Gives what a network has `encoded` of pictures [B, C, side, side], each by itself."""


class Network(nn.Module):
    """What training, weights and prediction ask of a network, whatever it finds; what each family answers for itself.

    The encoder is the submodule whose parameters' names begin with `encoder_prefix`. It says in `stages`, a tuple of
    tuples, which of its parts make up its stages 1 (the stem), 2, 3 and 4: stage n ends at stride 2**n. Parts that it
    counts to none of these are its last stage, 5.

    `single_prefix` is what these names begin with in the network that sees one picture, where this one sees two dates.

    In `small_maps` stand the parts that see many small maps, for which Winograd's convolutions do not pay. A graph of a
    network that goes `one_by_one` takes one picture and its window; of others, pictures alone, as many as there are; of
    those that are not `exportable` there is none yet.
    """

    spec: ModelSpec
    num_classes: int
    encoder_prefix = "backbone."
    single_prefix: str | None = None
    small_maps: tuple[str, ...] = ()
    one_by_one: bool = False
    exportable: bool = True
    looks_once: bool = False
    """Whether what its encoder sees of a picture is all that is needed of it, and costs more to see than to keep."""
    kept: Keeping | None = None
    """What keeps the maps of an encoder that does not learn, while others do."""

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The last layers, whose rounding would show: they keep float32 where others calculate in bfloat16."""
        return ()

    def forward(self, images: Tensor, windows: Tensor | None = None) -> object:
        """Predict for pictures [B, C, H, W]; `windows` [B, 4] xyxy are those without their padding (None: no padding).

        What it gives is one of `everymask.models.build.NetworkOutputs`, and its type never depends on the mode.
        """
        raise NotImplementedError

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Scalar losses by name; their sum is what is minimised. `generator` draws whatever is sampled."""
        raise NotImplementedError

    def look_into(self, images: Tensor, windows: Tensor, truth: Segmentation | None = None) -> Steps:
        """What becomes of one picture [1, C, H, W] with its window [1, 4] on the way to the answer.

        `truth` is in the network's frame; `DataError` where it is of another kind. Of a network that says no more these
        are the maps that its parts give.
        """
        with taking_maps(self, (images.shape[2], images.shape[3])) as maps:
            self(images, windows)
        return Steps(tuple(maps))

    def minimise(self, criterion: Callable[[Head], Criterion]) -> None:
        """Learn by that loss of pixels, made for the network's head; `ConfigError` where it has no answer for each."""
        raise ConfigError(f"a loss of pixels needs an answer for each, which {type(self.spec).__name__} does not give")

    def class_rows(self) -> ClassRows:
        """Which tensors have rows for each class."""
        raise NotImplementedError

    def with_detections(self, most: int) -> Network:
        """A network with the same weights (shared, not copied) that finds up to `most` objects in a picture.

        `ConfigError` where it does not find objects one by one.
        """
        raise NotImplementedError

    def embed(self, images: Tensor) -> Embedding:
        """See pictures [B, C, h, w] once, to answer prompts; `ConfigError` where the network takes none."""
        raise ConfigError(
            f"a session answers prompts, but a {type(self.spec).__name__} answers once and takes none",
            hint="predict without prompts",
        )

    def encoded(self, square: Tensor) -> tuple[Tensor, ...]:
        """What an encoder that `looks_once` makes of pictures [B, C, side, side], float32."""
        raise NotImplementedError

    def answer(self, seen: Embedding, prompts: PromptBatch) -> MaskOutputs:
        """The masks that prompts for one picture ask for, where `embed` has seen it."""
        raise NotImplementedError

    def follow(self, seen: Embedding, recalled: Recalled | None, prompts: PromptBatch | None) -> Followed:
        """An object in a frame that `embed` has seen, by what is recalled of it (None: nothing yet) and what one prompt
        says of it here; `ConfigError` where the network remembers nothing.
        """
        raise ConfigError(
            f"a {type(self.spec).__name__} looks at pictures one by one, and follows nothing through a video",
            hint="take sam2.1-t, sam2.1-s, sam2.1-b+ or sam2.1-l",
        )

    def adopt(self, seen: Embedding, mask: Tensor) -> Followed:
        """An object whose mask [H, W] (0 or 1) in a frame, of the size of the frame's file, is given; errors as in
        `follow`.
        """
        raise NotImplementedError

    def all_masks(
        self, seen: Embedding, points: Tensor, labels: Tensor, masks: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All masks that prompts may ask for [P, M, h, w], and their scores [P, M]: what a graph gives, which cannot
        choose.

        `points` [P, N, 2] and `labels` [P, N] are as in `PromptBatch`, and have among them the one that means nothing,
        where there is one; `masks` [P, h, w] count where `given` [1] is above 0.
        """
        raise NotImplementedError

    def encoder_stage(self, name: str) -> int | None:
        """The encoder's stage, 1 to 5, that the parameter of that name belongs to; None outside the encoder."""
        if not name.startswith(self.encoder_prefix):
            return None
        encoder: Any = self.get_submodule(self.encoder_prefix.removesuffix("."))
        inside = name.removeprefix(self.encoder_prefix)
        for stage, parts in enumerate(encoder.stages, start=1):
            if f"{inside}.".startswith(tuple(f"{part}." for part in parts)):
                return stage
        return LAST_STAGE


def collate(prepared: Sequence[Prepared], divisor: int, memory: Tensor | None = None) -> Batch:
    """Stack prepared pictures: the only place where numpy becomes torch. H and W become multiples of `divisor`.

    The images are put into `memory` (flat float32) if there is room.
    """
    images = stack(prepared, divisor, None if memory is None else memory.numpy())
    return Batch(
        images=torch.from_numpy(images),
        windows=torch.from_numpy(windows_of(prepared)),
        truths=tuple(picture.truth for picture in prepared),
        ids=tuple(picture.id for picture in prepared),
        files=tuple(picture.file for picture in prepared),
    )


class TrainStep(nn.Module):
    """Forward calls `loss`, so that what wraps forward (DDP, torch.compile) can wrap a training step."""

    def __init__(self, module: Network) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        return self.module.loss(batch, generator)
