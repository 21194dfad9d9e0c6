"""Training in two processes of one thread each, beside one process of two threads."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.compare import Bar, Comparison, Disagreement
from benchmarks.page import Section
from everymask.data.shapes import write_shapes
from everymask.train.folder.log_lines import read_log
from everymask.train.folder.logs import EVERY

PICTURES, SIZE, BATCH, ROUNDS = 88, 192, 8, 3
SETTING = f"""`everymask train` on drawn pictures of {SIZE} × {SIZE} pixels in batches of {BATCH}: once in one process
with two threads (the peer), once by `torchrun` in two processes with a thread each, which exchange gradients over gloo.
The sides take turns, {ROUNDS} times each. Times are seconds per step, from the log, of ten steps at a time, without
the first ten."""
NETWORKS = {
    "U-Net, ResNet-18": ("--task", "semantic", "--model", "unet", "--encoder", "resnet18"),
    "Mask R-CNN, small": ("--model", "mask-rcnn-small",),
}  # fmt: skip


def run() -> Section:
    """Training in two processes of one thread each, beside one process of two threads."""
    times, bars = [], []
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        write_shapes(data, train=PICTURES, val=1, size=SIZE)
        for what, options in NETWORKS.items():
            found: dict[int, list[float]] = {1: [], 2: []}
            losses: dict[int, float] = {}
            for _ in range(ROUNDS):
                for count, times_of in found.items():
                    took, losses[count] = _trained(count, data, Path(name) / "run", options)
                    times_of.extend(took)
            row = Comparison(what, "one process", tuple(found[2]), tuple(found[1]), _alike(losses[2], losses[1]))
            times.append(row)
            bars.append(Bar(f"{what}: two processes", row.ratio, 0.9))
    return Section(
        title="Two processes",
        setting=SETTING,
        packages=("torch",),
        threads="two in all",
        times=tuple(times),
        bars=tuple(bars),
    )


def _trained(count: int, data: Path, out: Path, options: tuple[str, ...]) -> tuple[list[float], float]:
    """Seconds per step of every ten steps but the first, and the loss of the last ones."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"] if count > 1 else []
    fixed = [
        "--batch",
        BATCH,
        "--size",
        SIZE,
        "--epochs",
        "4",
        "--workers",
        "0",
        "--weights",
        "none",
        "--device",
        "cpu",
    ]
    words = [*options, *fixed, "--validate-every", "4", "--precision", "fp32", "--overwrite", "--out", out]
    subprocess.run(
        [sys.executable, "-m", *launcher, "everymask", "train", str(data), *map(str, words)],
        capture_output=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1" if count > 1 else "2"},
    )
    steps = [entry for entry in read_log(out / "log.jsonl") if entry["kind"] == "step" and entry["step"] % EVERY == 0]
    return [BATCH / entry["images_per_second"] for entry in steps[1:]], steps[-1]["loss"]


def _alike(ours: float, theirs: float) -> str:
    """Both learn; batch norms see half the pictures, and detectors draw others, so that losses are not equal."""
    if not 0.5 * theirs < ours < 2 * theirs:
        raise Disagreement(f"expected losses near each other, but they are {ours:.3f} and {theirs:.3f}")
    return f"loss {ours:.3f} and {theirs:.3f}"
