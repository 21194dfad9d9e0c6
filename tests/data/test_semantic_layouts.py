"""CamVid, Cityscapes, ADE20K and Pascal VOC as label maps; label maps painted from objects."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.core.label_sets import ADE20K, CAMVID, CITYSCAPES
from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.labelmaps.ade20k import read_ade20k
from everymask.data.formats.labelmaps.camvid import read_camvid
from everymask.data.formats.labelmaps.cityscapes import LABEL_IDS, read_cityscapes
from everymask.data.formats.table import read_dataset
from everymask.data.formats.voc.semantic import read_voc_semantic
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record
from everymask.errors import ConfigError, DataError
from tests.data.semantic_files import blobs, put


def test_camvid(shared):
    found = read_dataset(shared / "camvid")
    assert (found.format, found.splits(), found.issues) == ("camvid", {"train": 367, "val": 101}, ())
    assert found.labels.names == CAMVID.names and len(found.labels) == 11
    assert all(record.truth.pixels for record in found.records), "so few pixels are counted"
    record = found.records[400]
    stored = np.asarray(Image.open(record.truth.file))
    assert (found.truth(400).ids == np.where(stored == 11, 255, stored)).all()
    assert sum(record.truth.pixels) == (stored != 11).sum()


def test_camvid_needs_no_lists_and_takes_other_classes_by_a_table(tmp_path):
    for split in ("train", "val"):
        put(tmp_path, f"{split}0", blobs(12), folders=(split, f"{split}annot"))
    found = read_dataset(tmp_path)
    assert (found.format, found.splits()) == ("camvid", {"train": 1, "val": 1})
    assert (found.label_map(0).ids == np.where(blobs(12) == 11, 255, blobs(12))).all()
    put(tmp_path, "val1", blobs(13), folders=("val", "valannot"))
    with pytest.raises(DataError, match=r"stands for no class \(found 12\)"):
        read_camvid(tmp_path)
    (tmp_path / "classes.csv").write_text("number,name\n" + "".join(f"{row},c{row}\n" for row in range(13)))
    assert len(read_camvid(tmp_path).labels) == 13


def street(root, name, ids, *, kind="labelIds", split="train"):
    folders = (f"leftImg8bit/{split}/ulm", f"gtFine/{split}/ulm")
    file = put(root, f"{name}_leftImg8bit", ids, folders=folders)
    return file.rename(file.with_name(f"{name}_gtFine_{kind}.png"))


def test_cityscapes_label_ids_become_train_ids(tmp_path):
    stored = blobs(19) + np.uint8(15)
    street(tmp_path, "ulm_0_1", stored)
    street(tmp_path, "ulm_0_2", stored, split="val")
    found = read_dataset(tmp_path)
    assert (found.format, found.splits(), found.labels) == ("cityscapes", {"train": 1, "val": 1}, CITYSCAPES)
    assert [record.id for record in found.records] == ["ulm_0_1", "ulm_0_2"]
    expected = np.full(256, 255)
    expected[list(LABEL_IDS)] = range(19)
    assert (found.label_map(1).ids == expected[stored]).all()


def test_cityscapes_train_ids_are_read_where_there_are_no_label_ids(tmp_path):
    stored = np.where(blobs(19) == 3, 255, blobs(19)).astype(np.uint8)
    street(tmp_path, "ulm_0_1", stored, kind="labelTrainIds")
    assert (read_cityscapes(tmp_path).label_map(0).ids == stored).all()


def test_d21_train_ids_in_a_file_for_label_ids_and_the_other_way_round(tmp_path):
    street(tmp_path / "a", "ulm_0_1", np.where(blobs(19) == 3, 255, blobs(19)).astype(np.uint8))
    with pytest.raises(DataError, match=r"(?s)found 255.*trainIds 0-18 and 255"):
        read_cityscapes(tmp_path / "a")
    for number in range(3):
        street(tmp_path / "b", f"ulm_0_{number}", blobs(19))
    with pytest.raises(DataError, match="as if trainIds were stored"):
        read_cityscapes(tmp_path / "b")
    street(tmp_path / "c", "ulm_0_1", blobs(19) + np.uint8(15), kind="labelTrainIds")
    with pytest.raises(DataError, match=r"(?s)found 19.*labelIds are 0-33"):
        read_cityscapes(tmp_path / "c")


def test_d20_cityscapes_pairs_by_the_endings_of_names(tmp_path):
    street(tmp_path, "ulm_0_1", blobs(19) + np.uint8(15))
    street(tmp_path, "ulm_0_2", blobs(19) + np.uint8(15)).rename(
        tmp_path / "gtFine/train/ulm/ulm_0_3_gtFine_labelIds.png"
    )
    (tmp_path / "leftImg8bit" / "train" / "ulm" / "x.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_cityscapes(tmp_path)
    assert sorted(issue.code for issue in caught.value.issues) == ["mask-missing", "picture-missing", "picture-name"]


def test_cityscapes_without_label_ids_says_how_to_make_them(shared):
    with pytest.raises(DataError, match="createTrainIdLabelImgs"):
        read_dataset(shared / "format_fixtures" / "cityscapes_dataset" / "dataset", task="semantic")


def test_ade20k_counts_from_one_and_0_has_no_truth(tmp_path):
    stored = np.array([0, 1, 150], np.uint8)[blobs()]
    for split in ("training", "validation"):
        put(tmp_path, f"ADE_{split}_1", stored, folders=(f"images/{split}", f"annotations/{split}"))
    (tmp_path / "objectInfo150.txt").write_text("Idx\n")
    found = read_dataset(tmp_path)
    assert (found.format, found.splits(), len(ADE20K)) == ("ade20k", {"train": 1, "val": 1}, 150)
    assert (found.label_map(0).ids == np.array([255, 0, 149])[blobs()]).all()
    assert (found.labels.names[0], found.labels.names[12], found.labels.names[149]) == ("wall", "person", "flag")
    put(tmp_path, "ADE_training_2", stored + np.uint8(1), folders=("images/training", "annotations/training"))
    with pytest.raises(DataError, match="found 151"):
        read_ade20k(tmp_path)


def test_voc_class_maps_in_palette_and_in_colours(shared):
    found = read_dataset(shared / "labelme" / "semantic_segmentation" / "data_dataset_voc")
    assert found.format == "voc-semantic" and found.labels.names[:2] == ("background", "aeroplane")
    for row, record in enumerate(found.records):
        stored = np.load(record.truth.file.parents[1] / "SegmentationClassNpy" / f"{record.id}.npy")
        assert (found.label_map(row).ids == np.where(stored < 0, 255, stored)).all()
    coloured = read_dataset(shared / "format_fixtures" / "voc_dataset" / "voc_dataset1", task="semantic")
    assert (coloured.format, coloured.coding.kind) == ("voc-semantic", "colours")
    assert np.unique(coloured.label_map(0).ids).tolist() == [coloured.labels.names.index("bicycle")]


def test_a_voc_folder_of_objects_gives_its_class_maps_where_these_are_asked_for(shared):
    root = shared / "labelme" / "instance_segmentation" / "data_dataset_voc"
    assert read_dataset(root).format == "voc"
    found = read_dataset(root, task="semantic")
    assert found.format == "voc-semantic"
    assert any(255 in np.unique(found.label_map(row).ids) for row in range(len(found)))


@pytest.mark.parametrize("kind", ["instance_segmentation", "semantic_segmentation"])
def test_painted_labelme_objects_equal_its_own_class_maps(shared, kind):
    found = read_dataset(shared / "labelme" / kind / "data_annotated", task="semantic")
    theirs = read_voc_semantic(shared / "labelme" / kind / "data_dataset_voc")
    rows = {record.id: row for row, record in enumerate(theirs.records)}
    names = np.array([*(theirs.labels.names.index(name) for name in found.labels.names), *[255] * 256])[:256]
    for row, record in enumerate(found.records):
        expected = theirs.label_map(rows[record.id]).ids
        ours = names[found.label_map(row).ids]
        known = expected != 255  # what labelme ignores is no object
        # labelme's polygons cover half a pixel more at their borders.
        assert (ours == expected)[known].mean() > 0.99


def square(class_id, x, y, side, *, crowd=False):
    ring = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float64)
    return Annotation(class_id, Polygons((ring,)), crowd=crowd)


def painted(tmp_path, *objects, names=("cell", "wall")):
    record = Record("a", tmp_path / "a.png", (10, 10), Objects(objects))
    return Dataset(labels_of(names), (record,), "fake", tmp_path).semantic()


def test_smaller_objects_hide_larger_ones_and_crowds_have_no_truth(tmp_path):
    small, large = square(0, 2, 2, 3), square(1, 0, 0, 8)
    for objects in ((small, large, square(1, 6, 6, 4, crowd=True)), (square(1, 6, 6, 4, crowd=True), large, small)):
        found = painted(tmp_path, *objects)
        ids = found.truth(0).ids
        assert found.labels.names == ("background", "cell", "wall") and found.kind == "label maps"
        assert (ids[3, 3], ids[0, 0], ids[7, 7], ids[9, 9], ids[9, 0]) == (1, 2, 2, 255, 0)
        assert found.semantic() is found
        with pytest.raises(ConfigError, match="objects were asked for"):
            found.objects(0)


def test_a_class_called_background_is_the_background(tmp_path):
    found = painted(tmp_path, square(0, 2, 2, 3), names=("cell", "Background"))
    assert found.labels.names == ("cell", "Background")
    assert (found.label_map(0).ids[3, 3], found.label_map(0).ids[0, 0]) == (0, 1)


def test_boxes_cannot_be_painted(tmp_path):
    records = (Record("a", tmp_path / "a.png", (9, 9), Objects((Annotation(0, BoxOnly(), (0, 0, 3, 3)),))),)
    with pytest.raises(DataError, match="label maps need masks"):
        Dataset(labels_of(["x"]), records, "fake", tmp_path, boxes_only=True).semantic()


def test_painted_coco_covers_what_its_objects_cover(shared):
    objects = read_dataset(shared / "coco128_seg", format="coco")
    found = objects.semantic()
    for row in range(5):
        masks = objects.objects(row).masks
        union = np.any([masks.to_dense(i) for i in range(len(masks))], axis=0)
        assert ((found.label_map(row).ids > 0) == union).all()
