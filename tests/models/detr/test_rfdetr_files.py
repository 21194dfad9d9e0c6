"""Files of `rfdetr` and of transformers load, predict and start trainings; relatives are refused by name."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import Tensor

from everymask.api import load, load_network
from everymask.core.label_sets import coco_80_labels, coco_labels
from everymask.errors import WeightsError
from everymask.models.detr.network import RFDETRNetwork
from everymask.models.foreign.detectors.rfdetr import from_rfdetr
from everymask.models.foreign.files.stored import Stored
from everymask.models.specs.detr import DETR
from everymask.train.start import read_source
from tests.models.detr.rfdetr_reference import CLASSES, as_authors, ours, reference

_PATCHES = "backbone.0.encoder.encoder.embeddings.patch_embeddings.projection.weight"


@pytest.mark.slow
def test_a_training_of_rfdetr_loads_with_what_lies_around_it(tmp_path: Path) -> None:
    """91 rows of classes are COCO's ids, of which eleven are none of its classes."""
    rows = torch.arange(91) % CLASSES
    tensors = as_authors(reference().state_dict())
    for name in [name for name in tensors if "class_embed" in name]:
        tensors[name] = tensors[name][rows]
    file = tmp_path / "checkpoint_best_total.pth"
    torch.save({"model": tensors, "args": argparse.Namespace(lr=1e-4), "optimizer": {"state": {}}, "epoch": 3}, file)
    predictor = load(file, device="cpu")
    assert predictor.card.labels == coco_80_labels() and predictor.card.preprocess.resize.size_of((40, 90)) == (96, 96)
    module, expected = load_network(file)[0], ours()
    assert isinstance(module, RFDETRNetwork)
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in module.state_dict().items()
               if "classes" not in name)  # fmt: skip
    person, toothbrush = (coco_labels().names.index(name) + 1 for name in ("person", "toothbrush"))
    own = module.classes.weight
    assert len(own) == 80 and torch.equal(own[0], expected.classes.weight[rows[person]])
    assert torch.equal(own[79], expected.classes.weight[rows[toothbrush]])
    source = read_source(str(file))
    assert source is not None and source.spec == module.spec and source.labels == coco_80_labels()


@pytest.mark.slow
def test_a_file_of_transformers_loads(tmp_path: Path) -> None:
    """Its classes are called as in the settings beside it."""
    reference().save_pretrained(tmp_path)
    module, card = load_network(tmp_path / "model.safetensors")
    assert card.labels.names == tuple(f"LABEL_{number}" for number in range(CLASSES)) and "RF-DETR" in card.source
    state = ours().state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_relatives_are_refused_by_name() -> None:
    for tensors, message in (
        ({_PATCHES: torch.zeros(768, 3, 20, 20)}, "XL or 2XL, whose licence"),
        ({_PATCHES: torch.zeros(384, 3, 14, 14)}, "Base or of the first RF-DETR Large"),
        ({_PATCHES: torch.zeros(384, 3, 12, 12), "keypoint_embed.layers.0.weight": torch.zeros(1)}, "points of bodies"),
        ({_PATCHES: torch.zeros(384, 3, 12, 12), "segmentation_head.gamma": torch.zeros(1)}, "no network here has"),
        ({_PATCHES: torch.zeros(384, 3, 12, 12)}, "does not exist here"),
    ):
        with pytest.raises(WeightsError, match=message):
            from_rfdetr(Stored({}), tensors, "file")


def published(name: str) -> dict[str, Tensor]:
    """What the published file of a network holds, as far as it tells its size."""
    spec = DETR.named[name]()
    patches = (spec.side // spec.patch) ** 2
    rows = spec.groups * spec.queries
    tensors = {
        _PATCHES: torch.zeros(384, 3, spec.patch, spec.patch),
        _PATCHES.replace("patch_embeddings.projection.weight", "position_embeddings"): torch.zeros(1, 1 + patches, 384),
        "query_feat.weight": torch.zeros(rows, 256),
        "transformer.decoder.layers.0.cross_attn.sampling_offsets.weight": torch.zeros(64, 256),
        "transformer.decoder.layers.0.linear1.weight": torch.zeros(2048, 256),
        "class_embed.weight": torch.zeros(91, 256),
    }
    tensors |= {f"transformer.enc_output.{group}.bias": torch.zeros(256) for group in range(spec.groups)}
    tensors |= {f"transformer.decoder.layers.{layer}.norm1.bias": torch.zeros(256) for layer in range(spec.layers)}
    return tensors | ({"segmentation_head.bias": torch.zeros(1)} if "seg" in name else {})


@pytest.mark.parametrize("name", [name for name in DETR.named if "tiny" not in name])
def test_published_sizes_are_told_by_their_tensors(name: str) -> None:
    whole = from_rfdetr(Stored({}), published(name), "file")
    assert whole.spec == DETR.named[name]() and len(whole.assumed) == 1
    assert whole.preprocess.resize.size_of((480, 640)) == (whole.spec.side, whole.spec.side)
