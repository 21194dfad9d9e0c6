"""Machines that are made up."""

from __future__ import annotations

from typing import Any

from everymask.environment.calculating import Calculating, Device
from everymask.environment.facts import Cache, Environment, Memory, Processor

GB = 10**9


def computer(**changed: Any) -> Environment:
    """A quiet machine with a GPU, on which nothing is slow; of its parts those that are `changed`."""
    parts: dict[str, Any] = {
        "everymask": "1.2.3",
        "versions": {"python": "3.12.0", "numpy": "2.0"},
        "extras": (),
        "system": "Linux",
        "processor": Processor("Fast", "x86_64", ("AVX2", "AVX-512"), 8, 8, None),
        "memory": Memory(32 * GB, 20 * GB, None, 16 * GB),
        "waiting": "awake",
        "calculating": torch_with(Device("cuda:0", "H200", 140 * GB, bf16=True)),
        "without_torch": "",
        "nvidia": True,
        "cache": Cache("~/.cache/everymask", 3 * GB, 12, writable=True),
        "offline": False,
        "settings": {},
    }
    return Environment(**parts | changed)


def torch_with(*devices: Device, **changed: Any) -> Calculating:
    """PyTorch on such devices."""
    chosen = "cuda" if any(device.name.startswith("cuda") for device in devices) else "cpu"
    parts: dict[str, Any] = {
        "chosen": chosen,
        "devices": devices,
        "threads": 8,
        "kernels": "AVX512",
        "cuda": "13.0",
        "bf16": True,
        "matrix_units": False,
    }
    return Calculating(**parts | changed)
