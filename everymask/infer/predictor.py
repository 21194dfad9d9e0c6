"""A trained model, ready to predict: pictures in, results out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args, overload

import numpy as np
import torch
from torch import Tensor

from everymask.core.arrays import Array
from everymask.core.sample import Sample
from everymask.core.segmentation import Segmentation, SemanticMap
from everymask.data.feed.pipelines import Prepared, naming, prepare
from everymask.data.feed.preprocess import check_range
from everymask.data.pictures.read import read_image
from everymask.errors import ConfigError, DataError, counted, printable
from everymask.infer.decode_instances import decode_instances
from everymask.infer.decode_semantic import decode_semantic
from everymask.infer.tiling import Tiling, join_maps, predict_strips, strips_of
from everymask.infer.variants import TestTimeAugmentation, predict_variants
from everymask.models.base import RegionOutputs, SemanticOutputs, collate
from everymask.models.card import Card
from everymask.models.inference import ready_to_predict
from everymask.models.regions.rcnn import RCNN
from everymask.models.semantic.network import SemanticModel
from everymask.results.result import Result

if TYPE_CHECKING:
    from PIL.Image import Image

Source: TypeAlias = "str | Path | Array | Image | Sample"
Precision: TypeAlias = Literal["auto", "exact"]


@dataclass(frozen=True, slots=True, repr=False)
class Predictor:
    """A network with its card on a device. It holds no other state: threads may share it.

    `splits` is the file that says which pictures its training learned from, where it comes from a run folder.
    `augmentation` and `scored` are as `with_augmentation` and `with_scores` set them.
    """

    module: RCNN | SemanticModel
    card: Card
    device: torch.device
    splits: Path | None = None
    augmentation: TestTimeAugmentation | None = None
    scored: bool = False

    @property
    def is_semantic(self) -> bool:
        """Whether it says of every pixel what it is, rather than finding objects."""
        return isinstance(self.module, SemanticModel)

    @overload
    def predict(self, source: list[Source] | tuple[Source, ...], *, tiling: Tiling | None = None) -> list[Result]: ...
    @overload
    def predict(self, source: Source, *, tiling: Tiling | None = None) -> Result: ...
    def predict(
        self, source: Source | list[Source] | tuple[Source, ...], *, tiling: Tiling | None = None
    ) -> Result | list[Result]:
        """The result for a picture, or a list of results for a list of pictures.

        A picture is a path, a PIL image, an array [H, W] or [H, W, C] (RGB; uint8, uint16 or float32), or a `Sample`.
        With `tiling` a semantic model predicts it by windows at its own resolution (see `predict_strips`).
        `DataError` when it cannot be read or has other channels than the model takes.
        """
        if isinstance(source, list | tuple):
            return list(self.stream(source, tiling=tiling))
        return self._predict_batch([_as_sample(source)], tiling)[0]

    def stream(self, sources: Iterable[Source], *, batch: int = 1, tiling: Tiling | None = None) -> Iterator[Result]:
        """Results one by one, in the order of the pictures; only `batch` pictures are in memory at a time.

        Pictures without a file are named by their place: picture-1, picture-2 ...
        """
        remaining = enumerate(sources, start=1)
        while chunk := list(islice(remaining, batch)):
            yield from self._predict_batch([_as_sample(source, f"picture-{place}") for place, source in chunk], tiling)

    def with_detections(self, most: int) -> Predictor:
        """The same predictor with up to `most` objects per picture, and as many proposals as that needs.

        `ConfigError` for less than one, and where the model finds no objects.
        """
        if most < 1:
            raise ConfigError(f"the number of detections must be at least 1, but got {most}")
        if isinstance(self.module, SemanticModel):
            raise ConfigError(
                "the number of detections limits objects, but this model says of every pixel what it is",
                hint="leave out max-detections",
            )
        module = self.module.with_detections(most)
        return replace(self, module=module, card=replace(self.card, spec=module.spec))

    def with_augmentation(self, augmentation: TestTimeAugmentation) -> Predictor:
        """The same predictor, which averages what the network says of mirrored and scaled variants of a picture.

        `ConfigError` where the model finds objects.

        >>> better = load("runs/a").with_augmentation(TestTimeAugmentation("horizontal", (0.75, 1, 1.25)))
        """
        if not self.is_semantic:
            raise ConfigError(
                "test-time augmentation averages what a model says of every pixel, but this one finds objects",
                hint="leave out tta-flip and tta-scales",
            )
        return replace(self, augmentation=augmentation)

    def with_scores(self) -> Predictor:
        """The same predictor, whose label maps also say how probable the class of each pixel is: `SemanticMap.scores`.

        `ConfigError` where the model finds objects, which always have scores.
        """
        if not self.is_semantic:
            raise ConfigError("scores of pixels need a model that gives label maps, but this one finds objects")
        return replace(self, scored=True)

    def outputs(self, images: Tensor, windows: Tensor | None = None) -> RegionOutputs | SemanticOutputs:
        """What the network says of prepared pictures [B, C, H, W] on its device, before it is decoded."""
        if self.augmentation is not None and isinstance(self.module, SemanticModel):
            return predict_variants(self.module, images, windows, self.augmentation, self.card.preprocess.divisor)
        outputs: RegionOutputs | SemanticOutputs = self.module(images, windows)
        return outputs

    def __repr__(self) -> str:
        spec, names = self.card.spec, [printable(name, limit=40) for name in self.card.labels.names]
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        network = f"{type(spec).__name__} {spec.encoder}"
        return f"<Predictor {network}, {counted(len(names), 'class', 'es')}: {listed}; {self.device}>"

    def _predict_batch(self, samples: list[Sample], tiling: Tiling | None) -> list[Result]:
        started = time.perf_counter()
        found = [self._by_windows(sample, tiling) for sample in samples] if tiling else self._by_whole(samples)
        seconds = (time.perf_counter() - started) / len(samples)
        return [
            Result(sample=sample, segmentation=segmentation, labels=self.card.labels, seconds=seconds)
            for sample, segmentation in zip(samples, found, strict=True)
        ]

    def _by_whole(self, samples: list[Sample]) -> list[Segmentation]:
        prepared = [prepare(sample, self.card.preprocess) for sample in samples]
        batch = collate(prepared, self.card.preprocess.divisor)
        with torch.inference_mode():
            batch = batch.to(self.device, channels_last=True)
            outputs = self.outputs(batch.images, batch.windows)
        return [self._decode(outputs, index, picture) for index, picture in enumerate(prepared)]

    def _by_windows(self, sample: Sample, tiling: Tiling) -> SemanticMap:
        with naming(sample):
            check_range(sample.image, self.card.preprocess.scale)
        strips = predict_strips(self, strips_of(sample.image), tiling, name=sample.file or sample.id)
        return join_maps([semantic for _, semantic in strips], axis=0)

    def _decode(self, outputs: RegionOutputs | SemanticOutputs, index: int, picture: Prepared) -> Segmentation:
        match self.module, outputs:
            case SemanticModel() as dense, SemanticOutputs(logits):
                return decode_semantic(logits[index], picture.placement, dense.spec.head, scored=self.scored)
            case RCNN() as detector, RegionOutputs(boxes, class_ids, scores, mask_logits, image_index):
                rows = image_index == index
                return decode_instances(
                    boxes[rows].cpu().numpy(),
                    class_ids[rows].cpu().numpy(),
                    scores[rows].cpu().numpy(),
                    None if mask_logits is None else mask_logits[rows].cpu().numpy(),
                    picture.placement,
                    detector.spec.profile.mask_paste,
                )
            case _:
                raise TypeError(f"{type(self.module).__name__} gave {type(outputs).__name__}")


def build_predictor(
    module: RCNN | SemanticModel, card: Card, device: str = "auto", *, precision: Precision = "auto"
) -> Predictor:
    """A predictor on `device` ("auto": the first GPU, else the CPU) with a copy of `module` that is made for speed.

    `precision` "exact" calculates in float32 throughout, so that only rounding separates it from the network as it was
    trained; "auto" takes bfloat16 for the convolutions where the hardware calculates it (see `has_fast_bf16`).
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision must be {' or '.join(get_args(Precision))}, but got {precision!r}")
    where = choose_device(device)
    dtype = torch.bfloat16 if precision == "auto" and has_fast_bf16(where) else None
    return Predictor(ready_to_predict(module, dtype, where), card, where)


def choose_device(name: str) -> torch.device:
    """The device of that name; `ConfigError` when this machine has none, saying which it has."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        known = name.partition(":")[0] in ("cuda", "mps", "xpu")
        reason = f" ({str(error).splitlines()[0].partition('. ')[0]})" if known else ""
        raise ConfigError(
            f"device {name!r} cannot be used{reason}; this machine has {', '.join(_devices())}",
            hint="write cpu, cuda, cuda:1 (the second GPU) or mps (Apple); auto takes the first GPU, else the CPU",
        ) from error
    return device


def _devices() -> list[str]:
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is calculated by the hardware: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())


def _as_sample(source: Source, name: str = "picture") -> Sample:
    """The picture as a sample, called `name` where it comes from no file."""
    match source:
        case Sample():
            return source
        case str() | Path():
            return Sample(read_image(source), id=Path(source).stem, file=str(source))
        case np.ndarray():
            return Sample(_as_picture(source), id=name)
        case _ if hasattr(source, "getbands"):
            return _from_pillow(source, name)
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


def _from_pillow(image: Image, name: str) -> Sample:
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
    file = str(getattr(image, "filename", ""))
    return Sample(_as_picture(pixels), id=Path(file).stem or name, file=file)
