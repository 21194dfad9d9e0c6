"""The part of a training step that touches the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everymask.models.base import Batch, Network
from everymask.train.machine.depthwise import exact_depthwise


class TrainStep(nn.Module):
    """The losses of a batch by name, calculated by `module` on `device`, with `bf16` in bfloat16 where that is sound.

    One is built per training, and the loop calls nothing else of the network: what wraps a module (DDP, FSDP,
    torch.compile) wraps this one.
    """

    def __init__(self, module: Network, device: torch.device, *, bf16: bool) -> None:
        super().__init__()
        if bf16 and device.type == "cpu":
            exact_depthwise(module)
        self.module = module
        self.device = device
        self.bf16 = bf16

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Scalars; `generator` draws whatever the network samples."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.module.loss(batch.to(self.device, channels_last=True), generator)
