"""U-Nets by Keras in the layout of the paper's: told by the shapes of their layers, whatever these are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError, counted
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.maps.keras_graph import Said, said_of
from everymask.models.foreign.whole import Whole, numbered
from everymask.models.specs.semantic import Head, UNet, unet_original

ORIGIN = "Keras"
_UNSAID = Said(skip_first=False, upsampling="nearest", last="linear", epsilon=1e-3)
_OUR_EPSILON = 1e-5
_KINDS = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def is_keras(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are called as Keras' layers."""
    return any(name.endswith("/kernel") for name in tensors)


def from_keras_unet(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The paper's U-Net: two convolutions on each level, steps up of 2x2, and a 1x1 convolution at the end.

    Names say nothing; the order and the shapes of layers do. Which map comes first where two are joined, activations
    and padding stand in the description that whole models have; where there is none they are taken for the usual ones.
    `WeightsError` where a layer has another shape than such a network's.
    """
    said = said_of(stored.settings, ORIGIN)
    layers = _Layers.of(tensors)
    widths = layers.widths()
    upsampling = "transposed" if layers.up else (said or _UNSAID).upsampling
    normed = bool(layers.norms)
    named = _named(layers, widths, said or _UNSAID)
    head, labels, guessed = _answers(len(named["classifier.weight"]), said)
    spec: UNet = replace(
        unet_original(channels=layers.pairs[0][0].shape[2], head=head, decoder_norm="batch" if normed else "none"),
        decoder_channels=tuple(reversed(widths[:-1])),
        upsampling=upsampling,
    )
    zeros, ones = (0.0,) * spec.channels, (1.0,) * spec.channels
    fed = Preprocess(spec.channels, mean=zeros, std=ones, resize=Resize(rule="none"), divisor=2 ** (len(widths) - 1))
    assumed = ["pictures are taken to be fed in 0-1"]
    if said is None:
        norm = ", a norm before it" if normed else ""
        assumed.append(
            f"each convolution is taken to keep the size and to end in a ReLU{norm}, and where two maps are joined the "
            "one from below to come first, which the file does not say"
        )
    return Whole(ORIGIN, spec, named, labels, fed, {}, (*assumed, *guessed))


@dataclass(frozen=True, slots=True)
class _Layers:
    """In their order the 3x3 convolutions in `pairs` (kernel [h, w, in, out], and bias), the steps `up`, the `last`
    layer, and the `norms` (scale, shift, mean, variance), one for each 3x3 convolution or none.
    """

    pairs: list[tuple[Tensor, Tensor]]
    up: list[tuple[Tensor, Tensor]]
    last: tuple[Tensor, Tensor]
    norms: list[tuple[Tensor, ...]]

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> _Layers:
        """The layers; `WeightsError` for what is none of a U-Net."""
        grouped: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            layer, _, kind = name.rpartition("/")
            grouped.setdefault(layer, {})[kind] = tensor
        pairs, up, last, norms = [], [], [], []
        for layer, own in grouped.items():
            kinds = set(own)
            if kinds == {*_KINDS[2:]} and len({tuple(tensor.shape) for tensor in own.values()}) == 1:
                norms.append(tuple(own[kind] for kind in _KINDS[2:]))
                continue
            kernel = own.get("kernel")
            if kernel is None or kernel.ndim != 4 or not kinds <= {*_KINDS[:2]} or 0 in kernel.shape:
                raise _refused(f"the layer {layer} with {', '.join(sorted(kinds))}")
            side = tuple(kernel.shape[:2])
            # A transposed convolution has its outputs before its inputs.
            outputs = kernel.shape[2] if side == (2, 2) else kernel.shape[3]
            bias = own.get("bias", kernel.new_zeros(outputs))
            if bias.shape != (outputs,):
                raise _refused(f"2x2 convolutions such as {layer}" if side == (2, 2) else f"a strange bias in {layer}")
            match side:
                case (3, 3):
                    pairs.append((kernel, bias))
                case (2, 2):
                    up.append((kernel, bias))
                case (1, 1):
                    last.append((kernel, bias))
                case _:
                    raise _refused(f"convolutions of {side[0]} x {side[1]}")
        if len(last) != 1 or len(pairs) < 6 or len(pairs) % 4 != 2:
            raise _refused(
                f"{counted(len(pairs), 'convolution')} of 3 x 3 and {len(last)} of 1 x 1: the paper's has two on each "
                "level on the way down and up, and one at the end"
            )
        if len(norms) not in (0, len(pairs)):
            raise _refused(f"{counted(len(norms), 'norm')} for {len(pairs)} convolutions")
        return _Layers(pairs, up, last[0], norms)

    def widths(self) -> tuple[int, ...]:
        """The channels of each level, the finest first; `WeightsError` where a shape is not that of its place."""
        levels = (len(self.pairs) + 2) // 4
        ends = [kernel.shape[3] for kernel, _ in self.pairs]
        widths = tuple(ends[1 : 2 * levels : 2])
        inputs = [self.pairs[0][0].shape[2]]
        for width in widths[:-1]:
            inputs += [width, width]
        inputs.append(widths[-1])
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            inputs += [width + (width if self.up else below), width]
        wanted = [(given, width) for given, width in zip(inputs, _twice((*widths, *widths[-2::-1])), strict=True)]
        found = [(kernel.shape[2], kernel.shape[3]) for kernel, _ in self.pairs]
        place = next((place for place, pair in enumerate(wanted) if pair != found[place]), None)
        if place is not None:
            raise _refused(
                f"a convolution number {place + 1} of {found[place][0]} to {found[place][1]} channels, where a U-Net "
                f"of levels {', '.join(map(str, widths))} has {wanted[place][0]} to {wanted[place][1]}"
            )
        steps = [(kernel.shape[3], kernel.shape[2]) for kernel, _ in self.up]
        if self.up and steps != list(zip(widths[:0:-1], widths[-2::-1], strict=True)):
            raise _refused("steps up of other widths than its levels")
        if widths[-1] != 2 * widths[-2]:
            raise _refused(
                f"a lowest level of {widths[-1]} channels below one of {widths[-2]}: it has twice as many here"
            )
        if self.last[0].shape[2] != widths[0] or [len(norm[0]) for norm in self.norms] != ends[: len(self.norms)]:
            raise _refused("a last convolution, or norms, of other widths than its levels")
        return widths


def _twice(widths: tuple[int, ...]) -> list[int]:
    return [width for width in widths for _ in range(2)]


def _named(layers: _Layers, widths: tuple[int, ...], said: Said) -> dict[str, Tensor]:
    """Its tensors under our names."""
    levels = len(widths)
    named: dict[str, Tensor] = {}
    for place, (kernel, bias) in enumerate(layers.pairs):
        level, second = divmod(place, 2)
        step = level - levels
        ours = f"backbone.levels.{level}.{second}" if step < 0 else f"decoder.{step}.conv{1 + second}"
        weight = _turned(kernel)
        if step >= 0 and not second and said.skip_first:
            skip = widths[-2 - step]
            weight = torch.cat([weight[:, skip:], weight[:, :skip]], dim=1)
        named[f"{ours}.0.weight"] = weight
        if not layers.norms:
            named[f"{ours}.0.bias"] = bias
            continue
        scale, shift, mean, variance = layers.norms[place]
        values = {"weight": scale, "bias": shift, "running_mean": mean - bias}
        values["running_var"] = variance + (said.epsilon - _OUR_EPSILON)
        named |= {f"{ours}.1.{kind}": value for kind, value in values.items()}
    for step, (kernel, bias) in enumerate(layers.up):
        named |= {f"decoder.{step}.up.weight": _turned(kernel), f"decoder.{step}.up.bias": bias}
    return named | {"classifier.weight": _turned(layers.last[0]), "classifier.bias": layers.last[1]}


def _turned(kernel: Tensor) -> Tensor:
    """[out, in, h, w] of [h, w, in, out]; of a transposed one, which has [h, w, out, in], [in, out, h, w]."""
    return kernel.permute(3, 2, 0, 1).contiguous()


def _answers(count: int, said: Said | None) -> tuple[Head, Labels, tuple[str, ...]]:
    """What the channels of the last layer are to a pixel, and which classes they stand for."""
    unnamed = "the file does not name its classes; they are called by their numbers"
    if count == 1:
        return "binary", labels_of(("background", "foreground")), ("its one channel is taken for foreground",)
    if said is not None and said.last == "sigmoid":
        return "multilabel", numbered(count), (unnamed,)
    return "multiclass", numbered(count), (unnamed,)


def _refused(what: str) -> WeightsError:
    return WeightsError(
        f"these are weights by Keras of a network with {what}, which this version does not read",
        hint="of Keras' networks the paper's U-Net is read, and matterport's Mask R-CNN",
    )
