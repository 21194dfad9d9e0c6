"""Panoptic maps that were predicted, here or elsewhere: a COCO panoptic JSON and a PNG of segments for each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everymask.core.json.values import value_of
from everymask.core.labels import Labels
from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.panoptic import read_segments
from everymask.data.records import check_size
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable
from everymask.results.pairing import pair_names

TABLE, MAPS = "predictions.json", "panoptic"
_FORM = "COCO's panoptic form: images, categories, and annotations with file_name and segments_info"


@dataclass(frozen=True, slots=True)
class FoundSegments:
    """The map and the segments of each picture by its id."""

    source: Path
    labels: Labels
    pictures: Mapping[str, tuple[Path, tuple[Segment, ...]]]
    unknown: int
    masks: bool = True

    def of(self, id_: str, size: tuple[int, int]) -> PanopticMap:
        """The panoptic map of a picture of `size` (H, W); `DataError` where there is none, or one of another size."""
        if id_ not in self.pictures:
            raise DataError(
                f"{printable(self.source)}: there is no prediction for the picture {printable(id_)}",
                hint="predict it too, or choose the part of the data set that was predicted: --split val",
            )
        file, segments = self.pictures[id_]
        found = read_segments(file, segments)
        check_size(found.ids.shape, size, file, "panoptic map")
        return found


def read_panoptic(source: Path, dataset: Dataset) -> FoundSegments:
    """The predictions of a folder that `everymask predict` wrote, or of a COCO panoptic JSON file.

    The maps of a file lie in the folder that is called as the file, or beside it. `DataError` for a file of another
    form, and where no picture is one of the data set.
    """
    file = source / TABLE if source.is_dir() else source
    issues = IssueLog("strict")
    document = read_strict_json(file, issues)
    issues.finish(printable(file))
    try:
        labels, rows = _labels(document["categories"])
        names = {row["id"]: value_of(str, row["file_name"], "file_name") for row in document["images"]}
        maps = source / MAPS if source.is_dir() else file.with_suffix("")
        maps = maps if maps.is_dir() else file.parent
        found = {
            names[one["image_id"]]: (maps / value_of(str, one["file_name"], "file_name"), _segments(one, rows))
            for one in document["annotations"]
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{printable(file)}: expected {_FORM}, but {error!r} is amiss") from error
    paired = pair_names(found, dataset, file)
    pictures = {id_: found[name] for name, id_ in paired.items()}
    return FoundSegments(file, labels, pictures, len(found) - len(pictures))


def _labels(categories: Sequence[Mapping[str, Any]]) -> tuple[Labels, dict[int, int]]:
    """The classes in the order of their ids, and class id by category id."""
    ordered = sorted(categories, key=lambda row: int(row["id"]))
    things = frozenset(row for row, one in enumerate(ordered) if one.get("isthing", 1))
    return Labels(tuple(str(one["name"]) for one in ordered), things=things), {
        int(one["id"]): row for row, one in enumerate(ordered)
    }


def _segments(annotation: Mapping[str, Any], rows: Mapping[int, int]) -> tuple[Segment, ...]:
    return tuple(
        Segment(int(one["id"]), rows[one["category_id"]], None if one.get("score") is None else float(one["score"]))
        for one in annotation["segments_info"]
    )
