"""`everymask export`: a trained model as a file that other programs run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from everymask.commands.terminal import show, show_json, speaking, table
from everymask.errors import ConfigError, counted, listed
from everymask.runtimes.bundle import GraphPrecision

if TYPE_CHECKING:
    from everymask.export.exporting import Exported


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Write a trained model as one file that is run without PyTorch: a bundle (.emz) for `everymask predict` and
    `evaluate`, or a bare graph.

    The file is run before it is called exported: what it says is compared with what the model says, on pictures that
    validated its training, and where too much of the metric is lost nothing is written.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")] = ""
    """A run folder, a .safetensors file, or a name of `everymask models`."""
    to: Literal["onnx", "openvino", "pt2"] = "onnx"
    """What will run it: ONNX Runtime (onnx), OpenVINO, or PyTorch without this package (pt2)."""
    out: str = ""
    """The file: a bundle such as model.emz, or model.onnx, model.xml (OpenVINO, with model.bin), model.pt2."""
    precision: GraphPrecision = "fp32"
    """What is calculated in: fp32, fp16, bf16 (openvino), or int8, which is calibrated on pictures of the training."""
    data: Path | None = None
    """Annotated pictures to check by; otherwise those of the run."""
    split: str | None = None
    """Which part of them; otherwise those that validated the training."""
    pictures: int = 200
    """Up to how many pictures are checked, and up to how many calibrate."""
    max_loss: float = 0.005
    """Refuse a file that loses more than this of the metric (mask AP, mIoU ...; 0.005 are half a point)."""
    max_detections: int | None = None
    """The most objects per picture, which an exported model cannot change any more; otherwise what it was trained
    for."""
    layout: Literal["file", "triton"] = "file"
    """triton: OUT is the folder of a model in the repository of Triton Inference Server, with the ONNX file in it."""
    overwrite: bool = False
    """Replace a file that is there."""
    list: bool = False
    """Show which networks go where, and why not, and do nothing else."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Export) -> None:
    """Export, or list the targets."""
    if options.list:
        _list(options)
        return
    if not options.model or not options.out:
        raise ConfigError("export needs a model and --out", hint="for example: everymask export runs/a --out model.emz")
    from everymask.core.threads import require_torch

    require_torch()
    from everymask.export.exporting import ExportConfig, export

    config = ExportConfig(
        source=options.model,
        out=Path(options.out),
        to=options.to,
        precision=options.precision,
        data=options.data,
        split=options.split,
        pictures=options.pictures,
        max_loss=options.max_loss,
        max_detections=options.max_detections,
        layout=options.layout,
        overwrite=options.overwrite,
    )
    with speaking("exporting") as say:
        exported = export(config, say)
    _answer(exported, options)


def _answer(exported: Exported, options: Export) -> None:
    check = exported.check
    if options.json:
        answer = {"out": str(exported.out), "bytes": exported.size, "check": check.to_json()}
        show_json(answer | {"left_in_float": list(exported.left)})
        return
    lines = [f"{exported.out}: {exported.size / 1e6:,.1f} MB, run by {check.runtime}"]
    found = check.apart
    lines.append(f"outputs differ by at most {found.difference:.1g} of their largest value")
    if check.compared is not None:
        compared = check.compared
        lines.append(
            f"{compared.name} on {check.pictures} pictures: {compared.first:.4f} before, {compared.second:.4f} after; "
            f"{compared.verdict}"
        )
    if exported.left:
        lines.append(f"{counted(len(exported.left), 'layer')} left in float: {listed(exported.left)}")
    show("\n".join(lines))


def _list(options: Export) -> None:
    from everymask.export.targets import ROWS

    if options.json:
        rows = [
            {
                "target": row.name,
                "endings": row.endings,
                "runtime": row.runtime,
                "precisions": row.precisions,
                "goes": row.goes,
            }
            for row in ROWS
        ]
        show_json({"targets": rows})
        return
    written = ((row.name, " ".join(row.endings), row.runtime, " ".join(row.precisions)) for row in ROWS if row.endings)
    show(table("Where networks go", ("--to", "files", "run by", "precisions"), written))
    show("\n".join(f"{row.name}: {row.goes}" for row in ROWS))
