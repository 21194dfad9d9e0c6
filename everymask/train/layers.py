"""Which layers learn: the presets of matterport's Mask R-CNN, for any encoder, or a regular expression."""

from __future__ import annotations

import difflib
import re

from torch import nn

from everymask.errors import ConfigError
from everymask.settings.schedule import PRESETS

# Where the encoder lies: in detectors beside their pyramid, in semantic networks alone.
_ENCODER = re.compile(r"backbone\.(?:body\.|(?!fpn\.))")
# Stage 1 is the stem; stage n ends at stride 2**n. In order: ResNet, MobileNet and EfficientNet, HRNet, ConvNeXt, Swin,
# RegNet, Mix Transformer, U-Net's own encoder. What is named nowhere follows the last stage.
_STAGES = {
    1: r"conv1|bn1|conv_stem|blocks\.0|conv2|bn2|stem|stem_\d+|patch_embed|levels\.0",
    2: r"layer1|blocks\.1|transition1|stages_0|layers_0|s1|(?:patch_embed|block|norm)1|levels\.1",
    3: r"layer2|blocks\.2|stage2|transition2|stages_1|layers_1|s2|(?:patch_embed|block|norm)2|levels\.2",
    4: r"layer3|blocks\.[34]|stage3|transition3|stages_2|layers_2|s3|(?:patch_embed|block|norm)3|levels\.3",
}


def frozen_parameters(module: nn.Module) -> frozenset[str]:
    """The parameters that a newly built model itself holds frozen, such as those of frozen norms."""
    return frozenset(name for name, parameter in module.named_parameters() if not parameter.requires_grad)


def learning_parameters(
    module: nn.Module, selection: str, frozen: frozenset[str] = frozenset()
) -> dict[str, nn.Parameter]:
    """The parameters that `selection` lets learn; `ConfigError` when there are none.

    `heads` is everything outside the encoder, `3+` adds its stages 3 to 5, and so on; `all` is everything; anything
    else is a regular expression searched for in parameter names. Those in `frozen` never learn.
    """
    if selection not in PRESETS and selection.isalnum():
        near = difflib.get_close_matches(selection, PRESETS, n=1, cutoff=0.75)
        if near:
            raise ConfigError(f"layers: there is no preset {selection!r}", hint=f"did you mean {near[0]!r}?")
    named = dict(module.named_parameters())
    learning = {name: value for name, value in named.items() if name not in frozen and is_selected(name, selection)}
    if not learning:
        raise ConfigError(
            f"layers: no parameter would learn with {selection!r}",
            hint=f"use one of {', '.join(PRESETS)}, or a regular expression that matches names such as "
            + ", ".join(list(named)[:3]),
        )
    return learning


def select_layers(module: nn.Module, selection: str, frozen: frozenset[str] = frozenset()) -> None:
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


def in_encoder(name: str) -> bool:
    """Whether the parameter of that name is the encoder's."""
    return _ENCODER.match(name) is not None


def is_selected(name: str, selection: str) -> bool:
    """Whether the parameter of that name learns under the selection."""
    if selection == "all":
        return True
    if selection not in PRESETS:
        return re.search(selection, name) is not None
    encoder = _ENCODER.match(name)
    if not encoder:
        return True
    if selection == "heads":
        return False
    inside = name[encoder.end() :]
    stage = next((stage for stage, names in _STAGES.items() if re.match(rf"(?:{names})\.", inside)), 5)
    return stage >= int(selection[0])
