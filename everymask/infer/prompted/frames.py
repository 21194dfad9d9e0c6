"""Whatever a video comes as: frames by their numbers, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from everymask.core.arrays import Array
from everymask.core.files import in_order
from everymask.core.sample import Sample
from everymask.data.pictures.read import pictures_among
from everymask.data.video.file import VideoFile, is_video
from everymask.errors import ConfigError, DataError, printable
from everymask.infer.sources import Source, as_sample

VideoSource: TypeAlias = "str | Path | Sequence[Source] | Array | Frames"


class Frames(Protocol):
    """The frames of a video."""

    def __len__(self) -> int:
        """How many there are."""

    def sample(self, frame: int) -> Sample:
        """The picture of a frame, whose id names it; `DataError` where it cannot be read."""

    def seconds(self, frame: int) -> float | None:
        """When it is shown; None where that is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class FramesOfFile:
    """Those of a video file, called by their numbers in six digits."""

    file: VideoFile

    def __len__(self) -> int:
        return len(self.file)

    def sample(self, frame: int) -> Sample:
        """As the protocol says."""
        return Sample(self.file.read(frame), id=f"{frame:06d}")

    def seconds(self, frame: int) -> float | None:
        """As the protocol says."""
        return float(self.file.times[frame])


@dataclass(frozen=True, slots=True, eq=False)
class FramesOfPictures:
    """Pictures in their order; those without a file are called by their numbers."""

    pictures: Sequence[Source]

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, frame: int) -> Sample:
        """As the protocol says."""
        name = f"{frame:06d}"
        sample = as_sample(self.pictures[frame], name)
        return sample if sample.id else replace(sample, id=name)

    def seconds(self, frame: int) -> float | None:
        """Pictures do not say when they were."""
        return None


def open_frames(source: VideoSource) -> Frames:
    """A video file, a folder of pictures (ordered by the numbers in their names), a list of pictures, an array
    [T, H, W, C], or frames that are open already.

    `DataError` where there are no frames, or the file is no video.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
            return _of_pictures(in_order(pictures_among(files)), path)
        if path.exists() and not is_video(path):
            raise DataError(
                f"{printable(path)} is neither a video nor a folder of frames",
                hint="give a video such as clip.mp4, a folder of pictures, or a list of pictures",
            )
        return FramesOfFile(VideoFile(path))
    if isinstance(source, np.ndarray):
        if source.ndim != 4:
            raise ConfigError(f"an array of frames must be [T, H, W, C], but got {list(source.shape)}")
        return _of_pictures(list(source), "the array")
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview):
        return _of_pictures(source, "the list")
    if isinstance(source, FramesOfFile | FramesOfPictures):
        return source
    raise ConfigError(
        f"a video must be a file, a folder, a list of pictures or [T, H, W, C], but got {type(source).__name__}"
    )


def _of_pictures(pictures: Sequence[Source], where: object) -> FramesOfPictures:
    if not pictures:
        raise DataError(f"{printable(where)} has no frames")
    return FramesOfPictures(pictures)
