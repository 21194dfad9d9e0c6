"""`everymask train`: a model from annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, assert_never, get_args

import tyro

from everymask.commands import options as shared
from everymask.commands.terminal import quoted, show
from everymask.errors import require
from everymask.models.specs import (
    FasterRCNN,
    MaskRCNN,
    ModelSpec,
    Norm,
    faster_rcnn_v2,
    mask_rcnn_small,
    mask_rcnn_v2,
)
from everymask.train.config import TrainConfig

if TYPE_CHECKING:
    from everymask.train.run import Run

Architecture: TypeAlias = Literal["mask-rcnn", "mask-rcnn-v2", "mask-rcnn-small", "faster-rcnn", "faster-rcnn-v2"]
ARCHITECTURES: tuple[str, ...] = get_args(Architecture)


def network(model: Architecture = "mask-rcnn", encoder: str | None = None, norm: Norm = "batch") -> ModelSpec:
    """The spec that the options name.

    Args:
        model: The architecture.
        encoder: The network that sees, as `everymask models` lists them; resnet50, or resnet18 in a small model.
        norm: Normalisation: of the batch, frozen (for fine-tuning with few pictures per batch), or in groups.
    """
    options: dict[str, Any] = {"norm": norm} | ({} if encoder is None else {"encoder": encoder})
    match model:
        case "mask-rcnn":
            return MaskRCNN(**options)
        case "mask-rcnn-v2":
            return mask_rcnn_v2(**options)
        case "mask-rcnn-small":
            return mask_rcnn_small(**options)
        case "faster-rcnn":
            return FasterRCNN(**options)
        case "faster-rcnn-v2":
            return faster_rcnn_v2(**options)
        case _:
            assert_never(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(TrainConfig):
    """Train a model on annotated pictures.

    What is not given is chosen from the data. Ctrl-C finishes the step, saves and reports.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """A folder or an annotation file; the format is recognised."""
    format: shared.Format | None = None
    """The format, where it is not to be recognised."""
    model: Annotated[tyro.conf.OmitArgPrefixes[ModelSpec], tyro.conf.arg(constructor=network)] = field(
        default_factory=MaskRCNN
    )
    """The network. Its classes come from the data."""


def run(options: Train) -> None:
    """Train, and say how good the model is and what to do next."""
    require("torch", "train")
    from everymask.train.run import train

    config = TrainConfig(**{column.name: getattr(options, column.name) for column in fields(TrainConfig)})
    ended = train(config)
    say_result(ended)
    if ended.reason == "interrupted":
        show(f"go on with the same command and --resume --out {quoted(ended.folder)}")
    if ended.signal:
        # What the shell expects of a program that a signal ended, although everything was saved.
        raise SystemExit(128 + ended.signal)
    show(f"\nnext: everymask predict {quoted(ended.folder)} PICTURES --out masks")


def say_result(ended: Run) -> None:
    """How a training ended, how good its best weights are, and where it lies."""
    show(f"training ended after {ended.steps} steps and {ended.seconds / 60:.1f} minutes: {ended.reason}")
    if ended.report is not None:
        scores = ended.report.scores
        kind, numbers = ("mask", scores.mask) if scores.mask else ("box", scores.box)
        show(
            f"{kind} AP50 {numbers.AP50:.3f}, AP {numbers.AP:.3f} on {ended.report.pictures} held-out pictures, "
            f"up to {scores.max_detections} objects each"
        )
    show(f"report: {ended.folder / 'report.html'}")
