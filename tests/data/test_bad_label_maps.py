"""Label maps that cannot be used: the catalogue's cases B01-B14 and D20, each with what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.data.formats.labelmaps.image_masks import read_image_masks
from everymask.errors import DataError
from tests.data.semantic_files import blobs, put

COLOURS = np.array([[200, 10, 0], [0, 60, 255], [9, 90, 9]], np.uint8)


def names(root, text="background\ncell\nwall\n", file="classes.txt"):
    (root / file).write_text(text)


def size(root):
    put(root, "b", blobs(size=(30, 41)))
    Image.new("RGB", (40, 30)).save(root / "images" / "b.jpg")


def outside(root):
    names(root)
    ids = blobs(seed=1)
    ids[4, 7], ids[20, 3] = 7, 7
    put(root, "b", ids)


def binary_of_three(root):
    names(root)
    for name in "ab":
        put(root, name, blobs(2) * np.uint8(255))


def wide(value):
    def spoil(root):
        names(root)
        ids = blobs().astype(np.uint16 if value > 0 else np.int32)
        ids[2, 5] = value
        file = put(root, "b", blobs(), map_name="{}.tif")
        Image.fromarray(ids).save(file)

    return spoil


def unknown_colour(root):
    names(root, "name,r,g,b\na,200,10,0\nb,0,60,255\nc,9,90,9", "classes.csv")
    put(root, "a", COLOURS[blobs()])
    ids = COLOURS[blobs()]
    ids[3, 8] = 250, 1, 1
    put(root, "b", ids)


def smooth(root):
    for name in "ab":
        image = Image.fromarray(blobs(2) * np.uint8(255)).resize((400, 300), Image.Resampling.BICUBIC)
        put(root, name, np.asarray(image))


def smooth_colours(root):
    unknown_colour(root)
    image = Image.fromarray(COLOURS[blobs()]).resize((80, 60), Image.Resampling.BILINEAR)
    put(root, "b", np.asarray(image))


def jpeg(mode):
    def spoil(root):
        put(root, "b", blobs()).unlink()
        Image.fromarray(blobs()).convert(mode).save(root / "masks" / "b.jpg")

    return spoil


def fractions(root):
    put(root, "b", blobs(), map_name="{}.tif")
    Image.fromarray(blobs() / np.float32(2)).save(root / "masks" / "b.tif")


def off_by_one(root):
    names(root)
    for name in "ab":
        put(root, name, blobs() + np.uint8(1))


def table(root, rows):
    (root / "classes.csv").write_text("name,number\n" + rows, "utf-8")


BAD = [
    pytest.param(size, "mask-size", "41 x 30", id="B01 size"),
    pytest.param(outside, "unknown-number", "x 7, y 4: 2 pixels hold a number that stands for no class (found 7)",
                 id="B02 outside"),
    pytest.param(binary_of_three, "binary-map", "map 255 to 1", id="B03 0 and 255"),
    pytest.param(wide(300), "unknown-number", "found 300", id="B04 16 bits do not wrap"),
    pytest.param(wide(-1), "mask", "found -1 at row 2, column 5", id="B04 negative"),
    pytest.param(unknown_colour, "unknown-colour", "x 8, y 3: 1 pixels hold a colour that stands for no class (found "
                 "#fa0101)", id="B05 colour"),
    pytest.param(jpeg("L"), "mask", "JPEG", id="B06 grey JPEG"),
    pytest.param(jpeg("RGB"), "mask", "JPEG", id="B06 colour JPEG"),
    pytest.param(smooth_colours, "unknown-colour", "such colours fill", id="B07 colour edges"),
    pytest.param(fractions, "mask", "expected whole numbers, but found 0.5", id="B09 fractions"),
    pytest.param(lambda root: [put(root, name, blobs() * np.uint8(0)) for name in "ab"], "one-number", "only 0",
                 id="B11 background alone"),
    pytest.param(lambda root: put(root, "b", blobs()).unlink(), "mask-missing", "expected b.png", id="B12 no map"),
    pytest.param(lambda root: (put(root, "b", blobs()), (root / "images/b.jpg").unlink()), "picture-missing",
                 "belongs to no picture", id="B12 no picture"),
    pytest.param(off_by_one, "unknown-number", "make it the first row; the pixels by number are 1: ",
                 id="B13 off by one"),
    pytest.param(lambda root: put(root, "b", blobs(), map_name="{}_gtFine.png"), "mask-missing", "b_mask.png",
                 id="D20 ending"),
    pytest.param(lambda root: names(root, "a\nb\na\n"), "repeated-class", "a name stands there twice", id="names"),
    pytest.param(lambda root: names(root, "3 a\n4 b\nfive c\n"), "class-table", "line 3", id="table row"),
    pytest.param(lambda root: table(root, '"a,1\nb,2\n'), "csv-syntax", "line 3", id="open quote"),
    pytest.param(lambda root: table(root, '"a"a,1\nb,2\n'), "csv-syntax", "line 2", id="quote within"),
    pytest.param(lambda root: table(root, '"a\nb",1\nc,2\n'), "class-table", "line 3", id="name of two lines"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "code", "said"), BAD)
def test_bad_input_is_listed(tmp_path, spoil, code, said):
    put(tmp_path, "a", blobs())
    spoil(tmp_path)
    with pytest.raises(DataError) as caught:
        read_image_masks(tmp_path)
    found = [issue for issue in caught.value.issues if issue.code == code]
    assert found, caught.value
    assert any(said in str(issue) for issue in found), caught.value
    assert all(issue.file for issue in found)


@pytest.mark.parametrize("spoil", [size, outside, wide(300), unknown_colour, jpeg("L"), fractions])
def test_what_is_defective_can_be_left_out(tmp_path, spoil):
    put(tmp_path, "a", blobs())
    spoil(tmp_path)
    assert [record.id for record in read_image_masks(tmp_path, policy="skip").records] == ["a"]


def test_b07_smoothed_edges_are_divided_midway_or_where_it_is_said(tmp_path):
    soft = np.zeros((30, 40), np.uint8)
    soft[5:20, 8:30] = 255
    soft = np.asarray(Image.fromarray(soft).resize((80, 60), Image.Resampling.BICUBIC))
    for ending, kept in (("png", None), ("jpg", None), ("jpg", 200)):
        root = tmp_path / f"{ending}{kept}"
        for name in "ab":
            put(root, name, soft)
            if ending == "jpg":
                Image.fromarray(soft).save(root / f"masks/{name}.jpg", quality=80)
                (root / f"masks/{name}.png").unlink()
        found = read_image_masks(root, mask_threshold=kept)
        assert found.labels.names == ("background", "foreground")
        assert [issue.code for issue in found.issues] == ["mask-levels"]
        assert f"foreground from {kept or 128} on; the levels are 0 and 255" in found.issues[0].message
        stored = np.asarray(Image.open(root / f"masks/a.{ending}"))
        assert (found.label_map(0).ids == (stored >= (kept or 128))).all()
        assert found.records[0].truth.pixels == tuple(np.bincount((stored >= (kept or 128)).ravel()))


def test_what_has_no_two_levels_is_refused(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    put(tmp_path, "a", ramp)
    Image.fromarray(ramp).save(tmp_path / "masks/a.jpg")
    (tmp_path / "masks/a.png").unlink()
    with pytest.raises(DataError, match="do not have two grey levels"):
        read_image_masks(tmp_path)


def odd(root, stored):
    put(root, "a", blobs())
    file = put(root, "b", blobs())
    Image.fromarray(stored).save(file)
    return read_image_masks(root)


def test_b08_three_equal_channels_count_as_one(tmp_path):
    found = odd(tmp_path, np.dstack([blobs()] * 3))
    assert (found.label_map(1).ids == blobs()).all()
    assert [issue.code for issue in found.issues] == ["mask-channels"]


def test_b10_a_map_without_truth_is_kept_with_a_warning(tmp_path):
    names(tmp_path)
    found = odd(tmp_path, np.full((30, 40), 255, np.uint8))
    assert len(found) == 2 and found.records[1].truth.pixels == (0, 0, 0)
    assert [issue.code for issue in found.issues] == ["all-ignore"]


def test_b11_a_class_that_no_map_shows_is_named(tmp_path):
    names(tmp_path, "background\ncell\nwall\nmoon\n")
    found = odd(tmp_path, blobs())
    assert [(issue.code, issue.value) for issue in found.issues] == [("class-absent", "moon")]


def test_b14_alpha_that_varies_is_noted(tmp_path):
    found = odd(tmp_path, np.dstack([*[blobs()] * 3, blobs(2) * np.uint8(255)]))
    assert "mask-alpha" in [issue.code for issue in found.issues]
    assert (found.label_map(1).ids == blobs()).all()


def test_a_file_that_changed_after_reading_is_named(tmp_path):
    found = odd(tmp_path, blobs())
    Image.fromarray(blobs() + np.uint8(9)).save(tmp_path / "masks" / "b.png")
    with pytest.raises(
        DataError, match=r"b.png: \d+ pixels hold 11, which stands for no class; the first is at x 0, y 0"
    ):
        found.label_map(1)
    Image.fromarray(blobs(size=(9, 9))).save(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match=r"expected a label map of 40 x 30 pixels, but it has 9 x 9"):
        found.label_map(1)
