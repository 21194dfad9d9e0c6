"""`everymask compare`: is one model better than another, or was it only luckier with the pictures?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import tyro

from everymask.commands.judged import load_judged
from everymask.commands.options import Data, Scoring, class_names
from everymask.commands.terminal import progress, show, show_json
from everymask.errors import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare(Scoring):
    """Test whether two models differ (in mIoU, mask AP or box AP), on pictures that neither was trained on.

    A paired bootstrap: pictures are drawn anew from those of the data set (10,000 times for label maps, 1,000 for
    objects), the same ones for both models. It says whether the difference would hold on other pictures of the same
    kind, not whether it would after training anew.
    """

    first: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FIRST")]
    """A run folder, a .safetensors file, a bundle (.emz), or a name of `everymask models`; or predictions: COCO results
    (.json), or a folder of label maps or object numbers."""
    second: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SECOND")]
    """The other one."""
    data: Data
    """A folder or an annotation file; the format is recognised."""


def run(options: Compare) -> None:
    """Evaluate both models and print the difference."""
    from everymask.evaluate import compare

    (first, second), dataset = load_judged("compare", [options.first, options.second], options.data, options)
    with progress("evaluating") as move:
        found = compare(
            first, second, dataset, split=options.split, void=options.void, classes=class_names(options), progress=move
        )
    if options.json:
        show_json(found.to_json())
        return
    known = not math.isnan(found.low)
    interval = f"{found.low:+.3f} to {found.high:+.3f}" if known else "not defined"
    show(
        f"{found.name} on {counted(found.num_pictures, 'picture')}: {found.first:.3f} and {found.second:.3f}",
        f"difference {found.difference:+.3f}, 95 % interval {interval}",
        f"p = {found.p_value:.4f}: {found.verdict}",
    )
