"""Video files, read frame by frame with OpenCV: a few frames are in memory at once, however long the video is."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.errors import DataError, printable

SUFFIXES = frozenset({".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"})
"""File endings, lower case, of what is taken for a video."""
_BACKWARDS = 1 << 26
"""Bytes of frames that are decoded at once where a video is read backwards."""


def is_video(path: str | Path) -> bool:
    """Whether the file is a video by its ending."""
    return Path(path).suffix.lower() in SUFFIXES


class VideoFile:
    """The frames of a video file, RGB [H, W, 3] uint8, by their numbers from 0.

    Opening it goes through the file once without decoding pictures, so that the number of frames and when each is shown
    are exact, also where they come at varying times. Frames one behind the other are read as they come; backwards, and
    after a jump, it is looked for a place that the file can be entered at.

    `DataError` where the file is no video that OpenCV reads, or has no frames.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._capture: Any = None
        self._next = 0
        self._kept: OrderedDict[int, Array] = OrderedDict()
        self.times: FloatArray = self._scanned()

    def __len__(self) -> int:
        return len(self.times)

    def read(self, frame: int) -> Array:
        """The frame of that number; `DataError` where it cannot be decoded."""
        if frame not in self._kept:
            first = frame
            if frame == self._next - 1 - len(self._kept) and self._kept:  # the one before those that were read last
                size = next(iter(self._kept.values())).nbytes
                first = max(0, frame + 1 - max(1, _BACKWARDS // size))
            self._go(first)
            self._kept = OrderedDict((number, self._decoded(number)) for number in range(first, frame + 1))
        return self._kept[frame]

    def close(self) -> None:
        """Let go of the file; it is opened again where it is needed."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _scanned(self) -> FloatArray:
        """When each frame is shown, in seconds."""
        capture, times = self._opened(), []
        while capture.grab():
            times.append(self._time())
        self.close()
        if not times:
            raise DataError(f"{printable(self.path)}: the video has no frame that can be read")
        return np.array(times)

    def _opened(self) -> Any:
        """A new reader, which stands at the first frame."""
        import cv2

        self.close()
        if not self.path.is_file():
            raise DataError(f"{printable(self.path)} does not exist", hint="give a video file")
        self._capture, self._next = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG), 0
        if not self._capture.isOpened():
            raise DataError(
                f"{printable(self.path)} is no video that OpenCV can read",
                hint="write it anew (ffmpeg -i FILE video.mp4), or its frames as pictures (ffmpeg -i FILE %06d.png)",
            )
        return self._capture

    def _time(self) -> float:
        """When the frame that was read last is shown."""
        import cv2

        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _go(self, frame: int) -> None:
        """Stand before a frame."""
        import cv2

        if self._capture is None or frame < self._next:
            self._opened()
            # What the file says of its frames' numbers may be wrong; when they are shown tells.
            if frame and self._capture.set(cv2.CAP_PROP_POS_FRAMES, frame - 1) and self._capture.grab():
                self._next = frame
                if self._time() == self.times[frame - 1]:
                    return
                self._opened()
        while self._next < frame:
            if not self._capture.grab():
                raise self._broken(self._next)
            self._next += 1

    def _decoded(self, frame: int) -> Array:
        import cv2

        there, pixels = self._capture.read()
        if not there:
            raise self._broken(frame)
        self._next += 1
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    def _broken(self, frame: int) -> DataError:
        return DataError(f"{printable(self.path)}: frame {frame} cannot be decoded", hint="write the video anew")
