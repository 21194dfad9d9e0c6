"""A training that is killed and goes on, beside one that is left alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.compare import Bar
from benchmarks.gpu.found import Found, Sizes
from everymask.data.shapes import write_shapes
from everymask.models.checkpoint import read_model
from everymask.train.folder.layout import BEST, STATE
from everymask.train.runs.row import RunRow, read_row

_WORDS = "--task semantic --model unet --encoder mobilenetv3_small_100 --weights none --size 64 --batch 2 --workers 0"
_PATIENCE = 120.0


def killed(device: torch.device, sizes: Sizes) -> Found:
    """SIGKILL as soon as a state is saved, then `--resume`: how far weights and scores are apart at the end."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_shapes(root / "data", train=8, val=4, size=64)
        words = [*_WORDS.split(), "--epochs", str(sizes.killed), "--device", str(device), "--precision", "fp32"]
        words += ["--validate-every", str(sizes.killed)]
        alone, broken = (Path(root) / name for name in ("alone", "broken"))
        finish(root, [*words, "--out", str(alone)])
        steps = kill(root, [*words, "--out", str(broken), "--save-every", "1s"], broken)
        finish(root, [*words, "--out", str(broken), "--resume"])
        rows = read_row(alone), read_row(broken)
        weights, others = (read_model(folder / BEST)[0] for folder in (alone, broken))
    gap = max(float((weights[key].float() - others[key].float()).abs().max()) for key in weights)
    scores = [row.score.value if row.score else float("nan") for row in rows]
    note = (
        f"Killed after {steps} of {rows[1].step} steps and gone on with: mIoU {scores[1]:.4f}, undisturbed "
        f"{scores[0]:.4f}; weights differ by up to {gap:.1e} (a GPU adds up in no fixed order; a CPU gives 0)."
    )
    whole = sum(ended_well(row, sizes) for row in rows)
    return Found(bars=(Bar("trainings that came to their end, of two", whole, 2, ""),), notes=(note,))


def ended_well(row: RunRow, sizes: Sizes) -> bool:
    return row.state == "finished" and row.epoch == sizes.killed


def finish(root: Path, words: list[str]) -> None:
    """Train to the end; `RuntimeError` has what was said where that fails."""
    done = subprocess.run(command(root, words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training ended with exit code {done.returncode}: {done.stderr[-2000:]}")


def kill(root: Path, words: list[str], out: Path) -> int:
    """Train until a state is saved, then SIGKILL; how many steps were saved."""
    running = subprocess.Popen(command(root, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + _PATIENCE
        while not any((out / STATE).glob("step-*/state.json")):
            if running.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no state was saved while training ran (exit code {running.poll()})")
            time.sleep(0.02)
    finally:
        running.kill()
        running.wait()
    return read_row(out).step


def command(root: Path, words: list[str]) -> list[str]:
    return [sys.executable, "-m", "everymask", "train", str(root / "data"), *words]
