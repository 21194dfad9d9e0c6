"""Trainings that are killed again and again, beside the same left alone: they must end with the same bits.

    python -m benchmarks.resilience --kills 300

Small trainings of seven networks (no worker, one and two; float32 and bfloat16) are done once undisturbed. Then
each is begun again and ended by SIGKILL, with its workers: by turns at a random instant, and at a random one of the
calls that put what was written in its place or on the disk. The next process goes on with it and is killed too,
`--each` times in all; the last comes to the end. Weights, optimizer, average of the weights, progress and the log of
steps and validations must then be those of the undisturbed training, and nothing half-written may lie in the folder.
What came of it is written into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file

from benchmarks.page import machine, versions, with_section
from everymask.core.files import write_text
from everymask.core.randomness import rng
from everymask.core.segmentation import TaskName
from everymask.data.shapes import write_shapes
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.panoptic import panoptic_fpn_small
from everymask.models.specs.queries import Mask2Former
from everymask.models.specs.regions import cascade_mask_rcnn_small, mask_rcnn_small, point_rend_small
from everymask.models.specs.semantic import SegFormer, UNet
from everymask.settings.config import Precision, TrainConfig
from everymask.train.folder.layout import BEST, LOG, STATE
from everymask.train.folder.log_lines import read_log
from everymask.train.run import train

WANTED = 300
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
_ENCODER = "mobilenetv3_small_100"
_REGIONS: dict[str, Any] = {
    "encoder": _ENCODER,
    "fpn_channels": 16,
    "box_fcs": (16,),
    "mask_convs": (16,),
    "rpn_post_nms": (40, 40),
}
_QUERIES: dict[str, Any] = {
    "encoder": _ENCODER,
    "width": 32,
    "heads": 4,
    "pixel_layers": 1,
    "pixel_hidden": 32,
    "layers": 2,
    "hidden": 32,
    "queries": 10,
    "points": 256,
}
_POINTS: dict[str, Any] = {"coarse_fcs": (16,), "point_fcs": (16,), "train_points": 49}


@dataclass(frozen=True, slots=True)
class Kind:
    """A network, what it learns to give, and settings that only it has."""

    model: ModelSpec
    task: TaskName
    options: Mapping[str, Any] = field(default_factory=dict)


KINDS = {
    "mask-rcnn": Kind(mask_rcnn_small(**_REGIONS), "instance"),
    "unet": Kind(UNet(encoder=_ENCODER, decoder_channels=(32, 16, 16, 8, 8)), "semantic"),
    "mask2former": Kind(Mask2Former(**_QUERIES), "instance"),
    "cascade-mask-rcnn": Kind(cascade_mask_rcnn_small(**_REGIONS), "instance"),
    "point-rend": Kind(point_rend_small(**(_REGIONS | _POINTS)), "instance"),
    "panoptic-fpn": Kind(
        panoptic_fpn_small(**_REGIONS, semantic_channels=16), "panoptic", {"things": ("square", "circle")}
    ),
    "segformer with LoRA": Kind(SegFormer(decoder_channels=16), "semantic", {"layers": "lora"}),
}
_OF_TIME = ("seconds", "images_per_second", "memory_mb")
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """A training: its network, its workers and its precision."""

    network: str
    workers: int
    precision: Precision

    def config(self, data: Path, out: Path) -> TrainConfig:
        kind = KINDS[self.network]
        return TrainConfig(
            data=str(data), out=str(out), model=kind.model, task=kind.task, weights="none", epochs=6, batch=2, size=64,
            lr=1e-3, optimizer="adamw", ema=0.9, validate_every=2, save_every="0.2s", workers=self.workers,
            precision=self.precision, device="cpu", **kind.options,
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.network}, {self.workers} workers, {self.precision}"


def in_process(work: Callable[[], object]) -> int:
    """Do it in a copy of this process, which leads a group of its own; the copy's number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int, after: float = _PATIENCE) -> int | None:
    """The exit code of a process; None where it was killed, by itself or because the time was over."""
    until = time.monotonic() + after
    while time.monotonic() < until:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            _end_group(child)
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    _end_group(child)
    os.waitpid(child, 0)
    return None


def _end_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def kill_at_write(number: int) -> None:
    """Have this process end itself at the `number`-th call from now that moves a written file or confirms it."""
    calls = [0]

    def watched(name: str) -> Callable[..., Any]:
        plain = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*arguments, **options)

        return call

    for name in ("fsync", "replace", "rename", "unlink"):
        setattr(os, name, watched(name))


def learn(config: TrainConfig, write: int | None = None) -> None:
    """Begin, or go on with what is there."""
    if write is not None:
        kill_at_write(write)
    resume = (Path(config.out) / STATE).is_dir() and any((Path(config.out) / STATE).glob("step-*"))
    train(replace(config, resume=resume, overwrite=not resume), console=Console(quiet=True))


def disturbed(config: TrainConfig, seconds: float, draw: np.random.Generator, most: int) -> Iterator[str]:
    """Train to the end; gives of each kill how it was done."""
    for at_write in islice(cycle([False, True]), most):
        write = int(draw.integers(1, 40)) if at_write else None
        after = _PATIENCE if at_write else float(draw.uniform(0.02, 0.6 * seconds))
        code = ended(in_process(partial(learn, config, write)), after)
        if code is not None:
            if code:
                raise SystemExit(f"training ended with exit code {code}")
            break
        yield "write" if at_write else "instant"
    code = ended(in_process(partial(learn, config)))
    if code != 0:
        raise SystemExit(f"the last training ended with {code}")


