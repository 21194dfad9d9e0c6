"""Tables of run-lengths: where pixels lie, names of columns, classes, and what is wrong with rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.rle_tables.files import looks_like_rle_table, read_rle_table, write_rle_table
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Record
from everymask.errors import ConfigError, DataError


def table(root: Path, text: str, name: str = "train.csv", pictures=("p.png",), size=(40, 60)) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.new("L", size[::-1], number).save(root / "images" / picture)
    (root / name).write_text(text)
    return root


def codes(root: Path) -> list[str]:
    return [issue.code for issue in read_rle_table(root, policy="skip").issues]


def reference(text: str, size: tuple[int, int], order: str) -> np.ndarray:
    """The decoder of Kaggle's notebooks."""
    flat = np.zeros(size[0] * size[1], bool)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(size, order=order)


def encoded(mask: np.ndarray, order: str) -> str:
    """The encoder of Kaggle's notebooks."""
    flat = np.concatenate([[0], mask.ravel(order=order), [0]])
    runs = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs[1::2] -= runs[::2]
    return " ".join(map(str, runs))


@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("seed", range(4))
def test_masks_are_those_of_the_usual_decoder(tmp_path, order, seed):
    random = rng(seed, "table")
    masks = []
    for _ in range(3):
        mask = np.zeros((40, 60), bool)
        y, x = (int(value) for value in random.integers(0, 15, 2))
        mask[y : y + 20, x : x + 25] = random.random((20, 25)) < 0.97
        masks.append(mask)
    rows = "".join(f"p,{encoded(mask, order)}\n" for mask in masks)
    dataset = read_dataset(table(tmp_path, f"ImageId,EncodedPixels\n{rows}"))
    truth = dataset.truth(0)
    for row, mask in enumerate(masks):
        assert np.array_equal(truth.masks.to_dense(row), mask)
    assert [issue.code for issue in dataset.issues] == (["rle-rows"] if order == "C" else [])
    assert dataset.splits() == {"train": 1}
    assert dataset.labels.names == ("object",)


def test_written_tables_are_read_by_the_usual_decoder(tmp_path):
    made = read_rle_table(table(tmp_path / "in", "id,rle\np,1 3 50 2 2399 2\n"))
    write_rle_table(tmp_path / "out", made)
    text = (tmp_path / "out/train.csv").read_text()
    assert text == "ImageId,ClassId,EncodedPixels\np.png,object,1 3 50 2 2399 2\n"
    expected = reference("1 3 50 2 2399 2", (40, 60), "F")
    assert np.array_equal(read_rle_table(tmp_path / "out").truth(0).masks.to_dense(0), expected)


def test_touching_runs_and_any_order(tmp_path):
    truth = read_rle_table(table(tmp_path, "id,rle\np,50 2 1 3 4 2\n")).truth(0)
    assert np.array_equal(truth.masks.to_dense(0), reference("1 5 50 2", (40, 60), "F"))


