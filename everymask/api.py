"""The short ways in: what a user wants by name, put together from the parts."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.classical.named import METHODS
from everymask.core.threads import require_torch
from everymask.errors import ConfigError, WeightsError, printable
from everymask.runtimes.bundle import is_bundle
from everymask.train.folder.layout import BEST, SPLITS

if TYPE_CHECKING:
    from everymask.backends.pytorch import Precision
    from everymask.classical.bases import Method
    from everymask.infer.predictor import Predictor
    from everymask.models.base import Network
    from everymask.models.card import Card
    from everymask.runtimes.loading import RuntimeChoice


def load(
    source: str | Path | Method,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    runtime: RuntimeChoice = "auto",
    threads: int | None = None,
) -> Predictor:
    """A trained model, ready to predict: from a run folder, a `.safetensors` file, or a name of `everymask models`,
    whose weights are fetched and kept when they are first asked for; or from a checkpoint of the authors of HRNet,
    PIDNet, SAM, MobileSAM, SAM 2 or YOLOX (also in ONNX), of transformers' SegFormer, SAM or SAM 2, or of Detectron2,
    rfdetr, mmdetection (RTMDet too), mmsegmentation or matterport's Mask R-CNN (docs/checkpoints.md), told by the names
    of its tensors; or from a bundle (`.emz`) that `everymask export` wrote, which needs no torch. Or a method without a
    network, by its name or as a value of `everymask.classical.specs`, which needs none either.

    `device` is "auto" (the first GPU, else the CPU), "cpu", "cuda:1" and so on. `precision` "exact" keeps to float32;
    "auto" is bfloat16 where the hardware calculates it, for scores within a fraction of a point at half the time. A
    bundle has a precision of its own; `runtime` calculates it, "auto" being the one in which it was checked, with so
    many `threads` (None: as many as there are cores; PyTorch has its own setting). A run folder is calculated by torch,
    and by another `runtime` where a bundle that was made of its weights lies in it as model.emz.
    `WeightsError` when there is no such model or its file is damaged, `ConfigError` when this machine lacks the device
    or the model cannot be run by that runtime,
    `MissingExtra` without torch, or without the bundle's runtime, or without scikit-image where a method needs it.

    >>> result = load("runs/a").predict("photo.png")
    """
    if isinstance(source, str | Path) and is_bundle(source):
        from everymask.runtimes.loading import load_bundle

        return load_bundle(source, runtime=runtime, device=device, threads=threads, exact=precision == "exact")
    method = _method(source)
    if method is not None:
        if runtime != "auto":
            raise ConfigError(
                f"runtime {printable(runtime)} runs networks, but {printable(source)} is a method without one"
            )
        return method
    assert isinstance(source, str | Path)  # no method
    if runtime not in ("auto", "torch"):
        from everymask.runtimes.loading import bundle_of_run, check_runtime, load_bundle

        check_runtime(runtime)
        file = bundle_of_run(_model_file(Path(source)), exact=precision == "exact")
        exported = load_bundle(file, runtime=runtime, device=device, threads=threads)
        return replace(exported, splits=_splits(Path(source)))
    require_torch()
    from everymask.backends.pytorch import build_predictor

    predictor = build_predictor(*load_network(source), device, precision=precision)
    return replace(predictor, splits=_splits(Path(source)))


def load_network(source: str | Path) -> tuple[Network, Card]:
    """The network of a trained model as it was trained, in evaluation mode on the CPU, and its card.

    `source` and what is raised are as in `load`, bundles apart: their graphs are no networks any more.
    """
    require_torch()
    from everymask.models.catalog import catalog, published_as
    from everymask.models.checkpoint import load_model
    from everymask.models.foreign.whole_models import load_foreign, read_foreign
    from everymask.models.pretrained import load_pretrained

    path = Path(source)
    if _method(path) is not None:
        raise ConfigError(
            f"{printable(source)} is a method without a network", hint="it predicts without PyTorch as it is"
        )
    rows = {row.name: row for row in catalog()}
    if not path.exists() and str(source) in rows:
        return load_pretrained(rows[str(source)])
    if not path.exists():
        beside = [str(folder.parent) for folder in path.parent.glob(f"*/{BEST}")]
        near = difflib.get_close_matches(str(path), [*beside, *rows, *METHODS], n=1)
        raise WeightsError(
            f"there is no run folder, model file or catalogue name {printable(source)}",
            hint=f"did you mean {printable(near[0])}?" if near else "everymask models lists the names",
        )
    published = published_as(path)
    if published:
        return load_pretrained(published, path)
    foreign = read_foreign(path)
    if foreign:
        return load_foreign(foreign, path)
    return load_model(_model_file(path))


def needs_torch(source: str) -> bool:
    """Whether a model is a network, and neither a bundle nor a method without one."""
    return not is_bundle(source) and _method(source) is None


def _method(source: str | Path | Method) -> Predictor | None:
    """The method of that name or value, or that a run folder or model file holds; None where it is another model."""
    from everymask.backends.methods import MethodBackend, build_method
    from everymask.classical.bases import MethodSpec
    from everymask.infer.predictor import Predictor
    from everymask.models.method_file import load_method

    if isinstance(source, MethodSpec):
        return build_method(source)
    path = Path(source)
    file = path / BEST if path.is_dir() else path
    if not file.is_file():
        return build_method(METHODS[str(source)]()) if str(source) in METHODS else None
    found = load_method(file)
    if found is None:
        return None
    spec, card, forest = found
    return Predictor(MethodBackend(spec, forest), card, _splits(path))


def _splits(folder: Path) -> Path | None:
    """The file that says which pictures the run of a folder learned from."""
    drawn = folder / SPLITS
    return drawn if drawn.is_file() else None


def _model_file(path: Path) -> Path:
    """The file itself, or the best weights of a run folder; `WeightsError` names a run above or below another path."""
    if path.is_file() and path.suffix == ".safetensors":
        return path
    if (path / BEST).is_file():
        return path / BEST
    above = [folder for folder in path.parents[:2] if (folder / BEST).is_file()]
    below = sorted(folder.parent for folder in path.glob(f"*/{BEST}"))
    near = [*above, *below[::-1]]
    raise WeightsError(
        f"{printable(path)} is not a run folder: there is no {BEST} in it"
        if path.is_dir()
        else f"{printable(path)} is not a model file, whose name ends in .safetensors",
        hint=f"did you mean {printable(near[0])}?"
        if near
        else f"nor is it of a program that is known; an encoder starts a training: --weights {printable(path)}"
        if path.is_file()
        else "name a folder that everymask train wrote",
    )
