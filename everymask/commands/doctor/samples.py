"""What was understood of the annotations, to be looked at: a few pictures with their truth drawn over them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from everymask.data.dataset import Dataset
from everymask.data.records import Objects
from everymask.errors import EverymaskError, counted
from everymask.tasks.table import task_of
from everymask.tasks.task import Drawing
from everymask.viz.check_page import Shot

_SAMPLES = 6
_SIDE = 480


def samples_of(dataset: Dataset) -> Iterator[Shot]:
    """Up to six annotated pictures at equal distances, as training sees them; of those with objects, if there are any.

    Pictures that cannot be read are passed over: they are among the defects.
    """
    shown = dataset.annotated()
    task = task_of(shown)
    bare = Objects(())
    full = [row for row, record in enumerate(shown.records) if record.truth != bare] or list(range(len(shown)))
    for row in dict.fromkeys(full[round(k)] for k in np.linspace(0, len(full) - 1, min(_SAMPLES, len(full)))):
        try:
            sample = shown[row]
            truth = task.truth_of(sample)
        except EverymaskError:
            continue
        drawn = task.draw(sample.image, truth, shown.labels, Drawing(side=_SIDE, before=sample.before))
        known = shown.records[row].truth
        found = f": {counted(len(known.annotations), 'object')}" if isinstance(known, Objects) else ""
        yield Shot(f"{shown.records[row].image.name}{found}", drawn)
