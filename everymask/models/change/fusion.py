"""A semantic network that sees two dates: one encoder for both, whose maps are joined before the decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, usual_criterion
from everymask.models.specs.semantic import Fusion, SemanticModelSpec


def fused(module: SemanticModel, spec: SemanticModelSpec) -> SemanticModel:
    """The network of a spec with a fusion, made of the `module` that was built without.

    With "early" that takes both dates as the channels of one picture. Otherwise its encoder sees both.
    """
    module.spec = spec
    module.kind = ChangeMap
    module.criterion = usual_criterion(spec.head)
    if spec.fusion in ("concat", "difference"):
        body = module.get_submodule("backbone")
        module.backbone = TwiceSeen(body, spec.channels, spec.fusion, apart=spec.head == "from-to")
        module.single_prefix, module.encoder_prefix = module.encoder_prefix, "backbone.body."
    return module


class TwiceSeen(nn.Module):
    """An encoder that sees two dates [B, 2 C, H, W], and gives maps of the widths that it gives of one.

    The maps of both dates, at every stride, become |later - earlier|, or are put side by side and brought back to their
    width by a 1x1 convolution, which begins as their mean. With `apart` the maps of each date come too, as pictures of
    their own: [3 B, ...], the earlier date, the later, and both joined.
    """

    def __init__(self, body: nn.Module, channels: int, fusion: Fusion, *, apart: bool = False) -> None:
        super().__init__()
        self.body = body
        self.channels: int = channels
        self.apart: bool = apart
        self.join: nn.ModuleList = nn.ModuleList()
        if fusion == "concat":
            widths = getattr(body, "widths", None) or encoder_shape(body)[0]
            self.join.extend(map(_mean_of_both, widths))

    def forward(self, images: Tensor) -> list[Tensor]:
        # One pass for both: batch norms see the two dates alike.
        both = encode(self.body, torch.cat(images.split(self.channels, dim=1)))
        pairs = [each_date(plane) for plane in both]
        if self.join:
            joined = [join(torch.cat(pair, dim=1)) for join, pair in zip(self.join, pairs, strict=True)]
        else:
            joined = [(after - before).abs() for before, after in pairs]
        return [torch.cat([*pair, one]) for pair, one in zip(pairs, joined, strict=True)] if self.apart else joined


def _mean_of_both(width: int) -> nn.Conv2d:
    layer = nn.Conv2d(2 * width, width, 1, bias=False)
    with torch.no_grad():
        eye = torch.eye(width) / 2
        layer.weight.copy_(torch.cat([eye, eye], dim=1)[..., None, None])
    return layer
