"""Who calculates gradients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from everymask.settings.config import TrainConfig
from everymask.train.beginning import Beginning
from everymask.train.machine import gradients
from everymask.train.machine.gradients import gradient_threads, wait_in_circles
from everymask.train.planning import Speed, forecast
from tests.train.test_planning import PLANNING, TINY

CPU = torch.device("cpu")


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(
    ("device", "bf16", "units", "waits"),
    [
        pytest.param(CPU, True, True, True, id="in bfloat16 on matrix units"),
        pytest.param(CPU, False, True, False, id="not in float32"),
        pytest.param(CPU, True, False, False, id="not without matrix units"),
        pytest.param(torch.device("cuda"), True, True, False, id="not beside a GPU"),
    ],
)
def test_threads_wait_in_circles(
    device: torch.device, bf16: bool, units: bool, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "has_matrix_units", lambda: units)
    assert wait_in_circles(device, bf16=bf16) is waits


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("half", "threads"), [(True, 2), (False, 4)])
def test_what_follows_the_gradients_has_all_threads(half: bool, threads: int) -> None:
    with pytest.raises(ZeroDivisionError), gradient_threads(half=half):
        assert torch.get_num_threads() == threads
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(
    ("whole", "halved", "asked", "chosen"),
    [
        pytest.param(4.0, 1.0, None, "half", id="others use the cores"),
        pytest.param(1.0, 1.2, None, "all", id="the cores are its own"),
        pytest.param(1.0, 0.95, None, "all", id="hardly faster"),
        pytest.param(4.0, 1.0, "all", "all", id="what is asked for stays"),
    ],
)
def test_the_faster_is_chosen_where_the_speed_is_measured(
    whole: float,
    halved: float,
    asked: str | None,
    chosen: str,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def speed(begun: Beginning, device: object, budget: float, *, validate: bool = True) -> Speed:
        return Speed(halved if begun.plan.half_gradients else whole, 1.0, 500.0)

    monkeypatch.setattr(PLANNING, "wait_in_circles", lambda *_, **__: True)
    monkeypatch.setattr(PLANNING, "probe", speed)
    settings = TrainConfig(
        data=str(shapes),
        out=str(tmp_path / "run"),
        weights="none",
        size=64,
        model=TINY,
        time_limit="2m",
        gradient_threads=asked,  # type: ignore[arg-type]
    )
    found = forecast(settings, console=Console(quiet=True))
    assert found.plan.settings.gradient_threads == chosen
    assert found.plan.half_gradients is (chosen == "half")
    assert any("other programs" in note for note in found.notes) is (chosen == "half")
