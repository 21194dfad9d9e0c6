"""What every semantic network promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, WeightsError
from everymask.models.base import Batch
from everymask.models.checkpoint import load_exactly
from everymask.models.inference import ready_to_predict
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.semantic import (
    FCN,
    LRASPP,
    SEMANTIC_KINDS,
    DeepLabV3,
    DeepLabV3Plus,
    HRNet,
    PIDNet,
    PSPNet,
    SegFormer,
    SemanticModelSpec,
    UNet,
    UNetPlusPlus,
    UPerNet,
    as_torchvision,
    unet_original,
)

_NARROW = {"encoder": "resnet18", "decoder_channels": 64}
_UNET_WIDTHS = (64, 32, 32, 16, 16)
SPECS: dict[str, SemanticModelSpec] = {
    "unet": UNet(encoder="resnet18", decoder_channels=_UNET_WIDTHS),
    "unet-transposed": UNet(encoder="resnet18", decoder_channels=_UNET_WIDTHS, upsampling="transposed"),
    "unet-original": replace(unet_original(), decoder_channels=(64, 32, 16, 8)),
    "unet-original-paper": replace(unet_original(decoder_norm="none"), decoder_channels=(64, 32, 16, 8)),
    "unet-original-bilinear": replace(unet_original(upsampling="bilinear"), decoder_channels=(64, 32, 16, 8)),
    "unet++": UNetPlusPlus(encoder="resnet18", decoder_channels=_UNET_WIDTHS),
    "unet++-deep": UNetPlusPlus(encoder="resnet18", decoder_channels=_UNET_WIDTHS, auxiliary=True),
    "deeplabv3": DeepLabV3(**_NARROW, rates=(1, 2, 3)),
    "deeplabv3-16": DeepLabV3(**_NARROW, output_stride=16, auxiliary=False),
    "deeplabv3+": DeepLabV3Plus(**_NARROW),
    "deeplabv3+-8": DeepLabV3Plus(**_NARROW, output_stride=8, auxiliary=True),
    "pspnet": PSPNet(**_NARROW),
    "pspnet-shallow": PSPNet(**_NARROW, depth=3),
    "upernet": UPerNet(**_NARROW),
    "segformer": SegFormer(decoder_channels=64),
    "fcn": FCN(encoder="resnet18"),
    "hrnet": HRNet(),
    "hrnet-ocr": HRNet(ocr=True, ocr_channels=64, ocr_key_channels=32),
    "lraspp": LRASPP(encoder="mobilenetv3_small_100"),
    "pidnet": PIDNet(),
}
# Encoders without a map at stride 2, with odd sizes of maps, with channels last.
OTHER_ENCODERS: dict[str, SemanticModelSpec] = {
    "unet-mit": UNet(encoder="mit_b0", decoder_channels=_UNET_WIDTHS),
    "unet-convnext": UNet(encoder="convnext_atto", decoder_channels=_UNET_WIDTHS, upsampling="transposed"),
    "unet-vgg": UNet(encoder="vgg11_bn", decoder_channels=_UNET_WIDTHS),
    "unet-densenet": UNet(encoder="densenet121", decoder_channels=_UNET_WIDTHS, upsampling="transposed"),
    "unet++-convnext": UNetPlusPlus(encoder="convnext_atto", decoder_channels=_UNET_WIDTHS, auxiliary=True),
    "upernet-swin": UPerNet(encoder="swin_tiny_patch4_window7_224", decoder_channels=32, feature_norm=True),
    "deeplabv3+-mobilenet": DeepLabV3Plus(encoder="mobilenetv3_small_100", decoder_channels=64),
    "pspnet-efficientnet": PSPNet(encoder="efficientnet_b0", decoder_channels=64),
    "deeplabv3-mobilenet": as_torchvision(DeepLabV3(encoder="mobilenetv3_small_100", decoder_channels=64)),
    "lraspp-resnet": LRASPP(encoder="resnet18"),
    "segformer-resnet": SegFormer(encoder="resnet18", decoder_channels=64),
}


def _build(spec: SemanticModelSpec, classes: int = 3, **changes: Any) -> SemanticModel:
    torch.manual_seed(0)
    return build_semantic(replace(spec, **changes), classes)


def _batch(size: tuple[int, int] = (32, 64), count: int = 2, channels: int = 3, classes: int = 3) -> Batch:
    """Pictures whose brightness tells the class, in bands; the last rows are void."""
    ids = np.broadcast_to(np.arange(size[1]) * classes // size[1], size).astype(np.int64)
    images = torch.from_numpy(ids).float().expand(count, channels, *size) / classes
    images = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    ids = np.where(np.arange(size[0])[:, None] < size[0] - 4, ids, 255)
    windows = torch.tensor([(0, 0, size[1], size[0])] * count)
    return Batch(images, windows, (SemanticMap(ids),) * count, ids=("a", "b")[:count], files=("a", "b")[:count])


def test_every_kind_is_under_contract() -> None:
    assert {type(spec) for spec in SPECS.values()} == set(SEMANTIC_KINDS.values())


@pytest.mark.parametrize("name", [*SPECS, *OTHER_ENCODERS])
def test_logits_have_the_size_of_the_picture(name: str) -> None:
    module = _build((SPECS | OTHER_ENCODERS)[name], channels=5).eval()
    for size in ((67, 93), (64, 96)):
        with torch.no_grad():
            logits = module(torch.rand(1, 5, *size)).logits
        assert logits.shape == (1, 3, *size) and torch.isfinite(logits).all()
        assert logits.std() > 0


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("head", "classes", "channels"), [("binary", 2, 1), ("multilabel", 3, 3)])
def test_heads_of_all_kinds(name: str, head: str, classes: int, channels: int) -> None:
    module = _build(SPECS[name], classes, head=head)
    planes = module.logits(torch.rand(2, 3, 32, 64), auxiliary=True)
    assert {plane.shape for plane in planes} == {(2, channels, 32, 64)}
    losses = module.loss(_batch(classes=classes))
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())


@pytest.mark.parametrize("name", SPECS)
def test_prediction_does_not_depend_on_the_batch(name: str) -> None:
    module = _build(SPECS[name]).eval()
    images = _batch((35, 61)).images
    with torch.no_grad():
        both, alone = module(images).logits, module(images[1:]).logits
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_a_batch_of_one_learns_too(name: str) -> None:
    losses = _build(SPECS[name]).train().loss(_batch((35, 61), count=1), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(loss) for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()


@pytest.mark.parametrize("name", SPECS)
def test_loss_falls_on_one_batch(name: str) -> None:
    module, batch = _build(SPECS[name]).train(), _batch()
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    totals = []
    for _ in range(12):
        losses = module.loss(batch, torch.Generator().manual_seed(0))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert ("loss_aux" in losses) == getattr(SPECS[name], "auxiliary", isinstance(SPECS[name], HRNet) and "ocr" in name)
    assert totals[-1] < 0.7 * totals[0]


@pytest.mark.parametrize("name", SPECS)
def test_every_parameter_learns(name: str) -> None:
    module = _build(SPECS[name]).train()
    torch.stack(list(module.loss(_batch()).values())).sum().backward()
    assert [key for key, p in module.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("name", SPECS)
def test_void_truth_teaches_nothing(name: str) -> None:
    void = SemanticMap(np.full((32, 64), 255))
    losses = _build(SPECS[name]).train().loss(replace(_batch(), truths=(void, void)))
    assert all(loss == 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()


@pytest.mark.parametrize("name", SPECS)
def test_dropout_follows_the_generator(name: str) -> None:
    module, batch = _build(SPECS[name]).train(), _batch()
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        found.append(module.loss(batch, torch.Generator().manual_seed(1)))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("norm", ["frozen", "group"])
def test_norms(name: str, norm: str) -> None:
    module = _build(SPECS[name], norm=norm).train()
    before = {key: value.clone() for key, value in module.state_dict().items() if key.startswith("backbone.")}
    torch.stack(list(module.loss(_batch()).values())).sum().backward()
    after = module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if "running_" in key) or "original" in name
    if norm == "group" and "original" not in name:
        assert not any("running_" in key for key in before)


@pytest.mark.parametrize("name", SPECS)
def test_ready_to_predict_it_says_the_same(name: str) -> None:
    module = _build(SPECS[name])
    images = _batch((35, 61)).images
    with torch.no_grad():
        module.train().logits(images, auxiliary=True)
        expected = module.eval()(images).logits
        found = ready_to_predict(module)(images).logits
        rough = ready_to_predict(module, torch.bfloat16)(images).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert rough.dtype == torch.float32
    assert (rough - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.parametrize("name", SPECS)
def test_saved_and_loaded_it_predicts_the_same(name: str, tmp_path: Path) -> None:
    module = _build(SPECS[name]).eval()
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    loaded = build_semantic(SPECS[name], 3).eval()
    load_exactly(loaded, load_file(tmp_path / "weights.safetensors"), "weights")
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(module(images).logits, loaded(images).logits)


def test_an_encoder_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no encoder 'resnet5o'") as caught:
        build_semantic(UNet(encoder="resnet5o"), 2)
    assert "resnet50" in str(caught.value.hint)


def test_an_encoder_that_cannot_be_dilated_is_refused() -> None:
    for name in ("mit_b0", "densenet121"):
        with pytest.raises(ConfigError, match=name):
            build_semantic(DeepLabV3(encoder=name), 2)


def test_weights_that_nobody_has_are_refused() -> None:
    with pytest.raises(WeightsError, match="mit_b0"):
        build_semantic(SegFormer(), 2, pretrained_encoder=True)
