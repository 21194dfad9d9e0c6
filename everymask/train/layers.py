"""Which layers learn: the presets of matterport's Mask R-CNN, for any encoder, or a regular expression."""

from __future__ import annotations

import difflib
import re

from torch import nn

from everymask.errors import ConfigError
from everymask.models.base import Network
from everymask.models.blocks.lora import ADAPTED
from everymask.settings.schedule import PRESETS, lora_rank


def frozen_parameters(module: nn.Module) -> frozenset[str]:
    """The parameters that a newly built model itself holds frozen, such as those of frozen norms."""
    return frozenset(name for name, parameter in module.named_parameters() if not parameter.requires_grad)


def learning_parameters(
    module: Network, selection: str, frozen: frozenset[str] = frozenset()
) -> dict[str, nn.Parameter]:
    """The parameters that `selection` lets learn; `ConfigError` when there are none.

    `heads` is everything outside the encoder, `3+` adds its stages 3 to 5, and so on; `lora` adds the low-rank updates
    that the encoder was given; `all` is everything; anything else is a regular expression searched for in parameter
    names. Those in `frozen` never learn.
    """
    if selection not in PRESETS and selection.isalnum() and not lora_rank(selection):
        near = difflib.get_close_matches(selection, PRESETS, n=1, cutoff=0.75)
        if near:
            raise ConfigError(f"layers: there is no preset {selection!r}", hint=f"did you mean {near[0]!r}?")
    named = dict(module.named_parameters())
    learning = {
        name: value for name, value in named.items() if name not in frozen and is_selected(module, name, selection)
    }
    if not learning:
        raise ConfigError(
            f"layers: no parameter would learn with {selection!r}",
            hint=f"use one of {', '.join(PRESETS)}, or a regular expression that matches names such as "
            + ", ".join(list(named)[:3]),
        )
    return learning


def select_layers(module: Network, selection: str, frozen: frozenset[str] = frozenset()) -> None:
    """Put `module` in training mode and let only the layers of `selection` learn.

    Batch norms whose weights do not learn keep their statistics too. Errors as in `learning_parameters`.
    """
    learning = learning_parameters(module, selection, frozen)
    module.train()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in learning)
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and not any(p.requires_grad for p in norm.parameters()):
            norm.eval()


def is_selected(module: Network, name: str, selection: str) -> bool:
    """Whether the parameter of that name learns under the selection."""
    if selection == "all":
        return True
    stage = module.encoder_stage(name)
    if lora_rank(selection):
        return stage is None or name.rpartition(".")[2].startswith(ADAPTED)
    if selection not in PRESETS:
        return re.search(selection, name) is not None
    return stage is None or (selection != "heads" and stage >= int(selection[0]))
