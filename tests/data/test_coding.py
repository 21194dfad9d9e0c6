"""The one mapping from what label files store to class ids, and the tables that give it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import Labels, labels_of
from everymask.data.coding import LabelCoding, numbers
from everymask.data.doctor.examine import check
from everymask.data.formats.labelmaps.tables import read_table, table_text
from everymask.data.issues import IssueLog
from everymask.errors import DataError
from tests.data.semantic_files import make_semantic

THREE = labels_of(["a", "b", "c"])
TABLE = ((0, 1), (7, 0), (300, 2), (70_000, None))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_numbers_of_every_width_become_class_ids(dtype):
    coding = LabelCoding("numbers", TABLE)
    stored = [value for value, _ in TABLE if value <= np.iinfo(dtype).max]
    expected = dict(TABLE)
    for ignore, kind in ((255, np.uint8), (7, np.uint8), (3, np.uint8), (4, np.uint8), (256, np.uint16)):
        ids = coding.apply(np.array([stored], dtype), replace(THREE, ignore=ignore))
        assert ids.dtype == kind
        assert ids[0].tolist() == [ignore if expected[value] is None else expected[value] for value in stored]
    with pytest.raises(
        DataError, match=r"x.png: 2 pixels hold 44, which stands for no class; the first is at x 2, y 1"
    ):
        coding.apply(np.array([[7, 7, 7], [0, 7, 44], [44, 7, 0]], dtype), THREE, "x.png")


def test_colours_become_class_ids():
    coding = LabelCoding("colours", ((0xFF0000, 0), (0x0000FF, 1), (0, None)))
    colours = np.array([[[255, 0, 0], [0, 0, 255], [0, 0, 0]]], np.uint8)
    assert coding.apply(colours, THREE).tolist() == [[0, 1, 255]]
    with pytest.raises(DataError, match="1 pixels hold #00ff00"):
        coding.apply(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8), THREE)


def test_a_coding_says_what_it_is():
    coding = numbers(2, "a table", void=(9, 255))
    said = coding.sentence(labels_of(["sky", "road"]))
    assert said == "label maps hold numbers (a table): 0 sky, 1 road; 9, 255 without truth"


@pytest.mark.parametrize("table", [(), ((0, 1), (0, 2)), ((0, 1), (0, None)), ((0, 65_535),), ((0, -1),)])
def test_a_mapping_that_is_none_is_refused(table):
    with pytest.raises(DataError):
        LabelCoding("numbers", table)


TABLES = {
    "names": ("classes.txt", "sky\nroad\n\ncar\n", [("sky", 0), ("road", 1), ("car", 2)]),
    "labelme": ("labels.txt", "__ignore__\n_background_\ncar\n", [("background", 0), ("car", 1)]),
    "numbered": ("labels.txt", "1 sky\n2: road\n7, car park\n", [("sky", 1), ("road", 2), ("car park", 7)]),
    "colours first": ("label_colors.txt", "64 128 64\tSky\n0,0,9 Void\n1 2 3 Car", [("Sky", 0), ("Car", 2)]),
    "colours last": ("labelmap.txt", "# label:rgb\nsky:1,2,3::\nroad:4,5,6:a:b\n", [("sky", 0), ("road", 1)]),
    "csv": ("class_dict.csv", "name,r,g,b\nSky,1,2,3\nVoid,0,0,0\n\"a, b\",4,5,6", [("Sky", 0), ("a, b", 2)]),
    "roboflow": ("_classes.csv", "Pixel Value, Class\n0, background\n3, cat", [("background", 0), ("cat", 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_classes(tmp_path, name):
    file, text, expected = TABLES[name]
    (tmp_path / file).write_text(text)
    issues = IssueLog()
    table = read_table(tmp_path / file, issues)
    assert not issues.issues
    assert [(row.name, row.number) for row in table.classes()] == expected
    assert table.coloured == ("colour" in name or name == "csv")
    assert table.labels().names == tuple(name for name, _ in expected)


@pytest.mark.parametrize(("file", "text", "where"), [
    ("classes.csv", "a,b\n1,2", "line 1"),
    ("classes.csv", "name,red,green,blue\nsky,1,2,3\nroad,1,2", "line 3"),
    ("classes.csv", "name,red,green,blue\nsky,1,2,300", "line 2"),
    ("classes.csv", "number,name\nx,sky", "line 2"),
    ("labelmap.txt", "sky:1,2,3::\nroad:4,5,6::\ncar", "line 3"),
    ("classes.csv", "", ""),
])  # fmt: skip
def test_bad_rows_are_named(tmp_path, file, text, where):
    (tmp_path / file).write_text(text)
    issues = IssueLog()
    assert read_table(tmp_path / file, issues) is None
    assert [(issue.code, issue.where) for issue in issues.issues] == [("class-table", where)]


def test_a_written_table_is_read_back(tmp_path):
    labels = Labels(("a, b", 'c "d"', "Öl"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    (tmp_path / "classes.csv").write_text(table_text(labels), encoding="utf-8")
    assert read_table(tmp_path / "classes.csv", IssueLog()).labels() == labels
    with pytest.raises(DataError, match="means something else"):
        table_text(labels_of(["void", "a"]))


def test_the_summary_says_what_is_stored_and_how_much_of_each_class(tmp_path):
    dataset = make_semantic(tmp_path, labels_of(["a", "b", "c"]))
    found = check(dataset)
    assert found.encoding == "label maps hold numbers (classes.csv): 0 a, 1 b, 2 c; 255, 65535 without truth"
    train = np.sum([record.truth.pixels for record in dataset.records if record.split == "train"], axis=0)
    assert found.shares["b"]["train"] == pytest.approx(train[1] / train.sum(), abs=1e-6)
    assert (found.pictures, found.empty, found.objects, found.classes) == (4, 0, 0, {})
    total = sum(record.size[0] * record.size[1] for record in dataset.records)
    assert found.no_truth == pytest.approx(4 * 21 / total, abs=1e-6)
