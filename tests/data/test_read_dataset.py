"""Recognising data sets: the right reader for a path, a way out where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from everymask.data.formats.coco.instances import write_coco
from everymask.data.formats.table import FORMATS, find_formats, read_dataset
from everymask.data.formats.yolo.segments import write_yolo
from everymask.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("nuclei", "coco", marks=pytest.mark.slow),
        ("nuclei/val.json", "coco"),
        ("nuclei_one_mask_per_file", "mask-files"),
        ("labelme/instance_segmentation/data_annotated", "labelme"),
        ("labelme/instance_segmentation/data_dataset_coco", "coco"),
        ("labelme/instance_segmentation/data_dataset_voc", "voc"),
        ("format_fixtures/voc_dataset/voc_dataset1", "voc"),
        ("format_fixtures/yolo_dataset/labels", "yolo"),
        ("format_fixtures/coco_dataset/coco_roboflow", "coco"),
    ],
)
def test_real_data_is_recognised(shared, path, expected):
    assert [found.name for found in find_formats(shared / path)] == [expected]
    assert read_dataset(shared / path, policy="skip").format == expected


def test_of_two_formats_the_first_is_taken_and_the_other_can_be_named(shared, caplog):
    assert read_dataset(shared / "coco128_seg").format == "coco"
    assert "is read as coco; it looks like yolo too" in caplog.text
    assert read_dataset(shared / "coco128_seg", format="yolo").format == "yolo"


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        pytest.param("nuclei/train", "nuclei (coco)", marks=pytest.mark.slow),
        ("coco128_seg/labels/train2017", "coco128_seg (coco)"),
    ],
)
def test_one_folder_too_deep(shared, path, suggestion):
    with pytest.raises(DataError) as caught:
        read_dataset(shared / path)
    assert f"did you mean {(shared / suggestion).resolve()}?" in str(caught.value)


def test_one_or_two_folders_too_high(shared, tmp_path):
    write_coco(tmp_path / "up" / "set", read_dataset(shared / "nuclei" / "val.json").subset([0]))
    for place in (tmp_path / "up", tmp_path):
        with pytest.raises(DataError) as caught:
            read_dataset(place)
        assert f"did you mean {tmp_path / 'up' / 'set'} (coco)?" in str(caught.value)


def test_the_error_says_what_was_looked_for_and_found(tmp_path):
    for number in range(3):
        Image.new("L", (4, 4)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.xml").write_text("<a/>")
    (tmp_path / "notes").mkdir()
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    text = str(caught.value)
    assert "found 3 x .png, 3 x .xml, notes/" in text
    for known in FORMATS:
        assert f"{known.name}: {known.sign}" in text


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a"])
def test_a_file_of_no_format(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match="images" if name.endswith("json") else "no known data set; found a"):
        read_dataset(tmp_path / name)


def test_paths_and_names_that_do_not_exist(tmp_path):
    with pytest.raises(DataError, match="there is no such file or folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no format 'cocoa'; the formats are coco, yolo, labelme"):
        read_dataset(tmp_path, format="cocoa")


def test_images_go_with_files_that_list_pictures(shared, tmp_path):
    nuclei = shared / "nuclei"
    assert len(read_dataset(nuclei / "val.json", images=nuclei / "val")) == 100
    with pytest.raises(ConfigError, match=r"belongs to files of coco, .*cvat.*, but .* is read as labelme"):
        read_dataset(shared / "labelme/instance_segmentation/data_annotated", images=tmp_path)


def test_c28_the_same_picture_under_two_names_in_two_splits(shared, tmp_path):
    made = read_dataset(shared / "nuclei" / "val.json").subset([0, 1, 2])
    write_yolo(tmp_path / "set", made)
    for split, stems in (("train", (0, 1, 2)), ("val", (1,))):
        for folder, suffix in (("images", ".png"), ("labels", ".txt")):
            place = tmp_path / "leak" / folder / split
            place.mkdir(parents=True)
            for stem in stems:
                source = next((tmp_path / "set" / folder).rglob(f"{made.records[stem].id}{suffix}"))
                shutil.copy(source, place / f"{split}{stem}{suffix}")
    with pytest.raises(DataError, match=r"train1.png: the same picture is in train and in val"):
        read_dataset(tmp_path / "leak")
    found = read_dataset(tmp_path / "leak", policy="skip")
    assert found.splits() == {"train": 2, "val": 1}
    assert any(issue.code == "split-leak" for issue in found.issues)


def test_every_reader_refuses_an_empty_folder(tmp_path):
    for known in FORMATS:
        with pytest.raises(DataError):
            known.read(Path(tmp_path))


def test_the_users_file_is_left_alone(shared):
    file = shared / "nuclei" / "val.json"
    before = file.stat().st_mtime_ns, file.read_bytes()
    read_dataset(file)
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
