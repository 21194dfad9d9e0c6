"""The optimizer, its learning rates, and which parameters weight decay leaves alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from everymask.models.base import Network
from everymask.settings.plan import Plan

_DECAY = 0.1
_POWER = 0.9
_WARMUP_START = 0.001
_TIMES = "times_rate"


def build_optimizer(module: Network, plan: Plan) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over all parameters; frozen ones have no gradient and are passed over.

    Weight decay acts on weights only: norms and biases have one dimension and are left alone. All that is not the
    encoder learns at `head_lr` times the rate.
    """
    parts: dict[tuple[float, bool], list[nn.Parameter]] = {
        (times, decays): [] for times in (1.0, plan.head_lr) for decays in (True, False)
    }
    for name, parameter in module.named_parameters():
        times = plan.head_lr if module.encoder_stage(name) is None else 1.0
        parts[times, parameter.ndim > 1].append(parameter)
    groups = [
        {"params": parameters, "weight_decay": plan.weight_decay if decays else 0.0, _TIMES: times}
        for (times, decays), parameters in parts.items()
        if parameters
    ]
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=plan.lr, betas=(plan.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=plan.lr, momentum=plan.momentum)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the encoder learn at `rate`, and the rest at its multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_TIMES]


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Shorten the gradient to length `limit` at most; its length before, a scalar on the device."""
    return nn.utils.clip_grad_norm_(parameters, limit)


def learning_rate(plan: Plan, step: int, total: float) -> float:
    """The learning rate of optimizer step `step` (from 0) out of `total`.

    It rises linearly over the first `warmup_steps` steps from a thousandth (Goyal et al. 2017). Then it stays
    (`constant`), falls to a tenth at each milestone (`multistep`; milestones are fractions of the run), or falls to
    zero: along half a cosine (`cosine`; Loshchilov and Hutter 2017), as the rest of the run (`linear`), or as that to
    the power of 0.9 (`poly`; Chen et al. 2017).
    """
    rate, warmup = plan.lr, plan.warmup_steps
    if plan.schedule == "multistep":
        rate *= _DECAY ** sum(step >= milestone * total for milestone in plan.milestones)
    done = min(max((step - warmup) / max(1.0, total - warmup), 0.0), 1.0)
    if plan.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * done))
    elif plan.schedule in ("linear", "poly"):
        rate *= (1 - done) ** (_POWER if plan.schedule == "poly" else 1)
    if step < warmup:
        rate *= _WARMUP_START + (1 - _WARMUP_START) * step / warmup
    return rate
