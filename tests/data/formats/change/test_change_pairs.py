"""Pictures of two dates in the folders that people have, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.segmentation import ChangeMap
from everymask.data.conversion.tiles import Tiles, tile_pictures
from everymask.data.formats.change.files import read_change_pairs, write_change_pairs
from everymask.data.formats.table import find_formats, read_dataset, write_dataset
from everymask.data.identity.changes import changes
from everymask.data.identity.content import identity_of, see_dataset
from everymask.data.pictures.read import write_image
from everymask.data.splits import draw_split
from everymask.errors import ConfigError, DataError
from tests.data.change_files import SIZE, place, write_places

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data" / "levir_samples"
LAYOUTS = (
    ("A", "B", "label"), ("A", "B", "OUT"), ("im1", "im2", "label"), ("time1", "time2", "label"), ("t1", "t2", "mask"),
    ("Image1", "Image2", "label"), ("before", "after", "cm"), ("pre", "post", "masks"),
)  # fmt: skip


def codes(error: DataError) -> list[str]:
    return [issue.code for issue in error.issues]


@pytest.mark.parametrize("names", LAYOUTS, ids="-".join)
def test_folders_of_two_dates_are_recognised(tmp_path: Path, names: tuple[str, str, str]) -> None:
    write_places(tmp_path / "train", names)
    write_places(tmp_path / "val", names, 1, first=3)
    assert [known.name for known in find_formats(tmp_path)] == ["change-pairs"]
    found = read_dataset(tmp_path)
    assert (found.kind, found.splits(), found.labels.names) == (
        "change maps", {"train": 3, "val": 1}, ("unchanged", "changed"),
    )  # fmt: skip
    sample, (before, after, there) = found[0], place(0)
    assert isinstance(sample.truth, ChangeMap) and sample.before is not None
    for ours, theirs in ((sample.before, before), (sample.image, after), (sample.truth.ids, there)):
        np.testing.assert_array_equal(ours, theirs)


def test_splits_may_stand_below_the_folders_or_in_lists(tmp_path: Path) -> None:
    for name, picture in zip(("A", "B", "label"), place(0), strict=True):
        write_image(tmp_path / "below" / name / "val" / "x.png", picture)
    assert read_change_pairs(tmp_path / "below").splits() == {"val": 1}
    write_places(tmp_path / "flat")
    (tmp_path / "flat" / "list").mkdir()
    (tmp_path / "flat" / "list" / "train.txt").write_text("p0.png\np2.png\n")
    (tmp_path / "flat" / "list" / "test.txt").write_text("p1.png\n")
    assert read_change_pairs(tmp_path / "flat").splits() == {"train": 2, "test": 1}


def test_names_may_end_in_their_date(tmp_path: Path) -> None:
    for name, word, picture in zip(("A", "B", "label"), ("A", "B", "label"), place(0), strict=True):
        write_image(tmp_path / name / f"x_{word}.png", picture)
    assert len(read_change_pairs(tmp_path)) == 1


@pytest.mark.parametrize("lacking", ["A", "B"])
def test_a_missing_date_is_an_error_that_names_the_partner(tmp_path: Path, lacking: str) -> None:
    write_places(tmp_path)
    (tmp_path / lacking / "p1.png").unlink()
    with pytest.raises(DataError, match=rf"no partner in {lacking}/, and its label cannot be used") as caught:
        read_change_pairs(tmp_path)
    assert codes(caught.value) == ["date-missing"] and f"expected {lacking}/p1.png" in caught.value.issues[0].hint
    assert len(read_change_pairs(tmp_path, policy="skip")) == 2


def test_a_label_without_pictures_is_an_error(tmp_path: Path) -> None:
    write_places(tmp_path)
    for name in ("A", "B"):
        (tmp_path / name / "p1.png").unlink()
    with pytest.raises(DataError, match=r"belongs to no pictures in A/ and B/"):
        read_change_pairs(tmp_path)


def test_a_pair_without_a_label_is_not_annotated(tmp_path: Path) -> None:
    write_places(tmp_path)
    (tmp_path / "label" / "p1.png").unlink()
    found = read_change_pairs(tmp_path)
    assert [record.annotated for record in found.records].count(False) == 1
    assert [issue.code for issue in found.issues] == ["unlabelled"]
    assert all(record.before is not None for record in found.records)
    assert found[2].truth is None and found[2].before is not None


@pytest.mark.parametrize(
    ("change", "message", "cure"),
    [
        (lambda picture: picture[:-1], "differ in size: the later has 64 x 48", "cut or resample"),
        (lambda picture: picture[..., :1], "stored differently: the later as 3 x uint8", "save both alike"),
        (
            lambda picture: picture[..., 0].astype(np.uint16),
            "stored differently: the later as 3 x uint8",
            "save both alike",
        ),
    ],
    ids=["size", "channels", "depth"],
)
def test_dates_that_are_not_alike_are_an_error(tmp_path: Path, change, message: str, cure: str) -> None:  # type: ignore[no-untyped-def]
    write_places(tmp_path)
    write_image(tmp_path / "A" / "p1.png", change(place(1)[0]))
    with pytest.raises(DataError, match=message) as caught:
        read_change_pairs(tmp_path)
    assert caught.value.issues[0].hint.startswith(cure)
    assert codes(caught.value) == ["date-size"]
    (tmp_path / "label" / "p1.png").unlink()
    assert len(read_change_pairs(tmp_path)) == 2  # nobody has labelled it, so nothing is lost


def test_a_label_of_another_size_is_an_error(tmp_path: Path) -> None:
    write_places(tmp_path)
    write_image(tmp_path / "label" / "p1.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(DataError) as caught:
        read_change_pairs(tmp_path)
    assert codes(caught.value) == ["mask-size"]


def test_labels_of_jpeg_are_divided_midway_or_by_a_threshold(tmp_path: Path) -> None:
    write_places(tmp_path, ending=".jpg")
    found = read_change_pairs(tmp_path)
    assert (found.change_map(1).ids != place(1)[2]).mean() < 0.01
    assert "mask-levels" in {issue.code for issue in found.issues}
    most = read_change_pairs(tmp_path, mask_threshold=2).change_map(1).ids
    assert (most == 1).sum() >= (found.change_map(1).ids == 1).sum()


@pytest.mark.parametrize(("ending", "value"), [(".png", 0), (".png", 255), (".png", 1), (".jpg", 0)])
def test_sets_without_and_with_nothing_but_change_are_read(tmp_path: Path, ending: str, value: int) -> None:
    write_places(tmp_path, ending=ending)
    for file in (tmp_path / "label").iterdir():
        write_image(file, np.full(SIZE, value, np.uint8))
    found = read_change_pairs(tmp_path)
    assert set(np.unique(found.change_map(0).ids)) == {int(value > 0)}
    assert "class-absent" in {issue.code for issue in found.issues}


@pytest.mark.parametrize("masks", [None, "label2"])
def test_labels_of_what_is_there_say_that_all_but_white_changed(tmp_path: Path, masks: str | None) -> None:
    for number in range(2):
        before, after, there = place(number)
        coloured = np.where(there[..., None] == 1, np.array((128, 0, 0), np.uint8), np.uint8(255))
        for name, picture in (("im1", before), ("im2", after), ("label1", coloured), ("label2", coloured)):
            write_image(tmp_path / name / f"{number}.png", picture)
    found = read_dataset(tmp_path, masks=masks)
    np.testing.assert_array_equal(found.change_map(1).ids != 0, place(1)[2])
    assert found.labels.names[found.change_map(1).ids.max()] == ("changed" if masks else "building")


def test_several_kinds_of_change_have_a_table(tmp_path: Path) -> None:
    write_places(tmp_path / "in")
    kinds = place(0)[2].copy()
    kinds[30:40] = 2
    kinds[45:] = 255
    write_image(tmp_path / "in" / "label" / "p0.png", kinds)
    for number in (1, 2):
        write_image(tmp_path / "in" / "label" / f"p{number}.png", place(number)[2])
    (tmp_path / "in" / "classes.csv").write_text("number,name\n0,same\n1,new\n2,gone\n")
    found = read_change_pairs(tmp_path / "in")
    write_change_pairs(tmp_path / "out", found)
    again = read_change_pairs(tmp_path / "out")
    assert again.labels.names == found.labels.names == ("same", "new", "gone")
    np.testing.assert_array_equal(again.change_map(0).ids, kinds)


def write_disaster(folder: Path, event: str, damage: str) -> None:
    before, after, _ = place(0)
    for date, picture in (("pre", before), ("post", after)):
        write_image(folder / "images" / f"{event}_{date}_disaster.png", picture)
        rows = [{"properties": {"subtype": damage}, "wkt": "POLYGON ((10 8, 30 8, 30 20, 10 20, 10 8))"}]
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{event}_{date}_disaster.json").write_text(json.dumps({"features": {"xy": rows}}))


def test_xbd_is_read_by_its_names_and_polygons(tmp_path: Path) -> None:
    for number, damage in enumerate(("destroyed", "no-damage", "un-classified", "minor-damage")):
        write_disaster(tmp_path / "train", f"storm_{number:08}", damage)
    assert [known.name for known in find_formats(tmp_path)] == ["change-pairs"]
    found = read_dataset(tmp_path)
    inside = [found.change_map(row).ids[14, 20] for row in range(4)]
    assert inside == [1, 0, 255, 1] and found.splits() == {"train": 4}
    np.testing.assert_array_equal(found.change_map(0).ids, place(0)[2])
    (tmp_path / "train" / "images" / "storm_00000001_pre_disaster.png").unlink()
    with pytest.raises(DataError, match="no partner of the earlier date"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"features": {"xy": [{"wkt": "POINT (1 2)", "properties": {}}]}}', "{"])
def test_a_bad_label_of_xbd_is_an_error_with_its_file(tmp_path: Path, text: str) -> None:
    for number in range(2):
        write_disaster(tmp_path, f"storm_{number:08}", "destroyed")
    (tmp_path / "labels" / "storm_00000001_post_disaster.json").write_text(text)
    with pytest.raises(DataError, match="storm_00000001_post_disaster"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("splits", [True, False])
def test_written_and_read_again_it_is_the_same(tmp_path: Path, splits: bool) -> None:
    write_places(tmp_path / "in")
    made = read_change_pairs(tmp_path / "in")
    if splits:
        made = replace(
            made, records=tuple(replace(r, split=s) for r, s in zip(made.records, ["train", "val", "val"], strict=True))
        )
    write_dataset(tmp_path / "out", made, "change-pairs")
    assert [known.name for known in find_formats(tmp_path / "out")] == ["change-pairs"]
    again = read_dataset(tmp_path / "out")
    assert (again.issues, again.splits()) == ((), made.splits())
    rows = {record.id: row for row, record in enumerate(again.records)}
    for row, record in enumerate(made.records):
        ours, theirs = made[row], again[rows[record.id]]
        for mine, other in zip((*ours.dates, ours.truth.ids), (*theirs.dates, theirs.truth.ids), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_other_tasks_and_formats_are_refused_with_a_cure(tmp_path: Path) -> None:
    write_places(tmp_path)
    found = read_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"has change maps .* the task is semantic") as caught:
        found.for_task("semantic")
    assert "--fusion" in caught.value.hint
    with pytest.raises(ConfigError, match="holds objects"):
        write_dataset(tmp_path / "out", found, "coco")


def test_an_archive_or_folder_of_one_date_is_no_data_set_of_changes(tmp_path: Path) -> None:
    write_places(tmp_path, ("A", "C", "label"))
    assert not find_formats(tmp_path)


def test_crops_of_a_scene_come_into_one_split(tmp_path: Path) -> None:
    scenes = tuple(f"town_{scene}_{y:04}_{x:04}" for scene in range(4) for y, x in ((0, 0), (0, 256), (256, 0)))
    write_places(tmp_path, count=len(scenes), stems=scenes)
    found = read_change_pairs(tmp_path)
    for seed in range(5):
        drawn = draw_split(found, seed=seed)
        owners = {}
        for record in drawn.records:
            assert owners.setdefault(record.id[:6], record.split) == record.split
        assert set(owners.values()) == {"train", "val"}


def test_crops_of_a_scene_in_two_splits_are_told(tmp_path: Path) -> None:
    write_places(tmp_path / "train", count=1, stems=("town_1_0000_0000",))
    before, after, there = place(1)
    for name, picture in zip(("A", "B", "label"), (before, after, 255 * there), strict=True):
        write_image(tmp_path / "val" / name / "town_1_0000_0256.png", picture)
    (issue,) = (issue for issue in read_dataset(tmp_path).issues if issue.code == "scene-leak")
    assert "town_1 are in train and val" in issue.message


def test_the_earlier_picture_is_decoded_compared_and_watched_as_the_later_is(tmp_path: Path) -> None:
    write_places(tmp_path)
    found = read_dataset(tmp_path)
    held = identity_of(found, see_dataset(found, {}))
    write_image(tmp_path / "A" / "p1.png", 255 - place(1)[0])
    (change,) = changes(held, identity_of(found, see_dataset(found, {})))
    assert change.id == "p1" and "picture of the earlier date" in change.what
    file = tmp_path / "A" / "p2.png"
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"A/p2.png"):
        read_dataset(tmp_path, decode=True)


def test_tiles_are_cut_of_both_dates(tmp_path: Path) -> None:
    write_places(tmp_path / "in", count=1)
    whole = read_change_pairs(tmp_path / "in")
    cut, counts = tile_pictures(whole, Tiles(32, 0.0), tmp_path / "tiles")
    assert (cut.kind, counts.tiles, len(cut)) == ("change maps", 4, 4)
    before, after, there = place(0)
    sample = cut[1]
    np.testing.assert_array_equal(sample.stacked, np.concatenate([before, after], axis=2)[:32, 32:])
    np.testing.assert_array_equal(sample.truth.ids, there[:32, 32:])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data/levir_samples")
def test_the_samples_of_levir_are_read_and_the_odd_pair_is_told() -> None:
    found = read_dataset(SHARED)
    assert len(found.annotated()) == 11
    assert [issue.code for issue in found.issues] == ["unlabelled"]
    assert sum(record.truth.pixels[1] for record in found.records) == 102_718 + 8_196
