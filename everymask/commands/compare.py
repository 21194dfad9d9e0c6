"""`everymask compare`: is one model better than another, or was it only luckier with the pictures?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from everymask.commands.options import Data, Reading, check_order
from everymask.commands.terminal import progress, show, show_json
from everymask.errors import counted, require
from everymask.metrics.overlap import Void


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare(Reading):
    """Test whether two models that give label maps differ in mIoU, on pictures that neither was trained on.

    A paired bootstrap: pictures are drawn 10,000 times from those of the data set, the same ones for both models. It
    says whether the difference would hold on other pictures of the same kind, not whether it would after training anew.
    """

    first: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FIRST")]
    """A run folder, a .safetensors file, or a name of `everymask models`."""
    second: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SECOND")]
    """The other one."""
    data: Data
    """A folder or an annotation file; the format is recognised."""
    split: str | None = None
    """Only this part of the data set: val, test, train ..."""
    void: Void = "ignored"
    """What a label map says where there is no truth: ignored (as by Cityscapes), or wrong."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    precision: Literal["auto", "exact"] = "auto"
    """exact keeps to float32; auto is bfloat16 where the hardware calculates it: half the time, nearly the same."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Compare) -> None:
    """Evaluate both models and print the difference."""
    require("torch", "train")
    from everymask.api import load
    from everymask.commands.sources import read_annotated
    from everymask.evaluate import compare

    for model in (options.first, options.second):
        check_order("compare", model, [str(options.data)])
    dataset = read_annotated(options.data, options, decode=options.on_defect == "skip")
    first, second = (
        load(model, device=options.device, precision=options.precision) for model in (options.first, options.second)
    )
    with progress("evaluating") as move:
        found = compare(first, second, dataset, split=options.split, void=options.void, progress=move)
    if options.json:
        show_json(found.to_json())
        return
    verdict = "the difference is real" if found.p_value < 0.05 else "the difference may be chance"
    show(
        f"mIoU on {counted(found.num_pictures, 'picture')}: {found.first:.3f} and {found.second:.3f}",
        f"difference {found.difference:+.3f}, 95 % interval {found.low:+.3f} to {found.high:+.3f}",
        f"p = {found.p_value:.4f}: {verdict}",
    )
