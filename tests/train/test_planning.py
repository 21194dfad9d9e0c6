"""What a training decides by measuring: mostly with speeds that are given instead of measured."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import everymask.train.planning  # noqa: F401
from everymask.cli import run
from everymask.models.specs.regions import MaskRCNN, mask_rcnn_small
from everymask.settings.config import TrainConfig
from everymask.train.beginning import Beginning
from everymask.train.planning import Speed, forecast
from everymask.train.run import train

PLANNING = sys.modules["everymask.train.planning"]
TINY = mask_rcnn_small(encoder="mobilenetv3_small_100", fpn_channels=16, box_fcs=(16,), mask_convs=(16,))
QUIET = Console(quiet=True)


class Probe:
    """Speeds by encoder, a picture each, and how often they were asked for."""

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.asked = seconds, 0

    def __call__(self, begun: Beginning, device: object, budget: float, *, validate: bool = True) -> Speed:
        self.asked += 1
        assert budget <= 16
        return Speed(self.seconds[begun.plan.model.encoder] * begun.plan.batch, 3.0, 500.0)


def settings(data: Path, tmp_path: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(data=str(data), out=str(tmp_path / "run"), **({"weights": "none", "size": 64} | changes))


@pytest.mark.parametrize(
    ("fast", "small", "encoder"),
    [
        pytest.param(0.01, 0.001, "resnet18", id="the better one makes enough steps"),
        pytest.param(1.0, 0.01, "mobilenetv3_small_100", id="only the smaller one does"),
        pytest.param(9.0, 5.0, "mobilenetv3_small_100", id="none does"),
    ],
)
def test_the_network_is_the_best_that_makes_enough_steps(
    fast: float, small: float, encoder: str, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLANNING, "probe", Probe(resnet18=fast, mobilenetv3_small_100=small))
    found = forecast(settings(shapes, tmp_path, time_limit="2m"), console=QUIET)
    assert found.plan.model.encoder == encoder
    assert any(note.startswith(f"MaskRCNN with {encoder}") for note in found.notes)
    assert found.seconds <= 120
    assert not (tmp_path / "run").exists(), "nothing is written"


def test_who_does_not_learn_reads_no_file_for_a_digest_of_it(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(*_: object) -> None:
        raise AssertionError("the files were read")

    monkeypatch.setattr(sys.modules["everymask.train.beginning"], "seen", digest)
    monkeypatch.setattr(PLANNING, "probe", Probe(mobilenetv3_small_100=0.5))
    assert forecast(settings(shapes, tmp_path, model=TINY, epochs=1), console=QUIET).steps
    with pytest.raises(AssertionError, match="the files were read"):
        train(settings(shapes, tmp_path, model=TINY, epochs=1), console=QUIET)


def test_epochs_warm_up_and_validations_fit_into_the_time(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLANNING, "probe", Probe(mobilenetv3_small_100=0.5))
    config = settings(shapes, tmp_path, model=TINY, batch=3, time_limit="2m")
    plan = forecast(config, console=QUIET).plan
    # 1.5 s a step, one step an epoch, 6 validations of 3 s: (120 - 5 * 3) / 1.5 steps, and a tenth more.
    assert plan.epochs == 77
    assert plan.validate_every == 13
    assert plan.warmup_steps == 7


def test_without_an_end_half_an_hour_is_planned_and_the_rounds_end_it(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLANNING, "probe", Probe(mobilenetv3_small_100=5.0))
    found = forecast(settings(shapes, tmp_path, model=TINY, batch=3), console=QUIET)
    # 15 s a step, one step an epoch, 20 validations of 3 s, of which the last is not counted.
    assert found.plan.epochs == round((1800 - 19 * 3) / 15)
    assert found.plan.time_limit == math.inf
    assert found.seconds == pytest.approx(1800, rel=0.05)
    assert any("--time-limit 2h" in note for note in found.notes)


def test_the_recipes_epochs_stay_where_they_fit_into_half_an_hour(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLANNING, "probe", Probe(mobilenetv3_small_100=0.001))
    config = settings(shapes, tmp_path, model=TINY, batch=3)
    fast = forecast(config, console=QUIET).plan
    monkeypatch.setattr(PLANNING, "_is_gpu", lambda ground: True)
    assert fast.epochs == forecast(config, console=QUIET).plan.epochs


@pytest.mark.parametrize(
    "changes",
    [{"time_limit": "30s"}, {"epochs": 2, "time_limit": "2m"}, {"epochs": 2}],
    ids=["too short to measure", "epochs and limit are set", "epochs are set"],
)
def test_training_measures_only_what_it_needs(
    changes: dict[str, Any], shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Probe(mobilenetv3_small_100=0.5)
    monkeypatch.setattr(PLANNING, "probe", counted)
    forecast(settings(shapes, tmp_path, model=TINY, batch=1, **changes), console=QUIET)
    assert counted.asked == 1, "the forecast alone"


def test_a_named_network_stays(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PLANNING, "probe", Probe(mobilenetv3_small_100=50))
    plan = forecast(settings(shapes, tmp_path, model=TINY, batch=2, time_limit="1m"), console=QUIET).plan
    assert isinstance(plan.model, MaskRCNN) and plan.model.fpn_channels == 16
    assert (plan.batch, plan.epochs) == (2, 2)


def test_plan_measures_and_prints_what_training_would_do(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(shapes), "--task", "semantic", "--encoder", "mobilenetv3_small_100", "--size", "64", "--batch", "1"]
    monkey = pytest.MonkeyPatch()
    monkey.setattr(PLANNING, "_LONGEST_PROBE", 0.1)
    monkey.chdir(tmp_path)
    with monkey.context():
        assert run(["plan", *options, "--epochs", "4", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert run(["plan", *options, "--time", "1m", "--time-limit", "1m"]) == 2
    monkey.undo()
    assert answer["steps"] == 4 * 3
    assert answer["settings"]["epochs"] == 4
    assert answer["seconds_per_step"] > 0 and answer["memory_mb"] > 100
    assert answer["seconds"] == pytest.approx(
        12 * answer["seconds_per_step"] + 3 * answer["seconds_per_validation"], rel=0.2
    )
    assert list(tmp_path.iterdir()) == []


def test_what_training_would_fetch_is_said_and_not_fetched(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLANNING, "probe", Probe(mobilenetv3_small_100=0.5))
    monkeypatch.delenv("EVERYMASK_OFFLINE")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was touched"))
    found = forecast(settings(shapes, tmp_path, model=TINY, batch=1, weights="auto"), console=QUIET)
    assert any("training first fetches the ImageNet weights of mobilenetv3_small_100" in note for note in found.notes)
