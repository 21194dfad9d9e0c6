"""How well prompted-small answers after so many seconds of CPU time, whatever else the machine does meanwhile.

    OMP_NUM_THREADS=1 python -m benchmarks.prompted_learning --seconds 280

It learns from 4,000 drawn shapes of 128 x 128 pixels, as the recipe has it but unvaried, and is asked for all objects
of 100 others. The learning rate follows the CPU time, as that of `everymask train --time-limit` follows the clock.
"""

from __future__ import annotations

import argparse
import math
import os
from functools import cache

import numpy as np
import torch

from everymask.backends.pytorch import build_predictor
from everymask.core.labels import labels_of
from everymask.data.feed.pipelines import Prepared, prepare
from everymask.data.shapes import LABELS, ShapesConfig, draw_shapes
from everymask.infer.prompted.clicking import answer_truth
from everymask.metrics.prompted.metric import PromptMetric
from everymask.models.base import Network, collate
from everymask.models.card import Card
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import PromptedSmall, prompted_preprocess
from everymask.train.ema import Ema

_SIDE, _HELD_OUT, _BATCH = 128, 100, 4
_RATE, _WARM_UP, _DECAY, _CLIP = 5e-3 * math.sqrt(_BATCH / 8), 50, 0.05, 5.0
_EMA = 0.99
_SHAPES = ShapesConfig(_HELD_OUT + 4000, (_SIDE, _SIDE))
_SPEC = PromptedSmall(side=_SIDE)
_FED = prompted_preprocess(_SPEC)


@cache
def picture(index: int) -> Prepared:
    """A drawn picture as the network is fed."""
    return prepare(draw_shapes(_SHAPES, index), _FED)


def cpu_seconds() -> float:
    """Of this process, with all its threads."""
    times = os.times()
    return times.user + times.system


def learned(seconds: float, seed: int) -> tuple[Network, int]:
    """The averaged weights after so many seconds of CPU time in steps, and how many steps these were."""
    torch.manual_seed(seed)
    module = PromptedNetwork(_SPEC).to(memory_format=torch.channels_last).train()
    parameters = list(module.parameters())
    decays = [
        {"params": [p for p in parameters if (p.ndim > 1) == wide], "weight_decay": _DECAY * wide}
        for wide in (True, False)
    ]
    optimizer, ema = torch.optim.AdamW(decays, _RATE, fused=True), Ema(module, _EMA)
    draw, step, spent = np.random.default_rng(seed), 0, 0.0
    while spent < seconds:
        chosen = draw.integers(_HELD_OUT, _SHAPES.pictures, _BATCH).tolist()
        batch = collate([picture(index) for index in chosen], _SIDE).to(torch.device("cpu"), channels_last=True)
        began = cpu_seconds()
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * spent / seconds))
        losses = module.loss(batch, torch.Generator().manual_seed(step))
        torch.autograd.backward(torch.stack([*losses.values()]).sum())
        torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(step)
        step, spent = step + 1, spent + cpu_seconds() - began
    return ema.module, step  # type: ignore[return-value]


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=280)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    module, steps = learned(asked.seconds, asked.seed)
    predictor = build_predictor(module, Card(_SPEC, labels_of(["object"]), _FED), "cpu", precision="exact")
    metric = PromptMetric(LABELS)
    for index in range(_HELD_OUT):
        sample = draw_shapes(_SHAPES, index)
        metric.update(answer_truth(predictor.session(sample), LABELS).instances, sample.truth, sample)  # type: ignore[arg-type]
    scores = metric.compute()
    print(f"{steps} steps of {_BATCH} pictures, {asked.seconds:.0f} s of CPU time, load {os.getloadavg()[0]:.1f}")
    print("  ".join(f"{name} {value:.3f}" for name, value in scores.numbers().items()))
    print(f"never at 0.90: {scores.failures(0.90)} of {len(scores.click_ious)}")


if __name__ == "__main__":
    main()
