"""The loop: same seed, same numbers; stopping and going on changes nothing; a bad number stops before any harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from everymask.core.processes.rank import Rank
from everymask.data.feed.pipelines import Prepared
from everymask.errors import DataError, MachineError, TrainingError, WeightsError
from everymask.models.base import Batch
from everymask.settings.config import TrainConfig
from everymask.train import loop
from everymask.train.folder.logs import read_log
from everymask.train.folder.progress import Progress
from everymask.train.folder.state import Training
from everymask.train.loop import Validation
from everymask.train.step import TrainStep
from tests.train.tiny_training import Tiny, planned, settings, train_tiny

BAD_SEED = 3  # with which picture 8 comes in the last step of the first epoch


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def lines(folder: Path) -> list[dict[str, object]]:
    """The log without what the clock and the machine say."""
    unstable = ("seconds", "images_per_second", "memory_mb")
    return [{k: v for k, v in entry.items() if k not in unstable} for entry in read_log(folder / "log.jsonl")]


class StopAt(Tiny):
    """Sends this process a signal while it computes a given loss."""

    def __init__(self, call: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.calls, self.call, self.number = 0, call, number

    def loss(self, *arguments: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
        self.calls += 1
        if self.calls == self.call:
            os.kill(os.getpid(), self.number)
        return super().loss(*arguments)  # type: ignore[arg-type]


def level(module: nn.Module) -> Validation:
    """A stand-in for AP: how near the network comes to 0.3."""
    module.eval()
    with torch.no_grad():
        found = float(module(torch.full((1, 1, 8, 8), 0.3)))
    return Validation(-abs(found - 0.3), {"mask AP": found})


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    train_tiny(settings(tmp_path, epochs=30, ema=None, warmup_steps=0))
    losses = [entry["loss"] for entry in read_log(tmp_path / "log.jsonl") if entry["kind"] == "step"]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_same_seed_same_numbers_whatever_prepares_the_batches(tmp_path: Path, optimizer: str) -> None:
    first = train_tiny(settings(tmp_path / "a", optimizer=optimizer))
    second = train_tiny(settings(tmp_path / "b", optimizer=optimizer, workers=2))
    other = train_tiny(settings(tmp_path / "c", optimizer=optimizer, seed=1))
    assert same(weights(first.module), weights(second.module))
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert not same(weights(first.module), weights(other.module))


@pytest.mark.parametrize("stop", [1, 4, 6, 11], ids="after {} passes".format)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_continued_run_equals_an_uninterrupted_one(tmp_path: Path, optimizer: str, stop: int) -> None:
    """K01, K04, T1: N + N steps are 2 N steps, bit for bit, also within an epoch and between log lines."""
    changes = {"optimizer": optimizer, "head_lr": 3.0, "clip_norm": 0.5, "layers": "heads:1,all", "epochs": 8}
    whole = train_tiny(settings(tmp_path / "whole", **changes), validate=level)
    config = settings(tmp_path / "parts", **changes)
    part = train_tiny(config, module=StopAt(stop), validate=level)
    assert part.reason == "interrupted"
    assert part.signal == signal.SIGINT
    assert part.progress.step == stop
    rest = train_tiny(settings(tmp_path / "parts", resume=True, **changes), validate=level)
    assert rest.reason == "finished"
    assert same(weights(whole.module), weights(rest.module))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert (rest.progress.best, rest.progress.best_step) == (whole.progress.best, whole.progress.best_step)


def test_the_log_forgets_what_the_state_does_not_know(tmp_path: Path) -> None:
    """K04: steps that were logged but not saved before a kill are logged once, not twice."""
    train_tiny(settings(tmp_path / "whole", epochs=8))
    train_tiny(settings(tmp_path / "parts", epochs=8), module=StopAt(4))
    with (tmp_path / "parts" / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "step", "step": 10, "loss": 1.0}\n{"kind": "st')
    train_tiny(settings(tmp_path / "parts", epochs=8, resume=True))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_accumulated_passes_are_one_large_batch(tmp_path: Path) -> None:
    class Plain(Tiny):
        """Without what depends on the division: statistics and sampling."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone.body.bn1 = nn.Identity()

        def loss(self, batch, generator=None):
            found = self(batch.images)[:, 0]
            return {"loss_mean": (found - batch.images.mean(dim=(1, 2, 3))).square().mean()}

    large = train_tiny(settings(tmp_path / "a", batch=4, ema=None), module=Plain())
    split = train_tiny(settings(tmp_path / "b", batch=2, accumulate=2, ema=None), module=Plain())
    for name, tensor in weights(large.module).items():
        torch.testing.assert_close(weights(split.module)[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_a_number_stops_before_the_step(tmp_path: Path) -> None:
    """F8, C2: weights and statistics are those of the step before; the pictures and the terms are named."""
    config = settings(tmp_path / "bad", ema=None, seed=BAD_SEED)
    module = Tiny()
    with pytest.raises(TrainingError) as caught:
        train_tiny(config, bad=8, module=module)
    step = json.loads((tmp_path / "bad" / "nonfinite.json").read_text())["step"]
    assert step > 0, "the fixture must let some steps pass"
    assert "pictures/8.png" in str(caught.value)
    assert "loss_mean nan" in str(caught.value)
    good = train_tiny(settings(tmp_path / "good", ema=None, seed=BAD_SEED), module=StopAt(step))
    assert same(weights(module), weights(good.module))
    assert (tmp_path / "bad" / "state" / f"step-{step:08d}").is_dir()
    found = json.loads((tmp_path / "bad" / "nonfinite.json").read_text())
    assert "picture-8" in found["ids"]
    assert len(found["ids"]) == 3


def test_a_gradient_that_is_not_a_number_stops_too(tmp_path: Path) -> None:
    class Steep(Tiny):
        def loss(self, batch, generator=None):
            return {"loss_root": (self(batch.images) * 0).sum().sqrt()}

    with pytest.raises(TrainingError, match="the gradient is not finite"):
        train_tiny(settings(tmp_path), module=Steep())


def test_only_the_pass_at_fault_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        train_tiny(settings(tmp_path, batch=1, accumulate=5), bad=8)
    assert json.loads((tmp_path / "nonfinite.json").read_text())["ids"] == ["picture-8"]


def test_termination_stops_after_the_step(tmp_path: Path) -> None:
    """K02."""
    outcome = train_tiny(settings(tmp_path), module=StopAt(5, signal.SIGTERM))
    assert (outcome.reason, outcome.signal, outcome.progress.step) == ("interrupted", signal.SIGTERM, 5)


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """K01."""

    class Twice(StopAt):
        def loss(self, *arguments: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
            losses = super().loss(*arguments)
            if self.calls == self.call:
                os.kill(os.getpid(), signal.SIGINT)
            return losses

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(settings(tmp_path), module=Twice(2))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_breaks_a_validation_off_and_the_continued_run_makes_up_for_it(tmp_path: Path) -> None:
    """K08."""

    def interrupted(module: nn.Module) -> Validation:
        os.kill(os.getpid(), signal.SIGINT)
        return level(module)

    train_tiny(settings(tmp_path / "whole"), validate=level)
    part = train_tiny(settings(tmp_path / "parts"), validate=interrupted)
    assert (part.reason, part.progress.step, part.progress.validated) == ("interrupted", 3, 0)
    train_tiny(settings(tmp_path / "parts", resume=True), validate=level)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    scores = iter([0.1, 0.5, 0.5, 0.2])
    kept: list[float] = []
    outcome = train_tiny(
        settings(tmp_path),
        validate=lambda module: Validation(next(scores), {}),
        keep=lambda module, result: kept.append(result.score),
    )
    assert kept == [0.1, 0.5]
    assert (outcome.progress.best, outcome.progress.best_step) == (0.5, 6)


def test_no_progress_ends_the_run(tmp_path: Path) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.4, 0.4, 0.9])
    outcome = train_tiny(settings(tmp_path, epochs=9, patience=3), validate=lambda module: Validation(next(scores), {}))
    assert (outcome.reason, outcome.progress.step) == ("no progress", 15)


def test_the_last_weights_are_validated_whatever_the_interval(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []
    train_tiny(settings(tmp_path, epochs=5, validate_every=2), validate=lambda module: Validation(0.0, {"AP": 0.0}))
    seen = [entry for entry in read_log(tmp_path / "log.jsonl") if entry["kind"] == "validation"]
    assert [entry["epoch"] for entry in seen] == [2, 4, 5]


def test_the_clock_ends_the_run_and_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 10 s and 2 s per step, step 3 of 12 has the rate of half the run."""
    ticks = iter(range(0, 10_000))
    now = {"time": 0.0}

    class Slow(Tiny):
        def loss(self, *arguments: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
            now["time"] += 2.0
            next(ticks)
            return super().loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.time, "monotonic", lambda: now["time"])
    rates: list[float] = []
    config = settings(tmp_path, time_limit="10s", warmup_steps=0, lr=1.0, schedule="cosine")
    original = loop.learning_rate
    monkeypatch.setattr(loop, "learning_rate", lambda *a: rates.append(original(*a)) or rates[-1])
    validated: list[int] = []
    outcome = train_tiny(config, module=Slow(), validate=lambda module: validated.append(1) or Validation(0.0, {}))
    assert (outcome.reason, outcome.progress.step) == ("time limit", 5)
    assert rates == pytest.approx([1.0, 0.904508, 0.654508, 0.345492, 0.095492], abs=1e-5)
    assert len(validated) == 2, "after the first epoch and at the end"


def test_the_average_is_what_is_validated_and_returned(tmp_path: Path) -> None:
    module = Tiny()
    seen: list[nn.Module] = []
    outcome = train_tiny(settings(tmp_path), module=module, validate=lambda m: seen.append(m) or Validation(0.0, {}))
    assert all(m is outcome.module for m in seen)
    assert not same(weights(module), weights(outcome.module))


def test_half_precision_trains(tmp_path: Path) -> None:
    outcome = train_tiny(settings(tmp_path, precision="bf16"))
    assert outcome.reason == "finished"
    assert all(tensor.dtype != torch.bfloat16 for tensor in outcome.module.state_dict().values())


def test_frozen_layers_do_not_move(tmp_path: Path) -> None:
    before = weights(Tiny())
    after = weights(train_tiny(settings(tmp_path, layers="heads", ema=None)).module)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}


def test_nothing_to_continue(tmp_path: Path) -> None:
    """E19: never a silent start from the beginning."""
    with pytest.raises(WeightsError, match="no saved state"):
        train_tiny(settings(tmp_path, resume=True))


def test_a_full_disk_ends_a_run_only_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault F4."""
    steps: list[int] = []

    def full(folder: Path, training: Training, config: TrainConfig) -> None:
        steps.append(training.progress.step)
        raise MachineError("no space left")

    monkeypatch.setattr(loop, "write_state", full)
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)
    with pytest.raises(MachineError, match="no space left"):
        train_tiny(settings(tmp_path))
    assert steps == list(range(13))
    assert caplog.text.count("training goes on") == 12


def test_what_wraps_the_training_step_sees_every_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As DDP, FSDP and torch.compile will: one module per training, through which all that is learned goes."""
    built: list[nn.Module] = []

    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module, device: torch.device, *, bf16: bool) -> None:
            super().__init__()
            self.inner, self.passes = TrainStep(module, device, bf16=bf16), 0
            built.append(self)

        def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
            self.passes += 1
            return self.inner(batch, generator)

    plain = train_tiny(settings(tmp_path / "a", batch=1, accumulate=2))
    monkeypatch.setattr(loop, "TrainStep", Wrapper)
    wrapped = train_tiny(settings(tmp_path / "b", batch=1, accumulate=2))
    assert [module.passes for module in built] == [4 * 5 * 2]
    assert same(weights(plain.module), weights(wrapped.module))


def test_only_the_first_of_several_processes_writes(tmp_path: Path) -> None:
    judged: list[int] = []
    handed = {
        "validate": lambda module: judged.append(1) or level(module),
        "keep": lambda module, result: judged.append(2),
    }
    config = settings(tmp_path / "b", batch=4)
    second = train_tiny(config, rank=Rank(1, 2), **handed)
    assert (second.reason, second.progress.step) == ("finished", 8)
    with pytest.raises(TrainingError, match=r"pictures/8\.png"):
        train_tiny(settings(tmp_path / "b", batch=10), rank=Rank(1, 2), bad=8)
    assert list((tmp_path / "b").iterdir()) == judged == []
    first = train_tiny(settings(tmp_path / "a", batch=4), rank=Rank(0, 2), **handed)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"log.jsonl", "state"}
    assert set(judged) == {1, 2}
    assert not same(weights(first.module), weights(second.module)), "each learns from its share"


def test_every_pass_of_every_step_draws_anew(tmp_path: Path) -> None:
    seeds: list[int] = []

    class Drawing(Tiny):
        def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, torch.Tensor]:
            assert generator is not None
            seeds.append(generator.initial_seed())
            return super().loss(batch, generator)

    train_tiny(settings(tmp_path, batch=1, accumulate=2, epochs=2), module=Drawing())
    assert len(seeds) == len(set(seeds)) == 20


def test_best_weights_that_cannot_be_saved_end_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fault F4, at the first validation: the state is saved before, training goes on and tries again."""
    states: list[int] = []

    def keep(module: nn.Module, result: Validation) -> None:
        states.append(len(list((tmp_path / "state").glob("step-*"))))
        if len(states) == 1:
            raise MachineError("no space left")

    scores = iter([0.1, 0.2, 0.3, 0.4])
    outcome = train_tiny(settings(tmp_path), validate=lambda module: Validation(next(scores), {}), keep=keep)
    assert outcome.reason == "finished"
    assert states[0] == 1
    assert len(states) == 4
    assert outcome.progress.best == 0.4
    assert caplog.text.count("the best weights so far could not be saved") == 1


def test_a_picture_that_cannot_be_read_costs_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.train import tiny_training

    plain, calls = tiny_training.picture, iter(range(1000))

    def broken(epoch: int, index: int, bad: int | None = None) -> Prepared:
        if next(calls) == 3 * 5:
            raise DataError("bad.png: cut off")
        return plain(epoch, index, bad)

    monkeypatch.setattr(tiny_training, "picture", broken)
    with pytest.raises(DataError, match="cut off"):
        train_tiny(settings(tmp_path))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000005"]


def test_states_are_saved_sooner_at_the_beginning(tmp_path: Path) -> None:
    def waits(**changes: str) -> list[float]:
        plan = planned(settings(tmp_path, **changes))
        return [loop._interval(plan, Progress(seconds=trained)) for trained in (0, 60, 3600)]

    assert waits() == [20, 30, 300]
    assert waits(save_every="90s") == [90, 90, 90]


GROUP = """
import os, signal, sys
from pathlib import Path
from tests.train.test_loop import StopAt
from tests.train.tiny_training import settings, train_tiny

class Stopped(StopAt):
    def loss(self, *arguments):
        self.calls += 1
        if self.calls == self.call:
            os.killpg(0, signal.SIGTERM)
        return super(StopAt, self).loss(*arguments)

outcome = train_tiny(settings(Path(sys.argv[1]), workers=2, epochs=40), module=Stopped(5))
print(outcome.reason, outcome.signal, outcome.progress.step)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_k02_termination_of_all_processes_saves_too(tmp_path: Path) -> None:
    """As Slurm, systemd and docker send it: to the workers as well."""
    done = subprocess.run(
        [sys.executable, "-c", GROUP, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.split() == ["interrupted", str(int(signal.SIGTERM)), "5"], done.stderr
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000005"]
