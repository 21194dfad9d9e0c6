"""Several data sets in one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.conversion.merging import merge_datasets
from everymask.data.records import Annotation, BoxOnly, NotAnnotated, Objects
from everymask.errors import ConfigError, DataError
from tests.contracts.test_formats import make_fake
from tests.data.semantic_files import make_semantic


@pytest.fixture
def two(tmp_path):
    first = make_fake(tmp_path / "first")
    second = replace(make_fake(tmp_path / "second"), labels=labels_of(["cell", "yeast"]))
    for record in second.records:  # other pictures under the same names
        Image.fromarray(255 - np.asarray(Image.open(record.image))).save(record.image)
    return first, second


def test_classes_are_joined_by_name(two, tmp_path):
    merged = merge_datasets(two, tmp_path)
    assert merged.labels.names == ("cell", "Öl drop", "yeast")
    assert len(merged) == 8 and not merged.issues
    for part, rows in ((two[0], range(4)), (two[1], range(4, 8))):
        for row, record in zip(rows, part.records, strict=True):
            ours, theirs = merged.records[row], record
            assert ours.image == theirs.image
            assert [merged.labels.names[a.class_id] for a in ours.objects.annotations] == [
                part.labels.names[a.class_id] for a in theirs.objects.annotations
            ]
            assert merged.objects(row).masks.to_rle() == part.objects(rows.index(row)).masks.to_rle()


def test_pictures_of_one_name_are_told_apart(two, tmp_path):
    first, second = two
    extra = replace(first.records[0], id="only here")
    merged = merge_datasets([replace(first, records=(*first.records, extra)), second], tmp_path)
    assert [record.id for record in merged.records] == [
        *(f"first-p{number}" for number in range(4)), "only here", *(f"second-p{number}" for number in range(4)),
    ]  # fmt: skip
    # In folders of one name too, and where the new name is taken.
    taken = replace(first.records[0], id="first1-p0")
    same = [replace(first, records=(*first.records, taken)), replace(second, root=tmp_path / "x" / "first")]
    ids = [record.id for record in merge_datasets(same, tmp_path).records]
    assert len({name.casefold() for name in ids}) == 9 and {"first1-p0", "first1-p0-2", "first2-p0"} <= set(ids)


def test_equal_pictures_are_said_once_and_all_kept(two, tmp_path):
    first, _ = two
    again = replace(make_fake(tmp_path / "again"), labels=labels_of(["Cell"]))
    again = replace(again, records=tuple(replace(record, truth=Objects()) for record in again.records))
    merged = merge_datasets([first, again], tmp_path)
    assert len(merged) == 8
    assert [(issue.code, issue.message.split()[0]) for issue in merged.issues] == [
        ("same-picture", "4"), ("similar-classes", "the"),
    ]  # fmt: skip


def test_label_maps_that_store_classes_differently_are_written_anew(tmp_path):
    first = make_semantic(tmp_path / "first", labels_of(["sky", "water"]))
    second = make_semantic(tmp_path / "second", labels_of(["water", "land", "sky"]))
    merged = merge_datasets([first, second], tmp_path / "maps")
    assert merged.labels.names == ("sky", "water", "land")
    for rows, part in ((range(4), first), (range(4, 8), second)):
        for row in rows:
            names = np.array([*merged.labels.names, ""])[np.minimum(merged.label_map(row).ids, 3)]
            own = np.array([*part.labels.names, *[""] * 3])[np.minimum(part.label_map(row - rows[0]).ids, 3)]
            own[part.label_map(row - rows[0]).ids == 255] = ""
            assert (names == own).all()
            assert sum(merged.records[row].truth.pixels) == (names != "").sum()
    loose = replace(second, records=(*second.records, replace(second.records[0], id="loose", truth=NotAnnotated())))
    assert merge_datasets([first, loose], tmp_path / "loose").truth(8) is None
    alike = merge_datasets([first, first], tmp_path / "unused")
    assert alike.coding == first.coding and not (tmp_path / "unused").exists()


def test_painted_sets_are_painted_together(two, tmp_path):
    merged = merge_datasets([part.semantic() for part in two], tmp_path / "maps")
    assert merged.labels.names == ("background", "cell", "Öl drop", "yeast") and not (tmp_path / "maps").exists()
    for row in range(8):
        part = two[row // 4].semantic()
        names, own = (np.array(labels.names) for labels in (merged.labels, part.labels))
        assert (names[merged.label_map(row).ids] == own[part.label_map(row % 4).ids]).all()


def test_what_cannot_be_one_is_refused_with_a_way_out(two, tmp_path):
    first, second = two
    maps = make_semantic(tmp_path / "maps", labels_of(["sky", "water"]))
    with pytest.raises(ConfigError, match=r"(?s)first \(objects\) and .*maps \(label maps\).*--to-semantic"):
        merge_datasets([first, maps], tmp_path)
    bare = replace(second, records=tuple(replace(record, split=None) for record in second.records))
    with pytest.raises(ConfigError, match=r"(?s)has the splits train, val, and .*second none.*--split"):
        merge_datasets([first, bare], tmp_path)
    assert len(merge_datasets([first, bare], tmp_path, splits_follow=True)) == 8
    boxes = Objects((Annotation(0, BoxOnly(), (0.0, 0.0, 5.0, 5.0)),))
    boxed = replace(second, boxes_only=True, records=tuple(replace(record, truth=boxes) for record in second.records))
    with pytest.raises(DataError, match="second has boxes only, while others have masks"):
        merge_datasets([first, boxed], tmp_path)
