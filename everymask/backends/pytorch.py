"""PyTorch as the backend."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Literal, TypeAlias, assert_never, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from everymask.backends.devices import choose_device, has_fast_bf16
from everymask.backends.pytorch_decode import decode_on_device
from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError
from everymask.infer.decoding.outputs import (
    DecidedMaps,
    Outputs,
    PanopticArrays,
    QueryArrays,
    RegionArrays,
    SemanticArrays,
    Wanted,
)
from everymask.infer.decoding.prompted import EmbeddingArrays, MaskArrays, PromptArrays
from everymask.infer.decoding.video import FollowedArrays, RecalledArrays, Sought
from everymask.infer.predictor import Predictor
from everymask.models.base import (
    Embedding,
    Followed,
    Network,
    PanopticOutputs,
    PromptBatch,
    QueryOutputs,
    Recalled,
    RegionOutputs,
    SemanticOutputs,
)
from everymask.models.build import NetworkOutputs
from everymask.models.card import Card
from everymask.models.inference import ready_to_predict
from everymask.models.specs.any_spec import ModelSpec

Precision: TypeAlias = Literal["auto", "exact"]

_MOST_PIXELS = {"cpu": 1 << 20}
_MOST_PIXELS_ELSEWHERE = 1 << 22
_MOST_LANES = 4
_DIGESTED = 64
_digests: WeakKeyDictionary[Network, str] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class TorchBackend:
    """A network in evaluation mode on a device."""

    module: Network
    where: torch.device

    @property
    def spec(self) -> ModelSpec:
        """The network's, with its present limits."""
        return self.module.spec

    @property
    def device(self) -> str:
        """`cpu`, `cuda:1` ..."""
        return str(self.where)

    @property
    def most_pixels(self) -> int:
        """A processor is busy with a few small pictures, a GPU with more."""
        return _MOST_PIXELS.get(self.where.type, _MOST_PIXELS_ELSEWHERE)

    @property
    def lanes(self) -> int:
        """On a processor two small batches with half of its threads each take less time than one after the other."""
        return min(_MOST_LANES, torch.get_num_threads()) if self.where.type == "cpu" else 1

    def open_lanes(self) -> Executor:
        """As the protocol says."""
        lanes, threads = self.lanes, torch.get_num_threads()
        begun = Barrier(lanes)
        pool = ThreadPoolExecutor(lanes, initializer=_take_threads, initargs=(threads // lanes,))
        for waiting in [pool.submit(begun.wait) for _ in range(lanes)]:
            waiting.result()
        # What a thread sets holds for itself, and for all that begin later.
        torch.set_num_threads(threads)
        return pool

    @torch.inference_mode()
    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """As the protocol says; label maps are decided on every device but the processor."""
        batch = torch.from_numpy(images).to(self.where, non_blocking=True, memory_format=torch.channels_last)
        with _whole_float32():
            outputs: NetworkOutputs = self.module(batch, torch.from_numpy(windows))
        match outputs:
            case RegionOutputs():
                return _regions(outputs)
            case SemanticOutputs():
                return self._classes(outputs, wanted)
            case PanopticOutputs(regions, logits, spec):
                classes = self._classes(SemanticOutputs(logits, "multiclass"), wanted)
                return PanopticArrays(_regions(regions), classes, spec)
            case QueryOutputs(logits, masks, spec):
                return QueryArrays(_array(logits), _array(masks), spec)
            case _:
                assert_never(outputs)

    def _classes(self, outputs: SemanticOutputs, wanted: Wanted | None) -> SemanticArrays | DecidedMaps:
        """What every pixel is; decided here where fetching the logits would take longer."""
        if wanted is None or self.where.type == "cpu":
            return SemanticArrays(_array(outputs.logits), outputs.head, outputs.kind)
        pairs = zip(outputs.logits, wanted.placements, strict=True)
        return DecidedMaps(
            tuple(
                decode_on_device(
                    each, place, outputs.head, ignore=wanted.ignore, scored=wanted.scored, kind=outputs.kind
                )
                for each, place in pairs
            )
        )

    def with_detections(self, most: int) -> TorchBackend:
        """The same weights, with more proposals where that needs them."""
        return replace(self, module=self.module.with_detections(most))

    @torch.inference_mode()
    def encode(self, image: FloatArray) -> EmbeddingArrays:
        """As the protocol says."""
        with _whole_float32():
            seen = self.module.embed(torch.from_numpy(image[None]).to(self.where))
        return EmbeddingArrays(tuple(_array(each[0]) for each in seen.maps), network_digest(self.module))

    @torch.inference_mode()
    def answer(self, seen: EmbeddingArrays, prompts: PromptArrays) -> MaskArrays:
        """As the protocol says."""
        embedding, batch = self._embedding(seen), self._batch(prompts)
        with _whole_float32():
            found = self.module.answer(embedding, batch)
        return MaskArrays(_array(found.logits), _array(found.scores), found.prompts.cpu().numpy())

    @torch.inference_mode()
    def follow(self, seen: EmbeddingArrays, sought: Sequence[Sought]) -> list[FollowedArrays]:
        """As the protocol says."""
        embedding = self._embedding(seen)
        with _whole_float32():
            return [_followed(self._found(embedding, each)) for each in sought]

    def _found(self, seen: Embedding, sought: Sought) -> Followed:
        if sought.mask is not None:
            return self.module.adopt(seen, torch.from_numpy(sought.mask).to(self.where))
        prompts = None if sought.prompts is None else self._batch(sought.prompts)
        return self.module.follow(seen, None if sought.recalled is None else self._recalled(sought.recalled), prompts)

    def _recalled(self, recalled: RecalledArrays) -> Recalled:
        maps = torch.from_numpy(recalled.maps.view(np.int16)).view(torch.bfloat16).to(self.where).float()
        ages, pointers, pointer_ages = (
            torch.from_numpy(each).to(self.where)
            for each in (recalled.map_ages, recalled.pointers, recalled.pointer_ages)
        )
        return Recalled(maps, ages, pointers, pointer_ages, recalled.oldest)

    def _embedding(self, seen: EmbeddingArrays) -> Embedding:
        seen.check_seen_by(network_digest(self.module))
        return Embedding(tuple(torch.from_numpy(each[None]).to(self.where) for each in seen.maps))

    def _batch(self, prompts: PromptArrays) -> PromptBatch:
        masks = None if prompts.masks is None else torch.from_numpy(prompts.masks).to(self.where)
        points, labels = (torch.from_numpy(each).to(self.where) for each in (prompts.points, prompts.labels))
        return PromptBatch(points, labels, masks, prompts.several, prompts.least)


def build_predictor(module: Network, card: Card, device: str = "auto", *, precision: Precision = "auto") -> Predictor:
    """A predictor on `device` ("auto": the first GPU, else the CPU) with a copy of `module` that is made for speed.

    `precision` "exact" calculates in float32 throughout, so that only rounding separates it from the network as it was
    trained; "auto" takes bfloat16 for the convolutions where the hardware calculates it (see `has_fast_bf16`).
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision must be {' or '.join(get_args(Precision))}, but got {precision!r}")
    where = choose_device(device)
    dtype = torch.bfloat16 if precision == "auto" and has_fast_bf16(where) else None
    return Predictor(TorchBackend(ready_to_predict(module, dtype, where), where), card)


def network_digest(module: Network) -> str:
    """What tells a network that is ready to predict from others: of its spec and of some numbers of each tensor."""
    if module not in _digests:
        digest = hashlib.blake2b(repr(module.spec).encode(), digest_size=16)
        for tensor in module.state_dict().values():
            digest.update(tensor.reshape(-1)[:_DIGESTED].float().cpu().numpy().tobytes())
        _digests[module] = digest.hexdigest()
    return _digests[module]


def _take_threads(number: int) -> None:
    """Let what this thread calculates take so many."""
    # Being asked, PyTorch gives a thread its usual number, which it would do later otherwise.
    torch.get_num_threads()
    torch.set_num_threads(number)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Within the block convolutions keep all digits of float32: by itself torch lets cuDNN round to TF32's 11 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _regions(found: RegionOutputs) -> RegionArrays:
    return RegionArrays(
        _array(found.boxes),
        found.class_ids.cpu().numpy(),
        _array(found.scores),
        None if found.mask_logits is None else _array(found.mask_logits),
        found.image_index.cpu().numpy(),
        found.paste,
        None if found.cut is None else _array(found.cut),
    )


def _followed(found: Followed) -> FollowedArrays:
    bits = found.map.to(torch.bfloat16).contiguous().view(torch.int16).cpu().numpy().view(np.uint16)
    return FollowedArrays(_array(found.logits), float(found.score), float(found.presence), bits, _array(found.pointer))


def _array(tensor: Tensor) -> FloatArray:
    """The values as float32; they may lie in memory in any order."""
    array: FloatArray = tensor.float().cpu().numpy()
    return array
