"""Who calculates gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from everymask.train.machine import gradients
from everymask.train.machine.gradients import gradient_threads

CPU = torch.device("cpu")


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(
    ("device", "bf16", "units", "threads"),
    [
        pytest.param(CPU, True, True, 2, id="half of them in bfloat16 on matrix units"),
        pytest.param(CPU, False, True, 4, id="all in float32"),
        pytest.param(CPU, True, False, 4, id="all without matrix units"),
        pytest.param(torch.device("cuda"), True, True, 4, id="all beside a GPU"),
    ],
)
def test_some_gradients_take_fewer_threads_and_what_follows_has_all(
    device: torch.device, bf16: bool, units: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "_has_matrix_units", lambda: units)
    with pytest.raises(ZeroDivisionError), gradient_threads(device, bf16=bf16):
        assert torch.get_num_threads() == threads
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


def test_one_thread_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_has_matrix_units", lambda: True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with gradient_threads(CPU, bf16=True):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
