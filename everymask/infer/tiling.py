"""Label maps of pictures larger than memory: windows that overlap, whose logits are blended."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import IO, Any

import numpy as np

from everymask.classical.bases import MethodSpec
from everymask.core.arrays import Array, FloatArray
from everymask.core.segmentation import SemanticMap
from everymask.data.feed.batches import stack, windows_of
from everymask.data.feed.pipelines import Prepared, naming
from everymask.data.feed.preprocess import Placement, Preprocess, check_range
from everymask.data.pictures.strips import Strips
from everymask.errors import ConfigError, MachineError, printable
from everymask.infer.decoding.bilinear import in_planes
from everymask.infer.decoding.outputs import Outputs, SemanticArrays, Wanted
from everymask.infer.decoding.semantic import decode_semantic
from everymask.infer.running import Running
from everymask.tasks.table import task_of

_BYTES_IN_MEMORY = 1 << 26
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Tiling:
    """Windows of `side` x `side` pixels, of which neighbours share at least `overlap` (0 to 0.9) of their side.

    A side that is no multiple of what the model's pictures are padded to is rounded up to one. Where things are found
    there is besides a look at the `whole` picture, shrunk (see `everymask.infer.joined`). `ConfigError` for values out
    of range.
    """

    side: int = 1024
    overlap: float = 0.25
    whole: bool = True

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ConfigError(f"the side of a tile must be at least 1 pixel, but got {self.side}")
        if not 0 <= self.overlap <= 0.9:
            raise ConfigError(f"the overlap of tiles must lie between 0 and 0.9, but got {self.overlap}")


def predict_strips(
    predictor: Running, strips: Strips, tiling: Tiling, *, name: str = "picture"
) -> Iterator[tuple[Array, SemanticMap]]:
    """The picture and its label map from top to bottom: rows [n, W, C] as read, and what they show [n, W]; two dates
    are the channels of one picture.

    Windows are taken at the picture's own resolution: the preprocessing's resize is left out, the rest of it is not.
    They start at multiples of its divisor, so that the network's grids lie as in one shot, and are spread evenly. In
    the middle half of an overlap logits are blended, by weights that rise as the integral of a Gaussian, before
    `decode_semantic` decides; the quarters beside it, where a window sees least, belong to the other window alone. So
    one shot and windows agree where the network looks no farther than a quarter of the overlap, and in a picture that
    one window covers. Networks that take the statistics of a whole picture (TinyCD) agree in neither. (nnU-Net, Isensee
    et al. 2021, weights whole windows with a Gaussian: their edges count too.)

    Memory grows with the picture's width, not with its height: rows of one window, and K float32 for each pixel of the
    rows that are blended (beyond 64 MB these lie in a temporary file).

    `ConfigError` where the model finds things (see `everymask.infer.joined`); `DataError` as from `strips.read`, and
    for channels and ranges that do not fit the model, which calls it `name`. Floats must be finite; that all of them
    are too small for the model is known at the end.
    """
    check_tiles(predictor)
    if task_of(predictor.card.spec).join is not None:
        raise ConfigError("things are not found by strips, which would cut them", hint="use predict_joined")
    preprocess, planes = predictor.card.preprocess, len(predictor.card.labels)
    if getattr(predictor.card.spec, "head", None) == "from-to":
        planes = 2 * planes - 1
    rows, columns = (spans(length, tiling, preprocess.divisor) for length in strips.size)
    blended = max(row.last - row.done for row in rows)
    widest = max(column.done - column.first for column in columns)
    with _blocks((planes, blended, widest), len(columns)) as above:
        windows = _Windows(predictor, columns, above)
        for row, pixels in window_rows(preprocess, strips, rows, name):
            with naming(name):
                semantic = windows.decoded(pixels, row)
            yield pixels[row.first - row.start : row.done - row.start], semantic


def check_tiles(predictor: Running) -> None:
    """`ConfigError` where windows mean nothing for what a model predicts, or for how it does that."""
    predictor.task.refuse("tile")
    if isinstance(predictor.card.spec, MethodSpec):
        raise ConfigError(
            f"{type(predictor.card.spec).__name__} is a method that looks at whole pictures", hint="leave out tile"
        )


def window_rows(
    preprocess: Preprocess, strips: Strips, rows: Sequence[Span], name: str
) -> Iterator[tuple[Span, Array]]:
    """Each row of windows with the pixels [h, W, C] that it sees; errors as in `predict_strips`."""
    with naming(name):
        check_range(np.zeros((1, 1, 1), strips.dtype), preprocess.scale)
    pixels, top, brightest = np.zeros((0, strips.size[1], strips.channels), strips.dtype), 0, 0.0
    for row in rows:
        pixels = _moved_on(pixels[len(pixels) - (top - row.start) :], strips, row.stop - row.start)
        top, brightest = row.stop, max(brightest, float(pixels.max()))
        yield row, pixels
    with naming(name):
        check_range(np.full((1, 1, 1), brightest, strips.dtype), preprocess.scale)


def _moved_on(kept: Array, strips: Strips, height: int) -> Array:
    """`height` rows [height, W, C]: those that are `kept` and the next ones of `strips`."""
    pixels = np.empty((height, *kept.shape[1:]), kept.dtype)
    pixels[: len(kept)] = kept
    # A few at a time: what `read` gives is a copy.
    for top in range(len(kept), height, _ROWS_AT_ONCE):
        count = min(_ROWS_AT_ONCE, height - top)
        pixels[top : top + count] = strips.read(count)
    return pixels


def strips_of(image: Array) -> Strips:
    """A picture [H, W, C] in memory as strips."""
    position = 0

    def read(count: int) -> Array:
        nonlocal position
        position += count
        return image[position - count : position]

    return Strips((image.shape[0], image.shape[1]), image.shape[2], str(image.dtype), True, read)


def join_maps(maps: Sequence[SemanticMap], axis: int) -> SemanticMap:
    """Pieces of a label map put together below (`axis` 0) or beside (1) each other."""
    scores = [piece.scores for piece in maps if piece.scores is not None]
    planes: dict[str, Any] = {
        name: np.concatenate([piece.planes[name] for piece in maps], axis) for name in maps[0].planes
    }
    return replace(maps[0], **planes, scores=np.concatenate(scores, axis) if scores else None)


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A window along one axis: it sees pixels `start` to `stop`, says something of `first` to `last`, and the next
    window says nothing of those before `done`.

    `weights` [last - first] float32 are its shares; those of all windows make 1 at each pixel.
    """

    start: int
    stop: int
    first: int
    last: int
    done: int
    weights: FloatArray


