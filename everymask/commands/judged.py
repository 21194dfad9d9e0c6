"""What is judged by annotated pictures: models, and predictions that lie in files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.commands.options import Scoring, check_order, load_predictor
from everymask.commands.running.fastest import load_in_fastest
from everymask.commands.running.merging import merged_with
from everymask.data.dataset import Dataset
from everymask.errors import ConfigError, counted, printable
from everymask.train.folder.layout import BEST

if TYPE_CHECKING:
    from everymask.evaluate import Judged
    from everymask.infer.merged import Merged
    from everymask.infer.predictor import Predictor

_log = logging.getLogger(__name__)


def load_judged(
    verb: str, sources: Sequence[str], data: Path, options: Scoring, *, merge: str | None = None
) -> tuple[list[Judged], Dataset]:
    """The models or predictions that `sources` name, and the data set by which they are judged, read for their task.

    With `merge` models are judged together with the model of label maps of that name, as `merged_with` says.
    """
    from everymask.commands.sources import read_annotated
    from everymask.data.panoptic import rule_of
    from everymask.infer.predictor import Predictor
    from everymask.infer.stored import are_predictions, read_predictions, task_of_predictions

    for source in sources:
        check_order(verb, source, [str(data)])
    stored = {source: _is_no_model(source) and are_predictions(source) for source in sources}
    models: dict[str, Predictor | Merged] = {}
    for source in sources:
        if not stored[source]:
            model = load_predictor(source, options, split_if_maps=len(sources) > 1)
            models[source] = model if merge is None else merged_with(merge, source, model, options)
        elif merge is not None:
            raise ConfigError(f"models are merged before they predict, but {printable(source)} holds predictions")
    tasks = [models[source].task.name if source in models else task_of_predictions(source) for source in sources]
    task = next((name for name in tasks if name is not None), None)
    rule = next((rule_of(model.labels) for model in models.values()), None)
    dataset = read_annotated(data, options, decode=options.on_defect == "skip", task=task, rule=rule)
    judged: list[Judged] = []
    for source in sources:
        if source in models:
            usual = models[source]
            if isinstance(usual, Predictor):
                usual = _in_fastest(source, usual, dataset, options, split_if_maps=len(sources) > 1)
            judged.append(usual)
            continue
        _check_plain(options)
        part = dataset.split(options.split) if options.split in dataset.splits() else dataset
        found = read_predictions(source, part)
        if found.found.unknown:
            others = counted(found.found.unknown, "prediction")
            _log.warning("%s: %s of pictures that are not judged", printable(source), others)
        judged.append(found)
    return judged, dataset


def _in_fastest(source: str, usual: Predictor, dataset: Dataset, options: Scoring, *, split_if_maps: bool) -> Predictor:
    """The model in the runtime that is fastest on the first pictures that are judged."""
    part = dataset.split(options.split) if options.split in dataset.splits() else dataset
    load = partial(load_predictor, source, split_if_maps=split_if_maps)
    return load_in_fastest(source, options, part, lambda asked: load(options=asked), usual)


def _check_plain(options: Scoring) -> None:
    if options.tta_flip != "none" or options.tta_scales != "1":
        raise ConfigError("predictions in files cannot be made anew", hint="leave out tta-flip and tta-scales")


def _is_no_model(source: str) -> bool:
    return not (Path(source) / BEST).is_file()
