"""Run folders as training writes them, without training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from everymask.core.files import write_json
from everymask.core.json.sealed import sealed
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.train.folder.ended import Ended, HowEnded, Score, write_ended

PER_EPOCH = 5


def write_run(
    folder: Path,
    *,
    how: HowEnded | None = "finished",
    score: float | None = 0.5,
    steps: int = 10,
    digest: str = "0123456789abcdef",
    error: str = "",
    **settings: object,
) -> Path:
    """A run that was asked for with these settings, and how it ended (None: it was killed)."""
    values = {"data": "cells", "model": UNet(encoder="plain"), "epochs": 2, "batch": 2, "lr": 0.01} | settings
    asked = TrainConfig(**values, out=str(folder))  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    decided = replace(asked, size=asked.size or 64, optimizer=asked.optimizer or "adamw")
    write_json(folder / "config.json", sealed(decided.to_json()))
    write_json(folder / "origin.json", sealed({"settings": asked.to_json(), "data": digest}))
    (folder / "best.safetensors").write_bytes(bytes(2_000_000))
    place = {"step": steps, "epoch": steps / PER_EPOCH, "seconds": 3.0 * steps}
    step = {"kind": "step", **place, "loss": 1.0, "lr": 0.01, "images_per_second": 9.0, "memory_mb": 100}
    lines: list[dict[str, object]] = [{"kind": "note", "text": "a note"}, step]
    if score is not None:
        lines += [{"kind": "validation", **place, "mIoU": score - 0.1, "pixel accuracy": 0.9}]
        lines += [{"kind": "validation", **place, "mIoU": score, "pixel accuracy": 0.8}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if how is not None:
        found = Score("mIoU", score, score - 0.05, score + 0.05) if score is not None else None
        write_ended(folder, Ended(how, steps, 3.0 * steps, found, error))
    return folder
