"""What each of several processes runs in the tests of ranks: `ranks_program KIND OUT SETTINGS`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor, nn

from everymask import cli
from everymask.core.processes.launched import launched
from everymask.models.base import Batch
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.train.machine.group import joined
from everymask.train.run import train
from tests.train.test_loop import level
from tests.train.tiny_training import Tiny, settings, train_tiny

WIDTHS = (32, 16, 16, 8, 8)
NETWORKS = {
    "unet": UNet(encoder="resnet18", norm="group", decoder_norm="group", decoder_channels=WIDTHS),
    "unet-batch-norm": UNet(encoder="resnet18", decoder_channels=WIDTHS),
    # So many samples that none is drawn: draws differ from one process to two.
    "mask-rcnn": MaskRCNN(
        encoder="mobilenetv3_small_100",
        norm="frozen",
        fpn_channels=16,
        box_fcs=(16,),
        mask_convs=(16,),
        rpn_post_nms=(40, 40),
        rpn_samples=8000,
        box_samples=2000,
    ),
}


class Plain(Tiny):
    """Without what depends on the division: statistics and sampling. In process `who` something happens in a pass."""

    def __init__(self, happens: str, who: int, when: int) -> None:
        super().__init__()
        self.backbone.body.bn1 = nn.Identity()
        self.happens, self.when, self.calls = happens if is_number(who) else "", when, 0

    def loss(self, batch: Batch, generator: object = None) -> dict[str, Tensor]:
        self.calls += 1
        if self.happens and self.calls == self.when:
            if self.happens == "BUG":
                raise ZeroDivisionError("a bug")
            os.kill(os.getpid(), getattr(signal, self.happens))
        found = self(batch.images)[:, 0]
        return {"loss_mean": (found - batch.images.mean(dim=(1, 2, 3))).square().mean()}


def is_number(who: int) -> bool:
    """Whether this is process `who` of those that were started first."""
    launch = launched()
    return launch is not None and (launch.index, launch.restarts) == (who, 0)


def tiny(place: Path, happens: str = "", who: int = 1, when: int = 0, bad: int | None = None, **changes: Any) -> None:
    """Train the tiny network; the first process prints how it ended."""
    module = Plain(happens, who, when)
    with joined("cpu") as rank:
        config = settings(place, **changes)
        ended = train_tiny(config, count=16, bad=bad, module=module, rank=rank, validate=level)
        if rank.leads:
            print(ended.reason, ended.signal, ended.progress.step, flush=True)


def real(network: str, kill_after: int | None = None, **changes: Any) -> None:
    """Train a network on pictures; with `kill_after` process 1 is killed in that pass, unless it was restarted."""
    if kill_after is not None and is_number(1):
        plain, calls = SemanticModel.loss, []

        def loss(self: SemanticModel, *arguments: Any) -> dict[str, Tensor]:
            calls.append(1)
            if len(calls) == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(self, *arguments)

        SemanticModel.loss = loss  # type: ignore[method-assign]
    train(TrainConfig(model=NETWORKS[network], **changes), console=Console(quiet=True))


def main() -> int:
    """Do what the arguments say, and leave as the command line would."""
    kind, out, text = sys.argv[1:]
    given = json.loads(text)
    if kind == "command":
        return cli.run(given)
    cli._run = lambda _: tiny(Path(out), **given) if kind == "tiny" else real(**given)
    return cli.run([])


if __name__ == "__main__":
    sys.exit(main())
