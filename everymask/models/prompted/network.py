"""SAM, MobileSAM, SAM 2.1 and a small network on pictures: an encoder looks once, a decoder answers each prompt.

Networks: Kirillov et al. 2023 (SAM), Zhang et al. 2023 (MobileSAM), Ravi et al. 2024 (SAM 2).
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.errors import ConfigError
from everymask.models.base import Batch, ClassRows, Embedding, Followed, MaskOutputs, Network, PromptBatch, Recalled
from everymask.models.prompted.hiera import HIERA_SIZES, HieraPyramid
from everymask.models.prompted.learning import Asking, click_losses, drawn_objects
from everymask.models.prompted.mask_decoder import MASKS, Attended, MaskDecoder
from everymask.models.prompted.prompt_encoder import PADDING, PromptEncoder
from everymask.models.prompted.small import SmallPyramid
from everymask.models.prompted.tiny_vit import TinyViT
from everymask.models.prompted.two_way import Scene
from everymask.models.prompted.video.memory import VideoMemory
from everymask.models.prompted.vit import VIT_SIZES, ImageEncoderViT
from everymask.models.specs.prompted import (
    AROUND_ZERO,
    SAM,
    SAM2,
    STABLE,
    PromptedModelSpec,
    PromptedSmall,
    finds_nothing,
    is_not_limited,
)

WIDTH = 256
# Places of the picture, over all prompts side by side: on processors what does not fit into their caches costs time.
_PLACES_AT_ONCE = {"cpu": 1 << 12}
_PLACES_ELSEWHERE = 1 << 18
_MOST_LOGIT = 32.0
_HIDDEN = -1024.0
_SURE = 20.0
"""From the logit of a pixel outside a given mask to that of one inside."""


class PromptedNetwork(Network):
    """The network of a spec: see `embed` and `answer`."""

    encoder_prefix = "image_encoder."
    small_maps: tuple[str, ...] = ("prompt_encoder", "mask_decoder")

    def __init__(
        self, spec: PromptedModelSpec, num_classes: int = 1, *, pretrained_encoder: Path | None = None
    ) -> None:
        super().__init__()
        self.spec: PromptedModelSpec = spec
        self.num_classes = num_classes
        self.follows_video: bool = isinstance(spec, SAM2)
        width = spec.width if isinstance(spec, PromptedSmall) else WIDTH
        self.image_encoder: nn.Module = _image_encoder(spec, pretrained_encoder)
        self.draws: bool = isinstance(spec, PromptedSmall)
        self.looks_once: bool = not self.draws  # a small encoder is as fast as a disk
        self.prompt_encoder: PromptEncoder = PromptEncoder(
            width, spec.side, always_padded=self.follows_video, drawn=self.draws
        )
        self.mask_decoder: MaskDecoder = MaskDecoder(
            width, detailed=not isinstance(spec, SAM), present=self.follows_video
        )
        if self.draws:
            self.mask_decoder.begin_without_details()
        if self.follows_video:
            self.no_mem_embed: nn.Parameter = nn.Parameter(torch.zeros(1, 1, width))
        memory = spec.memory if isinstance(spec, SAM2) else None
        self.memory: VideoMemory | None = None if memory is None else VideoMemory(width, memory)

    @property
    def exact_parts(self) -> tuple[str, ...]:
        return ("prompt_encoder", "mask_decoder", *(() if self.memory is None else ("memory",)))

    def forward(self, images: Tensor, windows: Tensor | None = None) -> object:
        raise finds_nothing(self.spec)

    def embed(self, images: Tensor) -> Embedding:
        """See pictures [B, C, h, w], whose sides are at most the square's: zeros fill it at right and bottom."""
        side = self.spec.side
        if max(images.shape[-2:]) > side:
            raise ConfigError(f"pictures must be at most {side} x {side} pixels, but got {list(images.shape[-2:])}")
        return self._embedding(self.encoded(self._square(images)))

    def _square(self, images: Tensor) -> Tensor:
        side = self.spec.side
        return F.pad(images, (0, side - images.shape[-1], 0, side - images.shape[-2]))

    def encoded(self, square: Tensor) -> tuple[Tensor, ...]:
        """What the encoder makes of pictures [B, C, side, side]: a map, or one and two finer ones."""
        found = self.image_encoder(square.to(next(self.image_encoder.parameters()).dtype))
        return (found.float(),) if isinstance(found, Tensor) else tuple(each.float() for each in found)

    def _embedding(self, maps: tuple[Tensor, ...]) -> Embedding:
        if not self.mask_decoder.detailed:
            return Embedding(maps)
        image, *finer = maps
        if self.follows_video:
            image = image + self._without_memory()
        return Embedding((image, *self.mask_decoder.finer((finer[0], finer[1]))))

    def _without_memory(self) -> Tensor:
        """What is added to a picture of which nothing is remembered."""
        return self.no_mem_embed.float().view(1, WIDTH, 1, 1)

    def answer(self, seen: Embedding, prompts: PromptBatch) -> MaskOutputs:
        """The masks that P prompts ask for; `seen` is of one picture."""
        tokens = self.prompt_encoder.tokens(prompts.points, prompts.labels)
        most = _PLACES_AT_ONCE.get(tokens.device.type, _PLACES_ELSEWHERE)
        at_once = max(1, most // seen.maps[0][0, 0].numel())
        scene = None if self.draws or prompts.masks is not None else self._scene(seen, None, None)
        found = []
        for first in range(0, len(tokens), at_once):
            part = slice(first, first + at_once)
            masks = None if prompts.masks is None else prompts.masks[part]
            drawn = self._drawn(seen, prompts.points[part], prompts.labels[part])
            attended = self.mask_decoder.attend(scene or self._scene(seen, masks, drawn), tokens[part])
            answered = self._several(seen, attended, prompts.least) if prompts.several else self._one(seen, attended)
            found.append((answered.logits, answered.scores, first + answered.prompts))
        logits, scores, numbers = (torch.cat(column) for column in zip(*found, strict=True))
        return MaskOutputs(logits, scores, numbers)

    def all_masks(
        self, seen: Embedding, points: Tensor, labels: Tensor, masks: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The one that is the answer alone, and the three of which one point may mean each."""
        shown = torch.where(given > 0, self._shown(masks), self._shown(None))
        drawn = self._drawn(seen, points, labels)
        shown = shown if drawn is None else shown + drawn
        attended = self.mask_decoder.attend(self._seen(seen, shown), self.prompt_encoder.embedded(points, labels))
        return self.mask_decoder.all_logits(attended, seen.maps), attended.scores

    def follow(self, seen: Embedding, recalled: Recalled | None, prompts: PromptBatch | None) -> Followed:
        memory = self.memory
        if memory is None:
            return super().follow(seen, recalled, prompts)
        image, *finer = seen.maps
        if recalled is not None:
            image = memory.recalled(image - self._without_memory(), recalled)
        if prompts is None:
            # As trained: a point that means nothing.
            nowhere, nothing = image.new_zeros(1, 1, 2), torch.full((1, 1), PADDING, device=image.device)
            prompts = PromptBatch(nowhere, nothing, None, several=True, least=-torch.inf)
        asked = Embedding((image, *finer))
        tokens = self.prompt_encoder.tokens(prompts.points, prompts.labels)
        attended = self.mask_decoder.attend(self._scene(asked, prompts.masks, None), tokens)
        best = 1 + int(attended.scores[0, 1:].argmax()) if prompts.several else 0
        if prompts.several:
            chosen = F.one_hot(torch.tensor([best], device=image.device), MASKS).bool()
            found = self._chosen(asked, attended, chosen)
        else:
            found = self._one(asked, attended)
        presence = self.mask_decoder.presence(attended)
        present = presence > 0
        logits = torch.where(present[:, None, None], found.logits, _HIDDEN)
        whole = F.interpolate(logits[:, None], (self.spec.side, self.spec.side), mode="bilinear")
        mask = whole.sigmoid() if (prompts.labels == PADDING).all() else (whole > 0).float()
        pointer = memory.pointer(attended.tokens[:, best], present)
        kept = memory.remembered(seen.maps[0] - self._without_memory(), mask, present)
        return Followed(logits[0], found.scores[0], presence[0], kept[0], pointer[0])

    def adopt(self, seen: Embedding, mask: Tensor) -> Followed:
        memory, side = self.memory, self.spec.side
        if memory is None:
            return super().follow(seen, None, None)
        whole = F.interpolate(mask[None, None].float(), (side, side), mode="bilinear", antialias=True)
        whole = (whole >= 0.5).float()
        present = whole.flatten(1).any(dim=1)
        image = seen.maps[0] - self._without_memory()
        bare = Embedding((image, *seen.maps[1:]))
        nowhere, nothing = image.new_zeros(1, 1, 2), torch.full((1, 1), PADDING, device=image.device)
        shown = self.prompt_encoder.map(memory.mask_downsample(whole)[:, 0])
        attended = self.mask_decoder.attend(self._seen(bare, shown), self.prompt_encoder.tokens(nowhere, nothing))
        best = 1 + int(attended.scores[0, 1:].argmax())
        known = present & (self.mask_decoder.presence(attended) > 0)
        pointer = memory.pointer(attended.tokens[:, best], known)
        logits = F.interpolate(_SURE * whole - _SURE / 2, (side // 4, side // 4), mode="bilinear", antialias=True)
        kept = memory.remembered(image, whole, present)
        presence = torch.where(present, _SURE / 2, -_SURE / 2)
        return Followed(logits[0, 0], present[0].float(), presence[0], kept[0], pointer[0])

    def _scene(self, seen: Embedding, masks: Tensor | None, drawn: Tensor | None) -> Scene:
        shown = self._shown(masks)
        return self._seen(seen, shown if drawn is None else shown + drawn)

    def _drawn(self, seen: Embedding, points: Tensor, labels: Tensor) -> Tensor | None:
        """Prompts as they are drawn on the picture, where the network does that."""
        height, width = seen.maps[0].shape[-2:]
        return self.prompt_encoder.drawing(points, labels, (height, width)) if self.draws else None

    def _shown(self, masks: Tensor | None) -> Tensor:
        """What masks add to the picture."""
        if masks is not None and self.follows_video:
            masks = masks.clamp(-_MOST_LOGIT, _MOST_LOGIT)
        return self.prompt_encoder.map(masks)

    def _seen(self, seen: Embedding, shown: Tensor) -> Scene:
        image = seen.maps[0]
        places = self.prompt_encoder.places((image.shape[-2], image.shape[-1]))
        return self.mask_decoder.scene(image + shown, places)

    def _several(self, seen: Embedding, attended: Attended, least: float) -> MaskOutputs:
        """Those of the three readings of each prompt that are good enough."""
        chosen = attended.scores > least
        chosen[:, 0] = False
        return self._chosen(seen, attended, chosen)

    def _one(self, seen: Embedding, attended: Attended) -> MaskOutputs:
        """One mask for each prompt.

        SAM 2 takes the best of the three readings where that mask changes much with the threshold.
        """
        chosen = torch.zeros_like(attended.scores, dtype=torch.bool)
        chosen[:, 0] = True
        alone = self._chosen(seen, attended, chosen)
        if not self.follows_video:
            return alone
        shaky = _stability(alone.logits) < STABLE
        if not shaky.any():
            return alone
        best = attended.scores[:, 1:].argmax(dim=1) + 1
        chosen = F.one_hot(best.where(shaky, 0), MASKS).bool()
        return self._chosen(seen, attended, chosen)

    def _chosen(self, seen: Embedding, attended: Attended, chosen: Tensor) -> MaskOutputs:
        logits = self.mask_decoder.logits(attended, seen.maps, chosen)
        return MaskOutputs(logits, attended.scores[chosen], chosen.nonzero()[:, 0])

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Of some objects of each picture, pointed at as a user would: see `click_losses`. Crowds teach nothing."""
        if self.kept is None:
            seen = self.embed(batch.images)
        else:
            seen = self._embedding(self.kept(self._square(batch.images), self))
        side = 4 * seen.maps[0].shape[-1]
        draw = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        objects = drawn_objects(batch.truths, self.spec.side, side, draw)
        if objects is None:
            nothing = sum(parameter.sum() for parameter in self.parameters() if parameter.requires_grad)
            return dict.fromkeys(("focal", "dice", "iou"), 0 * torch.as_tensor(nothing))
        picture = torch.from_numpy(objects.pictures).to(batch.images.device)
        asking = self._asking(Embedding(tuple(each[picture] for each in seen.maps)))
        return click_losses(asking, objects, draw, batch.images.device)

    def _asking(self, seen: Embedding) -> Asking:
        """What answers prompts of which each has a picture of its own in `seen`."""

        def ask(prompts: PromptBatch) -> tuple[Tensor, Tensor]:
            tokens = self.prompt_encoder.tokens(prompts.points, prompts.labels)
            drawn = self._drawn(seen, prompts.points, prompts.labels)
            attended = self.mask_decoder.attend(self._scene(seen, prompts.masks, drawn), tokens)
            chosen = torch.zeros_like(attended.scores, dtype=torch.bool)
            chosen[:, 1:] = prompts.several
            chosen[:, 0] = not prompts.several
            logits = self.mask_decoder.logits(attended, seen.maps, chosen)
            scores = attended.scores[chosen].view(len(tokens), -1)
            return logits.view(*scores.shape, *logits.shape[1:]).float(), scores.float()

        return ask

    def class_rows(self) -> ClassRows:
        """None: what a prompt points at has no class."""
        return ClassRows({}, 0, frozenset())

    def with_detections(self, most: int) -> Network:
        raise is_not_limited(self.spec)


def _image_encoder(spec: PromptedModelSpec, pretrained: Path | None) -> nn.Module:
    match spec:
        case SAM(encoder="tiny_vit"):
            return TinyViT(spec.channels, WIDTH)
        case SAM():
            return ImageEncoderViT(VIT_SIZES[spec.encoder], spec.channels, spec.side, WIDTH)
        case SAM2():
            return HieraPyramid(HIERA_SIZES[spec.encoder], spec.channels, WIDTH)
        case PromptedSmall():
            return SmallPyramid(spec.encoder, spec.channels, spec.width, pretrained)
        case _:
            assert_never(spec)


def _stability(logits: Tensor) -> Tensor:
    """How little masks [K, h, w] change with the threshold, [K]: 1 not at all, and where there is none."""
    sure, possible = ((logits > threshold).sum((1, 2)) for threshold in (AROUND_ZERO, -AROUND_ZERO))
    return torch.where(possible > 0, sure / possible.clamp(min=1), 1.0)
