"""What it costs that PyTorch's threads wait for each other turning in circles, on a quiet machine and on a busy one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.compare import Bar, Comparison, Disagreement, compare
from benchmarks.page import Section
from everymask.core.threads import ASLEEP, AWAKE

SETTING = """Two processes with the same network and two threads each, one of which ("everymask") has the variables
that `everymask.core.threads.choose_waiting` sets on such a machine, while the other has PyTorch as it comes. They are
asked in turn: for the logits of one picture, or for one training step. On the busy machine a third process calculates
without a pause."""

_WORKER = """
import sys, torch
from everymask.models.build import build
from everymask.models.specs.semantic import UNet
from everymask.models.inference import ready_to_predict
torch.set_num_threads(2)
torch.manual_seed(0)
training = {training}
side = {side}
module = build(UNet(encoder="resnet34"), 11)
images = torch.rand(1 if not training else 2, 3, side, side)
target = torch.zeros(len(images), side, side, dtype=torch.long)
if not training:
    module = ready_to_predict(module.eval(), None)
    images = images.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(module.parameters(), 0.0) if training else None
for line in sys.stdin:
    if training:
        loss = torch.nn.functional.cross_entropy(module(images).logits, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        answer = float(loss)
    else:
        with torch.inference_mode():
            answer = float(module(images).logits.sum())
    print(answer, flush=True)
"""


class Worker:
    """A process that calculates when it is asked to."""

    def __init__(self, environment: dict[str, str], *, training: bool, side: int) -> None:
        code = _WORKER.format(training=training, side=side)
        kept = {name: value for name, value in os.environ.items() if name not in ASLEEP}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=kept | environment,
        )

    def __call__(self) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def busy() -> Iterator[None]:
    """Within, another process wants a core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def alike(ours: float, theirs: float) -> str:
    """The answers of both."""
    if abs(ours - theirs) > 1e-3 * max(1.0, abs(theirs)):
        raise Disagreement(f"expected the same logits, but their sums are {ours} and {theirs}")
    return "sums of logits, or losses, within 0.1 %"


def run() -> Section:
    """PyTorch's threads asleep while they wait, beside PyTorch as it comes; quiet and busy"""
    times: list[Comparison] = []
    bars: list[Bar] = []
    for what, training, side in (("U-Net R34 512, predicted", False, 512), ("U-Net R34 256, a step", True, 256)):
        for crowd, name in ((False, "quiet"), (True, "busy")):
            with ExitStack() as stack:
                sides: list[Callable[[], float]] = []
                for environment in (ASLEEP if crowd else AWAKE, {}):
                    worker = Worker(environment, training=training, side=side)
                    stack.callback(worker.close)
                    sides.append(worker)
                    worker()
                if crowd:
                    stack.enter_context(busy())
                row = compare(f"{what}, {name} machine", *sides, peer="as it comes", same=alike, rounds=15)
            times.append(row)
            bars.append(Bar(row.what, row.ratio, 0.97, unit="×"))
    return Section(
        title="Waiting threads",
        setting=SETTING,
        packages=("torch",),
        threads="two",
        times=tuple(times),
        bars=tuple(bars),
    )
