"""Which devices there are, and what they calculate in."""

from __future__ import annotations

import torch

from everymask.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of that name; `ConfigError` when this machine has none, saying which it has."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        known = name.partition(":")[0] in ("cuda", "mps", "xpu")
        reason = f" ({str(error).splitlines()[0].partition('. ')[0]})" if known else ""
        raise ConfigError(
            f"device {name!r} cannot be used{reason}; this machine has {', '.join(_devices())}",
            hint="write cpu, cuda, cuda:1 (the second GPU) or mps (Apple); auto takes the first GPU, else the CPU",
        ) from error
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is calculated by the hardware: GPUs since Ampere, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())


def _devices() -> list[str]:
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
