"""CVAT for video: tracks, each a shape on every frame in which its object is seen.

CVAT writes a track's shape on every frame, those between keyframes interpolated; from a frame with `outside="1"` on
until the next with `outside="0"` the object is not in the picture. Frames are matched to pictures by the number at the
end of their names (`frame_000013.png`), or where none agrees and there are as many, by their order.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

from everymask.data.formats.coco.objects import Place
from everymask.data.formats.cvat.elements import Marked, read_element
from everymask.data.formats.drawn.pictures import Pictures
from everymask.data.formats.drawn.reading import Listed, split_name
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.issues import IssueLog

_MOST_FRAMES = 1_000_000


def track_pictures(
    root: Element, file: Path, pictures: Pictures, split: str | None, issues: IssueLog
) -> Iterator[Listed]:
    """The frames of a video that have a picture, with what the tracks show on each."""
    shown: dict[int, list[Marked]] = {}
    subsets = {track.get("subset") for track in root.iterfind("track")} - {None}
    frames = _frames(root)
    for number, track in enumerate(root.iterfind("track"), 1):
        seen = list(_shapes(track, f"track[{number}]", file, issues))
        for frame, outside, marked in seen:
            if not outside:
                shown.setdefault(frame, []).append(marked)
        _report_gaps([(frame, outside) for frame, outside, _ in seen], frames, f"track[{number}]", file, issues)
    frames = frames or sorted(shown)
    places = _places(frames, pictures)
    if frames and not places:
        message = "found no picture of the video's frames"
        hint = "save its frames as frame_000000.png, frame_000001.png, ... in a folder images/ beside the file"
        issues.error("frames-missing", message, file=file, value=f"frames {frames[0]} to {frames[-1]}", hint=hint)
        return
    size = _size(root)
    named = split_name(subsets.pop() or "") if len(subsets) == 1 else None
    for frame in sorted({*frames, *shown}):
        where = f"frame {frame}"
        if frame in places:
            draw = partial(_draw, shown.get(frame, []))
            yield Listed(places[frame], file, where, draw, size, named or split)
        elif frame in shown:
            message = "there is no picture of a frame that shows objects"
            issues.error("picture-missing", message, file=file, where=where, hint=f"save it as frame_{frame:06}.png")


def _draw(shown: Iterable[Marked], place: Place) -> Iterator[Drawn]:
    for marked in shown:
        drawn = read_element(marked, place)
        if drawn is not None:
            yield drawn


def _shapes(track: Element, where: str, file: Path, issues: IssueLog) -> Iterator[tuple[int, bool, Marked]]:
    for index, element in enumerate(track, 1):
        if element.tag == "attribute":
            continue
        field = f"{where}/{element.tag}[{index}]"
        frame, outside = element.get("frame", ""), element.get("outside", "0").strip()
        if not (frame.isascii() and frame.isdigit() and len(frame) < 8):
            issues.error("frame", "expected the number of a frame", file=file, where=f"{field}/@frame", value=frame)
        elif outside not in ("0", "1"):
            issues.error("outside", "expected 0 or 1", file=file, where=f"{field}/@outside", value=outside)
        else:
            yield int(frame), outside == "1", Marked(element, f": {field}", track.get("label") or "")


def _frames(root: Element) -> list[int]:
    """The frames of the task, by its first, its last and its step; empty where the file does not say."""
    found = [next(root.iterfind(f"meta//{name}"), None) for name in ("start_frame", "stop_frame", "frame_filter")]
    texts = [(element.text or "").strip() if element is not None else "" for element in found]
    step = re.fullmatch(r"step\s*=\s*([1-9]\d{0,6})", texts[2])
    if not all(re.fullmatch(r"\d{1,7}", text) for text in texts[:2]):
        return []
    return list(range(int(texts[0]), min(int(texts[1]) + 1, _MOST_FRAMES), int(step[1]) if step else 1))


def _places(frames: Sequence[int], pictures: Pictures) -> dict[int, Path]:
    """The picture of each frame that has one."""
    numbered: dict[int, Path] = {}
    listed = sorted(pictures)
    for picture in listed:
        found = re.search(r"(\d{1,9})$", picture.stem)
        if found:
            numbered.setdefault(int(found[1]), picture)
    places = {frame: numbered[frame] for frame in frames if frame in numbered}
    if not places and len(listed) == len(frames):
        return dict(zip(frames, listed, strict=True))
    return places


def _size(root: Element) -> tuple[int, int] | None:
    texts = [root.findtext(f".//original_size/{side}", "").strip() for side in ("height", "width")]
    if not all(re.fullmatch(r"[1-9]\d{0,6}", text) for text in texts):
        return None
    return int(texts[0]), int(texts[1])


def _report_gaps(
    seen: Sequence[tuple[int, bool]], frames: Sequence[int], where: str, file: Path, issues: IssueLog
) -> None:
    """Note frames on which the object is seen, as the frames around say, but has no shape."""
    ordered = sorted(seen)
    for (before, outside), (after, _) in pairwise(ordered):
        missing = [] if outside else frames[bisect_right(frames, before) : bisect_left(frames, after)]
        if missing:
            message = f"the object has no shape on {len(missing)} frames between two on which it is seen"
            hint = "export from CVAT, which writes the interpolated frames too, or end the track with outside=1"
            value = f"frames {missing[0]} to {missing[-1]}"
            issues.error("track-gap", message, file=file, where=where, value=value, hint=hint)
    if ordered and not ordered[-1][1] and frames and frames[-1] > ordered[-1][0]:
        message = "{count} tracks stop before the last frame without outside=1; they end with their last shape"
        issues.warn_shared("track-end", message, file=file)
