"""An object followed through a video by SAM 2.1-t: J and F as DAVIS has them, time and memory.

    OMP_NUM_THREADS=1 python -m benchmarks.video_tracking FOLDER --side 512

FOLDER has `frames` and `masks`, PNGs with the objects' numbers. The objects are given by the first mask. Without
`--weights` the network has learned nothing, and what the numbers show is that all works, and what it costs.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import everymask as em
from everymask.backends.pytorch import build_predictor
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.pictures.read import read_label_map
from everymask.infer.predictor import Predictor
from everymask.infer.prompted.frames import open_frames
from everymask.metrics.video.metric import TrackMetric
from everymask.models.card import Card
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM2, prompted_labels, prompted_preprocess


def model(weights: str | None, side: int, seed: int) -> Predictor:
    """SAM 2.1-t with these weights, or with random ones, with which objects are always seen."""
    if weights is not None:
        return em.load(weights, device="cpu")
    torch.manual_seed(seed)
    module = PromptedNetwork(SAM2(side=side, memory="2.1"))
    with torch.no_grad():
        bias: Any = module.mask_decoder.pred_obj_score_head.layers[-1].bias
        bias.fill_(10)
    return build_predictor(module, Card(module.spec, prompted_labels(), prompted_preprocess(module.spec)), "cpu")


def truth_of(file: Path) -> InstanceSet:
    """The objects of a map of numbers."""
    ids = read_label_map(file)
    numbers = np.unique(ids[ids > 0]).astype(np.int64)
    masks = Masks.from_ids(ids, numbers)
    return InstanceSet(masks.boxes(), np.zeros(len(masks), np.int64), masks=masks, ids=numbers)


def main() -> None:
    """Follow the objects of the first mask, and say how well, how fast and in how much memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=1, help="the frames one behind the other so many times")
    asked = parser.parse_args()
    truths = [truth_of(file) for file in sorted((asked.folder / "masks").iterdir())] * asked.times
    pictures = [open_frames(asked.folder / "frames").sample(frame) for frame in range(len(truths) // asked.times)]
    frames = [replace(picture, id=f"{turn}-{picture.id}") for turn in range(asked.times) for picture in pictures]
    video = model(asked.weights, asked.side, asked.seed).video(frames)
    first = truths[0]
    assert first.masks is not None and first.ids is not None
    for row, number in enumerate(first.ids.tolist()):
        video.prompt(number, 0, mask=first.masks.to_dense(row))
    metric, still, process = TrackMetric(), TrackMetric(), psutil.Process()
    began, spent, held = time.process_time(), 0.0, []
    for tracked in video.propagate():
        spent += time.process_time() - began
        metric.update(tracked.objects, truths[tracked.frame], tracked.result.sample)
        still.update(first, truths[tracked.frame], tracked.result.sample)
        if tracked.frame % max(1, len(frames) // 10) == 0:
            held.append(f"frame {tracked.frame}: {process.memory_info().rss / 1e6:.0f}, {video.nbytes / 1e6:.2f}")
        began = time.process_time()
    print(f"{len(frames)} frames, {spent / len(frames):.2f} CPU seconds each")
    print("MB of the process, and of what is remembered:", *held, sep="\n  ")
    for name, found in (("followed", metric), ("the first mask in all frames", still)):
        print(name, {key: round(value, 4) for key, value in found.compute().numbers().items()})


if __name__ == "__main__":
    main()
