"""How many rounds a training has where nobody says it."""

from __future__ import annotations

import pytest

from everymask.settings.facts import usual_epochs

USUAL = 12_000, 6_000, 2_000


@pytest.mark.parametrize(
    ("per_epoch", "epochs"),
    [
        pytest.param(100, 120, id="the usual steps"),
        pytest.param(5_000, 10, id="many pictures are seen ten times"),
        pytest.param(30, 300, id="not much more than three hundred times"),
        pytest.param(2, 1_500, id="but as often as it takes to learn anything"),
    ],
)
def test_rounds_from_scratch(per_epoch: int, epochs: int) -> None:
    reasons: list[str] = []
    assert usual_epochs(per_epoch, None, reasons, USUAL, "a detector") == epochs
    assert reasons == [f"{epochs} epochs of {per_epoch} steps: about 12,000 steps are usual from scratch"]
