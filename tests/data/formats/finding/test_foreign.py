"""What is no data set for us says what it is, and what to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from everymask.commands.sources import find_pictures
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError
from tests.data.coco_files import document, lay_out

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(40)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("film.mp4", b"x", r"a video(?s:.*)ffmpeg"),
        ("brain.nii.gz", b"x", r"a volume(?s:.*)slices"),
        ("scan.dcm", b"x", r"a volume"),
        ("photo.HEIC", b"x", r"AVIF or HEIC(?s:.*)convert it"),
        ("set.7z", b"x", r"an archive of a kind that is not read(?s:.*)unpack it"),
        ("photo.png", PICTURE, r"is a picture(?s:.*)folder that holds pictures"),
        ("photo", PICTURE, r"a picture \(PNG\) without an ending(?s:.*)\.png"),
        ("notes", b"words", r"one without an ending, and no picture"),
        ("annotations", b'{"images": [], "annotations": []}', r"JSON without an ending(?s:.*)\.json"),
        ("via.csv", b"filename,file_size,region_shape_attributes\n", r"a table of VIA"),
        ("set", b"PK\x03\x04", r"an archive without an ending"),
        ("nothing.csv", b"", r"the file is empty"),
    ],
)
def test_a_file_that_is_no_data_set(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / name)


OTHERS = {
    "VIA": {"_via_settings": {}, "_via_img_metadata": {"a.png1": {"filename": "a.png", "regions": []}}},
    "Supervisely": {"size": {}, "objects": [{"classTitle": "cat", "points": {"exterior": []}}]},
    "Labelbox": [{"data_row": {}, "projects": {}}],
    "V7 Darwin": {"version": "2.0", "item": {"name": "a", "slots": []}, "annotations": []},
    "GeoJSON": {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {}}]},
    "Scalabel": {"frames": [{"name": "a", "labels": [{"poly2d": []}]}]},
    "CreateML": [{"image": "a.png", "annotations": [{"label": "cat", "coordinates": {}}]}],
    "predictions": [{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 1, 2, 2]}],
}


@pytest.mark.parametrize("tool", OTHERS)
def test_annotations_of_other_tools_are_named(tmp_path, tool):
    file = tmp_path / "export.json"
    file.write_text(json.dumps(OTHERS[tool]))
    for path in (file, tmp_path):
        with pytest.raises(DataError, match=tool) as caught:
            read_dataset(path)
        assert caught.value.hint


@pytest.mark.parametrize(("key", "what"), [("segments_info", "panoptic segments"), ("caption", "captions")])
def test_coco_files_without_objects_are_named(tmp_path, key, what):
    content = document()
    content["annotations"] = [{"image_id": 7, key: []}]
    with pytest.raises(DataError, match=rf"the file holds {what}(?s:.*)name the file of objects"):
        read_dataset(lay_out(tmp_path, content), format="coco")


@pytest.mark.parametrize("address", ["https://example.org/set.zip", "s3://bucket/set"])
def test_nothing_is_fetched_from_an_address(address):
    with pytest.raises(DataError, match="is an address, and nothing is fetched"):
        read_dataset(address)
    with pytest.raises(DataError, match="is an address, and nothing is fetched"):
        find_pictures([address])


def test_files_that_are_passed_over_are_counted(tmp_path):
    lay_out(tmp_path, document())
    for name in ("c.heic", "d.HEIC", "film.mov", "notes.txt"):
        (tmp_path / "images" / name).touch()
    (issue,) = read_dataset(tmp_path).issues
    assert (issue.code, issue.severity) == ("passed-over", "warning")
    assert issue.message.startswith("3 files are passed over: 2 x AVIF or HEIC: convert it to PNG or JPEG; 1 x a video")


def test_a_folder_of_such_files_is_told(tmp_path):
    for name in ("a.avif", "b.avif", "readme.txt"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"2 of 3 files are of a kind that is not read(?s:.*)2 x AVIF or HEIC"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match=r"no picture in the folder .*2 x AVIF or HEIC"):
        find_pictures([str(tmp_path)])


def save(file, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)).save(file)


def test_pictures_whose_names_do_not_pair_are_listed(tmp_path):
    for number, name in enumerate(("case_0000.png", "case2_0000.png", "case.png", "case2.png")):
        save(tmp_path / name, number)
    with pytest.raises(DataError, match=r"no names that pair one with a label map: case\.png, case2\.png, case2_0000"):
        read_dataset(tmp_path)


def test_a_folder_above_is_meant_only_if_its_pictures_are_these(tmp_path):
    lay_out(tmp_path, document())
    save(tmp_path / "others/x.png")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path / "others")
    assert "did you mean" not in str(caught.value)
    with pytest.raises(DataError, match=r"did you mean .*\(coco\)"):
        read_dataset(tmp_path / "images")


def test_prediction_says_what_it_passes_over(tmp_path, caplog):
    save(tmp_path / "a.png")
    (tmp_path / "b.heic").touch()
    assert [path.name for path in find_pictures([str(tmp_path)])] == ["a.png"]
    assert "1 file passed over: 1 x AVIF or HEIC" in caplog.text
