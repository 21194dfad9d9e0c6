"""Objects that were followed through a video, in files, judged by their true places."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymask.core.files import in_order
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.pictures.read import pictures_among, read_label_map
from everymask.errors import DataError, counted, listed, printable
from everymask.metrics.video.metric import TrackMetric, TrackScores

_IDS = "ids"


def evaluate_tracks(found: str | Path, truth: str | Path, *, whole: bool = False) -> TrackScores:
    """J and F of a video: `found` is a folder that `predict --track` wrote, or one of maps with the objects' numbers,
    and `truth` one of maps with the true numbers, called alike (endings aside). Every number but 0 is an object.

    The first and the last frame do not count, as in DAVIS, unless `whole`. `DataError` where a frame of the truth was
    not predicted, or has another size.

    >>> evaluate_tracks("found", "masks").numbers()["J&F"]
    """
    folder = Path(found) / _IDS if (Path(found) / _IDS).is_dir() else Path(found)
    predicted, true = _maps(folder), _maps(Path(truth))
    missing = [name for name in true if name not in predicted]
    if missing:
        raise DataError(
            f"{printable(folder)} lacks {counted(len(missing), 'frame')} of {printable(truth)}: {listed(missing, 3)}",
            hint="both folders have a PNG for each frame, called alike",
        )
    metric = TrackMetric(whole=whole)
    for name, file in true.items():
        here, there = _objects(predicted[name]), _objects(file)
        if here.size != there.size:
            raise DataError(
                f"{printable(predicted[name])} is {here.size}, but the truth of the frame {there.size} (H, W)",
                hint="predict the video at the size of its truth",
            )
        metric.update(here, there, Sample(np.zeros((1, 1, 1), np.uint8), id=name, file=str(file)))
    return metric.compute()


def _maps(folder: Path) -> dict[str, Path]:
    """The maps of a folder by their names without endings."""
    if not folder.is_dir():
        raise DataError(f"{printable(folder)} is no folder", hint="give a folder of PNGs with the objects' numbers")
    maps = {file.stem: file for file in in_order(pictures_among(folder.iterdir()))}
    if not maps:
        raise DataError(f"{printable(folder)} has no maps", hint="give a folder of PNGs with the objects' numbers")
    return maps


def _objects(file: Path) -> InstanceSet:
    ids = read_label_map(file)
    numbers = np.unique(ids[ids > 0]).astype(np.int64)
    masks = Masks.from_ids(ids, numbers)
    return InstanceSet(masks.boxes(), np.zeros(len(masks), np.int64), masks=masks, ids=numbers)
