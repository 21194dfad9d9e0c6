"""Files of SAM and its relatives are told by their names and shapes, whoever wrote them, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import everymask
from everymask.errors import WeightsError
from everymask.models.foreign.recognise import recognise
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import PROMPTED, SAM, SAM2, PromptedModelSpec, SAM2Memory
from tests.quick import quick

SMALL = SAM(encoder="vit_t", side=64)


@cache
def tensors_of(spec: PromptedModelSpec) -> dict[str, Tensor]:
    """Of these shapes, without numbers."""
    with torch.device("meta"):
        return dict(PromptedNetwork(spec).state_dict())


def as_sam2_authors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of SAM 2's own files."""
    named = {}
    for name, tensor in tensors.items():
        new = f"sam_{name}" if name.startswith(("prompt_encoder.", "mask_decoder.")) else name
        if "transformer.layers" in new:
            new = new.replace(".mlp.lin1.", ".mlp.layers.0.").replace(".mlp.lin2.", ".mlp.layers.1.")
        for part in ("attention", "encoder"):
            new = new.replace(f"memory.{part}.", f"memory_{part}.")
        named[new.removeprefix("memory.")] = tensor
    return named | {"no_mem_pos_enc": torch.zeros(1)}


PUBLISHED = [name for name in PROMPTED.named if name != "prompted-small"]
"""The small one is of this project alone."""


@pytest.mark.parametrize("name", quick(PUBLISHED, ["sam-b", "mobile-sam", "sam2.1-t"]))
def test_every_published_size_is_recognised(name: str) -> None:
    spec = PROMPTED.named[name]()
    tensors = tensors_of(spec)
    found = recognise(as_sam2_authors(tensors) if isinstance(spec, SAM2) else tensors)
    assert found is not None and found.spec == spec
    with torch.device("meta"):
        fitting = found.fitting(PromptedNetwork(spec))
    assert fitting.keys() == tensors.keys()


@pytest.mark.parametrize("memory", quick(["2.1", "2.0"], ["2.1"]))
def test_a_file_of_sam_2_has_its_memory_of_videos(memory: SAM2Memory) -> None:
    spec = SAM2(side=64, memory=memory)
    tensors = tensors_of(spec)
    found = recognise(as_sam2_authors(tensors))
    assert found is not None and found.spec == replace(spec, side=1024)
    assert found.fitting(PromptedNetwork(spec)).keys() == tensors.keys()
    # Who names the network gets the memory that the file has.
    assert found.network(SAM2(side=64)) == spec


@pytest.mark.slow
@pytest.mark.parametrize("videos", [False, True])
def test_names_of_transformers_4_and_5_are_read(videos: bool) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        theirs = transformers.Sam2VideoModel(transformers.Sam2VideoConfig()) if videos else None
        theirs = theirs or transformers.Sam2Model(transformers.Sam2Config())
        tensors = dict(theirs.state_dict())
    older = {name.replace(".o_proj.", ".out_proj."): tensor for name, tensor in tensors.items()}
    assert older.keys() != tensors.keys()
    spec = SAM2(memory="2.1" if videos else None)
    for names in (tensors, older):
        found = recognise(names)
        assert found is not None and found.spec == spec
        with torch.device("meta"):
            module = PromptedNetwork(spec)
        named = found.fitting(module)
        assert {name: tensor.shape for name, tensor in named.items()} == {
            name: tensor.shape for name, tensor in module.state_dict().items()
        }


def test_a_network_of_other_channels_and_side_is_recognised() -> None:
    spec = SAM(encoder="vit_t", side=96, channels=5)
    found = recognise(tensors_of(spec))
    assert found is not None and found.spec == spec


def test_a_file_answers_prompts_and_half_precision_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = PromptedNetwork(SMALL)
    halves = {name: tensor.half() for name, tensor in module.state_dict().items()}
    torch.save({"model": halves}, tmp_path / "tuned.pth")
    model = everymask.load(tmp_path / "tuned.pth", device="cpu")
    assert model.card.spec == SMALL and model.labels.names == ("object",)
    assert model.card.source == "SAM's authors: tuned.pth"
    weight = model.backend.module.state_dict()["mask_decoder.iou_token.weight"]  # type: ignore[attr-defined]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, halves["mask_decoder.iou_token.weight"].float())


def without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors_of(SMALL).items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"detector.backbone.vision_backbone.trunk.pos_embed": torch.zeros(1)}, "SAM License"),
        ({"detector_model.vision_encoder.neck.weight": torch.zeros(1)}, "SAM License"),
        ({"mask_decoder.hf_token.weight": torch.zeros(1)}, "SAM-HQ"),
        ({"prompt_encoder.invalid_points.weight": torch.zeros(1)}, "EfficientSAM"),
        (without("image_encoder.pos_embed"), "lack image_encoder.pos_embed"),
        (tensors_of(SMALL) | {"image_encoder.pos_embed": torch.zeros(1, 4, 6, 192)}, r"\[1, 4, 6, 192\]"),
        (tensors_of(SMALL) | {"image_encoder.pos_embed": torch.zeros(1, 4, 4, 100)}, "100 channels wide"),
    ],
)
def test_other_files_are_refused_with_the_reason(tensors: dict[str, Tensor], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        recognise(tensors)


def test_weights_that_do_not_fit_are_named() -> None:
    wrong = tensors_of(SMALL) | {"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(3, 64)}
    found = recognise(wrong)
    assert found is not None
    with pytest.raises(WeightsError, match="rel_pos_h"), torch.device("meta"):
        found.fitting(PromptedNetwork(SMALL))