@pytest.mark.parametrize(
    ("text", "names", "counts"),
    [
        ("ImageId,EncodedPixels,ClassId\np.png,1 3,10\np.png,9 3,9\n", ("9", "10"), [2]),
        ("Image_Label,EncodedPixels\np.png_Fish,1 3\np.png_Flower,\nq.png_Fish,\n", ("Fish",), [1, 0]),
        ("ImageId_ClassId,EncodedPixels\np.png_1,1 3\np.png_2,9 9\nq.png_1,-1\n", ("1", "2"), [2, 0]),
        ("id,annotation,width,height,cell_type\np,1 3,60,40,shsy5y\nq,1 3,60,40,astro\n", ("astro", "shsy5y"), [1, 1]),
        ("id,class,segmentation\np,stomach,1 3\np,bowel,\n", ("stomach",), [1]),
        ("id,rle_mask\np,1 3\nq,\n", ("object",), [1, 0]),
    ],
)
def test_columns_of_known_competitions(tmp_path, text, names, counts):
    dataset = read_dataset(table(tmp_path, text, pictures=("p.png", "q.png")))
    assert dataset.format == "rle-csv"
    assert dataset.labels.names == names
    found = {record.image.stem: len(record.objects.annotations) for record in dataset.records if record.annotated}
    assert [found[stem] for stem in "pq" if stem in found] == counts


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("p,1 3 9,a", "rle-counts"),
        ("p,0 3,a", "rle-counts"),
        ("p,1 x,a", "rle-counts"),
        ("p,1 3.5,a", "rle-counts"),
        ("p,2399 3,a", "rle-size"),
        ("p,1 9999999999999999999999,a", "rle-counts"),
        ("p,1 9223372036854775807,a", "rle-counts"),
        ("p,1 5 3 2,a", "rle-counts"),
        ("p,1 3,", "label-missing"),
        (",1 3,a", "file-name"),
        ("r,1 3,a", "picture-missing"),
        ("p,1 3", "csv-row"),
        ('p,"1 3,a', "csv-syntax"),
    ],
)
def test_bad_rows_are_named_and_the_others_stay(tmp_path, row, code):
    root = table(tmp_path, f"ImageId,EncodedPixels,ClassId\np,1 3,a\n{row}\n")
    dataset = read_rle_table(root, policy="skip")
    (issue,) = dataset.issues
    assert issue.code == code
    if code != "csv-syntax":
        assert "line 3" in issue.where
        assert len(dataset.truth(0)) == 1


def test_stated_sizes_are_compared(tmp_path):
    assert codes(table(tmp_path, "id,rle,width,height\np,1 3,40,60\n")) == ["picture-size"]
    assert codes(table(tmp_path, "id,rle,width,height\np,1 3,x,60\n")) == ["image-size"]


def test_masks_beside_pictures_of_the_same_names_are_not_taken(tmp_path):
    root = table(tmp_path, "id,rle_mask\np,1 3\n")
    (root / "masks").mkdir()
    Image.new("L", (60, 40)).save(root / "masks/p.png")
    assert read_rle_table(root).records[0].image == root / "images/p.png"


def test_other_tables_are_not_taken_for_run_lengths(tmp_path):
    for text in ("image,mask\na.png,b.png\n", "image,label\na.png,3\n", "id,rle\n", ""):
        (tmp_path / "list.csv").write_text(text)
        assert looks_like_rle_table(tmp_path) is (text == "id,rle\n"), text
    (tmp_path / "list.csv").rename(tmp_path / "sample_submission.csv")
    (tmp_path / "sample_submission.csv").write_text("ImageId,EncodedPixels\np,1 1\n")
    assert not looks_like_rle_table(tmp_path)


def test_long_masks_are_read(tmp_path):
    """Beyond the 131,072 characters at which Python's csv stops."""
    mask = np.zeros((600, 600), bool)
    mask[::2] = True
    text = encoded(mask, "F")
    assert len(text) > 200_000
    dataset = read_dataset(table(tmp_path, f"id,rle\np,{text}\n", size=(600, 600)))
    assert dataset.truth(0).masks.areas().tolist() == [180_000]


def test_boxes_are_refused(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    record = Record("p", tmp_path / "p.png", (40, 60), Objects((Annotation(0, BoxOnly(), (1.0, 1.0, 5.0, 5.0)),)))
    made = Dataset(labels_of(["a"]), (record,), "fake", tmp_path, boxes_only=True)
    with pytest.raises(DataError, match="expected a mask for every object"):
        write_rle_table(tmp_path / "out", made)
    assert not (tmp_path / "out").exists()


def test_the_folder_of_pictures_may_lie_elsewhere(tmp_path):
    root = table(tmp_path, "id,rle\np,1 3\n")
    (root / "images").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    assert len(read_dataset(root / "train.csv", images=elsewhere)) == 1
    with pytest.raises(DataError, match="--images"):
        read_dataset(root / "train.csv")
    with pytest.raises(ConfigError):
        read_dataset(elsewhere, images=root, format="mask-files")
