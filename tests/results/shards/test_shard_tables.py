"""What is written of a shard says all that was found, and is read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, Segmentation, SemanticMap
from everymask.errors import DataError
from everymask.results.shards.pictures import FoundPicture, found_picture, objects_of
from everymask.results.shards.store import LocalStore
from everymask.results.shards.tables import table_of

LABELS = labels_of(["cat", "dög", "=3"])
SIZE = (5, 8)
DENSE = np.zeros((2, *SIZE), bool)
DENSE[0, 1:4, 2:6] = DENSE[1, 0:2, 0:3] = True


def objects() -> InstanceSet:
    boxes = np.array([[2, 1, 6, 4.1], [0, 0, 3, 2]], np.float32)
    return InstanceSet(boxes, np.array([2, 0]), np.array([0.1, 0.987654], np.float32), Masks.from_dense(DENSE))


def maps() -> SemanticMap:
    ids = np.full(SIZE, 255, np.uint8)
    ids[2:, :] = 1
    ids[0, :3] = 2
    return SemanticMap(ids)


def written() -> list[FoundPicture]:
    return [
        found_picture("a.png", SIZE, objects(), cut=True),
        found_picture("b/ü.png", SIZE, maps(), cut=False),
        found_picture("empty.png", SIZE, InstanceSet.empty(SIZE, scored=True), cut=False),
        found_picture("boxes.png", SIZE, InstanceSet(objects().boxes, np.array([1, 1])), cut=False),
        FoundPicture("bad.png", error="bad.png: the picture is damaged"),
    ]


@pytest.mark.parametrize("kind", ["coco", "parquet"])
def test_what_is_written_is_read(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow comes with everymask[ray]")
    store, table = LocalStore(tmp_path), table_of(kind)
    for name, data in table.encode(7, written(), LABELS, 71).items():
        store.write(name, data)
    for found, expected in zip(table.read(store, 7), written(), strict=True):
        assert (found.file, found.size, found.cut, found.error) == (
            expected.file, expected.size, expected.cut, expected.error,
        )  # fmt: skip
        for region, wanted in zip(found.regions, expected.regions, strict=True):
            assert (region.class_id, region.area, region.counts) == (wanted.class_id, wanted.area, wanted.counts)
            np.testing.assert_allclose(region.box, wanted.box, rtol=1e-6)
            assert (region.score is None) == (wanted.score is None)
            assert region.score is None or np.float32(region.score) == np.float32(wanted.score)


def test_parquet_has_the_columns_that_are_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow comes with everymask[ray]")
    import pyarrow.parquet as pq

    store = LocalStore(tmp_path)
    for shard in (0, 1):
        for name, data in table_of("parquet").encode(shard, written(), LABELS, 1).items():
            store.write(name, data)
    rows = pq.read_table(tmp_path / "predictions").to_pylist()
    assert len(rows) == 2 * 6
    assert list(rows[0]) == [
        "file", "object", "class", "class_id", "score", "x1", "y1", "x2", "y2", "area", "height", "width", "rle",
    ]  # fmt: skip
    assert (rows[0]["class"], rows[0]["area"], rows[2]["score"]) == ("=3", 12, None)
    lines = pq.read_table(tmp_path / "pictures").to_pylist()
    assert [line["error"] for line in lines[:5]] == [None] * 4 + ["bad.png: the picture is damaged"]
    assert [line["objects"] for line in lines[:5]] == [2, 2, 0, 2, 0]


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_coco_is_what_coco_reads(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    ((name, data),) = table_of("coco").encode(0, written()[:3], LABELS, 1).items()
    LocalStore(tmp_path).write(name, data)
    read = coco.COCO(str(tmp_path / name))
    assert len({entry["id"] for entry in json.loads(data)["annotations"]}) == 4
    np.testing.assert_array_equal(read.annToMask(read.loadAnns(read.getAnnIds(imgIds=1))[0]), DENSE[0])


def test_a_damaged_table_says_what_to_do(tmp_path: Path) -> None:
    for name in ("predictions/00000.json", "predictions/00001.json"):
        LocalStore(tmp_path).write(name, b'{"images": [{"id": 1}]')
    with pytest.raises(DataError, match=r"00000\.json is damaged[\s\S]*remove done/00000\.json"):
        table_of("coco").read(LocalStore(tmp_path), 0)
    with pytest.raises(DataError, match="gone"):
        table_of("coco").read(LocalStore(tmp_path), 2)


@pytest.mark.parametrize(
    "found",
    [
        objects(),
        maps(),
        InstanceSet.empty(SIZE, scored=True),
        SemanticMap(np.full(SIZE, 300, np.int32), ignore=65_535),
        PanopticMap(np.array(maps().ids % 255, np.int32), (Segment(1, 2, 0.5), Segment(2, 0, 0.25))),
    ],
    ids=["objects", "map", "nothing", "many classes", "panoptic"],
)
def test_regions_are_all_that_was_found(found: Segmentation) -> None:
    ignore = getattr(found, "ignore", 255)
    picture = FoundPicture.from_json(json.loads(json.dumps(found_picture("a", SIZE, found, cut=False).to_json())))
    back = type(found).from_regions(objects_of(picture.regions, SIZE), SIZE, ignore)
    if not isinstance(found, InstanceSet):
        np.testing.assert_array_equal(back.to_ids(), found.to_ids())
        assert getattr(back, "segments", ()) == getattr(found, "segments", ())
        return
    assert isinstance(back, InstanceSet)
    np.testing.assert_array_equal(back.class_ids, found.class_ids)
    np.testing.assert_array_equal(back.boxes, found.boxes)
    np.testing.assert_array_equal(back.scores, found.scores)
    assert back.masks is not None
    assert found.masks is not None
    assert back.masks.to_rle() == found.masks.to_rle()
