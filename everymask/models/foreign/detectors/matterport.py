"""matterport's Mask R-CNN for Keras (2017): its `.h5` files, and what its network does otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError, counted, listed, printable
from everymask.models.foreign.detectors.regions import object_labels, spec_of
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.whole import Whole
from everymask.models.specs.profiles import MATTERPORT

ORIGIN = "matterport's Mask R-CNN"
SIGNS = ("mrcnn_class_logits/bias", "mrcnn_mask/bias")
_MEAN = (123.7 / 255, 116.8 / 255, 103.9 / 255)
_STD = (1 / 255, 1 / 255, 1 / 255)
_EPSILON = 1e-3
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def from_matterport(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The network of `mask_rcnn_coco.h5`, of users' `mask_rcnn_<name>_00NN.h5`, and of whole models that were saved.

    Norms of the heads are folded into their convolutions, biases of the encoder's into its norms; background and object
    of an anchor become one logit, and deltas of y and x change places. Sizes and shapes of anchors, and of pictures,
    are the defaults of its `Config`: files do not say them. Where that asks for a score of 0.7, there is no least here.
    """
    layers = _Layers(tensors)
    named: dict[str, Tensor] = {}
    for theirs, ours in _encoder(tensors).items():
        named |= layers.encoder_unit(*theirs, *ours)
    for level in range(2, 6):
        named |= layers.convolution(f"fpn_c{level}p{level}", f"backbone.fpn.inner_blocks.{level - 2}.0")
        named |= layers.convolution(f"fpn_p{level}", f"backbone.fpn.layer_blocks.{level - 2}.0")
    named |= layers.convolution("rpn_conv_shared", "rpn.head.conv.0.0")
    named |= {k: v[1::2] - v[0::2] for k, v in layers.convolution("rpn_class_raw", "rpn.head.cls_logits").items()}
    named |= {k: _x_first(v) for k, v in layers.convolution("rpn_bbox_pred", "rpn.head.bbox_pred").items()}
    for number, layer in ((1, "fc6"), (2, "fc7")):
        folded = layers.folded(f"mrcnn_class_conv{number}", f"mrcnn_class_bn{number}", f"roi_heads.box_head.{layer}")
        named |= {name: tensor.flatten(1) if tensor.ndim == 4 else tensor for name, tensor in folded.items()}
    named |= layers.convolution("mrcnn_class_logits", "roi_heads.box_predictor.cls_score")
    boxes = layers.convolution("mrcnn_bbox_fc", "roi_heads.box_predictor.bbox_pred")
    named |= {name: _x_first(tensor) for name, tensor in boxes.items()}
    for number in range(1, 5):
        named |= layers.folded(
            f"mrcnn_mask_conv{number}", f"mrcnn_mask_bn{number}", f"roi_heads.mask_head.{number - 1}.0"
        )
    named |= layers.convolution("mrcnn_mask_deconv", "roi_heads.mask_predictor.conv5_mask")
    named |= layers.convolution("mrcnn_mask", "roi_heads.mask_predictor.mask_fcn_logits")
    layers.check_all_used()
    changes = {"rpn_pre_nms": (6000, 6000), "rpn_post_nms": (2000, 1000), "score_threshold": 0.0, "nms": 0.3}
    spec = spec_of(named, MATTERPORT, ORIGIN, **changes)
    labels, guessed = _labels(len(named["roi_heads.box_predictor.cls_score.bias"]) - 1, file)
    fed = Preprocess(mean=_MEAN, std=_STD, resize=Resize(800, 1024, "matterport"), divisor=64)
    assumed = ("anchors and the size of pictures are taken for its defaults, which the file does not say",)
    return Whole(ORIGIN, spec, named, labels, fed, {}, (*assumed, *guessed))


