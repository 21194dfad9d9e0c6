"""The optional packages: what each extra is for, and which of its packages are there in which version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import everymask


@dataclass(frozen=True, slots=True)
class Extra:
    """`pip install "everymask[name]"` brings the `packages`, `purpose` is what they are for."""

    name: str
    purpose: str
    packages: tuple[str, ...]


EXTRAS = (
    Extra(
        "train",
        "training, and prediction with networks",
        ("torch", "torchvision", "timm", "tensorboard", "filelock", "psutil", "scipy"),
    ),
    Extra(
        "classical",
        "methods without a network that OpenCV does not have",
        ("scikit-image", "scikit-learn", "filelock"),
    ),
    Extra("runtime", "prediction with exported models (.emz)", ("onnxruntime",)),
    Extra("openvino", "prediction with exported models, faster on Intel's processors", ("openvino",)),
    Extra("export", "writing exported models", ("onnx", "onnxscript")),
    Extra("serve", "prediction over HTTP", ("starlette", "uvicorn", "python-multipart")),
    Extra("prune", "networks with fewer channels", ("torch-pruning",)),
    Extra("h5", "weights of Keras", ("h5py",)),
    Extra("ray", "very many pictures on many machines", ("ray", "pyarrow", "fsspec")),
)
"""Those of pyproject.toml, without `all`, which is several of them, and without what develops everymask."""
BASE = ("numpy", "pillow", "tifffile", "opencv-python-headless", "safetensors", "tyro", "rich", "lazy_loader", "pyyaml")
"""What everymask always needs."""


@dataclass(frozen=True, slots=True)
class ExtraHere:
    """An extra on this machine: the versions of its packages, None for those that are missing."""

    name: str
    purpose: str
    packages: dict[str, str | None]

    @property
    def installed(self) -> bool:
        """Whether all of its packages are there."""
        return None not in self.packages.values()

    @property
    def command(self) -> str:
        """What installs it."""
        return f'pip install "everymask[{self.name}]"'


def extras_here() -> tuple[ExtraHere, ...]:
    """Every extra, installed or not; nothing is imported."""
    return tuple(
        ExtraHere(extra.name, extra.purpose, {name: version_of(name) for name in extra.packages}) for extra in EXTRAS
    )


def version_of(package: str) -> str | None:
    """The version that is installed; None where the package is missing. everymask's is that of the code that runs."""
    if package == "everymask":
        return everymask.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return _opencv() if package == "opencv-python-headless" else None


def _opencv() -> str | None:
    """OpenCV also comes by other names, and from other package managers."""
    try:
        import cv2
    except ImportError:
        return None
    return f"{cv2.__version__} (another package)"


def requirement_name(requirement: str) -> str:
    """`torch` of `torch>=2.4`, `ray` of `ray[data]>=2.40`."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
