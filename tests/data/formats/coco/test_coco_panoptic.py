"""COCO panoptic: read as it is published, and every disagreement of the JSON, the PNG and the picture named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.conversion.losses import compare
from everymask.data.conversion.writing import write_measured
from everymask.data.formats.coco.panoptic import read_coco_panoptic
from everymask.data.formats.coco.panoptic_writing import write_coco_panoptic, write_segments
from everymask.data.formats.table import find_formats, read_dataset, write_dataset
from everymask.data.panoptic import colours_of, read_numbers
from everymask.data.records import PanopticFile
from everymask.errors import ConfigError, DataError
from tests.data.panoptic_files import ids_of, make_panoptic


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """One split in files, to be spoiled: panoptic.json, panoptic/ and images/."""
    write_coco_panoptic(tmp_path / "out", make_panoptic(tmp_path / "in", splits=False))
    return tmp_path / "out"


def changed(root: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    file = root / "annotations" / "panoptic.json"
    document = json.loads(file.read_text("utf-8"))
    change(document)
    file.write_text(json.dumps(document), "utf-8")
    return root


def test_the_official_sample(shared: Path) -> None:
    for path in (shared / "panoptic" / "panoptic.json",):
        found = read_dataset(path, decode=True)
        assert (found.format, found.kind, found.issues) == ("coco-panoptic", "panoptic", ())
        assert (len(found), len(found.labels), len(found.labels.things)) == (2, 133, 80)
        assert [len(record.truth.segments) for record in found.records] == [18, 32]
        assert found.labels.colours[0] == (220, 20, 60)
        truth = found.panoptic_map(0)
        assert truth.areas()[3937500] == 3528


@pytest.mark.parametrize("splits", [True, False])
def test_written_and_read_again_it_is_the_same(tmp_path: Path, splits: bool) -> None:
    made = make_panoptic(tmp_path / "in", splits=splits)
    write_dataset(tmp_path / "out", made, "coco-panoptic")
    assert [known.name for known in find_formats(tmp_path / "out")] == ["coco-panoptic"]
    found = read_dataset(tmp_path / "out")
    assert (found.labels, found.splits(), found.issues) == (made.labels, made.splits(), ())
    rows = {record.id: row for row, record in enumerate(found.records)}
    for row, record in enumerate(made.records):
        ours, theirs = made.panoptic_map(row), found.panoptic_map(rows[record.id])
        assert np.array_equal(ours.ids, theirs.ids) and set(ours.segments) == set(theirs.segments)


def test_written_twice_it_is_the_same(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", make_panoptic(tmp_path / "in"), "coco-panoptic")
    write_dataset(tmp_path / "b", read_dataset(tmp_path / "a"), "coco-panoptic")
    a, b = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert a == b and len(a) == 2 + 4 + 4


def test_folders_as_coco_has_them(tmp_path: Path) -> None:
    """annotations/panoptic_val2017.json, the maps beside it and the pictures in val2017/, all under the same names."""
    write_coco_panoptic(tmp_path, make_panoptic(tmp_path / "in", splits=False))
    (tmp_path / "images").rename(tmp_path / "val2017")
    (tmp_path / "annotations" / "panoptic").rename(tmp_path / "annotations" / "panoptic_val2017")
    (tmp_path / "annotations" / "panoptic.json").rename(tmp_path / "annotations" / "panoptic_val2017.json")
    found = read_dataset(tmp_path)
    assert {record.image.parent.name for record in found.records} == {"val2017"}
    assert {record.truth.file.parent.name for record in found.records} == {"panoptic_val2017"}
    assert np.array_equal(found.panoptic_map(0).ids, ids_of(0))


def test_what_conversion_loses_is_told_by_segment(tmp_path: Path) -> None:
    made = make_panoptic(tmp_path / "in")
    watch = lambda what: __import__("contextlib").nullcontext(lambda done, total: None)  # noqa: E731
    losses = write_measured(tmp_path / "out", made, "coco-panoptic", watch)
    assert losses.is_whole and losses.compared == losses.exact == 12
    other = tmp_path / "other.png"
    write_segments(other, PanopticMap(np.where(ids_of(0) == 7, 0, ids_of(0)), made.records[0].truth.segments[1:]), "")
    truth = PanopticFile(other, made.records[0].truth.segments[1:])
    lossy = replace(made, records=(replace(made.records[0], truth=truth), *made.records[1:]))
    found = compare(made, lossy)
    assert (found.compared, found.exact, dict(found.reasons)) == (12, 11, {"objects are left out": 1})


def test_only_panoptic_truth_is_written(tmp_path: Path) -> None:
    made = make_panoptic(tmp_path / "in")
    with pytest.raises(ConfigError, match="panoptic"):
        write_dataset(tmp_path / "out", made.for_task("instance"), "coco-panoptic")
    wide = replace(made.panoptic_map(0), segments=(Segment(1 << 24, 0),))
    with pytest.raises(DataError, match=r"a\.png: segments are numbered 1 to 16,777,215, but one is 16777216"):
        write_segments(tmp_path / "x.png", wide, "a.png")
    with pytest.raises(DataError, match="colours hold the numbers"):
        colours_of(np.array([[1 << 24]]))


def segment(document: dict[str, Any], row: int = 1) -> dict[str, Any]:
    return document["annotations"][0]["segments_info"][row]


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        (lambda d: d["annotations"][0]["segments_info"].pop(1), "unlisted-segment", "segment 300"),
        (lambda d: segment(d).update(id=301), "missing-segment", "/annotations/0/segments_info/1/id"),
        (lambda d: segment(d).update(id=7), "repeated-segment", "/annotations/0/segments_info/1/id"),
        (lambda d: segment(d).update(id=0), "segment-id", "/annotations/0/segments_info/1/id"),
        (lambda d: segment(d).update(id=1 << 24), "segment-id", "/annotations/0/segments_info/1/id"),
        (lambda d: segment(d).update(category_id=99), "unknown-category", "/annotations/0/segments_info/1/category_id"),
        (lambda d: segment(d).update(iscrowd=2), "crowd", "/annotations/0/segments_info/1/iscrowd"),
        (lambda d: d["annotations"][0].update(image_id=99), "unknown-image", "/annotations/0/image_id"),
        (lambda d: d["annotations"][1].update(image_id=1), "repeated-picture", "/annotations/1/image_id"),
        (lambda d: d["annotations"][0].update(file_name="x.png"), "picture-missing", "/annotations/0/file_name"),
        (lambda d: d["annotations"][0].update(segments_info=3), "segments", "/annotations/0/segments_info"),
        (lambda d: d["categories"][1].pop("isthing"), "isthing", "/categories/1/isthing"),
        (lambda d: d["categories"][1].update(name="car"), "repeated-class", "/categories/1/name"),
        (lambda d: d["images"][0].update(width=99), "picture-size", "panoptic.json:/images/0"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_defect_is_named_with_its_place(
    written: Path, change: Callable[[Any], object], code: str, where: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_coco_panoptic(changed(written, change))
    issues = [issue for issue in caught.value.issues if issue.code == code]
    assert issues and issues[0].where.endswith(where), caught.value.issues
    assert Path(issues[0].file).name in ("panoptic.json", "p0.png")
    kept = read_coco_panoptic(written, policy="skip")
    assert len(kept) == {"isthing": 4, "repeated-class": 0}.get(code, 3)
    for row in range(len(kept)):
        kept.panoptic_map(row)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        (lambda d: segment(d).update(area=3), "area", "/annotations/0/segments_info/1/area"),
        (
            lambda d: d["categories"][1].update(isthing=0) or segment(d).update(category_id=3),
            "split-stuff",
            "/2/category_id",
        ),
        (lambda d: d["categories"][1].update(color=[1, 2, 3]), "repeated-colour", "/categories"),
        (lambda d: d["annotations"].pop(0), "unlabelled", ""),
    ],
    ids=["area", "split-stuff", "repeated-colour", "unlabelled"],
)
def test_an_oddity_is_counted(written: Path, change: Callable[[Any], object], code: str, where: str) -> None:
    found = read_coco_panoptic(changed(written, change))
    (issue,) = (issue for issue in found.issues if issue.code == code)
    assert issue.severity == "warning" and issue.where.endswith(where)
    assert len(found) == 4 - (code == "unlabelled")


def spoiled(file: Path, kind: str) -> None:
    ids = read_numbers(file)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-40])
    elif kind == "grey":
        Image.fromarray((ids % 250).astype(np.uint8)).save(file)
    elif kind == "size":
        Image.fromarray(colours_of(ids[:-1])).save(file)
    elif kind == "sixteen bits":
        Image.fromarray(ids.astype(np.uint16)).save(file)
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "lossy":
        Image.fromarray(colours_of(ids)).save(file, "JPEG")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "damaged|cut short"),
        ("grey", "expected colours of 3 x 8 bits"),
        ("sixteen bits", "expected colours of 3 x 8 bits"),
        ("size", "expected 16 x 12 pixels like the picture"),
        ("empty", "empty"),
        ("lossy", "lossless"),
    ],
)
def test_a_map_that_is_none_is_named(written: Path, kind: str, said: str) -> None:
    spoiled(written / "annotations" / "panoptic" / "p3.png", kind)
    with pytest.raises(DataError, match=rf"p3.png(.|\n)*({said})") as caught:
        read_coco_panoptic(written)
    assert caught.value.total == 1
    assert sorted(record.id for record in read_coco_panoptic(written, policy="skip").records) == ["p0", "p1", "p2"]


def test_palettes_count_by_their_colours(written: Path) -> None:
    file = written / "annotations" / "panoptic" / "p3.png"
    colours = colours_of(read_numbers(file))
    Image.fromarray(colours).quantize(16).save(file)
    found = read_coco_panoptic(written)
    assert [issue.code for issue in found.issues] == ["panoptic-palette"]
    assert np.array_equal(found.panoptic_map(3).ids, ids_of(3))


def test_without_decoding_a_defect_is_found_when_the_map_is_read(written: Path) -> None:
    changed(written, lambda d: d["annotations"][0]["segments_info"].pop(1))
    found = read_coco_panoptic(written, decode=False)
    with pytest.raises(DataError, match="12 pixels belong to segment 300, which is not listed"):
        found.panoptic_map(0)


def test_files_of_other_categories_are_not_joined(tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path, make_panoptic(tmp_path / "in"))
    file = tmp_path / "annotations" / "panoptic_val.json"
    document = json.loads(file.read_text("utf-8"))
    document["categories"][0]["name"] = "lorry"
    file.write_text(json.dumps(document), "utf-8")
    with pytest.raises(DataError, match=r"the categories are not those of panoptic_train\.json"):
        read_coco_panoptic(tmp_path)


def test_maps_without_their_json_are_named(written: Path) -> None:
    (written / "annotations" / "panoptic.json").unlink()
    with pytest.raises(DataError) as caught:
        read_dataset(written)
    assert caught.value.hint.startswith("annotations/panoptic looks like panoptic maps: put panoptic.json")


def test_maps_in_a_folder_of_masks_without_their_json_are_guessed(tmp_path: Path) -> None:
    made = make_panoptic(tmp_path / "source")
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for record in made.records:
        shutil.copy(record.image, tmp_path / "data" / "images" / record.image.name)
        shutil.copy(record.truth.files[0], tmp_path / "data" / "masks" / record.image.name)
    with pytest.raises(DataError, match="if these are panoptic maps, put their JSON"):
        read_dataset(tmp_path / "data")


def test_a_file_with_only_the_maps_missing_names_each(written: Path) -> None:
    for file in (written / "annotations" / "panoptic").iterdir():
        file.unlink()
    with pytest.raises(DataError) as caught:
        read_coco_panoptic(written)
    assert [issue.where for issue in caught.value.issues] == [f"/annotations/{row}/file_name" for row in range(4)]