def spans(length: int, tiling: Tiling, divisor: int) -> list[Span]:
    """The windows along an axis of `length` pixels; the last ends with it."""
    side, total = -(-tiling.side // divisor), -(-length // divisor)
    step = max(1, math.floor(side * (1 - tiling.overlap)))
    gaps = max(0, -(-(total - side) // step))
    starts = [(total - side) * place // gaps * divisor for place in range(gaps + 1)] if gaps else [0]
    # No pixel is in three blends.
    blend = min((side - step) * divisor // 2, (total - side) // gaps * divisor) if gaps else 0
    firsts = [0, *((before + side * divisor + start - blend) // 2 for before, start in pairwise(starts))]
    # The integral of a Gaussian, from three standard deviations before its middle to three behind it.
    steps = (np.arange(blend) + 0.5) * (6 / max(1, blend)) - 3
    rise = np.array([0.5 * (1 + math.erf(step / math.sqrt(2))) for step in steps], np.float32)
    found = []
    for place, (start, first) in enumerate(zip(starts, firsts, strict=True)):
        done, last = (firsts[place + 1], firsts[place + 1] + blend) if place < gaps else (length, length)
        weights = np.ones(last - first, np.float32)
        if place > 0:
            weights[:blend] = rise
        weights[done - first :] = 1 - rise[: last - done]
        found.append(Span(start, min(start + side * divisor, length), first, last, done, weights))
    return found


class _Windows:
    """Row after row of windows, and what each leaves to the next: shares of the logits where windows overlap."""

    def __init__(self, predictor: Running, columns: list[Span], above: _Blocks) -> None:
        self._predictor = predictor
        self._columns = columns
        self._above = above

    def decoded(self, pixels: Array, row: Span) -> SemanticMap:
        """What the rows `first` to `done` show, [n, W]; `pixels` [h, W, C] are those from `start` to `stop`."""
        found: list[SemanticMap] = []
        left: FloatArray | None = None
        for place, column in enumerate(self._columns):
            semantic, left = self._window(pixels[:, column.start : column.stop], row, column, place, left)
            found.append(semantic)
        return join_maps(found, axis=1)

    def _window(
        self, pixels: Array, row: Span, column: Span, place: int, left: FloatArray | None
    ) -> tuple[SemanticMap, FloatArray]:
        """What is finished by window `place` of its row, and the sums [K, h, w] that it leaves to the next one."""
        answer = self._answer(pixels)
        sums = answer.logits[0][:, row.first - row.start : row.last - row.start, column.first - column.start :]
        sums = sums[..., : column.last - column.first]
        sums = sums * np.outer(row.weights, column.weights)
        if left is not None:
            sums[..., : left.shape[-1]] += left
        height, width = row.done - row.first, column.done - column.first
        means = sums[..., :width]
        self._above.add_to(means, place)
        self._above.keep(means[:, height:], place)
        whole = Placement((height, width), (height, width))
        ignore = self._predictor.card.labels.ignore
        scored = self._predictor.scored or self._predictor.splitting is not None
        semantic = decode_semantic(
            means[:, :height], whole, answer.head, ignore=ignore, scored=scored, kind=answer.kind
        )
        return semantic, sums[..., width:].copy()

    def _answer(self, pixels: Array) -> SemanticArrays:
        """Logits [1, K, h, w] of a window [h, w, C]."""
        answer = window_outputs(self._predictor, pixels).planes()
        return replace(answer, logits=in_planes(answer.logits[0, :, : pixels.shape[0], : pixels.shape[1]])[None])


def window_outputs(predictor: Running, pixels: Array, wanted: Wanted | None = None) -> Outputs:
    """What the network says of a window [h, w, C] at its own resolution."""
    size, preprocess = (pixels.shape[0], pixels.shape[1]), predictor.card.preprocess
    image = preprocess.normalise(preprocess.matched(pixels))
    prepared = [Prepared(image, None, Placement(size, size))]
    return predictor.outputs(stack(prepared, preprocess.divisor), windows_of(prepared), wanted)


@contextmanager
def _blocks(largest: tuple[int, int, int], count: int) -> Iterator[_Blocks]:
    """`count` blocks of shapes up to `largest`; in a temporary file where they could take more than 64 MB."""
    size = 4 * math.prod(largest)
    if size * count <= _BYTES_IN_MEMORY:
        yield _Blocks(size, None)
        return
    with tempfile.TemporaryFile() as file:
        yield _Blocks(size, file)


class _Blocks:
    """What a row of windows leaves to the next: a block [K, n, w] of up to `size` bytes for each of its windows.

    They stay in memory, or, where there is one, in `file`.
    """

    def __init__(self, size: int, file: IO[bytes] | None) -> None:
        self._size = size
        self._file = file
        self._in_memory: dict[int, FloatArray] = {}
        self._in_file: dict[int, tuple[int, ...]] = {}

    def add_to(self, sums: FloatArray, place: int) -> None:
        """Add the block of window `place` to the first rows of `sums` [K, h, w]."""
        block = self._in_memory.get(place)
        if self._file is not None and place in self._in_file:
            shape = self._in_file[place]
            self._file.seek(place * self._size)
            block = np.frombuffer(self._file.read(4 * math.prod(shape)), np.float32).reshape(shape)
        if block is not None:
            sums[:, : block.shape[1]] += block

    def keep(self, sums: FloatArray, place: int) -> None:
        """Replace the block of window `place`."""
        if self._file is None:
            self._in_memory[place] = sums.copy()
            return
        self._in_file[place] = sums.shape
        try:
            self._file.seek(place * self._size)
            self._file.write(np.ascontiguousarray(sums).data)
            self._file.flush()
        except OSError as error:
            raise MachineError(
                f"cannot keep intermediate results in {printable(tempfile.gettempdir())}: {error.strerror or error}",
                hint="set TMPDIR (on Windows TEMP) to a folder with more room, or choose smaller tiles or less overlap",
            ) from error
