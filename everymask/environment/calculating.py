"""What PyTorch calculates on here, and how finely; the one file of this room that imports it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from everymask.backends.devices import choose_device, has_fast_bf16
from everymask.train.machine.gradients import has_matrix_units


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is what `--device` takes, `title` what its maker calls it; `memory` are bytes, of MPS those that PyTorch
    recommends to take, `bf16` whether it calculates in bfloat16.
    """

    name: str
    title: str
    memory: int | None
    bf16: bool


@dataclass(frozen=True, slots=True)
class Calculating:
    """What PyTorch is built for and finds here.

    `chosen` is the device that `--device auto` takes, `threads` how many of the processor calculate, `kernels` the
    instructions that PyTorch's own kernels use, `cuda` the version of CUDA that it is built for (None: built for
    processors).
    """

    chosen: str
    devices: tuple[Device, ...]
    threads: int
    kernels: str
    cuda: str | None
    bf16: bool
    matrix_units: bool
    """Of the processor, whatever device is chosen."""

    @property
    def chosen_bf16(self) -> bool:
        """Whether the chosen device calculates in bfloat16."""
        return next((device.bf16 for device in self.devices if device.name.startswith(self.chosen)), self.bf16)

    @property
    def train(self) -> str:
        """What `train --precision auto` takes."""
        return "bf16" if self.chosen_bf16 else "fp32"

    @property
    def predict(self) -> str:
        """What `predict --precision auto` calculates convolutions in."""
        return "bfloat16" if self.chosen_bf16 else "float32"


def calculating() -> Calculating:
    """Ask PyTorch."""
    return Calculating(
        chosen=choose_device("auto").type,
        devices=(*_gpus(), *_apple()),
        threads=torch.get_num_threads(),
        kernels=torch.backends.cpu.get_cpu_capability(),
        cuda=torch.version.cuda,
        bf16=has_fast_bf16(torch.device("cpu")),
        matrix_units=has_matrix_units(),
    )


def _gpus() -> tuple[Device, ...]:
    if not torch.cuda.is_available():
        return ()
    found = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        with torch.cuda.device(number):
            bf16 = has_fast_bf16(torch.device("cuda", number))
        found.append(Device(f"cuda:{number}", about.name, about.total_memory, bf16))
    return tuple(found)


def _apple() -> tuple[Device, ...]:
    if not torch.backends.mps.is_available():
        return ()
    memory = torch.mps.recommended_max_memory() if hasattr(torch.mps, "recommended_max_memory") else None
    return (Device("mps", "Apple", memory, bf16=has_fast_bf16(torch.device("mps"))),)
