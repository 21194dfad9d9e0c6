"""The environment as a bug report takes it: text, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, assert_never

from everymask.core.threads import Waiting
from everymask.environment.extras import ExtraHere
from everymask.environment.facts import Cache, Environment, Memory, Processor
from everymask.environment.slow import slow
from everymask.errors import counted, printable

if TYPE_CHECKING:
    from everymask.environment.calculating import Calculating

_LABEL = 10


def to_text(here: Environment) -> str:
    """Lines of words and values, and at the end what is slow here and why."""
    lines = [f"everymask {here.everymask}, Python {here.versions['python']}", *_facts(here), "", "extras"]
    lines += [_line(extra.name, _extra(extra)) for extra in here.extras]
    reasons = slow(here)
    lines += ["", "what is slow here and why" if reasons else "nothing is known that would be slow here"]
    lines += [f"- {reason}" for reason in reasons]
    return "\n".join(lines)


def to_json(here: Environment) -> dict[str, Any]:
    """Plain values, memory and files in bytes, with what is slow here."""
    told = asdict(here)
    for row, extra in zip(told["extras"], here.extras, strict=True):
        row |= {"installed": extra.installed, "command": extra.command}
    if here.calculating is not None:
        told["calculating"] |= {"train": here.calculating.train, "predict": here.calculating.predict}
    return told | {"slow": list(slow(here))}


def _facts(here: Environment) -> Iterator[str]:
    found = here.calculating
    yield _line("system", here.system)
    yield _line("processor", _processor(here.processor, found))
    yield _line("cores", _cores(here.processor))
    yield _line("memory", _memory(here.memory))
    if found is None:
        yield _line("devices", f"unknown, as there is no PyTorch: {here.without_torch}")
    else:
        yield _line("threads", f"{found.threads} of PyTorch ({found.kernels} kernels), {_waiting(here.waiting)}")
        yield _line("devices", _devices(found))
        yield _line("precision", _precision(found))
    yield _line("cache", _cache(here.cache))
    yield _line("network", "not touched: EVERYMASK_OFFLINE is set" if here.offline else "weights may be fetched")
    named = ", ".join(f"{name}={printable(value, limit=60)}" for name, value in here.settings.items())
    yield _line("settings", named or "none in the environment")
    packages = (f"{name} {version or 'missing'}" for name, version in here.versions.items() if name != "python")
    yield _line("packages", ", ".join(packages))


def _line(label: str, value: str) -> str:
    return f"{label:<{_LABEL}} {value}"


def _processor(processor: Processor, found: Calculating | None) -> str:
    known = dict.fromkeys(processor.vectors, True)
    if found is not None:
        known |= {"bf16 (AVX512-BF16)": found.bf16, "AMX": found.matrix_units}
    has = ", ".join(name for name, there in known.items() if there) or "no vector instructions"
    lacks = ", ".join(name for name, there in known.items() if not there)
    return f"{printable(processor.name)}, {processor.kind}: {has}{f'; without {lacks}' if lacks else ''}"


def _cores(processor: Processor) -> str:
    granted = "" if processor.granted is None else f", the time of {processor.granted:g} granted to the container"
    usable = "all usable" if processor.usable == processor.cores else f"{processor.usable} usable"
    return f"{processor.cores}, {usable}{granted}"


def _waiting(waiting: Waiting) -> str:
    match waiting:
        case "asleep":
            return "which sleep while they wait, as other programs calculate"
        case "awake":
            return "which stay awake for a millisecond while they wait"
        case "as given":
            return "which wait as the environment says"
        case "as usual":
            return "which wait as by themselves (PyTorch was imported before everymask could choose)"
        case _:
            assert_never(waiting)


def _memory(memory: Memory) -> str:
    parts = (
        (memory.total, "in all"),
        (memory.available, "free"),
        (memory.granted, "granted to the container"),
        (memory.shared, "of shared memory"),
    )
    return ", ".join(f"{_bytes(amount)} {what}" for amount, what in parts if amount is not None) or "unknown"


def _devices(found: Calculating) -> str:
    memory = (f", {_bytes(device.memory)}" if device.memory else "" for device in found.devices)
    listed = [f"{device.name} ({device.title}{more})" for device, more in zip(found.devices, memory, strict=True)]
    built = f"CUDA {found.cuda}" if found.cuda else "processors"
    return f"{', '.join(['cpu', *listed])}; auto takes {found.chosen}; PyTorch is built for {built}"


def _precision(found: Calculating) -> str:
    does = "calculates" if found.chosen_bf16 else "does not calculate"
    return f"train {found.train}, predict {found.predict}, as {found.chosen} {does} in bfloat16 by its hardware"


def _cache(cache: Cache) -> str:
    if not cache.folder:
        return "none, as the user has no home"
    return f"{printable(cache.folder)}: {_bytes(cache.bytes)} in {counted(cache.files, 'file')}"


def _extra(extra: ExtraHere) -> str:
    there = ", ".join(f"{name} {version}" for name, version in extra.packages.items() if version)
    missing = ", ".join(name for name, version in extra.packages.items() if not version)
    if not missing:
        return f"{there} ({extra.purpose})"
    return f"{f'{there}; ' if there else ''}missing {missing}: {extra.command} ({extra.purpose})"


def _bytes(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e8 else f"{amount / 1e6:.1f} MB"
