"""mmsegmentation's checkpoints: every listed layout fits, and its decoders calculate here what they do there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.label_sets import ADE20K, CITYSCAPES, voc_labels
from everymask.errors import WeightsError
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.translate import translated
from everymask.models.foreign.whole import Whole
from everymask.models.semantic.encoders import encode
from everymask.models.specs.semantic import FCN, DeepLabV3, DeepLabV3Plus, HRNet, PIDNet, PSPNet, SegFormer, UPerNet
from tests.conftest import DATA
from tests.models.foreign.openmmlab_layouts import mmsegmentation
from tests.models.foreign.region_layouts import filled, hollow
from tests.models.networks import bare_network

KEYS = DATA.parent / "specs" / "mmseg_key_names.txt"
SPECS = {
    "pspnet_r50": PSPNet(encoder="resnet50c"),
    "deeplabv3_r50": DeepLabV3(encoder="resnet50c", decoder_channels=512, decoder="mmsegmentation"),
    "deeplabv3plus_r50": DeepLabV3Plus(
        encoder="resnet50c",
        output_stride=8,
        rates=(12, 24, 36),
        decoder_channels=512,
        auxiliary=True,
        decoder="mmsegmentation",
    ),
    "upernet_r50": UPerNet(encoder="resnet50c"),
    "segformer_mit-b0": SegFormer(decoder="mmsegmentation"),
    "ocrnet_hr18": HRNet(ocr=True, align_corners=False),
    "pidnet-s": PIDNet(),
}  # fmt: skip
Shapes = dict[str, tuple[int, ...]]


def layout(name: str) -> Shapes:
    """The key list of its code; `fcn_r50` is PSPNet's with another head."""
    if not KEYS.exists():
        pytest.skip("the key lists of mmsegmentation's code lie in ../shared")
    layouts = mmsegmentation(KEYS.read_text())
    if name != "fcn_r50":
        shapes = next(shapes for config, shapes in layouts.items() if config.startswith(name))
        return with_trunk(shapes) if "ocrnet" in name else shapes
    shapes = {key: shape for key, shape in layout("pspnet_r50").items() if not key.startswith("decode_head.")}
    for part, inputs in (("convs.0", 2048), ("convs.1", 512), ("conv_cat", 2560)):
        shapes[f"decode_head.{part}.conv.weight"] = (512, inputs, 3, 3)
        shapes |= {
            f"decode_head.{part}.bn.{kind}": (512,) for kind in ("weight", "bias", "running_mean", "running_var")
        }
    for head, width in (("decode_head", 512), ("auxiliary_head", 256)):
        shapes |= {f"{head}.conv_seg.weight": (21, width, 1, 1), f"{head}.conv_seg.bias": (21,)}
    return shapes


def with_trunk(shapes: Shapes) -> Shapes:
    """Of HRNet, whose list shows the first modules alone, all of the trunk: its names are those of its authors."""
    own = {key: tuple(t.shape) for key, t in bare_network(HRNet()).state_dict().items() if key.startswith("backbone.")}
    assert all(own.get(key) == shape for key, shape in shapes.items() if key.startswith("backbone."))
    return shapes | {key: shape for key, shape in own.items() if not key.endswith("num_batches_tracked")}


def whole_of(tensors: Mapping[str, Tensor], file: str = "iter_80000.pth", settings: str = "") -> Whole:
    found = translated(Stored(tensors, (), settings), Path(file))
    assert found is not None and found.origin == "mmsegmentation"
    return found


@pytest.mark.parametrize("name", SPECS)
def test_the_listed_layouts_are_told_and_fit(name: str) -> None:
    found = whole_of(hollow(layout(name)))
    assert found.spec == SPECS[name] and not found.unused
    assert found.labels == (ADE20K if "ade20k" in name or "upernet" in name or "segformer" in name else CITYSCAPES)


def test_settings_and_names_tell_strides_corners_and_size() -> None:
    tensors = hollow(layout("fcn_r50"))
    found = whole_of(tensors)
    assert found.spec == FCN(encoder="resnet50c", convs=2, joins_input=True, decoder_channels=512)
    assert found.labels == voc_labels() and (found.preprocess.resize.short, found.preprocess.resize.rule) == (
        512,
        "mmdet",
    )
    by_name = whole_of(tensors, "fcn_r50-d16_769x769.pth").spec
    assert (by_name.output_stride, by_name.align_corners) == (16, True)
    by_settings = whole_of(tensors, settings="strides=(1, 2, 2, 1), align_corners=True").spec
    assert by_settings == by_name


