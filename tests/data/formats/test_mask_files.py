"""One mask file per object: real nuclei, class folders, splits, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from everymask.data.formats.mask_files import looks_like_mask_files, read_mask_files
from everymask.errors import DataError


def save(file, array, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(file, **options)


def square(size=(20, 30), value=255, corner=(3, 4)):
    mask = np.zeros(size, np.uint8)
    mask[corner[0] : corner[0] + 5, corner[1] : corner[1] + 6] = value
    return mask


def picture(root, name="a", size=(20, 30)):
    save(root / name / "images" / f"{name}.png", np.zeros((*size, 3)))
    (root / name / "masks").mkdir(exist_ok=True)
    return root / name / "masks"


def codes(error) -> list[str]:
    return [issue.code for issue in error.value.issues]


def test_nuclei_are_those_of_the_coco_file(shared):
    root = shared / "nuclei_one_mask_per_file"
    assert looks_like_mask_files(root)
    dataset = read_mask_files(root)
    expected: dict[str, list[str]] = {}
    for name in ("train", "val"):
        document = json.loads((shared / "nuclei" / f"{name}.json").read_text())
        keys = {entry["id"]: entry["file_name"][:16] for entry in document["images"]}
        for entry in document["annotations"]:
            expected.setdefault(keys[entry["image_id"]], []).append(entry["segmentation"]["counts"])
    assert len(dataset) == 12 and dataset.labels.names == ("object",) and not dataset.issues
    for index, record in enumerate(dataset.records):
        found = dataset.truth(index).masks.to_rle()
        assert sorted(counts.decode() for counts in found) == sorted(expected[record.id[:16]])


def test_class_folders_are_classes_and_the_list_fixes_their_order(tmp_path):
    masks = picture(tmp_path)
    save(masks / "cell" / "1.png", square())
    save(masks / "artefact" / "2.png", square(corner=(10, 20)))
    dataset = read_mask_files(tmp_path)
    assert dataset.labels.names == ("artefact", "cell")
    assert dataset.truth(0).class_ids.tolist() == [1, 0]
    (tmp_path / "classes.txt").write_text("cell\nartefact\nunseen\n")
    assert read_mask_files(tmp_path).labels.names == ("cell", "artefact", "unseen")


def test_a_picture_with_an_empty_folder_has_no_objects_and_splits_are_folders(tmp_path):
    save(picture(tmp_path / "train") / "1.png", square(value=1))
    picture(tmp_path / "val", "b")
    save(tmp_path / "test" / "c" / "images" / "c.png", np.zeros((5, 5)))
    assert looks_like_mask_files(tmp_path)
    dataset = read_mask_files(tmp_path)
    assert dataset.annotated().splits() == {"train": 1, "val": 1}
    assert [(record.id, record.annotated, record.split) for record in dataset.records][2:] == [("c", False, "test")]
    assert [len(dataset.truth(index)) for index in range(2)] == [1, 0]
    assert [issue.code for issue in dataset.issues] == ["unlabelled"]


def test_pairs_of_pictures_and_label_maps_are_another_format(tmp_path):
    for number in range(3):
        save(tmp_path / "train" / "images" / f"{number}.png", np.zeros((5, 5)))
        save(tmp_path / "train" / "masks" / f"{number}.png", np.eye(5))
    assert not looks_like_mask_files(tmp_path)


BAD = [
    pytest.param(lambda masks: save(masks / "1.png", square((20, 31))), "mask-size", id="B01 size"),
    pytest.param(lambda masks: save(masks / "1.png", square() // 2 + square(corner=(8, 8)) // 255), "mask-values",
                 id="B07 three values"),
    pytest.param(lambda masks: save(masks / "1.jpg", square()), "mask", id="B06 JPEG"),
    pytest.param(lambda masks: save(masks / "1.png", np.dstack([square(), square() // 2, square()])), "mask",
                 id="B05 RGB"),
    pytest.param(lambda masks: Image.fromarray(square() / np.float32(510)).save(masks / "1.tif"), "mask",
                 id="B09 float"),
    pytest.param(lambda masks: save(masks / "1.png", np.zeros((20, 30))), "empty-mask", id="empty mask"),
    pytest.param(lambda masks: (masks / "1.png").write_bytes(b""), "mask", id="A01 empty file"),
    pytest.param(lambda masks: masks.rmdir(), "mask-missing", id="B12 no masks"),
    pytest.param(lambda masks: (masks.parent / "images/a.png").unlink(), "picture-count", id="B12 no picture"),
    pytest.param(lambda masks: save(masks.parent / "images" / "b.png", np.eye(4)), "picture-count",
                 id="A34 two pictures"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "code"), BAD)
def test_bad_masks_are_listed_and_can_be_left_out(tmp_path, spoil, code):
    save(picture(tmp_path, "good") / "1.png", square())
    masks = picture(tmp_path)
    spoil(masks)
    with pytest.raises(DataError) as error:
        read_mask_files(tmp_path)
    assert codes(error) == [code]
    assert "/a" in error.value.issues[0].file
    dataset = read_mask_files(tmp_path, policy="skip")
    assert sum(len(dataset.truth(index)) for index in range(len(dataset))) == 1


def test_b08_three_equal_channels_are_read_as_one_and_counted(tmp_path):
    masks = picture(tmp_path)
    for number in range(3):
        save(masks / f"{number}.png", np.dstack([square(corner=(3, 5 * number))] * 3))
    found = read_mask_files(tmp_path)
    assert found.truth(0).masks.areas().tolist() == [30, 30, 30]
    assert [(issue.code, issue.count, issue.severity) for issue in found.issues] == [("mask-channels", 3, "warning")]
    assert "3 masks store three equal channels" in found.issues[0].message
    assert found.issues[0].file == str(masks / "0.png")


def test_b14_a_mask_in_the_alpha_channel_is_noted(tmp_path):
    masks = picture(tmp_path)
    white = np.full((20, 30, 3), 255)
    save(masks / "1.png", np.dstack([white, square()]))
    found = read_mask_files(tmp_path)
    assert [issue.code for issue in found.issues] == ["mask-channels", "mask-alpha", "full-mask"]
    assert "alpha channel" in found.issues[1].hint
    save(masks / "1.png", np.dstack([square()] * 3 + [white[..., 0]]))
    assert [issue.code for issue in read_mask_files(tmp_path).issues] == ["mask-channels"]


def test_a28_a_palette_counts_by_index_and_is_noted(tmp_path):
    masks = picture(tmp_path)
    image = Image.fromarray(square(value=1), "L")
    image.putpalette([255, 255, 255, 0, 0, 0])  # outside white, the object black
    image.save(masks / "1.png")
    found = read_mask_files(tmp_path)
    assert found.truth(0).masks.areas().tolist() == [30]
    assert [issue.code for issue in found.issues] == ["mask-palette"]
    assert "inverted" in found.issues[0].hint


def test_every_defect_is_listed(tmp_path):
    masks = picture(tmp_path)
    for number in range(4):
        save(masks / f"{number}.png", np.zeros((20, 30)))
    with pytest.raises(DataError) as error:
        read_mask_files(tmp_path)
    assert codes(error) == ["empty-mask"] * 4


def test_classes_that_nothing_names_are_errors(tmp_path):
    save(picture(tmp_path) / "1.png", square())
    (tmp_path / "classes.txt").write_text("cell\nnucleus\n")
    with pytest.raises(DataError) as error:
        read_mask_files(tmp_path)
    assert codes(error) == ["class-missing"]
    save(picture(tmp_path, "b") / "mouse" / "1.png", square())
    with pytest.raises(DataError) as error:
        read_mask_files(tmp_path)
    assert codes(error) == ["class-missing", "unknown-class"]


def test_files_that_are_no_pictures_are_noted(tmp_path):
    masks = picture(tmp_path)
    save(masks / "1.png", square())
    (masks / "notes.txt").write_text("x")
    (masks / "Thumbs.db").write_text("x")
    assert [issue.code for issue in read_mask_files(tmp_path).issues] == ["not-a-mask"]
