"""What every format for label maps promises: written and read again, a data set is the same, and it is recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.commands.convert import Convert
from everymask.commands.options import Format
from everymask.commands.words import check_choices
from everymask.core.label_sets import ADE20K, CAMVID, CITYSCAPES
from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.table import FORMATS, find_formats, read_dataset, write_dataset
from everymask.errors import ConfigError, DataError
from tests.contracts.test_formats import make_fake
from tests.data.semantic_files import make_semantic

SEMANTIC = {known.name: known for known in FORMATS if known.task == "semantic"}
LABELS = {
    "camvid": CAMVID,
    "cityscapes": CITYSCAPES,
    "ade20k": ADE20K,
    "voc-semantic": labels_of(["background", "cell", "Öl drop"]),
    "image-masks": labels_of(["sky", "Öl drop", "a, b"]),
}
every_format = pytest.mark.parametrize("name", SEMANTIC)


def made(folder: Path, name: str, *, splits: bool = True) -> Dataset:
    labels = LABELS[name]
    if name == "image-masks":
        labels = labels_of(["sky", "Öl drop", "water"])
    return make_semantic(folder, labels, splits=splits, classes=min(19, len(labels)))


def assert_same(found: Dataset, expected: Dataset) -> None:
    assert found.labels.names == expected.labels.names
    assert found.splits() == expected.splits()
    rows = {record.id: row for row, record in enumerate(found.records)}
    assert sorted(rows) == sorted(record.id for record in expected.records)
    for index, record in enumerate(expected.records):
        row = rows[record.id]
        ids = found.label_map(row).ids
        assert ids.dtype == np.uint8
        assert (ids == expected.label_map(index).ids).all()
        assert found.records[row].truth.pixels == tuple((ids == name).sum() for name in range(len(found.labels)))
        assert found.records[row].image.read_bytes() == record.image.read_bytes()


def test_every_format_can_be_named_on_the_command_line():
    assert Format.names() == tuple(known.name for known in FORMATS)
    assert check_choices(Convert, ["--to", FORMATS[0].name]) is None
    with pytest.raises(ConfigError, match="did you mean coco"):
        check_choices(Convert, ["--to", "coko"])
    assert set(LABELS) == set(SEMANTIC)


@pytest.mark.parametrize(
    ("name", "splits"), [*((name, True) for name in SEMANTIC), ("voc-semantic", False), ("image-masks", False)]
)
def test_written_and_read_again_it_is_the_same(tmp_path, name, splits):
    expected = made(tmp_path, name, splits=splits)
    write_dataset(tmp_path / "out", expected, name)
    assert_same(SEMANTIC[name].read(tmp_path / "out"), expected)


@every_format
def test_written_twice_it_is_the_same(tmp_path, name):
    write_dataset(tmp_path / "a", made(tmp_path, name), name)
    write_dataset(tmp_path / "b", SEMANTIC[name].read(tmp_path / "a"), name)
    a, b = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert a == b


@every_format
def test_it_is_recognised_and_no_other_format_claims_it(tmp_path, name):
    write_dataset(tmp_path / "out", made(tmp_path, name), name)
    assert [found.name for found in find_formats(tmp_path / "out")] == [name]
    found = read_dataset(tmp_path / "out")
    assert (found.format, found.kind) == (name, "label maps")
    assert not [issue for issue in found.issues if issue.code != "class-absent"]


@every_format
def test_a_damaged_label_map_is_named_and_can_be_left_out(tmp_path, name):
    write_dataset(tmp_path / "out", made(tmp_path, name), name)
    victim = next(record.truth.file for record in SEMANTIC[name].read(tmp_path / "out").records if record.id == "p3")
    victim.write_bytes(victim.read_bytes()[:60])
    with pytest.raises(DataError, match=r"p3.*damaged"):
        SEMANTIC[name].read(tmp_path / "out")
    kept = SEMANTIC[name].read(tmp_path / "out", policy="skip")
    assert sorted(record.id for record in kept.records) == ["p0", "p1", "p2"]


@every_format
def test_b01_a_map_of_another_size_is_named(tmp_path, name):
    write_dataset(tmp_path / "out", made(tmp_path, name), name)
    victim = next(record.image for record in SEMANTIC[name].read(tmp_path / "out").records if record.id == "p3")
    Image.new("RGB", (9, 9)).save(victim)
    with pytest.raises(DataError, match=r"expected 9 x 9 pixels like the picture"):
        SEMANTIC[name].read(tmp_path / "out")


@every_format
def test_an_empty_folder_is_refused(tmp_path, name):
    assert not SEMANTIC[name].looks_like(tmp_path)
    assert not SEMANTIC[name].looks_like(tmp_path / "missing")
    with pytest.raises(DataError):
        SEMANTIC[name].read(tmp_path)


@pytest.mark.parametrize(
    "known", [known for known in FORMATS if known.task == "instance"], ids=lambda known: known.name
)
def test_label_maps_do_not_become_objects(tmp_path, known):
    with pytest.raises(ConfigError, match="holds objects"):
        write_dataset(tmp_path / "out", made(tmp_path, "image-masks"), known.name)
    write_dataset(tmp_path / "maps", made(tmp_path, "image-masks"), "image-masks")
    with pytest.raises(ConfigError, match="do not tell objects apart"):
        read_dataset(tmp_path / "maps", task="instance")


@pytest.mark.parametrize("name", ["image-masks", "voc-semantic", "camvid"])
def test_objects_become_label_maps(tmp_path, name):
    objects = make_fake(tmp_path / "in")
    write_dataset(tmp_path / "out", objects, name)
    found = read_dataset(tmp_path / "out", decode=True)
    assert found.labels.names == ("background", "cell", "Öl drop")
    assert_same(found, objects.semantic())
