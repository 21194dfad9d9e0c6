"""The state of a run on disk, from which it continues as if it had never stopped. No pickle anywhere."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from everymask.core.files import clear_leftovers, refused, whole_file, write_json
from everymask.core.json.sealed import read_sealed, sealed
from everymask.core.json.values import value_of
from everymask.errors import EverymaskError, MachineError, WeightsError
from everymask.models.base import Network
from everymask.settings.config import TrainConfig, config_from_json
from everymask.settings.going_on import FREE, changed_settings
from everymask.train.ema import Ema
from everymask.train.folder.progress import Progress

_TENSORS, _FACTS = "tensors.safetensors", "state.json"
_KEPT = 2
_VERSION = 1
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Training:
    """Everything that a step changes."""

    module: Network
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    progress: Progress

    @property
    def averaged(self) -> nn.Module:
        """The weights to judge and to keep: their running average where there is one."""
        return self.ema.module if self.ema else self.module


def write_state(folder: Path, training: Training, config: TrainConfig) -> Path:
    """Write the state into a folder of its own in `folder`, read it back, and only then delete all but the last two.

    `MachineError` names the path when the disk refuses; earlier states are then still there.
    """
    clear_leftovers(folder)
    target = _free_name(folder, training.progress.step)
    temporary, tensors = folder / f".{uuid.uuid4().hex}", _tensors(training)
    needed = sum(tensor.nbytes for tensor in tensors.values())
    try:
        with whole_file(temporary / _TENSORS, needed) as path:
            save_file(tensors, path)
        facts = {
            "version": _VERSION,
            "progress": asdict(training.progress),
            "sha256": _digest(temporary / _TENSORS),
            "machine": _machine(),
            "config": config.to_json(),
        }
        write_json(temporary / _FACTS, sealed(facts), indent=1)
        temporary.rename(target)
    except (OSError, SafetensorError) as error:  # the latter when the disk is full
        raise refused(target, error, needed) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    try:
        _facts(target)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"{target} was written but cannot be read back: {error}", hint="check the disk; earlier states are kept"
        ) from error
    for old in _states(folder)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def read_state(folder: Path, training: Training, config: TrainConfig) -> None:
    """Bring `training` to the newest sound state in `folder`.

    A broken state is passed over with a warning. `WeightsError` when there is none, or when it belongs to other
    settings. On the CPU the run goes on bit for bit with the same number of threads and the same torch; a difference
    there is logged as a warning.
    """
    for path in _states(folder):
        try:
            facts = _facts(path)
            tensors = load_file(path / _TENSORS)
        except (OSError, ValueError, SafetensorError) as error:
            _log.warning("the state %s is broken and passed over: %s", path, error)
            continue
        _check_settings(path, facts.config, config)
        now = _machine()
        changed = [f"{name} {old} -> {now.get(name)}" for name, old in facts.machine.items() if old != now.get(name)]
        if changed:
            _log.warning("not bit-identical to the run before: %s", ", ".join(changed))
        _restore(training, tensors, path)
        training.progress = facts.progress
        return
    raise WeightsError(
        f"there is no saved state to continue from in {folder}", hint="start the run anew with --overwrite"
    )


def _free_name(folder: Path, step: int) -> Path:
    """A new folder for the state after that step: a second one stands beside the first, not in its place."""
    plain = _name(step)
    earlier = max((path.name for path in folder.glob(f"{plain}*")), default="")
    if not earlier:
        return folder / plain
    return folder / f"{plain}-{int(earlier.removeprefix(plain).lstrip('-') or 0) + 1:04d}"


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _states(folder: Path) -> list[Path]:
    """Newest first; what a crash left half-written begins with a dot and is not among them."""
    return sorted(folder.glob("step-*"), reverse=True)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What `state.json` says."""

    progress: Progress
    machine: dict[str, Any]
    config: TrainConfig


def _facts(path: Path) -> _Facts:
    """What a state says of itself; `ValueError` where that, or its tensors, are not as they were written."""
    found = read_sealed(path / _FACTS)
    if found.get("version") != _VERSION:
        raise ValueError(f"its form is {found.get('version')!r}, but this version reads {_VERSION}")
    if _digest(path / _TENSORS) != found.get("sha256"):
        raise ValueError("its tensors are not those that were written")
    progress: Progress = value_of(Progress, found.get("progress"), "progress")
    if _name(progress.step) != path.name[: len(_name(progress.step))]:
        raise ValueError(f"it says that it is of step {progress.step}")
    try:
        config = config_from_json(found.get("config", {}))
    except (EverymaskError, TypeError) as error:
        raise ValueError(str(error)) from error
    return _Facts(progress, value_of(dict[str, str | int | None], found.get("machine"), "machine"), config)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _machine() -> dict[str, Any]:
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cores": os.cpu_count()}
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return machine | ({"processes": torch.distributed.get_world_size()} if distributed else {})


def _tensors(training: Training) -> dict[str, Tensor]:
    modules = {"model": training.module} | ({"ema": training.ema.module} if training.ema else {})
    tensors = {
        f"{part}/{name}": value for part, module in modules.items() for name, value in module.state_dict().items()
    }
    for row, values in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{row}/{name}": value for name, value in values.items() if isinstance(value, Tensor)}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _restore(training: Training, tensors: dict[str, Tensor], path: Path) -> None:
    modules = {"model": training.module} | ({"ema": training.ema.module} if training.ema else {})
    try:
        for part, module in modules.items():
            module.load_state_dict(
                {name.removeprefix(f"{part}/"): value for name, value in tensors.items() if name.startswith(f"{part}/")}
            )
    except RuntimeError as error:
        raise WeightsError(f"the state {path} belongs to another model: {error}") from error
    wanted = training.optimizer.state_dict()
    parameters = [parameter for group in training.optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        part, _, rest = key.partition("/")
        if part == "optimizer":
            row, _, name = rest.partition("/")
            like = parameters[int(row)]
            # In the memory layout of its parameter, as the optimizer itself would have made it.
            state.setdefault(int(row), {})[name] = (
                torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            )
    training.optimizer.load_state_dict({"state": state, "param_groups": wanted["param_groups"]})


def _check_settings(path: Path, before: TrainConfig, after: TrainConfig) -> None:
    changed = {name: pair for name, pair in changed_settings(before, after).items() if name not in FREE}
    if changed:
        raise WeightsError(
            f"the state {path} belongs to other settings: "
            + "; ".join(f"{name} was {old!r}, now {new!r}" for name, (old, new) in changed.items()),
            hint=f"resume with the settings of the run (only {', '.join(FREE)} may change), or start a new run",
        )
