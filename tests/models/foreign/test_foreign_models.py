"""Checkpoints of HRNet's and PIDNet's authors, and of transformers, predict as they are."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import SegformerConfig, SegformerForImageClassification, SegformerForSemanticSegmentation

import everymask
from everymask.core.label_sets import CITYSCAPES
from everymask.errors import WeightsError
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import PIDNet, SegFormer

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3)).astype(np.uint8)
SMALL = {"hidden_sizes": [32, 64, 160, 256], "num_labels": 3}


def pidnet(classes: int) -> dict[str, Tensor]:
    """PIDNet-S as its authors' training stores it."""
    torch.manual_seed(0)
    return {
        f"model.{k.removeprefix('backbone.')}": v for k, v in build_semantic(PIDNet(), classes).state_dict().items()
    }


def test_a_checkpoint_of_the_authors_predicts_the_classes_of_cityscapes(tmp_path: Path) -> None:
    torch.save({"state_dict": pidnet(19)}, tmp_path / "PIDNet_S_Cityscapes.pt")
    model = everymask.load(tmp_path / "PIDNet_S_Cityscapes.pt", device="cpu")
    assert model.card.labels == CITYSCAPES
    assert model.card.spec == PIDNet(auxiliary=False)
    assert model.predict(PICTURE).semantic.ids.shape == (40, 64)


def test_transformers_files_bring_the_names_of_their_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = {0: "wall", 1: "sky", 2: "tree"}
    reference = SegformerForSemanticSegmentation(SegformerConfig(**SMALL, id2label=names))
    reference.save_pretrained(tmp_path)
    model = everymask.load(tmp_path / "model.safetensors", device="cpu")
    assert (model.card.labels.names, model.card.spec) == (("wall", "sky", "tree"), SegFormer())
    (tmp_path / "config.json").unlink()
    with caplog.at_level(logging.WARNING):
        nameless = everymask.load(tmp_path / "model.safetensors", device="cpu")
    assert nameless.card.labels.names == ("class 0", "class 1", "class 2")
    assert "does not name its classes" in caplog.text


def test_what_is_no_whole_model_is_refused_with_a_cure(tmp_path: Path) -> None:
    smp = {"segmentation_head.0.weight": torch.zeros(2, 16, 3, 3), "encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}
    torch.save(smp, tmp_path / "smp.pth")
    with pytest.raises(WeightsError, match=r"by segmentation_models\.pytorch, which say.*\n.*--weights .*smp\.pth"):
        everymask.load(tmp_path / "smp.pth")
    torch.save(SegformerForImageClassification(SegformerConfig(**SMALL)).state_dict(), tmp_path / "mit.pth")
    with pytest.raises(WeightsError, match=r"an encoder by transformers, and no classes.*\n.*--weights"):
        everymask.load(tmp_path / "mit.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "strange.pth")
    with pytest.raises(WeightsError, match="is not a model file"):
        everymask.load(tmp_path / "strange.pth")