def test_an_encoder_or_head_that_is_not_here_is_refused() -> None:
    with pytest.raises(WeightsError, match="this version does not read"):
        whole_of(hollow(layout("segnext")))
    ocr = hollow(layout("ocrnet_hr18"))
    with pytest.raises(WeightsError, match="on another encoder than HRNet"):
        whole_of({name: tensor for name, tensor in ocr.items() if ".stage2." not in name})
    with pytest.raises(WeightsError, match="on an HRNet other than hrnet_w18"):
        whole_of(ocr | {"backbone.stage2.0.branches.0.0.conv1.weight": torch.zeros(40, 40, 3, 3)})
    tensors = hollow(layout("pspnet_r50"))
    with pytest.raises(WeightsError, match=r"1 tensor that no network here has: decode_head\.gate"):
        whole_of(tensors | {"decode_head.gate.weight": torch.zeros(1)})
    two = whole_of(tensors | {"auxiliary_head.convs.1.conv.weight": torch.zeros(1)})
    assert not two.spec.auxiliary and "an auxiliary head that only its own training uses" in str(two)


class Decoders:
    """mmsegmentation's decoders by plain functions, on maps of the encoder, from the tensors as they are stored."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def unit(self, x: Tensor, name: str, rate: int = 1, *, relu: bool = True) -> Tensor:
        weight = self.tensors[f"decode_head.{name}.conv.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, padding=rate * (weight.shape[2] // 2), dilation=rate, groups=groups)
        mean, var, w, b = (
            self.tensors[f"decode_head.{name}.bn.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, var, w, b, eps=1e-5)
        return x.relu() if relu else x

    def classes(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        logits = F.conv2d(x, self.tensors["decode_head.conv_seg.weight"], self.tensors["decode_head.conv_seg.bias"])
        return to(logits, size)

    def pools(self, x: Tensor) -> Tensor:
        parts = [
            to(self.unit(F.adaptive_avg_pool2d(x, side), f"psp_modules.{k}.1"), x.shape[2:])
            for k, side in enumerate((1, 2, 3, 6))
        ]
        return self.unit(torch.cat([x, *parts], 1), "bottleneck")

    def pspnet(self, maps: list[Tensor]) -> Tensor:
        return self.pools(maps[3])

    def fcn(self, maps: list[Tensor]) -> Tensor:
        x = self.unit(self.unit(maps[3], "convs.0"), "convs.1")
        return self.unit(torch.cat([maps[3], x], 1), "conv_cat")

    def deeplabv3(self, maps: list[Tensor]) -> Tensor:
        return self.unit(self.rates(maps[3], lambda x, k, rate: self.unit(x, f"aspp_modules.{k}", rate)), "bottleneck")

    def deeplabv3plus(self, maps: list[Tensor]) -> Tensor:
        x = self.rates(
            maps[3],
            lambda x, k, rate: self.separable(x, f"aspp_modules.{k}", rate) if k else self.unit(x, "aspp_modules.0"),
        )
        x = to(self.unit(x, "bottleneck"), maps[0].shape[2:])
        x = torch.cat([x, self.unit(maps[0], "c1_bottleneck")], 1)
        return self.separable(self.separable(x, "sep_bottleneck.0"), "sep_bottleneck.1")

    def separable(self, x: Tensor, name: str, rate: int = 1) -> Tensor:
        return self.unit(self.unit(x, f"{name}.depthwise_conv", rate), f"{name}.pointwise_conv")

    def rates(self, x: Tensor, one: Callable[[Tensor, int, int], Tensor]) -> Tensor:
        mean = to(self.unit(x.mean((2, 3), keepdim=True), "image_pool.1"), x.shape[2:])
        return torch.cat([mean, *(one(x, k, rate) for k, rate in enumerate((1, 12, 24, 36)))], 1)

    def upernet(self, maps: list[Tensor]) -> Tensor:
        levels = [self.unit(x, f"lateral_convs.{k}") for k, x in enumerate(maps[:3])] + [self.pools(maps[3])]
        for k in (3, 2, 1):
            levels[k - 1] = levels[k - 1] + to(levels[k], levels[k - 1].shape[2:])
        outs = [self.unit(levels[k], f"fpn_convs.{k}") for k in range(3)] + [levels[3]]
        return self.unit(torch.cat([to(out, outs[0].shape[2:]) for out in outs], 1), "fpn_bottleneck")

    def segformer(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[2:]
        return self.unit(
            torch.cat([to(self.unit(x, f"convs.{k}"), size) for k, x in enumerate(maps)], 1), "fusion_conv"
        )

    def ocrnet(self, maps: list[Tensor]) -> Tensor:
        """Regions guessed by the first head, what they look like, and what each pixel makes of them."""
        joined = torch.cat([to(x, maps[0].shape[2:]) for x in maps], 1)
        weight, bias = (self.tensors[f"decode_head.0.conv_seg.{kind}"] for kind in ("weight", "bias"))
        guess = F.conv2d(self.unit(joined, "0.convs.0"), weight, bias).flatten(2).softmax(2)
        pixels = self.unit(joined, "1.bottleneck")
        regions = (guess @ pixels.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]
        block = "1.object_context_block."
        queries, keys = (
            self.unit(self.unit(x, f"{block}{kind}_project.0"), f"{block}{kind}_project.1").flatten(2)
            for x, kind in ((pixels, "query"), (regions, "key"))
        )
        values = self.unit(regions, f"{block}value_project").flatten(2).transpose(1, 2)
        known = (queries.transpose(1, 2) @ keys / keys.shape[1] ** 0.5).softmax(2) @ values
        known = self.unit(known.transpose(1, 2).unflatten(2, pixels.shape[2:]), f"{block}out_project")
        return self.unit(torch.cat([known, pixels], 1), f"{block}bottleneck")


def to(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_r50", *SPECS][:-2])
def test_decoders_calculate_the_same(name: str) -> None:
    tensors = filled(layout(name))
    found = whole_of(tensors)
    network = build(found.spec, len(found.labels)).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    decoders = Decoders(tensors)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = encode(network.backbone, image)[-4:]
        theirs = decoders.classes(getattr(decoders, name.partition("_")[0])(maps), (64, 96))
        own = network(image).logits
    assert theirs.std() > 0.01
    torch.testing.assert_close(own / theirs.std(), theirs / theirs.std(), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_ocr_calculates_the_same() -> None:
    tensors = filled(layout("ocrnet_hr18"))
    network = build(whole_of(tensors).spec, 19).eval()
    network.load_state_dict(dict(whole_of(tensors).tensors), strict=False)
    decoders = Decoders(
        {name.replace("decode_head.1.conv_seg", "decode_head.conv_seg"): t for name, t in tensors.items()}
    )
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = decoders.classes(decoders.ocrnet(network.backbone(image)), (64, 96))
        own = network(image).logits
    assert theirs.std() > 0.01
    torch.testing.assert_close(own / theirs.std(), theirs / theirs.std(), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_encoder_of_three_convolutions_and_mit_calculate_the_same() -> None:
    tensors = filled(layout("pspnet_r50"))
    network = build(whole_of(tensors).spec, 19).eval()
    network.load_state_dict(dict(whole_of(tensors).tensors), strict=False)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    x = image
    for conv, norm, stride in ((0, 1, 2), (3, 4, 1), (6, 7, 1)):
        x = F.conv2d(x, tensors[f"backbone.stem.{conv}.weight"], stride=stride, padding=1)
        mean, var, w, b = (
            tensors[f"backbone.stem.{norm}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, var, w, b, eps=1e-5).relu()
    with torch.no_grad():
        torch.testing.assert_close(encode(network.backbone, image)[0], x, atol=1e-3, rtol=1e-4)
    tensors = filled(layout("segformer_mit-b0"))
    network = build(whole_of(tensors).spec, 150).eval()
    network.load_state_dict(dict(whole_of(tensors).tensors), strict=False)
    block = network.backbone.block1[0]
    tokens, size = torch.randn(1, 16 * 24, 32, generator=torch.Generator().manual_seed(2)), (16, 24)
    name = "backbone.layers.0.1.0."
    rows = F.layer_norm(tokens, (32,), tensors[f"{name}norm1.weight"], tensors[f"{name}norm1.bias"], 1e-6)
    few = F.conv2d(
        rows.transpose(1, 2).unflatten(2, size),
        tensors[f"{name}attn.sr.weight"],
        tensors[f"{name}attn.sr.bias"],
        stride=8,
    )
    few = F.layer_norm(
        few.flatten(2).transpose(1, 2),
        (32,),
        tensors[f"{name}attn.norm.weight"],
        tensors[f"{name}attn.norm.bias"],
        1e-6,
    )
    attention = torch.nn.MultiheadAttention(32, 1, batch_first=True)
    attention.load_state_dict({key: tensors[f"{name}attn.attn.{key}"] for key in attention.state_dict()})
    with torch.no_grad():
        x = tokens + attention(rows, few, few)[0]
        rows = F.layer_norm(x, (32,), tensors[f"{name}norm2.weight"], tensors[f"{name}norm2.bias"], 1e-6)
        hidden = F.conv2d(
            rows.transpose(1, 2).unflatten(2, size),
            tensors[f"{name}ffn.layers.0.weight"],
            tensors[f"{name}ffn.layers.0.bias"],
        )
        hidden = F.gelu(
            F.conv2d(
                hidden,
                tensors[f"{name}ffn.layers.1.weight"],
                tensors[f"{name}ffn.layers.1.bias"],
                padding=1,
                groups=128,
            )
        )
        hidden = F.conv2d(hidden, tensors[f"{name}ffn.layers.4.weight"], tensors[f"{name}ffn.layers.4.bias"])
        torch.testing.assert_close(block(tokens, size), x + hidden.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-4)
