"""YOLOX by its authors, for the tests that compare with it; they are skipped where the package is not installed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from everymask.models.onestage.csp_darknet import SIZES
from everymask.models.specs.onestage import YOLOX

REASON = "yolox is not installed: pip install --no-deps --no-build-isolation yolox==0.3.0 loguru tabulate thop"


def authors_yolox(spec: YOLOX, classes: int) -> Any:
    """Their network of the same size, every number of it drawn by a seed, in evaluation mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = pytest.importorskip("yolox.models", reason=REASON)
    size = SIZES[spec.encoder]  # type: ignore[index]
    pyramid = models.YOLOPAFPN(size.depth, size.width, depthwise=size.separable)
    network = models.YOLOX(pyramid, models.YOLOXHead(classes, size.width, depthwise=size.separable))
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eps, part.momentum = 1e-3, 0.03
    network.head.initialize_biases(1e-2)
    return seeded(network)


def seeded(network: Any, seed: int = 0) -> Any:
    """The network with numbers that depend on `seed` alone, norms that do something, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        drawn = torch.rand(tensor.shape, generator=generator)
        if name.endswith("running_var") or (".bn." in name and name.endswith("weight")):
            tensor.copy_(0.5 + drawn)
        elif tensor.ndim > 1:
            # The sides of boxes are exponentials in some.
            gain = 0.05 if "rtm_reg" in name else 10.0 if "cls_preds" in name or "obj_preds" in name else 1.0
            tensor.copy_(gain * (2 * drawn - 1) * (6 / tensor[0].numel()) ** 0.5)
        elif "preds" not in name:
            tensor.copy_(0.2 * drawn - 0.1)
    return network.eval()
