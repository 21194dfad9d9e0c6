"""Looks at this machine."""

from __future__ import annotations

import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.core.cache import cache_folder
from everymask.core.machine.cores import granted_cores, granted_memory, usable_cores
from everymask.core.machine.processor import processor_name, vector_instructions
from everymask.core.threads import ASLEEP, choose_waiting, waiting
from everymask.environment.extras import BASE, extras_here, version_of
from everymask.environment.facts import Cache, Environment, Memory, Processor
from everymask.models.fetching import is_offline

if TYPE_CHECKING:
    from everymask.environment.calculating import Calculating

_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "ATEN_CPU_CAPABILITY",
    "EVERYMASK_OFFLINE",
    "EVERYMASK_RANK_TIMEOUT",
    *ASLEEP,
)
_MOST_FILES = 100_000
_SHARED = Path("/dev/shm")


def environment() -> Environment:
    """Look at this machine; PyTorch is imported if it is there, as `everymask.load` and `everymask.train` do it.

    Nothing of the user but the names and values of a few variables is read, and the home folder is written `~`.

    >>> print(to_text(environment()))
    """
    settings = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
    choose_waiting()
    found: Calculating | None = None
    why = ""
    try:
        from everymask.environment.calculating import calculating

        found = calculating()
    except (ImportError, OSError) as error:  # a library of the system that is missing is an OSError
        why = str(error).splitlines()[0]
    extras = extras_here()
    return Environment(
        everymask=str(version_of("everymask")),
        versions={"python": platform.python_version(), **{name: version_of(name) for name in BASE}},
        extras=extras,
        system=_system(),
        processor=_processor(),
        memory=_memory(),
        waiting=waiting(),
        calculating=found,
        without_torch=why,
        nvidia=Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None,
        cache=_cache(),
        offline=is_offline(),
        settings=settings,
    )


def _system() -> str:
    said = platform.platform()
    with suppress(OSError, AttributeError):
        said = f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {said}"
    return said


def _processor() -> Processor:
    return Processor(
        name=processor_name(),
        kind=platform.machine(),
        vectors=vector_instructions(),
        cores=os.cpu_count() or 1,
        usable=len(usable_cores()),
        granted=granted_cores(),
    )


def _memory() -> Memory:
    total = available = shared = None
    with suppress(ImportError):
        import psutil

        of_all = psutil.virtual_memory()
        total, available = int(of_all.total), int(of_all.available)
    if total is None and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        shared = shutil.disk_usage(_SHARED).total
    return Memory(total, available, granted_memory(), shared)


def _cache() -> Cache:
    try:
        folder = cache_folder()
    except RuntimeError:
        return Cache("", 0, 0, writable=False)
    count = size = 0
    for place, _, names in os.walk(folder):
        for name in names[: _MOST_FILES - count]:
            with suppress(OSError):
                size += (Path(place) / name).lstat().st_size
                count += 1
        if count >= _MOST_FILES:
            break
    parent = next(each for each in (folder, *folder.parents) if each.exists())
    return Cache(short(folder), size, count, writable=os.access(parent, os.W_OK))


def short(folder: Path) -> str:
    """The path, which in the user's home begins with `~`: a report need not say who wrote it."""
    with suppress(RuntimeError, ValueError):
        return str("~" / folder.relative_to(Path.home()))
    return str(folder)
