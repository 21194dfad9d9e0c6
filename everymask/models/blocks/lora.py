"""Small updates of low rank beside the frozen projections of an encoder's attention (Hu et al. 2022, "LoRA")."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.errors import ConfigError
from everymask.models.base import Network

M = TypeVar("M", bound=nn.Module)

ADAPTED = "lora_"
"""What the names of the parameters of updates begin with, within their layer."""
_PROJECTIONS = frozenset({"qkv", "q", "k", "v", "kv", "query", "key", "value", "q_proj", "k_proj", "v_proj"})


class LoRALinear(nn.Linear):
    """A linear layer to whose weight [out, in] an update of `rank` is added: `alpha` / `rank` times up @ down.

    It begins as the layer itself, whose tensors it takes: `lora_up` [out, rank] is zero.
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self.in_features: int = layer.in_features
        self.out_features: int = layer.out_features
        self.weight = layer.weight
        self.bias: nn.Parameter = layer.bias
        self.times: float = alpha / rank
        self.lora_down: nn.Parameter = nn.Parameter(torch.empty(rank, self.in_features))
        self.lora_up: nn.Parameter = nn.Parameter(torch.zeros(self.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """What the layer and its update make of [..., in]: [..., out]."""
        return super().forward(x) + self.times * F.linear(F.linear(x, self.lora_down), self.lora_up)

    def merged(self) -> nn.Linear:
        """A plain layer with the update in its weight, which is added in float32."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        update = self.times * (self.lora_up.detach().float() @ self.lora_down.detach().float())
        weight = (self.weight.detach().float() + update).to(self.weight.dtype)
        plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), self.bias
        return plain.train(self.training)


def adapt(module: Network, rank: int, alpha: float) -> None:
    """Give all projections to queries, keys and values in the encoder updates of `rank`, drawn by torch's generator.

    `ConfigError` where the encoder has none.
    """
    found = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        and name.startswith(module.encoder_prefix)
        and name.rpartition(".")[2] in _PROJECTIONS
    }
    if not found:
        raise ConfigError(
            f"layers: {module.spec.encoder} has no attention that low-rank updates could change",
            hint="choose heads, 3+, 4+, 5+ or all, or a network whose encoder is a transformer",
        )
    for name, layer in found.items():
        _put(module, name, LoRALinear(layer, rank, alpha))


def merged(module: M) -> M:
    """A copy in which all updates are part of the weights, as files keep them; the module itself where it has none."""
    names = [name for name, layer in module.named_modules() if isinstance(layer, LoRALinear)]
    if not names:
        return module
    whole = copy.deepcopy(module)
    for name in names:
        layer = whole.get_submodule(name)
        assert isinstance(layer, LoRALinear)
        _put(whole, name, layer.merged())
    return whole


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)
