"""Two dates that go through one encoder, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def each_date(planes: Tensor, dates: int = 2) -> tuple[Tensor, ...]:
    """The planes [B, ...] of each date, of those of all [dates * B, ...]; in a graph B may stay open."""
    return planes.unflatten(0, (dates, -1)).unbind()


def side_by_side(planes: Tensor) -> Tensor:
    """Logits [3 B, K, H, W] of the earlier date, the later and both, as answers of pairs [B, 2 K - 1, H, W].

    The first channel of both says that something changed; the others of each date what was there, then what is.
    """
    before, after, both = each_date(planes, 3)
    return torch.cat([both[:, :1], before[:, 1:], after[:, 1:]], dim=1)
