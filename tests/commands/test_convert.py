"""`everymask convert`: splits, several data sets, classes, label maps, tiles; and what it says is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask.cli import run
from everymask.commands.conversion.meanings import read_fractions, read_key, read_tiles
from everymask.commands.options import class_pairs
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError
from tests.contracts.test_formats import make_fake


@pytest.fixture
def overlapping(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "overlapping", make_fake(tmp_path / "made", overlap=True), "coco")
    return tmp_path / "overlapping"


def call(*arguments: object) -> int:
    return run([str(argument) for argument in arguments])


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert call("convert", *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_the_format_cannot_hold_is_said(
    overlapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("convert", overlapping, "--to", "voc", "--out", tmp_path / "voc") == 0
    said = capsys.readouterr().out
    assert "11 objects: 8 exactly as before, 3 with loss (lowest IoU 0." in said
    assert "3 x what smaller objects cover is taken away" in said
    assert call("convert", overlapping, "--to", "coco", "--out", tmp_path / "coco") == 0
    assert "11 objects: all exactly as before" in capsys.readouterr().out


def test_what_is_left_out_is_said_once_and_of_no_folder_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(tmp_path / "crowds", make_fake(tmp_path / "made", crowd=True), "coco")
    for target in ("yolo", "via"):
        assert call("convert", tmp_path / "crowds", "--to", target, "--out", tmp_path / target) == 0
        assert "3 x crowds are left out" in capsys.readouterr().out
    assert not caplog.records
    write_dataset(tmp_path / "again", read_dataset(tmp_path / "crowds"), "yolo")
    assert "3 crowd regions left out" in caplog.text


def test_strict_refuses_and_names_the_objects(
    overlapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert call("convert", overlapping, "--to", "voc", "--out", tmp_path / "voc", "--strict", "--json") == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert "3 losses as voc, and nothing is written" in error["message"]
    assert {Path(issue["file"]).name for issue in error["issues"]} == {"p0.png", "p2.png", "p3.png"}
    assert all(issue["where"].startswith("object 2 (") and "IoU 0." in issue["value"] for issue in error["issues"])
    assert sorted(tmp_path.iterdir()) == before
    assert call("convert", overlapping, "--to", "yolo", "--out", tmp_path / "yolo", "--strict") == 0


def test_new_splits_are_drawn_and_shown(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", shapes, "--to", "coco", "--out", tmp_path / "a", "--split", "60/20/20") == 0
    said = capsys.readouterr()
    assert "Pictures by class and split" in said.out and "class        train   val   test" in said.out
    assert read_dataset(tmp_path / "a").splits() == {"train": 3, "val": 1, "test": 1}
    first = answer(capsys, shapes, "--to", "coco", "--out", tmp_path / "b", "--split", "60/20/20")
    other = answer(capsys, shapes, "--to", "coco", "--out", tmp_path / "c", "--split", "60/20/20", "--seed", 1)
    assert first["splits"] == other["splits"] == {"train": 3, "val": 1, "test": 1}

    def owners(folder: Path) -> dict[str, str | None]:
        return {record.id: record.split for record in read_dataset(folder).records}

    assert owners(tmp_path / "a") == owners(tmp_path / "b") != owners(tmp_path / "c")


def test_pictures_of_a_group_stay_in_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "drawn", train=24, val=1, size=64)
    data = tmp_path / "drawn" / "annotations" / "instances_train.json"
    answer(capsys, data, "--to", "coco", "--out", tmp_path / "out", "--split", "70/30", "--group-by", r"^\d+(\d)\.png$")
    found = read_dataset(tmp_path / "out")
    splits: dict[str, set[str | None]] = {}
    for record in found.records:
        splits.setdefault(record.id[-1], set()).add(record.split)
    assert len(splits) == 10 and all(len(names) == 1 for names in splits.values())
    assert set(found.splits()) == {"train", "val"}


def test_several_data_sets_become_one(overlapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "other", make_fake(tmp_path / "second", splits=False), "yolo")
    write_shapes(tmp_path / "third", train=2, val=1, size=64)
    options = ["--to", "coco", "--out", tmp_path / "out", "--merge", tmp_path / "other", tmp_path / "third"]
    assert call("convert", overlapping, *options) == 2
    assert "--split 80/10/10 draws new ones" in capsys.readouterr().err
    found = answer(
        capsys, overlapping, *options, "--split", "50/50", "--classes", "cell:nucleus,square:nucleus,circle:"
    )
    assert found["pictures"] == 11 and list(found["classes"]) == ["nucleus", "Öl drop", "triangle"]
    assert found["left_out"] > 0 and found["loss"]["lossy"] == 0
    assert [issue["code"] for issue in found["issues"]] == ["same-picture"]
    written = read_dataset(tmp_path / "out")
    assert {"overlapping-p0", "other-p0", "00000"} <= {record.id for record in written.records}
    assert sum(len(record.objects.annotations) for record in written.records) == found["loss"]["compared"]


def test_the_same_picture_in_two_splits_of_two_sets_is_a_leak(
    overlapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = read_dataset(overlapping)
    turned = {"train": "val", "val": "train"}
    records = tuple(replace(record, split=turned[str(record.split)]) for record in made.records)
    write_dataset(tmp_path / "again", replace(made, records=records), "coco")
    options = ["--to", "coco", "--out", tmp_path / "out", "--merge", tmp_path / "again"]
    assert call("convert", overlapping, *options) == 3
    assert "the same picture is in" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert call("convert", overlapping, *options, "--on-defect", "skip") == 0


def test_label_maps_are_painted_and_what_hides_what_is_counted(
    overlapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, overlapping, "--to", "image-masks", "--out", tmp_path / "maps", "--to-semantic")
    assert (found["hidden"]["compared"], found["hidden"]["exact"]) == (11, 8)
    assert found["hidden"]["reasons"] == {"smaller objects lie on it": 3}
    assert found["loss"]["lossy"] == 0 and found["loss"]["of"] == "class region"
    options = ["--to", "image-masks", "--out", tmp_path / "strict", "--strict"]
    assert call("convert", overlapping, *options) == 3
    assert "smaller objects lie on it" in capsys.readouterr().err
    assert call("convert", overlapping, "--to", "coco", "--out", tmp_path / "x", "--to-semantic") == 2
    assert "holds objects" in capsys.readouterr().err
    assert (
        call("convert", overlapping, "--to", "voc", "--out", tmp_path / "x", "--to-semantic", "--task", "instance") == 2
    )


def test_tiles_are_written_and_stay_in_their_pictures_split(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("convert", shapes, "--to", "labelme", "--out", tmp_path / "tiles", "--tile", "32/0.2") == 0
    said = capsys.readouterr().out
    assert "5 pictures in 45 tiles" in said and "slivers left out" in said and "45 tiles: " in said
    found, whole = read_dataset(tmp_path / "tiles"), read_dataset(shapes)
    splits = {record.id: record.split for record in whole.records}
    assert len(found) == 45
    for record in found.records:
        name, y, x = record.id.rsplit("_", 2)
        assert (
            record.split == splits[name] and record.size == (32, 32) and int(y) in (0, 16, 32) and int(x) in (0, 16, 32)
        )
    # No half-made file is left beside it.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiles"]


def test_a_damaged_picture_is_found_when_it_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "data", train=2, val=1, size=64)
    cut = next((tmp_path / "data" / "images" / "train").iterdir())
    cut.write_bytes(cut.read_bytes()[:-200])
    options = ["--to", "coco", "--out", tmp_path / "out", "--tile"]
    for side in (32, 1024):
        assert call("convert", tmp_path / "data", *options, side) == 3
        assert cut.name in capsys.readouterr().err and not (tmp_path / "out").exists()
    options.append(32)
    assert call("convert", tmp_path / "data", *options, "--on-defect", "skip") == 0
    assert "2 pictures in 18 tiles" in capsys.readouterr().out


def test_tiles_of_label_maps_are_cut_of_the_whole_map(
    overlapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, overlapping, "--to", "image-masks", "--out", tmp_path / "tiles", "--tile", "24/0.2")
    found, painted = read_dataset(tmp_path / "tiles"), read_dataset(overlapping, task="semantic")
    maps = {record.id: painted.label_map(row).ids for row, record in enumerate(painted.records)}
    for row, record in enumerate(found.records):
        name, y, x = record.id.rsplit("_", 2)
        expected = maps[name][int(y) : int(y) + 24, int(x) : int(x) + 24]
        assert np.array_equal(found.label_map(row).ids, expected)


def test_mistyped_classes_name_the_nearest(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", shapes, "--to", "coco", "--out", tmp_path / "out", "--classes", "sqare:x") == 2
    said = capsys.readouterr().err
    assert "circle, square, triangle" in said and "did you mean square?" in said


def test_shares_are_read() -> None:
    assert read_fractions("80/10/10") == [("train", 0.8), ("val", 0.1), ("test", 0.1)]
    assert read_fractions("0.75/0.25") == [("train", 0.75), ("val", 0.25)]
    assert read_fractions("90%/10%") == [("train", 0.9), ("val", 0.1)]
    for text, said in (
        ("80/30", "adds up to 110"), ("8/1/1", "adds up to 10"), ("100", "two or three"), ("50/0/50", "above 0"),
        ("a/b", "must be numbers"), ("40/30/20/10", "two or three"), ("nan/1", "above 0"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            read_fractions(text)


def test_keys_of_groups_are_read(tmp_path: Path) -> None:
    record = make_fake(tmp_path).records[2]
    assert read_key(r"^p(\d)")(record) == "2"
    assert read_key("folder")(record) == str(tmp_path)
    for text, said in ((r"^p\d", "needs a group"), (r"^p(\d", "no regular expression"), (r"^q(\d)", "does not fit")):
        with pytest.raises(ConfigError, match=said):
            read_key(text)(record)


def test_tiles_are_read() -> None:
    tiles = read_tiles("512/0.25"), read_tiles("256")
    assert [(one.side, one.overlap) for one in tiles] == [(512, 0.25), (256, 0.2)]
    for text in ("a", "512/", "512/x", "5.5/0.1", "512/0.95"):
        with pytest.raises(ConfigError, match="tile"):
            read_tiles(text)


def test_pairs_of_classes_are_read_in_both_spellings() -> None:
    assert class_pairs(["a:b,c:d", "e=f"]) == {"a": "b", "c": "d", "e": "f"}
    assert class_pairs(["a:b,dirt:,"]) == {"a": "b", "dirt": ""}
    assert class_pairs(["a, b=object"]) == {"a, b": "object"}
    assert class_pairs(["time 10:30=late"]) == {"time 10:30": "late"}
    for texts in (["a"], [":b"], [""], ["a:b", "a:c"]):
        with pytest.raises(ConfigError):
            class_pairs(texts)
