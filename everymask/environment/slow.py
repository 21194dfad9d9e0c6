"""What is slow on this machine and why, and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from everymask.environment.facts import Environment, Processor

if TYPE_CHECKING:
    from everymask.environment.calculating import Calculating

_LITTLE_MEMORY = 2 << 30
_LITTLE_SHARED = 1 << 30


def slow(here: Environment) -> tuple[str, ...]:
    """A sentence for each thing that makes everymask slower here than elsewhere; none where there is nothing."""
    return (*_networks(here), *_machine(here), *_files(here))


def _networks(here: Environment) -> Iterator[str]:
    found = here.calculating
    if found is None:
        yield (
            f"without PyTorch ({here.without_torch}) networks are neither trained nor predicted; check, convert, "
            'methods without a network and exported models work: pip install "everymask[train]"'
        )
    elif found.chosen == "cpu":
        yield _why_processor(here, found)
        yield from _on_processor(here.processor, found)
        yield from _threads(here, found)
    else:
        for device in found.devices:
            if not device.bf16:
                yield (
                    f"{device.name} ({device.title}) does not calculate in bfloat16, as GPUs since Ampere do: "
                    "everything is calculated in float32"
                )
        if here.memory.shared is not None and here.memory.shared < _LITTLE_SHARED:
            yield (
                "there is little shared memory (/dev/shm), by which the processes that prepare pictures hand them "
                "over: docker run --shm-size 2g, or train --workers 0"
            )


def _why_processor(here: Environment, found: Calculating) -> str:
    if here.nvidia and found.cuda is None:
        return (
            "there is a GPU of NVIDIA's, but this PyTorch is built for processors: install one that is built for CUDA"
        )
    if here.nvidia:
        return (
            f"there is a driver of NVIDIA's, but PyTorch, built for CUDA {found.cuda}, finds no GPU: the driver is too "
            "old for it, or CUDA_VISIBLE_DEVICES hides the GPU (nvidia-smi shows both)"
        )
    if found.devices:
        names = ", ".join(device.name for device in found.devices)
        return f"networks are calculated on the processor unless --device names the GPU: {names}"
    return "there is no GPU, so that the processor calculates: everymask plan DATA --time 2h says what fits into a time"


def _on_processor(processor: Processor, found: Calculating) -> Iterator[str]:
    if not processor.vectors:
        yield "the processor has neither AVX2 nor NEON: PyTorch and OpenCV calculate number by number"
    elif "AVX2" in processor.vectors and found.kernels == "DEFAULT":
        yield "the processor has AVX2, but PyTorch does not use it: is ATEN_CPU_CAPABILITY set?"
    if not found.bf16:
        yield (
            "the processor does not calculate in bfloat16 (AVX512-BF16): everything is calculated in float32, which "
            "takes about twice as long (docs/benchmarks.md)"
        )
    elif found.matrix_units and found.threads > 1:
        yield (
            "threads that calculate gradients on matrix units (AMX) hold each other up where other programs use the "
            "cores too: then train with --gradient-threads half"
        )


def _threads(here: Environment, found: Calculating) -> Iterator[str]:
    processor = here.processor
    granted = processor.usable if processor.granted is None else min(processor.usable, processor.granted)
    if found.threads > max(1.0, granted):
        yield (
            f"PyTorch calculates with {found.threads} threads, but only {granted:g} cores are to be had, so that they "
            f"wait for each other: set OMP_NUM_THREADS={max(1, int(granted))}"
        )
    elif found.threads < int(granted):
        yield (
            f"PyTorch calculates with {found.threads} of {int(granted)} cores: set OMP_NUM_THREADS={int(granted)}, or "
            "leave it out, unless other programs are to have the rest"
        )
    match here.waiting:
        case "asleep":
            yield (
                "other programs were calculating just now, so that PyTorch's threads fall asleep between two pieces of "
                "work: small networks take up to twice as long as on a quiet machine"
            )
        case "as usual":
            yield (
                "PyTorch was imported before everymask chose how its threads wait: where other programs calculate they "
                "hold each other up; import torch after everymask.load or everymask.train"
            )
        case "awake" | "as given":
            pass


def _machine(here: Environment) -> Iterator[str]:
    processor, memory = here.processor, here.memory
    if processor.usable < processor.cores:
        yield f"this process may use {processor.usable} of the {processor.cores} cores"
    room = [amount for amount in (memory.available, memory.granted) if amount is not None]
    if room and min(room) < _LITTLE_MEMORY:
        yield "there is little memory: take a small network, and lower --size and --batch"


def _files(here: Environment) -> Iterator[str]:
    if here.offline:
        yield (
            "EVERYMASK_OFFLINE is set: weights that are not in the cache are not fetched, and training from random "
            "weights takes longer"
        )
    if not here.cache.writable:
        yield "the cache folder cannot be written, so that nothing is kept there: name another one in XDG_CACHE_HOME"
