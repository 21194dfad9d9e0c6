"""Low-rank updates of an encoder's attention: where they begin, what they are merged into, and what learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from everymask.errors import ConfigError
from everymask.models.blocks.lora import LoRALinear, adapt, merged
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, PromptedSmall
from everymask.models.specs.semantic import SegFormer
from everymask.settings.schedule import layer_phases, lora_rank
from everymask.train.layers import select_layers
from tests.models.networks import bare_network, own_network

SPEC = SAM(encoder="vit_t", side=32)


@pytest.fixture
def module() -> PromptedNetwork:
    found = own_network(SPEC)
    adapt(found, 4, alpha=8)
    assert isinstance(found, PromptedNetwork)
    return found


def stirred(module: nn.Module) -> None:
    """Let the updates be other than zero."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, LoRALinear):
            layer.lora_up.data.normal_(0, 0.05, generator=generator)


@torch.no_grad()
def test_it_begins_as_the_network_itself_and_merged_equals_unmerged(module: PromptedNetwork) -> None:
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain = own_network(SPEC)
    before = plain.embed(images).maps[0]
    torch.testing.assert_close(module.embed(images).maps[0], before, atol=1e-6, rtol=0)
    stirred(module)
    adapted, whole = module.embed(images).maps[0], merged(module)
    assert (adapted - before).abs().max() > 1e-2, "the updates change the answer"
    torch.testing.assert_close(whole.embed(images).maps[0], adapted, atol=1e-5, rtol=0)
    assert whole.state_dict().keys() == plain.state_dict().keys()
    assert module.state_dict().keys() > plain.state_dict().keys(), "what learns is not changed by a copy"
    assert merged(plain) is plain


@torch.no_grad()
def test_the_update_is_alpha_over_rank_times_the_product() -> None:
    layer = LoRALinear(nn.Linear(3, 2), rank=2, alpha=8)
    layer.lora_up.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    layer.lora_down.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    update = layer.merged().weight - layer.weight
    torch.testing.assert_close(update, torch.tensor([[4.0, 0.0, 0.0], [0.0, 8.0, 8.0]]))
    half = copy.deepcopy(layer).bfloat16()
    assert half.merged().weight.dtype == torch.bfloat16
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x).float(), layer.merged()(x).float(), atol=0.2, rtol=0.05)


def test_only_updates_and_what_is_not_the_encoder_learn(module: PromptedNetwork) -> None:
    select_layers(module, "lora4")
    learning = {name for name, value in module.named_parameters() if value.requires_grad}
    encoder = {name for name in learning if name.startswith("image_encoder.")}
    assert encoder == {f"image_encoder.blocks.{n}.attn.qkv.lora_{part}" for n in range(12) for part in ("up", "down")}
    assert {name.split(".")[0] for name in learning} == {"image_encoder", "prompt_encoder", "mask_decoder"}
    select_layers(module, "heads")
    assert not any(value.requires_grad for value in module.image_encoder.parameters())


def test_encoders_without_attention_are_refused_and_others_adapted() -> None:
    with pytest.raises(ConfigError, match="mobilenetv3_small_100 has no attention"):
        adapt(bare_network(PromptedSmall(side=64, width=32)), 8, alpha=8)
    segformer = own_network(SegFormer())
    adapt(segformer, 2, alpha=2)
    names = {name.split(".")[-2] for name, _ in segformer.named_parameters() if ".lora_" in name}
    assert names == {"q", "kv"}


def test_the_rank_is_a_part_of_the_name() -> None:
    assert [lora_rank(name) for name in ("lora", "lora16", "heads", "lora_up")] == [8, 16, 0, 0]
    assert [phase.selection for phase in layer_phases("heads:2,lora16")] == ["heads", "lora16"]
    with pytest.raises(ConfigError, match="must be 1-256"):
        layer_phases("lora0")
    with pytest.raises(ConfigError, match="8 and 16"):
        layer_phases("lora:2,lora16")
