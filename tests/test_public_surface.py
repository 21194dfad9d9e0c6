"""The names that users import: changed on purpose or not at all."""

from __future__ import annotations

import importlib
import subprocess
import sys

import everymask

PUBLIC = {
    "Dataset", "DeepLabV3Plus", "EverymaskError", "FasterRCNN", "InstanceSet", "Labels", "MaskRCNN", "Masks",
    "PanopticMap", "Result", "Sample", "SegFormer", "SemanticMap", "TrainConfig", "UNet", "__version__", "compare",
    "evaluate", "faster_rcnn_v2", "load", "mask_rcnn_small", "mask_rcnn_v2", "read_coco", "read_dataset",
    "read_instance_pngs", "read_labelme", "read_mask_files", "read_voc", "read_yolo", "train",
}  # fmt: skip


def imported_by(code: str) -> set[str]:
    """Names of the heavy packages that a fresh Python has imported after `code`."""
    heavy = ("numpy", "torch", "torchvision", "timm", "scipy", "cv2", "PIL", "rich", "tyro")
    code += f"\nimport sys; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_public_names_are_these_and_at_most_thirty() -> None:
    assert set(everymask.__all__) == PUBLIC
    assert len(PUBLIC) <= 30


def test_every_public_name_exists_and_is_described() -> None:
    for name in PUBLIC - {"__version__"}:
        text = getattr(everymask, name).__doc__
        # A dataclass without a docstring gets its signature for one.
        assert text and not text.startswith(f"{name}("), name


def test_importing_everymask_imports_nothing_heavy() -> None:
    assert imported_by("import everymask") == set()


def test_functions_keep_their_names_after_the_modules_of_the_same_name_are_imported() -> None:
    """`everymask/train/` and `everymask/evaluate.py` must not hide `everymask.train` and `everymask.evaluate`."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "everymask"}
    for name in before:
        del sys.modules[name]
    try:
        fresh = importlib.import_module("everymask")
        assert fresh is not everymask
        for name in ("settings.config", "train.run", "evaluate"):
            importlib.import_module(f"everymask.{name}")
        assert callable(fresh.train) and callable(fresh.evaluate)
        for name in ("metrics.comparison", "commands.compare"):
            importlib.import_module(f"everymask.{name}")
        assert fresh.compare.__module__ == "everymask.evaluate"
    finally:
        # Also what nobody had imported before: it is made of other classes.
        for name in [name for name in sys.modules if name.partition(".")[0] == "everymask"]:
            del sys.modules[name]
        sys.modules.update(before)
