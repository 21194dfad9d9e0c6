"""Every layout of pictures and maps with every content: what each combination is read as, or that it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.labelmaps.camvid import CAMVID
from everymask.data.formats.pair_lists import find_pairs
from everymask.data.formats.readings import judge_maps
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.issues import IssueLog
from everymask.data.records import Annotation, Objects, Record, Rle
from everymask.errors import ConfigError, DataError
from tests.data.semantic_files import blobs

LAYOUTS = {
    "images, masks": ("images/{}.png", "masks/{}"),
    "images, labels": ("images/{}.jpg", "labels/{}"),
    "image, label": ("image/{}.tif", "label/{}"),
    "images, ground_truth": ("images/{}.png", "ground_truth/{}_gt"),
    "splits above": ("val/images/{}.jpg", "val/masks/{}"),
    "splits below": ("images/train/{}.png", "labels/train/{}"),
    "splits in names": ("train_images/{}.png", "train_masks/{}"),
    "beside a split": ("train/{}.jpg", "train_masks/{}_mask"),
    "CamVid": ("train/{}.png", "trainannot/{}"),
    "Penn-Fudan": ("PNGImages/{}.png", "PedMasks/{}_mask"),
    "instances": ("images/{}.png", "instances/{}"),
    "nnU-Net": ("imagesTr/{}_0000.png", "labelsTr/{}"),
    "side by side": ("{}.jpg", "{}_masks"),
    "both with endings": ("{}_img.png", "{}_label"),
    "Cellpose": ("{}.tif", "{}_cp_masks"),
    "one name": ("{}.jpg", "{}"),
    "one name, both lossless": ("{}.bmp", "{}"),
    "a list": ("a/{}.jpg", "b/{}"),
}
SPEAKS = {"CamVid": "classes", "Penn-Fudan": "objects", "instances": "objects", "Cellpose": "objects"}
"""Layouts whose names decide where the content does not."""


def squares(count, step=1, dtype=np.uint8, size=(48, 64)):
    """Objects in one piece each, numbered from `step` on in steps."""
    ids = np.zeros(size, dtype)
    for row in range(count):
        y, x = 3 * (row // 20), 3 * (row % 20)
        ids[1 + y : 3 + y, 1 + x : 3 + x] = (row + 1) * step
    return ids


def square(value, dtype=np.uint8):
    ids = np.zeros((48, 64), dtype)
    ids[5:20, 5:30] = value
    return ids


def gaps(*values):
    return np.array([0, *values], np.uint8)[squares(len(values))]


def palette(ids):
    image = Image.fromarray(ids, "L")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return image


MAPS = {
    "a few objects": [squares(2), squares(5), squares(3)],
    "a few objects, 16 bits": [squares(count, dtype=np.uint16) for count in (2, 5, 3)],
    "many objects": [squares(30), squares(12), squares(41)],
    "many objects, 16 bits": [squares(count, dtype=np.uint16) for count in (30, 290, 12)],
    "large numbers": [squares(count, 700, np.uint16) for count in (3, 3, 3)],
    "as many objects in each": [squares(3), squares(3), squares(3)],
    "one or two objects": [squares(1), squares(2), squares(2)],
    "many objects with gaps": [np.where(squares(40) % 3 == 1, 0, squares(40)), squares(20, 2), squares(30, 2)],
    "few numbers with gaps": [gaps(2, 5), gaps(7, 2), gaps(3, 9)],
    "0 and 255": [blobs(2, (48, 64), seed) * np.uint8(255) for seed in range(3)],
    "0 and 255 in one piece": [square(255) for _ in range(3)],
    "0 and 1": [blobs(2, (48, 64), seed) for seed in range(3)],
    "0 and 1 in one piece": [square(1) for _ in range(3)],
    "classes": [blobs(4, (48, 64), seed) for seed in range(3)],
    "classes and void": [np.where(blobs(5, (48, 64), seed) == 4, 255, blobs(5, (48, 64), seed)).astype(np.uint8)
                         for seed in range(3)],
    "classes in a palette": [palette(blobs(4, (48, 64), seed)) for seed in range(3)],
    "classes that fill the picture": [np.repeat(np.array(row, np.uint8), 16)[None].repeat(48, 0) for row in
                                      ([1, 2, 3, 4], [4, 2, 1, 3], [2, 3, 4, 1])],
    "colours": [np.array([[9, 9, 9], [200, 0, 0], [0, 60, 255]], np.uint8)[blobs(3, (48, 64), seed)]
                for seed in range(3)],
}  # fmt: skip
RIGHT = {
    "a few objects": ("objects", 10, "said"),
    "a few objects, 16 bits": ("objects", 10, "said"),
    "many objects": ("objects", 83, ""),
    "many objects, 16 bits": ("objects", 332, ""),
    "large numbers": ("objects", 9, ""),
    "as many objects in each": ("refused", "as objects: 9 in 3 pictures; as classes: 4 (0, 1, 2, 3)", ""),
    "one or two objects": ("refused", "as objects: 5 in 3 pictures; as classes: 3 (0, 1, 2)", ""),
    "many objects with gaps": ("objects", 26 + 20 + 30, "said"),
    "few numbers with gaps": ("classes", 6, "said"),
    "0 and 255": ("classes", 2, ""),
    "0 and 255 in one piece": ("classes", 2, ""),
    "0 and 1": ("classes", 2, ""),
    "0 and 1 in one piece": ("classes", 2, "said"),
    "classes": ("classes", 4, ""),
    "classes and void": ("classes", 4, ""),
    "classes in a palette": ("classes", 4, ""),
    "classes that fill the picture": ("classes", 4, "said"),
    "colours": ("refused", "classes.csv", ""),
}
# Each layout meets every third content, and each content every third layout; the slow suite has all.
CELLS = [
    pytest.param(
        layout,
        content,
        (".png", ".tif")[(row + column) % 2],
        id=f"{layout}: {content}",
        marks=[pytest.mark.slow] * ((row + column) % 3 > 0),
    )
    for row, layout in enumerate(LAYOUTS)
    for column, content in enumerate(RIGHT)
]


def test_there_are_enough_cells():
    """Of layouts and contents, each a kind of file; every one is right, or refused with candidates."""
    assert len({param.id for param in CELLS}) == len(CELLS) == len(LAYOUTS) * len(MAPS) >= 150
    assert RIGHT.keys() == MAPS.keys()
    assert {ending for *_, ending in (param.values for param in CELLS)} == {".png", ".tif"}


def make(root: Path, layout: str, maps: list, ending: str = ".png") -> None:
    for name, stored in zip("abc", maps, strict=True):
        picture, file = (root / place.format(name) for place in LAYOUTS[layout])
        image = stored if isinstance(stored, Image.Image) else Image.fromarray(stored)
        for place in (picture, file):
            place.parent.mkdir(parents=True, exist_ok=True)
        noise = rng(name, "picture").integers(0, 256, (*image.size[::-1], 3), np.uint8)
        Image.fromarray(noise).save(picture)
        image.save(file.with_name(file.name + ending))
        if layout == "a list":
            with (root / "train.txt").open("a") as lines:
                lines.write(f"a/{name}.jpg b/{name}{ending}\n")


def reading(root: Path, **options):
    """What a data set is read as: its kind, the number of objects or classes, and whether the other one is named."""
    found = read_dataset(root, **options)
    said = "said" if any(issue.code == "two-readings" for issue in found.issues) else ""
    if found.kind == "label maps":
        return "classes", len(found.labels), said
    return "objects", sum(len(found.truth(row)) for row in range(len(found))), said


@pytest.mark.parametrize(("layout", "content", "ending"), CELLS)
def test_each_layout_with_each_content(tmp_path, layout, content, ending):
    make(tmp_path, layout, MAPS[content], ending)
    kind, value, said = RIGHT[content]
    if kind == "refused" and not (layout in SPEAKS and content != "colours"):
        with pytest.raises(DataError) as caught:
            read_dataset(tmp_path)
        assert value in str(caught.value)
        return
    if kind == "refused":
        kind, said = SPEAKS[layout], "said"
        value = {"objects": int(value.split()[2]), "classes": int(value.split("classes: ")[1].split()[0])}[kind]
    assert reading(tmp_path) == (kind, value, said)


@pytest.mark.parametrize("content", ["as many objects in each", "a few objects", "few numbers with gaps"])
def test_what_fits_both_is_what_is_asked_for(tmp_path, content):
    make(tmp_path, "images, labels", MAPS[content])
    numbers = {int(value) for ids in MAPS[content] for value in np.unique(ids)}
    objects = sum(len(np.unique(ids)) - 1 for ids in MAPS[content])
    assert reading(tmp_path, format="instance-pngs") == reading(tmp_path, task="instance") == ("objects", objects, "")
    assert reading(tmp_path, format="image-masks") == ("classes", len(numbers), "")
    # What is rather objects is painted, as objects of every other format are.
    expected = ("classes", 2, "said") if content == "a few objects" else ("classes", len(numbers))
    assert reading(tmp_path, task="semantic")[: len(expected)] == expected


def test_maps_that_can_only_be_classes_do_not_become_objects_by_a_task(tmp_path):
    make(tmp_path, "images, masks", MAPS["classes"])
    with pytest.raises(ConfigError, match="do not tell objects apart"):
        read_dataset(tmp_path, task="instance")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("file", "text", "right"), [
    ("classes.txt", "background\ncell\nwall\nmoon\nsun\nsky", ("classes", 6, "")),
    ("classes.csv", "number,name\n0,background\n1,a\n2,b\n3,c\n4,d\n5,e", ("classes", 6, "")),
    ("labels.json", '{"%s": {"1": "cell"}}', None),
])  # fmt: skip
def test_a_table_says_it(tmp_path, layout, file, text, right):
    make(tmp_path, layout, MAPS["a few objects"] if right else [squares(1)] * 3)
    if right is None:
        names = [Path(LAYOUTS[layout][0].format(name)).stem for name in "abc"]
        text = "{" + ", ".join(f'"{name}": {{"1": "cell"}}' for name in names) + "}"
    (tmp_path / file).write_text(text)
    assert reading(tmp_path) == (right or ("objects", 3, ""))


@pytest.mark.parametrize("text", ['{"0": "cat", "1": "dog"}', "[", "[]"])
def test_another_labels_json_says_nothing(tmp_path, text):
    make(tmp_path, "images, masks", MAPS["0 and 255"])
    (tmp_path / "labels.json").write_text(text)
    assert reading(tmp_path) == ("classes", 2, "")


@pytest.mark.parametrize("content", ["classes", "0 and 1", "many objects"])
def test_one_class_name_leaves_it_to_the_maps(tmp_path, content):
    make(tmp_path, "images, masks", MAPS[content])
    (tmp_path / "classes.txt").write_text("cell\n")
    expected = {"0 and 1": ("classes", 2, ""), "many objects": ("objects", 83, "")}
    if content in expected:
        assert reading(tmp_path) == expected[content]
    else:
        with pytest.raises(DataError, match="stands for no class"):
            read_dataset(tmp_path)


def test_soft_edges_are_no_objects(tmp_path):
    soft = [np.asarray(Image.fromarray(ids).resize((640, 480), Image.Resampling.BICUBIC)) for ids in MAPS["0 and 255"]]
    make(tmp_path, "images, masks", soft)
    found = read_dataset(tmp_path)
    assert found.labels.names == ("background", "foreground")
    assert [issue.code for issue in found.issues] == ["mask-levels"]


def test_16_bit_maps_in_pieces_are_refused(tmp_path):
    make(tmp_path, "images, masks", [blobs(4, (48, 64), seed).astype(np.uint16) * 300 for seed in range(3)])
    with pytest.raises(DataError, match=r"as objects: 9 in 3 pictures; as classes: 4 \(0, 300, 600, 900\)"):
        read_dataset(tmp_path)


def with_void(ids):
    return np.where(np.arange(ids.shape[1]) > 60, np.iinfo(ids.dtype).max, ids).astype(ids.dtype)


def torn(ids):
    return ids + np.roll(ids, 30, 0)


def dust(count):
    """Every number in 100 pieces of one pixel, of which none is a twentieth."""
    ids = np.zeros((2 * count, 200), np.uint8)
    ids[::2, ::2] = np.arange(1, count + 1)[:, None]
    return ids


@pytest.mark.parametrize(("maps", "best", "both"), [
    pytest.param([with_void(squares(4)), with_void(squares(3))], None, True, id="few and void"),
    pytest.param([with_void(squares(4, 1, np.uint16)), with_void(squares(3, 1, np.uint16))], None, True, id="65535"),
    pytest.param([with_void(squares(9)), with_void(squares(7))], "objects", False, id="many and void"),
    pytest.param([squares(5)], None, True, id="a single map"),
    pytest.param([squares(6)], "objects", True, id="a single map of many"),
    pytest.param([torn(squares(5)), torn(squares(3))], "classes", False, id="few in pieces"),
    pytest.param([torn(squares(25)), torn(squares(20))], None, True, id="counted, but in pieces"),
    pytest.param([torn(squares(25)), torn(squares(25))], "classes", False, id="the same numbers, in pieces"),
    pytest.param([squares(255), squares(250)], "objects", False, id="255 objects in 8 bits"),
    pytest.param([np.maximum(square(255), squares(9) * (np.arange(64) % 3 == 1) * (np.arange(48) % 3 == 1)[:, None])],
                 "classes", False, id="soft edges of one pixel"),
    pytest.param([dust(3), dust(4)], "classes", False, id="dust"),
    pytest.param([squares(0), squares(0)], "classes", False, id="nothing"),
    pytest.param([], "classes", False, id="no map that can be read"),
])  # fmt: skip
def test_rows_of_the_rule(maps, best, both):
    judged = judge_maps(maps)
    assert (judged.best, judged.both) == (best, both)


def test_the_255th_object_of_8_bits_is_no_void(tmp_path):
    make(tmp_path, "images, masks", [squares(255), squares(254), with_void(squares(9))])
    assert reading(tmp_path) == ("objects", 255 + 254 + 9, "")


def put_pictures(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(squares(3) if "mask" in file or "label" in file or "manual" in file else
                        rng(file, "picture").integers(0, 256, (48, 64), np.uint8)).save(root / file)  # fmt: skip


def names_of(root):
    issues = IssueLog("skip")
    pairs = find_pairs(root, issues)
    listed = [(str(pair.picture.relative_to(root)), str(pair.map.relative_to(root))) for pair in pairs]
    return listed, [issue.code for issue in issues.issues]


@pytest.mark.parametrize(("files", "pairs", "codes"), [
    pytest.param(["images/1.png", "images/1_mask.png", "masks/1_mask.png", "masks/1_mask_mask.png"],
                 [("images/1.png", "masks/1_mask.png"), ("images/1_mask.png", "masks/1_mask_mask.png")], [],
                 id="one ending for all"),
    pytest.param(["images/a.png", "images/b.png", "masks/a.png", "masks/b_mask.png"],
                 [("images/a.png", "masks/a.png"), ("images/b.png", "masks/b_mask.png")], [], id="mixed endings"),
    pytest.param(["images/e\u0301.png", "masks/\u00e9.png"], [("images/e\u0301.png", "masks/\u00e9.png")], [],
                 id="two forms of one letter"),
    pytest.param(["a.png", "a_mask.png", "a_label.png"], [("a.png", "a_label.png")], ["picture-missing"],
                 id="two maps beside a picture"),
    pytest.param(["images/case.png", "masks/tumour.png"], [], ["mask-missing", "picture-missing"], id="other names"),
    pytest.param(["images/1.png", "images/2.png", "masks/1.png", "masks/2.png", "labels/1.png", "labels/2.png"], [],
                 ["several-map-folders"], id="two folders of maps"),
    pytest.param(["images/21_training.png", "images/22_training.png", "mask/21_training_mask.png",
                  "mask/22_training_mask.png", "1st_manual/21_manual1.png", "1st_manual/22_manual1.png"], [],
                 ["several-map-folders"], id="retina"),
    pytest.param(["images/1.png", "images/2.png", "masks/1.png", "masks/2.png", "depth/1.png", "depth/2.png"],
                 [("images/1.png", "masks/1.png"), ("images/2.png", "masks/2.png")], [], id="other pictures beside"),
])  # fmt: skip
def test_names(tmp_path, files, pairs, codes):
    put_pictures(tmp_path, *files)
    assert names_of(tmp_path) == (pairs, codes)


def test_two_folders_of_maps_are_named(tmp_path):
    put_pictures(tmp_path, "images/1.png", "images/2.png", "masks/1.png", "masks/2.png", "labels/1.png", "labels/2.png")
    for options in ({}, {"format": "image-masks"}, {"format": "instance-pngs"}):
        with pytest.raises(DataError, match="labels/ and masks/") as caught:
            read_dataset(tmp_path, **options)
        assert "choose one: --masks labels or --masks masks" in str(caught.value)
    with pytest.raises(DataError, match="no folder of label maps called mask lies beside one of pictures"):
        read_dataset(tmp_path, masks="mask")
    for chosen in ("masks", tmp_path / "labels"):
        found = read_dataset(tmp_path, masks=chosen, format="instance-pngs")
        assert {record.objects.annotations[0].shape.file.parent.name for record in found.records} == {Path(chosen).name}


def test_pictures_of_one_name_that_are_no_maps_are_no_pairs(tmp_path):
    put_pictures(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png")
    assert names_of(tmp_path) == ([], [])


def test_names_that_do_not_pair_are_listed(tmp_path):
    put_pictures(tmp_path, "images/case.png", "masks/tumour.png")
    with pytest.raises(DataError, match=r"(?s)not clear which label map belongs.*expected case.png.*tumour.png"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("per_picture", [(1, 1, 1), (2, 2, 2, 2), (1, 2), (3,), (0, 0)])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_objects_are_read_back_as_objects_however_few_or_torn(tmp_path, per_picture, in_pieces):
    """Also where each is in several pieces, or the only one."""
    make(tmp_path / "in", "images, masks", [squares(3)] * 3)
    picture = tmp_path / "in" / "images" / "a.png"
    records = []
    for number, count in enumerate(per_picture):
        ids = squares(count)
        masks = [(torn(ids) if in_pieces else ids) == row + 1 for row in range(count)]
        objects = tuple(Annotation(0, Rle(Masks.from_dense(mask[None]).to_rle()[0])) for mask in masks)
        records.append(Record(f"p{number}", picture, (48, 64), Objects(objects)))
    made = Dataset(labels_of(["cell"]), tuple(records), "fake", tmp_path)
    write_dataset(tmp_path / "out", made, "instance-pngs")
    found = read_dataset(tmp_path / "out")
    assert (found.format, found.labels.names, found.issues) == ("instance-pngs", ("cell",), ())
    assert [len(found.truth(row)) for row in range(len(found))] == list(per_picture)


@pytest.mark.parametrize("name", ["image-masks", "camvid"])
@pytest.mark.parametrize("content", ["as many objects in each", "a few objects", "0 and 1 in one piece"])
def test_label_maps_are_read_back_as_label_maps(tmp_path, name, content):
    make(tmp_path / "in", "images, masks", MAPS[content])
    made = read_dataset(tmp_path / "in", format="image-masks")
    write_dataset(tmp_path / "out", made, name)
    found = read_dataset(tmp_path / "out")
    assert (found.format, found.labels.names, found.issues) == (name, made.labels.names, ())


def test_few_of_camvids_classes_are_read_back_as_camvids(tmp_path):
    make(tmp_path / "in", "images, masks", MAPS["0 and 1"])
    (tmp_path / "in" / "classes.txt").write_text("\n".join(CAMVID.names))
    write_dataset(tmp_path / "out", read_dataset(tmp_path / "in"), "camvid")
    found = read_dataset(tmp_path / "out")
    assert (found.format, found.labels.names) == ("camvid", CAMVID.names)


@pytest.mark.parametrize(("case", "right"), [
    ("26-names-of-pairs/a-nnunet", ("classes", 3, "")),
    ("26-names-of-pairs/b-nnunet-in-images", ("classes", 3, "")),
    ("26-names-of-pairs/d-prefix-mask", ("classes", 3, "")),
    ("cellpose_tif", ("objects", 40, "")),
    ("images_labels_tif", ("objects", 40, "")),
    ("drive_trap", "mask/ and 1st_manual/"),
    ("kvasir_png", ("classes", 2, "")),
    ("kvasir_jpeg", ("classes", 2, "")),
    ("magnetic_tile_sorted", ("classes", 2, "")),
    ("26-names-of-pairs/k-two-masks", "a_mask.png: the label map belongs to no picture"),
])  # fmt: skip
def test_real_cases(shared, case, right):
    if isinstance(right, tuple):
        assert reading(shared / "cases" / case) == right
        return
    with pytest.raises(DataError, match=right):
        read_dataset(shared / "cases" / case)


@pytest.mark.parametrize(("masks", "share"), [("1st_manual", 0.075), ("mask", 0.688)])
def test_one_of_several_folders_of_masks_is_chosen(shared, masks, share):
    found = read_dataset(shared / "cases/drive_trap", masks=masks)
    pixels = np.sum([record.truth.pixels for record in found.records], axis=0)
    assert len(found) == 3 and pixels[1] / pixels.sum() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("case", ["a-one-class-whole", "c-one-class-all-split", "f-one-object-each"])
def test_real_objects_come_back(shared, tmp_path, case):
    made = read_dataset(shared / "cases" / "09-instance-pngs-again" / case)
    write_dataset(tmp_path / "out", made, "instance-pngs")
    found = read_dataset(tmp_path / "out")
    assert (found.format, found.issues) == ("instance-pngs", ())
    assert [len(record.objects.annotations) for record in found.records] == [
        len(record.objects.annotations) for record in made.records
    ]