class _Layers:
    """The arrays of the layers, which are all to be used."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.unused = set(tensors)

    def take(self, name: str) -> Tensor:
        found = self.tensors.get(name)
        if found is None:
            raise WeightsError(f"the weights by {ORIGIN} are not whole: {name} is missing", hint="copy them again")
        self.unused.discard(name)
        return found

    def convolution(self, theirs: str, ours: str) -> dict[str, Tensor]:
        """Weights as torch has them: [out, in, h, w] of [h, w, in, out], [out, in] of [in, out]."""
        return {f"{ours}.weight": _turned(self.take(f"{theirs}/kernel")), f"{ours}.bias": self.take(f"{theirs}/bias")}

    def norm(self, theirs: str) -> tuple[Tensor, ...]:
        """Scale, shift, mean and variance."""
        return tuple(self.take(f"{theirs}/{kind}") for kind in _NORM)

    def encoder_unit(self, conv: str, norm: str, ours: str, our_norm: str) -> dict[str, Tensor]:
        """A convolution without its bias, which is taken off the mean of the norm behind it: the same, exactly."""
        scale, shift, mean, variance = self.norm(norm)
        values = (scale, shift, mean - self.take(f"{conv}/bias"), variance)
        kinds = ("weight", "bias", "running_mean", "running_var")
        named = {f"{our_norm}.{kind}": value for kind, value in zip(kinds, values, strict=True)}
        return {f"{ours}.weight": _turned(self.take(f"{conv}/kernel")), **named}

    def folded(self, conv: str, norm: str, ours: str) -> dict[str, Tensor]:
        """A convolution that does what its norm did."""
        scale, shift, mean, variance = (value.double() for value in self.norm(norm))
        factor = scale / (variance + _EPSILON).sqrt()
        weight = _turned(self.take(f"{conv}/kernel")).double()
        bias = (self.take(f"{conv}/bias").double() - mean) * factor + shift
        return {f"{ours}.weight": (weight * factor[:, None, None, None]).float(), f"{ours}.bias": bias.float()}

    def check_all_used(self) -> None:
        """`WeightsError` for arrays that this network does not have."""
        if self.unused:
            raise WeightsError(
                f"the weights by {ORIGIN} have {counted(len(self.unused), 'array')} that the network does not have: "
                f"{printable(listed(sorted(self.unused), 3))}",
                hint="the layers of its model.py are read, and no others",
            )


def _encoder(tensors: Mapping[str, Tensor]) -> dict[tuple[str, str], tuple[str, str]]:
    """Convolution and norm of the encoder there, and here."""
    body = "backbone.body"
    units = {("conv1", "bn_conv1"): (f"{body}.conv1", f"{body}.bn1")}
    for name in tensors:
        found = re.fullmatch(r"res([2-5])([a-z])_branch(1|2[abc])/kernel", name)
        if not found:
            continue
        block = f"{body}.layer{int(found[1]) - 1}.{ord(found[2]) - ord('a')}"
        place = "abc".find(found[3][-1]) + 1
        ours = (
            (f"{block}.conv{place}", f"{block}.bn{place}")
            if place
            else (f"{block}.downsample.0", f"{block}.downsample.1")
        )
        branch = f"{found[1]}{found[2]}_branch{found[3]}"
        units[f"res{branch}", f"bn{branch}"] = ours
    return units


def _turned(kernel: Tensor) -> Tensor:
    return kernel.permute((3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)).contiguous()


def _x_first(rows: Tensor) -> Tensor:
    """Deltas dx, dy, dw, dh of dy, dx, dh, dw."""
    return rows.unflatten(0, (-1, 4))[:, torch.tensor([1, 0, 3, 2])].flatten(0, 1)


def _labels(count: int, file: str) -> tuple[Labels, tuple[str, ...]]:
    """One class is called as the file: `mask_rcnn_balloon_0030.h5`."""
    named: Any = re.fullmatch(r"mask_rcnn_([A-Za-z][\w-]*?)(?:_\d{4})?\.h5", file)
    if count == 1 and named and named[1] != "coco":
        return labels_of([named[1]]), ("its class is called as the file is",)
    return object_labels(count)
