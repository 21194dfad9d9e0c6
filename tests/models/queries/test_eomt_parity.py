"""Our EoMT and transformers' are the same network: same weights, same answers with and without masks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import EomtConfig, EomtForUniversalSegmentation

from everymask.errors import ConfigError, WeightsError
from everymask.models.build import build
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.eomt import eomt_of, from_eomt
from everymask.models.foreign.whole_models import load_foreign, read_foreign
from everymask.models.queries.eomt import EoMTNetwork
from everymask.models.specs.queries import EoMT

pytestmark = pytest.mark.slow

CLASSES, QUERIES = 5, 7


@cache
def reference() -> EomtForUniversalSegmentation:
    """The small one for pictures of 64 x 64, whose norms are not the identity."""
    config = EomtConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, num_blocks=3, image_size=64, num_queries=QUERIES,
        num_labels=CLASSES, layerscale_value=0.3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EomtForUniversalSegmentation(config)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if "norm" in name or "register" in name:
                    tensor.add_(0.2 * torch.randn(tensor.shape))
    return model.eval()


@cache
def ours() -> EoMTNetwork:
    state = reference().state_dict()
    spec = replace(eomt_of(state), task="semantic", points=50)
    assert (spec.encoder, spec.side, spec.blocks, spec.queries) == ("vit_small_patch14_reg4_dinov2", 64, 3, QUERIES)
    module = build(spec, CLASSES).eval()
    load_exactly(module, from_eomt(state), "file")
    assert isinstance(module, EoMTNetwork)
    return module


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("masked", [True, False])
def test_same_answers(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reference().attn_mask_probs.fill_(float(masked))
    monkeypatch.setattr(ours(), "spec", replace(ours().spec, annealing=int(masked)))
    with torch.inference_mode():
        expected, found = reference()(pictures()), ours().answers(pictures())
    assert len(found) == (4 if masked else 1)
    assert expected.masks_queries_logits.std() > 0.1 and expected.class_queries_logits.std() > 0.1
    classes = found[-1].classes.roll(-1, dims=2)
    torch.testing.assert_close(classes, expected.class_queries_logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[-1].masks, expected.masks_queries_logits, atol=1e-4, rtol=0)


def test_masks_matter() -> None:
    """Else the test before would show less than it says."""
    module = ours()
    with torch.inference_mode():
        without = module.answers(pictures())[-1].masks
        module.spec = replace(module.spec, annealing=1)
        masked = module.answers(pictures())[-1].masks
        module.spec = replace(module.spec, annealing=0)
    assert (without - masked).abs().max() > 1e-2


def test_files_of_transformers_and_of_the_authors_load(tmp_path: Path) -> None:
    reference().save_pretrained(tmp_path)
    foreign = read_foreign(tmp_path / "model.safetensors")
    assert foreign is not None and foreign.origin == "transformers' EoMT"
    module, card = load_foreign(foreign, tmp_path / "model.safetensors")
    assert card.spec == replace(eomt_of(reference().state_dict()), task="semantic")
    with torch.inference_mode():
        assert module(torch.rand(1, 3, 50, 70)).logits.shape == (1, CLASSES, 50, 70), "positions are interpolated"
    own = from_eomt(reference().state_dict())
    theirs = {"query": "q", "class_predictor": "class_head"}
    authors: dict[str, torch.Tensor] = {"network.attn_mask_probs": torch.zeros(3)}
    for name, tensor in own.items():
        part, _, rest = name.partition(".")
        prefix = "network.encoder." if part == "backbone" else "network."
        stored = tensor.roll(-1, dims=0) if part == "class_predictor" else tensor
        if name != "steps":
            authors[f"{prefix}{theirs.get(part, part)}.{rest}"] = stored
    torch.save({"state_dict": authors}, tmp_path / "eomt.ckpt")
    again = read_foreign(tmp_path / "eomt.ckpt")
    assert again is not None and again.origin == "EoMT's authors" and again.spec == replace(card.spec, task=None)
    loaded = from_eomt(again.tensors)
    assert loaded.keys() == own.keys() and all(torch.equal(loaded[name], own[name]) for name in own)


def test_masks_are_given_up_block_by_block() -> None:
    module = build(replace(ours().spec, annealing=50), CLASSES)
    assert isinstance(module, EoMTNetwork)
    told = {}
    for step in (0, 10, 15, 20, 35, 40):
        module.steps.fill_(step)
        told[step] = [round(share, 2) for share in module.masked_shares()]
    half = round(0.5**0.9, 2)
    assert told == {
        0: [1, 1, 1], 10: [1, 1, 1], 15: [half, 1, 1], 20: [0, 1, 1], 35: [0, 0, half], 40: [0, 0, 0]
    }  # fmt: skip


def test_what_is_none_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"not an EoMT: it has decoder\.weight"):
        from_eomt(reference().state_dict() | {"decoder.weight": torch.zeros(1)})
    partial = {name: tensor for name, tensor in reference().state_dict().items() if ".k_proj." not in name}
    with pytest.raises(WeightsError, match="not the keys and values"):
        from_eomt(partial)
    with pytest.raises(ConfigError, match=r"no encoder 'resnet50'; the encoders are vit_tiny"):
        EoMT(encoder="resnet50")
    with pytest.raises(ConfigError, match="side a multiple of 16"):
        EoMT(side=650)
