"""Video files whose frames tell their numbers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

STEP = 7


def write_video(path: Path, count: int, size: tuple[int, int] = (32, 48), fourcc: str = "MJPG") -> Path:
    """Frames of (H, W), the n-th of which is n * 7 grey, at 10 a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 10, size[::-1])
    assert writer.isOpened()
    for frame in range(count):
        writer.write(np.full((*size, 3), frame * STEP, np.uint8))
    writer.release()
    return path


def number_of(frame: np.ndarray) -> int:
    """Which frame it is."""
    return round(float(frame.mean()) / STEP)