def differences(alone: Path, broken: Path) -> list[str]:
    """What is not as in the undisturbed run."""
    found = []
    states = [sorted((folder / STATE).glob("step-*"))[-1] for folder in (alone, broken)]
    for what, files in {
        "state": [state / "tensors.safetensors" for state in states],
        "best weights": [folder / BEST for folder in (alone, broken)],
    }.items():
        first, second = map(load_file, files)
        if first.keys() != second.keys() or any(first[key].tobytes() != second[key].tobytes() for key in first):
            found.append(what)
    if _progress(states[0]) != _progress(states[1]):
        found.append("progress")
    kinds = ("step", "validation")
    found += [f"log of {kind}s" for kind in kinds if _entries(alone, kind) != _entries(broken, kind)]
    left = [path.name for path in broken.rglob(".*") if path.name != ".lock"]
    return found + [f"left behind: {name}" for name in left]


def _entries(folder: Path, kind: str) -> list[dict[str, Any]]:
    entries = (entry for entry in read_log(folder / LOG) if entry["kind"] == kind)
    return [{key: value for key, value in entry.items() if key not in _OF_TIME} for entry in entries]


def _progress(state: Path) -> dict[str, Any]:
    progress: dict[str, Any] = json.loads((state / "state.json").read_text("utf-8"))["progress"]
    return {key: value for key, value in progress.items() if key not in _OF_TIME}


@dataclass(slots=True)
class Tally:
    """What became of the trainings of one network."""

    trainings: int = 0
    instant: int = 0
    write: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Of both kinds."""
        return self.instant + self.write


def text_of(tallies: Mapping[str, Tally], command: str) -> str:
    """The section of docs/reliability.md."""
    rows = [
        (name, str(tally.trainings), str(tally.instant), str(tally.write), str(len(tally.wrong)))
        for name, tally in tallies.items()
    ]
    columns = [sum(int(row[place]) for row in rows) for place in range(1, 5)]
    head = ("network", "trainings", "killed at an instant", "killed at a write", "differences and leftovers")
    table = [head, ("---",) * len(head), *rows, ("**all**", *(f"**{count}**" for count in columns))]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    load = os.getloadavg()[0]
    return (
        "## Trainings that are killed\n\n"
        f"```\n{command}\n```\n\n"
        f"{lines}\n\n"
        "Trainings have by turns 0, 2 and 1 workers and calculate in bfloat16 or float32. Each is killed up to ten "
        "times in a row,\nwith its workers, and goes on with `--resume`; compared with the same training left alone "
        "are weights, optimizer,\naverage of the weights, progress and log, bit by bit, and what lies in the "
        "folder.\n\n"
        f"Machine: {machine()}; load {load:.1f} at the end. Versions: {versions(('torch',))}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resilience", description=__doc__)
    parser.add_argument("--kills", type=int, default=WANTED)
    parser.add_argument("--each", type=int, default=10, help="how often a training is killed before it may end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="no training is begun after so many")
    parser.add_argument("--networks", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--no-page", action="store_true", help="print the result, but leave docs/reliability.md alone")
    options = parser.parse_args()
    tallies = {name: Tally() for name in options.networks}
    until = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="everymask-resilience-") as name:
        _disturb(Path(name), tallies, options, until)
    kills, wrong = (
        sum(tally.kills for tally in tallies.values()),
        [row for tally in tallies.values() for row in tally.wrong],
    )
    text = text_of(tallies, shlex.join(["python", "-m", "benchmarks.resilience", *sys.argv[1:]]))
    print(text, *wrong, sep="\n")
    if not options.no_page:
        write_text(PAGE, with_section(PAGE.read_text("utf-8"), "resilience", text))
    return 0 if kills >= options.kills and not wrong else 1


def _disturb(root: Path, tallies: Mapping[str, Tally], options: argparse.Namespace, until: float) -> None:
    """Kill trainings by turns until there are as many kills as are asked for, or the time is over."""
    precisions: tuple[Precision, ...] = ("bf16", "fp32")
    cases = [Case(name, *how) for how in product((0, 2, 1), precisions) for name in tallies]
    write_shapes(root / "data", train=6, val=2, size=64)
    alone: dict[Case, tuple[Path, float]] = {}
    for number, case in enumerate(cycle(cases)):
        if sum(tally.kills for tally in tallies.values()) >= options.kills or time.monotonic() > until:
            return
        if case not in alone:
            out = root / f"alone-{number}"
            began = time.monotonic()
            if ended(in_process(partial(learn, case.config(root / "data", out)))) != 0:
                raise SystemExit(f"{case}: the undisturbed training failed")
            alone[case] = out, time.monotonic() - began
        out, tally = root / f"broken-{number}", tallies[case.network]
        draw = rng(options.seed, number, "resilience")
        for how in disturbed(case.config(root / "data", out), alone[case][1], draw, options.each):
            setattr(tally, how, getattr(tally, how) + 1)
        tally.trainings += 1
        found = differences(alone[case][0], out)
        tally.wrong += [f"{case}: {what}" for what in found]
        shutil.rmtree(out)
        print(
            f"{case}: {sum(each.kills for each in tallies.values())} kills, {', '.join(found) or 'equal'}", flush=True
        )


if __name__ == "__main__":
    sys.exit(main())
