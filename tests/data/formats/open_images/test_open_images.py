"""Open Images: masks by name, of their picture's size and of another, names of classes, and what is wrong with rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.open_images.files import looks_like_open_images, read_open_images, write_open_images
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, MaskFile, Objects, Record
from everymask.errors import DataError

HEADING = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
TABLE = "train-annotations-object-segmentation.csv"
MASK = np.zeros((40, 60), bool)
MASK[10:20, 20:50] = True


def table(root: Path, *rows: str, mask: np.ndarray = MASK) -> Path:
    for folder in ("train", "train-masks-0"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(root / "train" / "0a1b.jpg")
    Image.fromarray(mask).save(root / "train-masks-0" / "0a1b_m01_x.png")
    (root / TABLE).write_text(HEADING + "".join(f"{row}{',' * (9 - row.count(','))}\n" for row in rows))
    return root


def test_classes_are_called_as_the_descriptions_say(tmp_path):
    root = table(tmp_path, "0a1b_m01_x.png,0a1b,/m/01", "0a1b_m01_x.png,0a1b,/m/09")
    (root / "oidv7-class-descriptions.csv").write_text('LabelName,DisplayName\n/m/01,Tortoise\n/m/02,"Bread, white"\n')
    dataset = read_dataset(root)
    assert (dataset.format, dataset.splits()) == ("open-images", {"train": 1})
    assert dataset.labels.names == ("/m/09", "Tortoise")
    assert dataset.records[0].objects.annotations[0].shape == MaskFile(root / "train-masks-0/0a1b_m01_x.png")
    assert np.array_equal(dataset.truth(0).masks.to_dense(0), MASK)
    (root / "oidv7-class-descriptions.csv").write_text("/m/09,Zebra\n/m/01,Tortoise\n")
    assert read_open_images(root).labels.names == ("Tortoise", "Zebra")
    (root / "classes-segmentation.txt").write_text("/m/09\n/m/01\n/m/03\n")
    assert read_open_images(root).labels.names == ("Zebra", "Tortoise", "/m/03")


def test_masks_of_another_size_are_fitted(tmp_path):
    dataset = read_open_images(table(tmp_path, "0a1b_m01_x.png,0a1b,/m/01", mask=np.kron(MASK, np.ones((3, 3))) > 0))
    assert np.array_equal(dataset.truth(0).masks.to_dense(0), MASK)
    assert [issue.code for issue in dataset.issues] == ["mask-fitted"]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0a1b_m01_y.png,0a1b,/m/01", "picture-missing"),
        ("0a1b_m01_x.png,0a1b,", "label-missing"),
        ("0a1b_m01_x.png,,/m/01", "file-name"),
        ("0a1b_m01_x.png,ffff,/m/01", "picture-missing"),
        ("wide.png,0a1b,/m/01", "mask-size"),
        ("cut.png,0a1b,/m/01", "mask"),
    ],
)
def test_bad_rows_are_named_and_the_others_stay(tmp_path, row, code):
    root = table(tmp_path, "0a1b_m01_x.png,0a1b,/m/01", row)
    Image.new("L", (60, 50)).save(root / "train-masks-0/wide.png")
    (root / "train-masks-0/cut.png").write_bytes(b"\x89PNG")
    dataset = read_open_images(root, policy="skip")
    noted = [issue for issue in dataset.issues if issue.severity == "error"]
    assert [(issue.code, issue.where) for issue in noted] == [(code, "line 3")]
    assert len(dataset.truth(0)) == 1


def test_other_tables_are_not_taken_and_boxes_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("ImageID,LabelName\nx,y\n")
    assert not looks_like_open_images(tmp_path)
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    record = Record("p", tmp_path / "p.png", (40, 60), Objects((Annotation(0, BoxOnly(), (1.0, 1.0, 5.0, 5.0)),)))
    made = Dataset(labels_of(["a"]), (record,), "fake", tmp_path, boxes_only=True)
    with pytest.raises(DataError, match="expected a mask for every object"):
        write_open_images(tmp_path / "out", made)
