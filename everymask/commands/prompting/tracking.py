"""`everymask predict --track`: where objects are pointed at in a video, and the frames in which they are followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymask.commands.prompting.answers import Prompting
from everymask.commands.prompting.files import Asked, Kind, by_path, read_prompts
from everymask.commands.sources import find_pictures
from everymask.core.files import in_order
from everymask.core.sample import Sample
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among, read_label_map
from everymask.data.strict.content import whole_number
from everymask.data.strict.csv_files import read_strict_csv
from everymask.data.video.file import is_video
from everymask.errors import ConfigError, DataError, counted, printable
from everymask.infer.prompted.frames import Frames, FramesOfPictures, open_frames

if TYPE_CHECKING:
    from everymask.infer.prompted.video import TrackedFrame, VideoSession


def frames_of(sources: Sequence[str]) -> Frames:
    """The video that the words on the command line mean: a video file, or pictures in the order of their numbers."""
    if not any(map(is_video, sources)):
        return open_frames(in_order(find_pictures(sources)))
    if len(sources) > 1:
        raise ConfigError(
            f"one video is followed at a time, but got {counted(len(sources), 'source')}", hint="name one of them"
        )
    return open_frames(sources[0])


def point(video: VideoSession, frames: Frames, asked: Prompting) -> None:
    """Point at the objects that a file asks for; `DataError` where it asks for what the video does not have."""
    if asked.masks is not None:
        _by_masks(video, frames, asked.masks)
        return
    kind: Kind = "points" if asked.boxes is None else "boxes"
    file = asked.points or asked.boxes
    assert file is not None
    for frame, objects in sorted(_by_frame(file, kind, frames).items()):
        for each, number in zip(objects, _numbers(objects, file), strict=True):
            given: dict[str, Any] = {} if each.box is None else {"box": each.box}
            given |= {"points": each.points, "labels": each.labels} if each.points else {}
            _ask(video, number, frame, file, given)


def followed(video: VideoSession, frames: Frames) -> Iterator[tuple[TrackedFrame, Sample]]:
    """All frames in their order: those before the first prompt, to which objects are followed backwards, and the rest.

    Of the former only the masks are kept, and pictures are read once more.
    """
    first = video.first
    earlier = [tracked.without_picture() for tracked in video.propagate(first, reverse=True) if tracked.frame < first]
    for tracked in reversed(earlier):
        yield tracked, frames.sample(tracked.frame)
    for tracked in video.propagate(first):
        yield tracked, tracked.result.sample


def _ask(video: VideoSession, number: int, frame: int, file: Path, given: dict[str, Any]) -> None:
    try:
        video.prompt(number, frame, **given)
    except ConfigError as error:
        raise DataError(
            f"{printable(file)}: object {number} in frame {frame}: {error.message}", hint=error.hint
        ) from error


def _by_frame(file: Path, kind: Kind, frames: Frames) -> dict[int, list[Asked]]:
    """What a CSV file asks for by the numbers of frames, which its column `frame` has, or `file` names."""
    rows = read_strict_csv(file, IssueLog())
    numbered = not rows or "frame" in rows[0][1] or not isinstance(frames, FramesOfPictures)
    asked = read_prompts(file, kind, "frame" if numbered else "file")
    if numbered:
        return {_number(text, "a frame", file): objects for text, objects in asked.items()}
    assert isinstance(frames, FramesOfPictures)
    pictures = [picture for picture in frames.pictures if isinstance(picture, Path)]
    places = {picture: frame for frame, picture in enumerate(pictures)}
    return {places[picture]: objects for picture, objects in by_path(asked, pictures, file).items()}


def _numbers(objects: Sequence[Asked], file: Path) -> list[int]:
    """What the objects of a frame are called: as the file says, else by their rows from 1."""
    return [_number(each.name, "an object", file) if each.name else row for row, each in enumerate(objects, start=1)]


def _number(text: str, what: str, file: Path) -> int:
    number = whole_number(text.strip())
    if number is None:
        raise DataError(f"{printable(file)}: expected the number of {what}, but found {printable(text)!r}")
    return number


def _by_masks(video: VideoSession, frames: Frames, path: Path) -> None:
    """Point at the objects that maps of numbers show, of the first frame or of those that they are called as."""
    if path.is_dir():
        maps = {_frame_called(file, frames): file for file in in_order(pictures_among(path.iterdir()))}
    else:
        maps = {0: path}
    if not maps:
        raise DataError(f"{printable(path)} has no masks", hint="give a PNG, or a folder of PNGs")
    for frame, file in sorted(maps.items()):
        ids = read_label_map(file)
        for number in np.unique(ids[ids > 0]).tolist():
            _ask(video, number, frame, file, {"mask": ids == number})
    if not video.objects:
        raise DataError(f"{printable(path)} shows no object: all of its pixels are 0")


def _frame_called(file: Path, frames: Frames) -> int:
    if isinstance(frames, FramesOfPictures):
        for frame, picture in enumerate(frames.pictures):
            if isinstance(picture, Path) and picture.stem == file.stem:
                return frame
        raise DataError(f"{printable(file)} is called as no frame", hint="call masks as the frames that they show")
    return _number(file.stem, "a frame", file)
