"""A trained model, ready to predict: pictures in, results out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np
import torch

from everymask.core.arrays import Array
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.images import read_image
from everymask.data.pipelines import Prepared, prepare
from everymask.errors import ConfigError, DataError
from everymask.infer.decode import decode_instances
from everymask.infer.result import Result
from everymask.models.base import RegionOutputs, collate
from everymask.models.checkpoint import Card
from everymask.models.rcnn import RCNN

if TYPE_CHECKING:
    from PIL.Image import Image

Source: TypeAlias = "str | Path | Array | Image | Sample"


@dataclass(frozen=True, slots=True)
class Predictor:
    """A network with its card on a device. It holds no other state: threads may share it."""

    module: RCNN
    card: Card
    device: torch.device

    @overload
    def predict(self, source: list[Source] | tuple[Source, ...]) -> list[Result]: ...
    @overload
    def predict(self, source: Source) -> Result: ...
    def predict(self, source: Source | list[Source] | tuple[Source, ...]) -> Result | list[Result]:
        """The result for a picture, or a list of results for a list of pictures.

        A picture is a path, a PIL image, an array [H, W] or [H, W, C] (RGB; uint8, uint16 or float32), or a `Sample`.
        `DataError` when it cannot be read or has other channels than the model takes.
        """
        if isinstance(source, list | tuple):
            return list(self.stream(source))
        return next(self.stream([source]))

    def stream(self, sources: Iterable[Source], *, batch: int = 1) -> Iterator[Result]:
        """Results one by one, in the order of the pictures; only `batch` pictures are in memory at a time."""
        remaining = iter(sources)
        while chunk := list(islice(remaining, batch)):
            yield from self._predict_batch([_as_sample(source) for source in chunk])

    def with_detections(self, most: int) -> Predictor:
        """The same predictor with up to `most` objects per picture, and as many proposals as that needs."""
        if most < 1:
            raise ConfigError(f"the number of detections must be at least 1, but got {most}")
        module = self.module.with_detections(most)
        return replace(self, module=module, card=replace(self.card, spec=module.spec))

    def _predict_batch(self, samples: list[Sample]) -> list[Result]:
        started = time.perf_counter()
        prepared = [prepare(sample, self.card.preprocess) for sample in samples]
        batch = collate(prepared, self.card.preprocess.divisor)
        with torch.inference_mode():
            outputs = self.module(batch.images.to(self.device), batch.sizes)
        found = [self._decode(outputs, index, picture) for index, picture in enumerate(prepared)]
        seconds = (time.perf_counter() - started) / len(samples)
        return [
            Result(sample=sample, segmentation=instances, labels=self.card.labels, seconds=seconds)
            for sample, instances in zip(samples, found, strict=True)
        ]

    def _decode(self, outputs: RegionOutputs, index: int, picture: Prepared) -> InstanceSet:
        rows = outputs.image_index == index
        logits = outputs.mask_logits
        return decode_instances(
            outputs.boxes[rows].cpu().numpy(),
            outputs.class_ids[rows].cpu().numpy(),
            outputs.scores[rows].cpu().numpy(),
            None if logits is None else logits[rows].cpu().numpy(),
            picture.placement,
            self.card.spec.profile.mask_paste,
        )


def build_predictor(module: RCNN, card: Card, device: str = "auto") -> Predictor:
    """A predictor on `device` ("auto": the first GPU, else the CPU); the module is moved there, in evaluation mode."""
    where = choose_device(device)
    return Predictor(module.to(where).eval(), card, where)


def choose_device(name: str) -> torch.device:
    """The device of that name; `ConfigError` when this machine has none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used: {reason}", hint="try --device cpu") from error
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is calculated by the hardware: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())


def _as_sample(source: Source) -> Sample:
    match source:
        case Sample():
            return source
        case str() | Path():
            return Sample(read_image(source), id=Path(source).stem, file=str(source))
        case np.ndarray():
            return Sample(_as_picture(source), id="picture")
        case _ if hasattr(source, "getbands"):
            return _from_pillow(source)
        case _:
            raise DataError(f"a picture must be a path, a PIL image or an array, but got {type(source).__name__}")


def _as_picture(array: Array) -> Array:
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(f"a picture must be [H, W] or [H, W, C] and not empty, but got an array {list(array.shape)}")
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        raise DataError(
            f"a picture must be uint8, uint16 or float32, but got {array.dtype}",
            hint="convert it with array.astype(...)",
        )
    return array[..., None] if array.ndim == 2 else array


def _from_pillow(image: Image) -> Sample:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode == "I" or upright.mode.startswith("I;16"):
        pixels = np.asarray(upright).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise DataError(
                f"a whole-number picture must lie in 0 to 65535, but reaches {pixels.min()}, {pixels.max()}"
            )
        pixels = pixels.astype(np.uint16)
    elif upright.mode in ("L", "RGB", "F"):
        pixels = np.asarray(upright)
    else:
        pixels = np.asarray(upright.convert("L" if upright.mode in ("1", "LA") else "RGB"))
    name = getattr(image, "filename", "")
    return Sample(_as_picture(pixels), id=Path(name).stem or "picture", file=str(name))
