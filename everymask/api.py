"""The short ways in: what a user wants by name, put together from the parts."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.errors import WeightsError, printable, require
from everymask.train.folder import BEST

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor


def load(source: str | Path, *, device: str = "auto") -> Predictor:
    """A trained model, ready to predict: from a run folder, a `.safetensors` file, or a name of `everymask models`,
    whose weights are fetched and kept when they are first asked for.

    `device` is "auto" (the first GPU, else the CPU), "cpu", "cuda:1" and so on. `WeightsError` when there is no such
    model or its file is damaged, `ConfigError` when this machine lacks the device, `MissingExtra` without torch.

    >>> result = load("runs/a").predict("photo.png")
    """
    require("torch", "train")
    from everymask.infer.predictor import build_predictor
    from everymask.models.catalog import catalog, published_as
    from everymask.models.checkpoint import load_model
    from everymask.models.pretrained import load_pretrained

    path = Path(source)
    rows = {row.name: row for row in catalog()}
    if not path.exists() and str(source) in rows:
        return build_predictor(*load_pretrained(rows[str(source)]), device)
    if not path.exists():
        near = difflib.get_close_matches(str(source), rows, n=1)
        raise WeightsError(
            f"there is no run folder, model file or catalogue name {printable(source)}",
            hint=f"did you mean {near[0]}?" if near else "everymask models lists the names",
        )
    published = published_as(path)
    if published:
        return build_predictor(*load_pretrained(published, path), device)
    return build_predictor(*load_model(_model_file(path)), device)


def _model_file(path: Path) -> Path:
    """The file itself, or the best weights of a run folder; `WeightsError` names the runs below another folder."""
    if not path.is_dir() or (path / BEST).exists():
        return path / BEST if path.is_dir() else path
    runs = sorted(folder.parent for folder in path.glob(f"*/{BEST}"))
    raise WeightsError(
        f"{printable(path)} is not a run folder: there is no {BEST} in it",
        hint=f"did you mean {printable(runs[-1])}?" if runs else "name a folder that everymask train wrote",
    )
