"""`--merge`: a model that finds objects and one that gives label maps, as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from everymask.commands.options import Running, load_predictor
from everymask.commands.terminal import quoted
from everymask.errors import ConfigError

if TYPE_CHECKING:
    from everymask.infer.merged import Merged
    from everymask.infer.predictor import Predictor


def merged_with(merge: str, source: str, model: Predictor, options: Running, min_score: float = 0.5) -> Merged:
    """The `model` of that name, with the model of label maps called `merge` and objects from `min_score` on.

    `ConfigError` where one of them is of another kind.
    """
    from everymask.infer.merged import Merged

    # What makes a model, or splits its label maps, is for the one that the command line names first.
    usual = Running()
    plain = replace(options, set=(), split_objects=False, split_h=usual.split_h, split_sigma=usual.split_sigma)
    semantic = load_predictor(merge, plain)
    if "merge" in semantic.task.options and "split-objects" in model.task.options:
        raise ConfigError(
            "the model that finds objects stands first, and --merge names the one that gives label maps",
            hint=f"exchange the two: {quoted(merge)} ... --merge {quoted(source)}",
        )
    return Merged(model, semantic, min_score)
