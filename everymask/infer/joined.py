"""Segmentations of pictures by windows, put together to one of the whole picture."""

from __future__ import annotations

from collections.abc import Callable

from everymask.classical.splitting import split_map
from everymask.core.arrays import Array
from everymask.core.joining.grid import Grid, Stretch
from everymask.core.memory import give_back
from everymask.core.sample import Sample
from everymask.core.segmentation import Segmentation
from everymask.data.feed.batches import stack, windows_of
from everymask.data.feed.pipelines import check_dates, naming, prepare
from everymask.data.feed.preprocess import Placement, check_range
from everymask.data.pictures.strips import Strips
from everymask.infer.decoding.duplicates import without_duplicates
from everymask.infer.decoding.outputs import Wanted
from everymask.infer.running import Running
from everymask.infer.shrunk import Shrunk
from everymask.infer.tiling import (
    Tiling,
    check_tiles,
    join_maps,
    predict_strips,
    spans,
    strips_of,
    window_outputs,
    window_rows,
)


def predict_joined(
    predictor: Running,
    strips: Strips,
    tiling: Tiling,
    *,
    name: str = "picture",
    seen: Callable[[Array], None] | None = None,
) -> tuple[Segmentation, float | None]:
    """What a picture shows whose windows are predicted one by one, and the score from which on objects may be missing.

    Windows lie as in `predict_strips`, at the picture's own resolution. Objects and things that two neighbours see are
    one (see `everymask.core.joining`), stuff of one class is one segment, and label maps are blended before they are
    split into objects. In a picture that one window covers this is what one shot gives. The limits of detections are
    those of each window. Where `tiling` says so, things larger than a window come from a look at the `whole` picture,
    shrunk to the size in which the model usually sees pictures (see `Shrunk`; the standard prediction of SAHI, Akyon
    et al. 2022). `seen` is given the rows of the picture [n, W, C] from top to bottom as they are done with.

    Errors as in `predict_strips`; `ConfigError` too where neighbouring windows have nothing in common.
    """
    if predictor.splitting is not None:
        return _split(predictor, strips, tiling, name, seen)
    check_tiles(predictor)
    card, join = predictor.card, predictor.task.join
    assert join is not None
    rows, columns = (spans(length, tiling, card.preprocess.divisor) for length in strips.size)
    grid = Grid(
        strips.size, *(tuple(Stretch(s.start, s.stop, s.first, s.last) for s in axis) for axis in (rows, columns))
    )
    joined, cut = join(grid, card.labels, card.spec), 0.0
    several = len(rows) > 1 or len(columns) > 1
    shrunk = Shrunk(strips, card.preprocess, tiling.side) if tiling.whole and several else None
    takers = [take for take in (seen, None if shrunk is None else shrunk.add) if take is not None]
    for place, (row, pixels) in enumerate(window_rows(card.preprocess, strips, rows, name)):
        for at, column in enumerate(columns):
            shown = pixels[:, column.start : column.stop]
            size = (shown.shape[0], shown.shape[1])
            wanted = Wanted((Placement(size, size),), card.labels.ignore, False, predictor.duplicate_iou, part=True)
            with naming(name):
                answer = window_outputs(predictor, shown, wanted)
            joined.add(answer.segmentation(0, wanted), place, at)
            cut = max(cut, answer.cut_below(0) or 0.0)
            give_back()
        for take in takers:
            take(pixels[row.first - row.start : row.done - row.start])
    if shrunk is not None:
        with naming(name):
            joined.add_whole(*_at_once(predictor, shrunk.picture()))
    found = joined.finished()
    if "duplicate-iou" in predictor.task.options:
        found = without_duplicates(found, predictor.duplicate_iou)
    return found, cut or None


def predict_tiled(predictor: Running, sample: Sample, tiling: Tiling) -> tuple[Segmentation, float | None]:
    """The same of a picture in memory; label maps as by `predict_strips`."""
    with naming(sample):
        check_dates(len(sample.dates), predictor.card.preprocess)
        check_range(sample.stacked, predictor.card.preprocess.scale)
    strips, name = strips_of(sample.stacked), sample.file or sample.id
    if predictor.task.join is not None:
        return predict_joined(predictor, strips, tiling, name=name)
    return join_maps([semantic for _, semantic in predict_strips(predictor, strips, tiling, name=name)], axis=0), None


def _at_once(predictor: Running, image: Array) -> tuple[Segmentation, tuple[int, int]]:
    """What a picture [H, W, C] shows in one look, and its size."""
    prepared = [prepare(Sample(image), predictor.card.preprocess)]
    placement = prepared[0].placement
    wanted = Wanted((placement,), predictor.card.labels.ignore, False, predictor.duplicate_iou, part=True)
    images = stack(prepared, predictor.card.preprocess.divisor)
    return predictor.outputs(images, windows_of(prepared), wanted).segmentation(0, wanted), placement.original


def _split(
    predictor: Running, strips: Strips, tiling: Tiling, name: str, seen: Callable[[Array], None] | None
) -> tuple[Segmentation, float | None]:
    """The objects of a label map, which is blended and as a whole split into them."""
    assert predictor.splitting is not None
    maps = []
    for pixels, semantic in predict_strips(predictor, strips, tiling, name=name):
        maps.append(semantic)
        if seen is not None:
            seen(pixels)
    return split_map(join_maps(maps, axis=0), predictor.card.labels, predictor.splitting)
