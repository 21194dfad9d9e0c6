"""A data set in a data loader of PyTorch, and under transforms of torchvision."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

import everymask as em
from everymask.data.records import NotAnnotated
from everymask.data.shapes import write_shapes
from everymask.train.own_loop.torch_dataset import TorchDataset, as_lists


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    return em.read_dataset(write_shapes(tmp_path_factory.mktemp("shapes"), train=3, val=1, size=48).root)


def test_an_item_is_a_picture_and_its_target(shapes: em.Dataset) -> None:
    data = TorchDataset(shapes)
    assert len(data) == len(shapes) == 4
    image, target = data[1]
    sample = shapes[1]
    assert image.dtype == torch.float32 and image.shape == (3, 48, 48)
    np.testing.assert_allclose(image.numpy() * 255, sample.image.transpose(2, 0, 1), atol=1e-3)
    truth = sample.truth
    assert isinstance(truth, em.InstanceSet)
    assert target["labels"].tolist() == (truth.class_ids + 1).tolist()
    np.testing.assert_array_equal(target["boxes"].numpy(), truth.boxes)
    assert target["masks"].sum(dim=(1, 2)).tolist() == target["area"].tolist()
    np.testing.assert_array_equal(target["map"].numpy(), truth.to_ids())
    assert target["image_id"] == 1


def test_a_loader_gives_lists(shapes: em.Dataset) -> None:
    loader = DataLoader(TorchDataset(shapes), batch_size=3, collate_fn=as_lists)
    (images, targets), (last, _) = loader
    assert (len(images), len(targets), len(last)) == (3, 3, 1)
    assert [target["image_id"] for target in targets] == [0, 1, 2]
    assert isinstance(TorchDataset(shapes), torch.utils.data.Dataset)


def test_worker_processes_can_have_it(shapes: em.Dataset) -> None:
    sent: TorchDataset = pickle.loads(pickle.dumps(TorchDataset(shapes, v2.RandomHorizontalFlip(p=1))))
    torch.testing.assert_close(sent[2][0], TorchDataset(shapes, v2.RandomHorizontalFlip(p=1))[2][0])


def test_transforms_of_torchvision_move_picture_boxes_and_masks_together(shapes: em.Dataset) -> None:
    image, target = TorchDataset(shapes)[0]
    mirrored, moved = TorchDataset(shapes, v2.RandomHorizontalFlip(p=1))[0]
    torch.testing.assert_close(mirrored, tv_tensors.Image(image.flip(-1)))
    assert (moved["masks"] == target["masks"].flip(-1)).all()
    assert (moved["map"] == target["map"].flip(-1)).all()
    assert (moved["boxes"][:, 0] == 48 - target["boxes"][:, 2]).all()


def test_label_maps_give_their_class_ids(shapes: em.Dataset) -> None:
    semantic = shapes.semantic()
    _, target = TorchDataset(semantic)[0]
    np.testing.assert_array_equal(target["map"].numpy(), semantic.label_map(0).ids)
    shown = np.unique(semantic.label_map(0).ids)
    assert target["labels"].tolist() == (shown + 1).tolist()
    assert target["map"].dtype == torch.int64


def test_pictures_that_are_not_annotated_and_objects_without_area_are_left_out(shapes: em.Dataset) -> None:
    loose = replace(shapes.records[0], truth=NotAnnotated())
    data = TorchDataset(replace(shapes, records=(loose, *shapes.records[1:])))
    assert len(data) == 3
    annotations = shapes.records[1].objects.annotations
    flat = replace(annotations[0], box=(3.0, 3.0, 3.0, 9.0))
    record = replace(shapes.records[1], truth=replace(shapes.records[1].objects, annotations=(flat, *annotations[1:])))
    _, target = TorchDataset(replace(shapes, records=(record,)))[0]
    assert len(target["labels"]) == len(target["masks"]) == len(annotations) - 1
    _, target = TorchDataset(replace(shapes, boxes_only=True))[0]
    assert not {"masks", "map"} & target.keys()


@pytest.mark.slow
def test_torchvisions_detector_learns_from_it(shapes: em.Dataset, tmp_path: Path) -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    network = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=len(shapes.labels) + 1, min_size=64, max_size=64
    )
    images, targets = next(iter(DataLoader(TorchDataset(shapes), batch_size=2, collate_fn=as_lists)))
    losses = network(images, targets)
    assert {"loss_mask", "loss_classifier", "loss_box_reg"} <= losses.keys()
    assert all(torch.isfinite(loss) for loss in losses.values())
