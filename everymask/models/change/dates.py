"""Two dates that go through one encoder, one after the other."""

from __future__ import annotations

from torch import Tensor


def each_date(planes: Tensor, dates: int = 2) -> tuple[Tensor, ...]:
    """The planes [B, ...] of each date, of those of all [dates * B, ...]; in a graph B may stay open."""
    return planes.unflatten(0, (dates, -1)).unbind()
