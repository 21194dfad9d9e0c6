"""The processor's name and the instructions by which arrays are calculated."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
# OpenCV's numbers for them (cv::CpuFeatures).
_VECTORS = {"AVX2": 11, "AVX-512": 13, "NEON": 100}


def processor_name() -> str:
    """As its maker calls it, `AMD EPYC 9654`; where the system does not say, its kind, or nothing."""
    with suppress(OSError):
        lines = _CPU_INFO.read_text("utf-8", "replace").splitlines()
        named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
        return named or platform.machine()
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.SubprocessError):
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return platform.processor()


def vector_instructions() -> tuple[str, ...]:
    """Which of AVX2, AVX-512 and NEON the processor has and the system lets programs use."""
    import cv2

    return tuple(name for name, number in _VECTORS.items() if cv2.checkHardwareSupport(number))
