"""The tables of a finished shard: Parquet, which data bases and pandas read as one table, or COCO's JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from everymask.core.labels import Labels
from everymask.errors import DataError, MissingExtra, printable, require
from everymask.results.shards.pictures import FoundPicture, Region
from everymask.results.shards.store import Store

TableKind: TypeAlias = Literal["parquet", "coco"]
Files: TypeAlias = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Table:
    """How a shard is stored: `encode` gives its files by their names, and `read` reads them back.

    `first` is the number of the shard's first picture, counted from 1 over all shards.
    """

    encode: Callable[[int, Sequence[FoundPicture], Labels, int], Files]
    read: Callable[[Store, int], list[FoundPicture]]


def table_of(kind: str) -> Table:
    """The table of a kind; `MissingExtra` where Parquet's package is missing."""
    if kind == "parquet":
        try:
            require("pyarrow", "ray")
        except MissingExtra as error:
            error.hint = "or store tables as COCO's JSON: --table coco"
            raise
        return Table(_encode_parquet, _read_parquet)
    return Table(_encode_coco, _read_coco)


def _encode_parquet(shard: int, pictures: Sequence[FoundPicture], labels: Labels, first: int) -> Files:
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    kinds = [
        ("file", word), ("object", pa.int32()), ("class", word), ("class_id", pa.int32()), ("score", pa.float32()),
        ("x1", pa.float32()), ("y1", pa.float32()), ("x2", pa.float32()), ("y2", pa.float32()), ("area", pa.int64()),
        ("height", pa.int32()), ("width", pa.int32()), ("rle", pa.string()),
    ]  # fmt: skip
    rows = [
        (
            *(_utf8(picture.file), number, _utf8(labels.names[r.class_id]), r.class_id, r.score),
            *(*r.box, r.area, *picture.size, r.counts),
        )
        for picture in pictures
        for number, r in enumerate(picture.regions, start=1)
    ]
    about = [
        ("file", pa.string()), ("height", pa.int32()), ("width", pa.int32()), ("objects", pa.int32()),
        ("cut", pa.bool_()), ("error", pa.string()),
    ]  # fmt: skip
    lines = [
        (_utf8(each.file), each.size[0], each.size[1], len(each.regions), each.cut, _utf8(each.error) or None)
        for each in pictures
    ]
    return {
        f"predictions/{shard:05}.parquet": _parquet(kinds, rows),
        f"pictures/{shard:05}.parquet": _parquet(about, lines),
    }


def _parquet(kinds: Sequence[tuple[str, Any]], rows: Sequence[tuple[Any, ...]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*rows, strict=True) if rows else ([] for _ in kinds)
    arrays = [pa.array(column, kind) for column, (_, kind) in zip(columns, kinds, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(list(kinds))), buffer, compression="zstd")
    return buffer.getvalue()


def _read_parquet(store: Store, shard: int) -> list[FoundPicture]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        lines = pq.read_table(pa.BufferReader(_bytes(store, f"pictures/{shard:05}.parquet"))).to_pylist()
        rows = pq.read_table(pa.BufferReader(_bytes(store, f"predictions/{shard:05}.parquet"))).to_pylist()
        regions: dict[str, list[Region]] = {line["file"]: [] for line in lines}
        for row in rows:
            box = (row["x1"], row["y1"], row["x2"], row["y2"])
            regions[row["file"]].append(Region(row["class_id"], row["score"], box, row["area"], row["rle"]))
        return [
            FoundPicture(
                line["file"],
                (line["height"], line["width"]),
                tuple(regions[line["file"]]),
                line["cut"],
                line["error"] or "",
            )
            for line in lines
        ]
    except (pa.ArrowException, KeyError) as error:
        raise _damaged(store, f"predictions/{shard:05}.parquet", error) from error


def _encode_coco(shard: int, pictures: Sequence[FoundPicture], labels: Labels, first: int) -> Files:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    failed = [{"file_name": each.file, "error": each.error} for each in pictures if each.error]
    for number, picture in enumerate(pictures, start=first):
        if picture.error:
            continue
        height, width = picture.size
        image = {"id": number, "file_name": picture.file, "height": height, "width": width}
        images.append({**image, "cut": True} if picture.cut else image)
        for row, region in enumerate(picture.regions):
            x1, y1, x2, y2 = region.box
            entry: dict[str, Any] = {"id": number * 1_000_000 + row, "image_id": number}
            entry |= {"category_id": region.class_id + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": region.area}
            entry |= {"iscrowd": 0} if region.score is None else {"score": region.score, "iscrowd": 0}
            if region.counts is not None:
                entry["segmentation"] = {"size": [height, width], "counts": region.counts}
            annotations.append(entry)
    categories = [{"id": row, "name": name} for row, name in enumerate(labels.names, start=1)]
    document = {"images": images, "categories": categories, "annotations": annotations, "failed": failed}
    return {f"predictions/{shard:05}.json": json.dumps(document, allow_nan=False, separators=(",", ":")).encode()}


def _read_coco(store: Store, shard: int) -> list[FoundPicture]:
    name = f"predictions/{shard:05}.json"
    try:
        document = json.loads(_bytes(store, name))
        regions: dict[int, list[Region]] = {image["id"]: [] for image in document["images"]}
        for entry in document["annotations"]:
            x, y, width, height = entry["bbox"]
            box, counts = (x, y, x + width, y + height), entry.get("segmentation", {}).get("counts")
            region = Region(entry["category_id"] - 1, entry.get("score"), box, entry["area"], counts)
            regions[entry["image_id"]].append(region)
        found = [
            FoundPicture(
                image["file_name"],
                (image["height"], image["width"]),
                tuple(regions[image["id"]]),
                image.get("cut", False),
            )
            for image in document["images"]
        ]
        return found + [FoundPicture(each["file_name"], error=each["error"]) for each in document["failed"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(store, name, error) from error


def _bytes(store: Store, name: str) -> bytes:
    data = store.read(name)
    if data is None:
        raise _damaged(store, name, "it is gone")
    return data


def _damaged(store: Store, name: str, error: object) -> DataError:
    return DataError(
        f"{printable(store.place)}/{name} is damaged: {printable(error)}",
        hint=f"remove done/{name.partition('/')[2].partition('.')[0]}.json, and predict it again with --resume",
    )


def _utf8(text: str) -> str:
    """The text with what UTF-8 cannot hold (bytes of a file name in another encoding) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
