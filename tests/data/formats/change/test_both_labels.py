"""Labels of both dates: what was there and what is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.segmentation import ChangeMap
from everymask.data.conversion.classes import change_classes
from everymask.data.conversion.losses import compare
from everymask.data.conversion.staging import staged
from everymask.data.conversion.tiles import Tiles, tile_pictures
from everymask.data.doctor.examine import check
from everymask.data.feed.augment import Augment
from everymask.data.feed.change_pipelines import ChangePipeline
from everymask.data.feed.packed import packed
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.change.both_labels import SECOND
from everymask.data.formats.table import find_formats, read_dataset, write_dataset
from everymask.data.identity.changes import changes
from everymask.data.identity.content import identity_of, see_dataset
from everymask.data.pictures.read import write_image
from everymask.errors import DataError
from tests.data.change_kinds import coloured, kinds, write_kinds


def same(found: ChangeMap, number: int) -> None:
    was, now = kinds(number)
    np.testing.assert_array_equal(found.ids, now)
    np.testing.assert_array_equal(found.was, was)


def test_the_colours_of_second_are_known(tmp_path: Path) -> None:
    write_kinds(tmp_path)
    assert [known.name for known in find_formats(tmp_path)] == ["change-pairs"]
    found = read_dataset(tmp_path)
    assert found.labels == SECOND and found.kind == "change maps"
    same(found.change_map(1), 1)
    assert found.records[1].truth.pixels[1:] == (240, 200, 0, 200, 240, 0)
    assert [(issue.code, issue.value) for issue in found.issues] == [("class-absent", "low vegetation, sports field")]
    summary = check(found)
    assert summary.num_errors == 0 and "what was and what is there" in summary.encoding and summary.no_truth == 0


def test_numbers_and_tables_tell_the_classes_too(tmp_path: Path) -> None:
    write_kinds(tmp_path, numbers=True)
    found = read_dataset(tmp_path)
    assert found.labels.names == ("unchanged", "class 1", "class 2", "class 4", "class 5")
    assert found.change_map(0).was.max() == 3  # type: ignore[union-attr]
    names = ("same", "water", "ground", "low", "tree", "house", "sport")
    (tmp_path / "classes.csv").write_text("name\n" + "\n".join(names) + "\n")
    named = read_dataset(tmp_path)
    assert named.labels.names == names
    same(named.change_map(2), 2)


def test_written_packed_staged_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    write_kinds(tmp_path / "in")
    found = read_dataset(tmp_path / "in")
    write_dataset(tmp_path / "out", found, "change-pairs")
    assert {place.name for place in (tmp_path / "out").iterdir()} == {"A", "B", "label1", "label2", "classes.csv"}
    again = read_dataset(tmp_path / "out")
    assert again.labels.names == SECOND.names and compare(found, again).is_whole
    assert list(packed(found).records) == list(found.records)
    same(staged(found, tmp_path / "staged").change_map(1), 1)
    cut, _ = tile_pictures(found, Tiles(32, 0.0), tmp_path / "tiles")
    was, now = kinds(0)
    np.testing.assert_array_equal(cut.change_map(1).ids, now[:32, 32:])
    np.testing.assert_array_equal(cut.change_map(1).was, was[:32, 32:])
    fewer = change_classes(found, {"tree": "green", "low vegetation": "green"})
    assert fewer.labels.names[3] == "green" and fewer.change_map(0).was.max() == 3  # type: ignore[union-attr]


def test_a_class_lost_at_one_date_is_a_loss(tmp_path: Path) -> None:
    write_kinds(tmp_path / "in")
    found = read_dataset(tmp_path / "in")
    write_kinds(tmp_path / "other")
    write_image(tmp_path / "other" / "label1" / "k1.png", coloured(np.where(kinds(1)[0] == 4, 3, kinds(1)[0])))
    lost = compare(found, read_dataset(tmp_path / "other"))
    assert [loss.what for loss in lost.lost] == ["tree"]


def test_the_earlier_label_belongs_to_what_the_data_set_holds(tmp_path: Path) -> None:
    write_kinds(tmp_path)
    found = read_dataset(tmp_path)
    held = identity_of(found, see_dataset(found, {}))
    write_image(tmp_path / "label1" / "k1.png", coloured(np.where(kinds(1)[0] == 4, 3, kinds(1)[0])))
    (change,) = changes(held, identity_of(found, see_dataset(found, {})))
    assert change.id == "k1" and "label map of the earlier date" in change.what


@pytest.mark.parametrize("lacking", ["label1", "label2"])
def test_a_label_of_one_date_only_is_an_error_with_its_partner(tmp_path: Path, lacking: str) -> None:
    write_kinds(tmp_path)
    (tmp_path / lacking / "k1.png").unlink()
    with pytest.raises(DataError, match=rf"only one date has a label; it has no partner in {lacking}/") as caught:
        read_dataset(tmp_path)
    assert f"expected {lacking}/k1.png" in caught.value.issues[0].hint
    assert len(read_dataset(tmp_path, policy="skip")) == 2


def test_labels_of_one_date_alone_say_that_something_changed(tmp_path: Path) -> None:
    write_kinds(tmp_path, numbers=True)
    for file in (tmp_path / "label1").iterdir():
        file.unlink()
    (tmp_path / "label1").rmdir()
    found = read_dataset(tmp_path)
    assert found.labels.names == ("unchanged", "changed") and found.change_map(0).was is None
    np.testing.assert_array_equal(found.change_map(0).ids, kinds(0)[1] != 0)


def test_unknown_colours_are_told_and_only_the_change_is_read(tmp_path: Path) -> None:
    write_kinds(tmp_path)
    odd = coloured(kinds(1)[0])
    odd[kinds(1)[0] == 1] = (9, 9, 200)
    write_image(tmp_path / "label1" / "k1.png", odd)
    found = read_dataset(tmp_path)
    (issue,) = (issue for issue in found.issues if issue.code == "labels-unnamed")
    assert issue.value == "#0909c8" and "classes.csv" in issue.hint
    assert found.labels.names == ("unchanged", "changed")


def test_a_value_that_stands_for_nothing_at_the_earlier_date_is_an_error(tmp_path: Path) -> None:
    write_kinds(tmp_path, numbers=True)
    (tmp_path / "classes.csv").write_text("name\n" + "\n".join(SECOND.names) + "\n")
    write_image(tmp_path / "label1" / "k1.png", np.where(kinds(1)[0] == 4, 77, kinds(1)[0]).astype(np.uint8))
    with pytest.raises(DataError, match=r"label1/k1.png"):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path, policy="skip")) == 2


def test_labels_that_do_not_agree_on_what_changed_are_told_and_without_truth(tmp_path: Path) -> None:
    write_kinds(tmp_path)
    was = kinds(1)[0].copy()
    was[:2, :5] = 3
    write_image(tmp_path / "label1" / "k1.png", coloured(was))
    found = read_dataset(tmp_path)
    change = found.change_map(1)
    assert (change.ids[:2, :5] == 255).all() and (change.was[:2, :5] == 255).all()  # type: ignore[index]
    (issue,) = (issue for issue in check(found).issues if issue.code == "labels-disagree")
    assert issue.message.startswith("10 pixels")


def test_exchanged_dates_exchange_what_was_and_is(tmp_path: Path) -> None:
    write_kinds(tmp_path)
    found = read_dataset(tmp_path)
    plain = Preprocess(resize=Resize(rule="none"), dates=2)
    augments = Augment.none(), replace(Augment.none(), exchange=1.0)
    first, second = (ChangePipeline(found, plain, augment)(0, 1).truth for augment in augments)
    assert isinstance(first, ChangeMap) and isinstance(second, ChangeMap)
    same(first, 1)
    same(second.exchanged(), 1)
