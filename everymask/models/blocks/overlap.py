"""How little masks overlap, as a loss."""

from __future__ import annotations

from torch import Tensor


def dice_loss(shown: Tensor, wanted: Tensor, dims: tuple[int, ...]) -> Tensor:
    """0 where probabilities `shown` and shares `wanted` (0-1, of one shape) are the same, up to 1, over `dims`.

    Milletari et al. 2016, V-Net, with sums instead of squares, and 1 added above and below the line.
    """
    common = (shown * wanted).sum(dims)
    return 1 - (2 * common + 1) / (shown.sum(dims) + wanted.sum(dims) + 1)
