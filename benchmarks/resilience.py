"""Trainings that are killed again and again, beside the same left alone: they must end with the same bits.

    python -m benchmarks.resilience --kills 300

Small trainings (a Mask R-CNN and a U-Net; no worker, one and two; float32 and bfloat16) are done once undisturbed. Then
each is begun again and ended by SIGKILL, with its workers: by turns at a random instant, and at a random one of the
calls that put what was written in its place or on the disk. The next process goes on with it and is killed too,
`--each` times in all; the last comes to the end. Weights, optimizer, average of the weights and the log of steps and
validations must then be those of the undisturbed training, and nothing half-written may lie in the folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file

from benchmarks.compare import Bar
from everymask.core.randomness import rng
from everymask.data.shapes import write_shapes
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import mask_rcnn_small
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.train.folder.layout import BEST, LOG, STATE
from everymask.train.folder.log_lines import read_log
from everymask.train.run import train

WANTED = 300
_NETWORKS: dict[str, ModelSpec] = {
    "mask-rcnn": mask_rcnn_small(
        encoder="mobilenetv3_small_100", fpn_channels=16, box_fcs=(16,), mask_convs=(16,), rpn_post_nms=(40, 40)
    ),
    "unet": UNet(encoder="mobilenetv3_small_100", decoder_channels=(32, 16, 16, 8, 8)),
}
_TASKS = {"mask-rcnn": "instance", "unet": "semantic"}
_OF_TIME = ("seconds", "images_per_second", "memory_mb")
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """A training: its network, its workers and its precision."""

    network: str
    workers: int
    precision: str

    def config(self, data: Path, out: Path) -> TrainConfig:
        return TrainConfig(
            data=str(data), out=str(out), model=_NETWORKS[self.network], task=_TASKS[self.network],  # type: ignore[arg-type]
            weights="none", epochs=6, batch=2, size=64, lr=1e-3, optimizer="adamw", ema=0.9, validate_every=2,
            save_every="0.2s", workers=self.workers, precision=self.precision, device="cpu",  # type: ignore[arg-type]
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
        write = int(draw.integers(1, 60)) if at_write else None
        after = _PATIENCE if at_write else float(draw.uniform(0.02, seconds))
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
    kinds = ("step", "validation")
    found += [f"log of {kind}s" for kind in kinds if _entries(alone, kind) != _entries(broken, kind)]
    left = [path.name for path in broken.rglob(".*") if path.name != ".lock"]
    return found + [f"left behind: {name}" for name in left]


def _entries(folder: Path, kind: str) -> list[dict[str, Any]]:
    entries = (entry for entry in read_log(folder / LOG) if entry["kind"] == kind)
    return [{key: value for key, value in entry.items() if key not in _OF_TIME} for entry in entries]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resilience", description=__doc__)
    parser.add_argument("--kills", type=int, default=WANTED)
    parser.add_argument("--each", type=int, default=10, help="how often a training is killed before it may end")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cases = [Case(*values) for values in product(_NETWORKS, (0, 1, 2), ("fp32", "bf16"))]
    kills = {"instant": 0, "write": 0}
    trainings, wrong = 0, []
    with tempfile.TemporaryDirectory(prefix="everymask-resilience-") as name:
        root = Path(name)
        write_shapes(root / "data", train=6, val=2, size=64)
        alone: dict[Case, tuple[Path, float]] = {}
        for number, case in enumerate(cycle(cases)):
            if sum(kills.values()) >= options.kills:
                break
            if case not in alone:
                out = root / f"alone-{number}"
                began = time.monotonic()
                config = case.config(root / "data", out)
                if ended(in_process(partial(learn, config))) != 0:
                    raise SystemExit(f"{case}: the undisturbed training failed")
                alone[case] = out, time.monotonic() - began
            out = root / f"broken-{number}"
            draw = rng(options.seed, number, "resilience")
            for how in disturbed(case.config(root / "data", out), alone[case][1], draw, options.each):
                kills[how] += 1
            trainings += 1
            found = differences(alone[case][0], out)
            wrong += [f"{case}: {what}" for what in found]
            print(f"{case}: {sum(kills.values())} kills, {', '.join(found) or 'equal'}", flush=True)
    bars = (
        Bar("kills", sum(kills.values()), options.kills, unit=""),
        Bar("differences and leftovers", len(wrong), 0, at_most=True, unit=""),
    )
    print(
        f"\n{trainings} trainings, killed {kills['instant']} times at a random instant and {kills['write']} at a write"
    )
    print("\n".join(wrong))
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
