"""Pascal VOC folders: what labelme and other tools wrote, boxes in XML, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.core.label_sets import VOC_NAMES
from everymask.data.formats.folders import copy_picture
from everymask.data.formats.voc.classes import voc_colours
from everymask.data.formats.voc.lists import read_lists
from everymask.data.formats.voc.objects import looks_like_voc, read_voc, write_voc
from everymask.data.issues import IssueLog
from everymask.errors import DataError

XML = (
    "<annotation><filename>{file}</filename>{size}<object><name>{name}</name><difficult>{difficult}</difficult>"
    "<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>"
    "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object></annotation>"
)
SIZE = "<size><width>60</width><height>40</height><depth>3</depth></size>"


def save(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(file)


def boxes(root, stem="a", *, text=None, file="a.jpg", size=SIZE, name="cat", box=(1, 2, 30, 40), difficult=0):
    save(root / "JPEGImages" / f"{stem}.jpg", np.zeros((40, 60, 3)))
    target = root / "Annotations" / f"{stem}.xml"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text or XML.format(file=file, size=size, name=name, box=box, difficult=difficult))
    return target


def maps(root, stem="a", ids=None, classes=None):
    if ids is None:
        ids = np.zeros((40, 60), np.uint8)
        ids[5:15, 5:20], ids[20:30, 30:50], ids[30:32, 30:50] = 1, 2, 255
    classes = np.array([0, 8, 15, *[0] * 252, 255])[ids] if classes is None else classes
    save(root / "JPEGImages" / f"{stem}.jpg", np.zeros((40, 60, 3)))
    save(root / "SegmentationObject" / f"{stem}.png", ids)
    save(root / "SegmentationClass" / f"{stem}.png", classes)


def lists(root, kind="Segmentation", **texts):
    folder = root / "ImageSets" / kind
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_bytes(text.encode())


def test_what_labelme_converted(shared):
    root = shared / "labelme" / "instance_segmentation" / "data_dataset_voc"
    assert looks_like_voc(root)
    dataset = read_voc(root)
    assert not dataset.issues and len(dataset.labels) == 20 and dataset.labels.names[-1] == "tv/monitor"
    for index, record in enumerate(dataset.records):
        ids = np.load(root / "SegmentationObjectNpy" / f"{record.id}.npy")
        classes = np.load(root / "SegmentationClassNpy" / f"{record.id}.npy")
        truth = dataset.truth(index)
        assert truth.ids.tolist() == sorted(set(np.unique(ids).tolist()) - {0})
        for row, number in enumerate(truth.ids.tolist()):
            assert np.array_equal(truth.masks.to_dense(row), ids == number)
            assert truth.class_ids[row] == np.bincount(classes[ids == number]).argmax() - 1


def test_maps_in_colours_and_a_test_list_without_annotations(shared):
    dataset = read_voc(shared / "format_fixtures" / "voc_dataset" / "voc_dataset1")
    assert dataset.annotated().splits() == {"train": 1} and dataset.splits() == {"train": 1, "test": 1}
    assert not dataset.records[1].annotated
    assert [issue.code for issue in dataset.issues] == ["unlabelled"]
    truth = dataset.truth(0)
    assert (truth.class_ids.tolist(), truth.ids.tolist(), truth.masks.areas().tolist()) == ([1], [1], [200])


def test_boxes_count_from_one(shared):
    dataset = read_voc(shared / "format_fixtures" / "voc_dataset" / "voc_dataset3")
    assert dataset.boxes_only and dataset.labels.names == VOC_NAMES
    truth = dataset.truth(0)
    assert truth.masks is None
    assert truth.boxes.tolist() == [[0.0, 1.0, 3.0, 4.0]]
    assert [VOC_NAMES[class_id] for class_id in truth.class_ids] == ["cat"]


def test_pictures_that_are_not_there_are_listed_with_the_line(shared):
    with pytest.raises(DataError) as error:
        read_voc(shared / "format_fixtures" / "voc_dataset" / "voc_dataset2")
    assert [issue.code for issue in error.value.issues] == ["picture-missing"] * 5
    assert [issue.where for issue in error.value.issues] == [f"Main/trainval.txt line {line}" for line in range(1, 6)]


def test_class_maps_alone_are_refused_in_words(shared):
    with pytest.raises(DataError, match="found only SegmentationClass"):
        read_voc(shared / "labelme" / "semantic_segmentation" / "data_dataset_voc")


def test_the_palette_is_that_of_the_published_files(shared):
    file = shared / "labelme" / "instance_segmentation" / "data_dataset_voc" / "SegmentationClass" / "2011_000003.png"
    with Image.open(file) as image:
        published = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    assert np.array_equal(voc_colours()[: len(published)], published)
    assert voc_colours()[255].tolist() == [224, 224, 192]


def test_void_belongs_to_no_object_and_the_folder_may_be_inside(tmp_path):
    maps(tmp_path / "VOCdevkit" / "VOC2012")
    dataset = read_voc(tmp_path)
    truth = dataset.truth(0)
    assert truth.ids.tolist() == [1, 2]
    assert [VOC_NAMES[class_id] for class_id in truth.class_ids] == ["cat", "person"]
    assert truth.masks.areas().tolist() == [150, 200]
    maps(tmp_path / "VOCdevkit" / "VOC2007")
    with pytest.raises(DataError, match="VOC2007, VOC2012"):
        read_voc(tmp_path)


def test_lists_say_what_belongs_to_the_data_set_and_the_split(tmp_path):
    for stem in "abcd":
        maps(tmp_path, stem)
    lists(tmp_path, train="b\r\n\r\n# comment\r\na.jpg\r\n", trainval="a\nb\nc\n", cat_train="a 1\nb -1\n")
    dataset = read_voc(tmp_path)
    assert [(record.id, record.split) for record in dataset.records] == [("b", "train"), ("a", "train"), ("c", None)]
    assert [(issue.code, issue.value) for issue in dataset.issues] == [("not-listed", "d")]


@pytest.mark.parametrize(("texts", "code", "where"), [
    pytest.param({"train": "a\n/abs/a\n"}, "list-path", "line 2", id="D22 absolute path"),
    pytest.param({"train": "../a\n"}, "list-path", "line 1", id="D22 parent folder"),
    pytest.param({"train": "a\na\n"}, "list-repeated", "line 2", id="D22 repeated"),
    pytest.param({"train": "a\n", "val": "a\n"}, "split-leak", "line 1", id="C28 in two splits"),
    pytest.param({"train": "a\nz\n"}, "annotation-missing", "Segmentation/train.txt line 2",
                 id="B12 listed, not there"),
    pytest.param({"train": "\xff".encode("utf-16").decode("latin-1")}, "text-encoding", "", id="D08 UTF-16"),
])  # fmt: skip
def test_bad_lists(tmp_path, texts, code, where):
    maps(tmp_path)
    lists(tmp_path)
    for name, text in texts.items():
        (tmp_path / "ImageSets" / "Segmentation" / f"{name}.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        read_voc(tmp_path)
    assert error.value.issues[0].code == code
    assert error.value.issues[0].where == where or not where


def test_blank_lines_alone_make_no_list(tmp_path):
    lists(tmp_path, train="\n\n")
    assert read_lists(tmp_path / "ImageSets" / "Segmentation", IssueLog()) == []


def with_class_file(root, text, name="class_names.txt"):
    maps(root)
    (root / name).write_text(text)


def colour_map(root, colours):
    ids = np.zeros((40, 60), np.uint8)
    ids[5:15, 5:20] = 1
    save(root / "JPEGImages" / "a.jpg", np.zeros((40, 60, 3)))
    save(root / "SegmentationObject" / "a.png", ids)
    save(root / "SegmentationClass" / "a.png", np.array(colours, np.uint8)[ids])


def test_labelmap_txt_gives_names_and_colours(tmp_path):
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nred thing:250,1,2::\nignored:224,224,192::\n"
    )
    colour_map(tmp_path, [[0, 0, 0], [250, 1, 2]])
    dataset = read_voc(tmp_path)
    assert dataset.labels.names == ("red thing",)
    assert dataset.truth(0).class_ids.tolist() == [0]
    colour_map(tmp_path, [[0, 0, 0], [250, 1, 3]])
    with pytest.raises(DataError) as error:
        read_voc(tmp_path)
    issue = error.value.issues[0]
    assert (issue.code, issue.where, issue.value) == ("unknown-colour", "row 5, column 5", "(250, 1, 3)")
    assert "150 pixels" in issue.message


BAD_MAPS = [
    pytest.param(lambda root: save(root / "SegmentationObject/a.png", np.zeros((40, 61))), "mask-size",
                 id="B01 objects"),
    pytest.param(lambda root: save(root / "SegmentationClass/a.png", np.zeros((60, 40))), "mask-size",
                 id="B01 classes"),
    pytest.param(lambda root: maps(root, classes=np.full((40, 60), 21)), "unknown-class", id="B02 class 21"),
    pytest.param(lambda root: maps(root, classes=np.zeros((40, 60))), "class-missing", id="object on background"),
    pytest.param(lambda root: (root / "SegmentationClass/a.png").unlink(), "annotation-missing", id="B12 no class map"),
    pytest.param(lambda root: save(root / "SegmentationObject/b.png", np.zeros((4, 4))), "picture-missing",
                 id="B12 no picture"),
    pytest.param(lambda root: (root / "JPEGImages/a.jpg").write_bytes(b""), "picture", id="A01 empty picture"),
    pytest.param(lambda root: with_class_file(root, "_background_\ncat\ncat\n"), "repeated-class", id="C10 name twice"),
    pytest.param(lambda root: with_class_file(root, "x:1,2\n", "labelmap.txt"), "labelmap-row", id="labelmap row"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "code"), BAD_MAPS)
def test_bad_maps_are_listed(tmp_path, spoil, code):
    maps(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError) as error:
        read_voc(tmp_path)
    assert code in [issue.code for issue in error.value.issues]
    assert all(issue.file for issue in error.value.issues)


def test_b08_grey_maps_in_three_channels_count_as_one(tmp_path):
    maps(tmp_path)
    expected = read_voc(tmp_path).truth(0)
    for folder in ("SegmentationObject", "SegmentationClass"):
        file = tmp_path / folder / "a.png"
        save(file, np.dstack([np.asarray(Image.open(file))] * 3))
    found = read_voc(tmp_path)
    assert found.truth(0).masks.to_rle() == expected.masks.to_rle()
    assert found.truth(0).class_ids.tolist() == expected.class_ids.tolist()
    assert [(issue.code, issue.count) for issue in found.issues] == [("mask-channels", 2)]


def test_b10_a_picture_that_is_void_all_over_is_left_out(tmp_path):
    maps(tmp_path)
    maps(tmp_path, "b", ids=np.full((40, 60), 255, np.uint8))
    found = read_voc(tmp_path)
    assert [record.id for record in found.records] == ["a"]
    assert [(issue.code, issue.severity) for issue in found.issues] == [("all-void", "warning")]


def test_b13_numbers_shifted_by_one_come_with_their_counts_and_a_hint(tmp_path):
    """A list without background first, and maps that count the classes from 1 and background too."""
    with_class_file(tmp_path, "cat\ndog\n")
    ids = np.zeros((40, 60), np.uint8)
    ids[5:15, 5:20], ids[20:30, 30:50] = 1, 2
    maps(tmp_path, ids=ids, classes=ids + 1)
    with pytest.raises(
        DataError, match=r"pixels by number are 1: 2050, 2: 150, 3: 200(.|\n)*must not be shifted"
    ) as error:
        read_voc(tmp_path)
    assert (error.value.issues[0].code, error.value.issues[0].value) == ("unknown-class", "3")


def test_d20_a_class_map_with_another_ending_is_not_paired(tmp_path):
    maps(tmp_path)
    file = tmp_path / "SegmentationClass" / "a.png"
    file.rename(file.with_stem("a_class"))
    with pytest.raises(DataError, match=r"a.png: the object map has no class map"):
        read_voc(tmp_path)


def test_several_classes_under_an_object_are_noted(tmp_path):
    classes = np.zeros((40, 60), np.uint8)
    classes[5:15, 5:17], classes[5:15, 17:20], classes[20:30] = 3, 4, 8
    maps(tmp_path, classes=classes)
    dataset = read_voc(tmp_path)
    assert dataset.truth(0).class_ids.tolist() == [2, 7]
    assert [(issue.code, issue.where) for issue in dataset.issues] == [("mixed-classes", "object 1")]


def test_an_object_that_is_mostly_void_keeps_the_class_of_the_rest(tmp_path):
    classes = np.full((40, 60), 255, np.uint8)
    classes[5:15, 5:7], classes[20:30] = 3, 8
    maps(tmp_path, classes=classes)
    assert read_voc(tmp_path).truth(0).class_ids.tolist() == [2, 7]


def test_names_of_a_data_set_of_ones_own_come_from_the_xml_files(tmp_path):
    boxes(tmp_path, "a", name="zebra")
    boxes(tmp_path, "b", file="b.jpg", name="cat", difficult=1)
    dataset = read_voc(tmp_path)
    assert dataset.labels.names == ("cat", "zebra")
    assert [dataset.truth(index).crowd.tolist() for index in range(2)] == [[False], [True]]
    (tmp_path / "class_names.txt").write_text("_background_\nzebra\n")
    with pytest.raises(DataError) as error:
        read_voc(tmp_path)
    assert (error.value.issues[0].code, error.value.issues[0].value) == ("unknown-class", "cat")


def test_a_box_that_counts_from_zero_is_clipped_and_noted(tmp_path):
    boxes(tmp_path, box=(0, 0, 30, 40))
    dataset = read_voc(tmp_path)
    assert dataset.truth(0).boxes.tolist() == [[0.0, 0.0, 30.0, 40.0]]
    assert [issue.code for issue in dataset.issues] == ["box-clipped"]


def entities(kind):
    return f"<?xml version='1.0'?><!DOCTYPE annotation [{kind}]>" + XML.format(
        file="&a;", size=SIZE, name="cat", box=(1, 2, 3, 4), difficult=0
    )


BAD_XML = [
    pytest.param({"text": entities('<!ENTITY a "aaaa">')}, "xml-dtd", id="D11 entity"),
    pytest.param({"text": entities('<!ENTITY a SYSTEM "file:///etc/passwd">')}, "xml-dtd", id="D11 external entity"),
    pytest.param({"text": "<!DOCTYPE annotation><annotation/>"}, "xml-dtd", id="D11 empty DTD"),
    pytest.param({"text": "<annotation><size>"}, "xml-syntax", id="truncated"),
    pytest.param({"text": "<annotation>&nbsp;</annotation>"}, "xml-syntax", id="D11 unknown entity"),
    pytest.param({"text": "<html/>"}, "xml-type", id="other XML"),
    pytest.param({"box": (30, 2, 29, 40)}, "box-order", id="D12 xmin > xmax"),
    pytest.param({"box": (1, 2, 62, 40)}, "box-outside", id="D12 outside"),
    pytest.param({"box": (-3, 2, 30, 40)}, "box-outside", id="D12 negative"),
    pytest.param({"box": ("nan", 2, 30, 40)}, "box-number", id="D12 not a number"),
    pytest.param({"box": ("1,5", 2, 30, 40)}, "box-number", id="D12 comma"),
    pytest.param({"size": ""}, "xml-size", id="D13 no size"),
    pytest.param({"size": SIZE.replace("40", "0")}, "xml-size", id="D13 size 0"),
    pytest.param({"size": SIZE.replace("40", "41")}, "picture-size", id="D13 other size"),
    pytest.param({"file": "b.jpg"}, "xml-filename", id="D14 file name"),
    pytest.param({"name": " "}, "class-missing", id="no name"),
]


@pytest.mark.parametrize(("options", "code"), BAD_XML)
def test_bad_xml_is_listed_and_can_be_left_out(tmp_path, options, code):
    boxes(tmp_path, "good", file="good")
    file = boxes(tmp_path, **options)
    with pytest.raises(DataError) as error:
        read_voc(tmp_path)
    assert [issue.code for issue in error.value.issues] == [code]
    assert error.value.issues[0].file == str(file)
    found = read_voc(tmp_path, policy="skip")
    assert sum(len(found.truth(index)) for index in range(len(found))) == 1


def test_boxes_are_written_and_read_back(tmp_path):
    boxes(tmp_path, "a", box=(1.25, 2, 30.5, 40), difficult=1)
    boxes(tmp_path, "b", file="b.jpg", name="R&amp;D &lt;x&gt;", box=(60, 40, 60, 40))
    lists(tmp_path, "Main", train="a\n", val="b\n")
    expected = read_voc(tmp_path)
    write_voc(tmp_path / "out", expected)
    found = read_voc(tmp_path / "out")
    assert found.boxes_only and found.splits() == {"train": 1, "val": 1}
    assert found.labels.names == expected.labels.names == ("R&D <x>", "cat")
    for index in range(2):
        ours, theirs = found.truth(index), expected.truth(index)
        assert ours.boxes.tolist() == theirs.boxes.tolist()
        assert ours.class_ids.tolist() == theirs.class_ids.tolist()
        assert ours.crowd.tolist() == theirs.crowd.tolist()


def test_written_maps_show_the_colours_of_voc(tmp_path):
    maps(tmp_path)
    write_voc(tmp_path / "out", read_voc(tmp_path))
    with Image.open(tmp_path / "out" / "SegmentationClass" / "a.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((5, 5)) == tuple(voc_colours()[8].tolist())


def test_the_picture_is_copied_byte_by_byte(tmp_path):
    maps(tmp_path)
    record = read_voc(tmp_path).records[0]
    assert copy_picture(record, tmp_path / "copy").read_bytes() == record.image.read_bytes()
