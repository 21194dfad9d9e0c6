"""matterport's Mask R-CNN as Keras stores it, and what it calculates: written from the description of its graph.

Boxes are y1, x1, y2, x2 in shares of the picture's height and width less one, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

Shapes = dict[str, tuple[int, ...]]
STRIDES = (4, 8, 16, 32, 64)
_NORM = ("beta", "gamma", "moving_mean", "moving_variance")
_STD = torch.tensor([0.1, 0.1, 0.2, 0.2])


def matterport(
    classes: int = 81, *, blocks: int = 6, width: int = 256, shared: int = 512, hidden: int = 1024
) -> Shapes:
    """Names as in the file and shapes, with as many `blocks` in the fourth stage: 6 of ResNet-50, 23 of 101."""
    shapes: Shapes = {}

    def conv(name: str, shape: tuple[int, ...], *, owner: str = "", outputs: int = -1) -> None:
        path = f"{owner or name}/{name}"
        shapes.update({f"{path}/kernel:0": shape, f"{path}/bias:0": (shape[outputs],)})

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}/{name}/{kind}:0": (width,) for kind in _NORM})

    conv("conv1", (7, 7, 3, 64))
    norm("bn_conv1", 64)
    inputs = 64
    for stage, count in zip((2, 3, 4, 5), (3, 4, blocks, 3), strict=True):
        middle, end = 64 * 2 ** (stage - 2), 256 * 2 ** (stage - 2)
        for block in map(chr, range(97, 97 + count)):
            parts = {"2a": (1, 1, inputs, middle), "2b": (3, 3, middle, middle), "2c": (1, 1, middle, end)}
            parts |= {"1": (1, 1, inputs, end)} if block == "a" else {}
            for branch, shape in parts.items():
                conv(f"res{stage}{block}_branch{branch}", shape)
                norm(f"bn{stage}{block}_branch{branch}", shape[3])
            inputs = end
        conv(f"fpn_c{stage}p{stage}", (1, 1, end, width))
        conv(f"fpn_p{stage}", (3, 3, width, width))
    for name, shape in (
        ("conv_shared", (3, 3, width, shared)),
        ("class_raw", (1, 1, shared, 6)),
        ("bbox_pred", (1, 1, shared, 12)),
    ):
        conv(f"rpn_{name}", shape, owner="rpn_model")
    conv("mrcnn_class_conv1", (7, 7, width, hidden))
    conv("mrcnn_class_conv2", (1, 1, hidden, hidden))
    norm("mrcnn_class_bn1", hidden)
    norm("mrcnn_class_bn2", hidden)
    conv("mrcnn_class_logits", (hidden, classes))
    conv("mrcnn_bbox_fc", (hidden, 4 * classes))
    for k in range(1, 5):
        conv(f"mrcnn_mask_conv{k}", (3, 3, width, width))
        norm(f"mrcnn_mask_bn{k}", width)
    conv("mrcnn_mask_deconv", (2, 2, width, width), outputs=2)
    conv("mrcnn_mask", (1, 1, width, classes))
    return shapes


def random_arrays(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Under which signals keep their scale; the last layers are small."""
    draw = torch.Generator().manual_seed(seed)
    arrays = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=draw)
        small = 0.03 if any(part in name for part in ("class_raw", "bbox", "logits")) else 1.0
        if name.endswith("moving_variance:0"):
            arrays[name] = (0.2 * values).exp()
        elif name.endswith("gamma:0"):
            arrays[name] = (0.2 if "branch2c" in name else 1.0) * (1 + 0.1 * values)
        elif len(shape) == 1:
            arrays[name] = 0.1 * values
        else:
            arrays[name] = small * values * math.sqrt(2 / math.prod(shape[:-1]))
    return arrays


def write(path: Path, arrays: Mapping[str, Any], *, whole: bool = False) -> None:
    """As `save_weights`, or `save` of a whole model."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        for name, array in arrays.items():
            values = np.asarray(array)
            root.create_dataset(name, data=values, compression="gzip" if values.size > 1000 else None)
        root.attrs["layer_names"] = [name.encode() for name in dict.fromkeys(name.split("/")[0] for name in arrays)]


class Reference:
    """What the graph calculates of one square picture [1, 3, S, S], whose `window` (y1, x1, y2, x2) are in shares."""

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        self.arrays = {"/".join(name.partition(":")[0].split("/")[-2:]): array for name, array in arrays.items()}

    def conv(self, x: Tensor, name: str, norm: str = "", **options: int) -> Tensor:
        kernel = self.arrays[f"{name}/kernel"].permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, self.arrays[f"{name}/bias"], **options)
        if not norm:
            return x
        beta, gamma, mean, variance = (self.arrays[f"{norm}/{kind}"][:, None, None] for kind in _NORM)
        return gamma * (x - mean) / (variance + 0.001).sqrt() + beta

    def pyramid(self, x: Tensor) -> list[Tensor]:
        x = self.conv(F.pad(x, (3, 3, 3, 3)), "conv1", "bn_conv1", stride=2).relu()
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-math.inf), 3, 2)
        ends = []
        for stage in range(2, 6):
            for block in "abcdefghijklmnopqrstuvw":
                own = f"{stage}{block}_branch"
                if f"res{own}2a/kernel" not in self.arrays:
                    break
                stride = 2 if stage > 2 and block == "a" else 1
                out = self.conv(x, f"res{own}2a", f"bn{own}2a", stride=stride).relu()
                out = self.conv(out, f"res{own}2b", f"bn{own}2b", padding=1).relu()
                out = self.conv(out, f"res{own}2c", f"bn{own}2c")
                x = (out + (self.conv(x, f"res{own}1", f"bn{own}1", stride=stride) if block == "a" else x)).relu()
            ends.append(x)
        tops = [self.conv(ends[3], "fpn_c5p5")]
        for level in (4, 3, 2):
            above = tops[0].repeat_interleave(2, 2).repeat_interleave(2, 3)
            tops.insert(0, above + self.conv(ends[level - 2], f"fpn_c{level}p{level}"))
        maps = [self.conv(top, f"fpn_p{level}", padding=1) for level, top in zip((2, 3, 4, 5), tops, strict=True)]
        return [*maps, maps[3][:, :, ::2, ::2]]

    def proposals(self, maps: list[Tensor], side: int) -> Tensor:
        scores, deltas, anchors = [], [], []
        for x, stride in zip(maps, STRIDES, strict=True):
            shared = self.conv(x, "rpn_conv_shared", padding=1).relu()
            pairs = self.conv(shared, "rpn_class_raw").permute(0, 2, 3, 1).reshape(-1, 2)
            scores.append(pairs.softmax(1)[:, 1])
            deltas.append(self.conv(shared, "rpn_bbox_pred").permute(0, 2, 3, 1).reshape(-1, 4) * _STD)
            anchors += [
                (y * stride - h / 2, x * stride - w / 2, y * stride + h / 2 - 1, x * stride + w / 2 - 1)
                for y in range(shared.shape[2])
                for x in range(shared.shape[3])
                for h, w in ((8 * stride / r**0.5, 8 * stride * r**0.5) for r in (0.5, 1, 2))
            ]
        sure, order = torch.cat(scores).sort(descending=True)
        order = order[:6000]
        boxes = moved((torch.tensor(anchors) / (side - 1))[order], torch.cat(deltas)[order]).clamp(0, 1)
        return boxes[nms(boxes, sure[:6000], 0.7)[:1000]]

    def pooled(self, maps: list[Tensor], boxes: Tensor, size: int, side: int) -> Tensor:
        h, w = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        level = (4 + torch.round(torch.log2((h * w).sqrt() / (224 / side)))).clamp(2, 5).long()
        return torch.stack([crop(maps[at - 2][0], box, size) for at, box in zip(level.tolist(), boxes, strict=True)])

    def detections(self, maps: list[Tensor], boxes: Tensor, window: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pooled(maps, boxes, 7, side)
        x = self.conv(x, "mrcnn_class_conv1", "mrcnn_class_bn1").relu()
        x = self.conv(x, "mrcnn_class_conv2", "mrcnn_class_bn2").relu().flatten(1)
        logits = x @ self.arrays["mrcnn_class_logits/kernel"] + self.arrays["mrcnn_class_logits/bias"]
        deltas = (x @ self.arrays["mrcnn_bbox_fc/kernel"] + self.arrays["mrcnn_bbox_fc/bias"]).view(len(x), -1, 4)
        sure, classes = logits.softmax(1).max(1)
        refined = moved(boxes, deltas[torch.arange(len(x)), classes] * _STD)
        refined = torch.minimum(torch.maximum(refined, window[[0, 1, 0, 1]]), window[[2, 3, 2, 3]])
        kept = []
        for label in range(1, logits.shape[1]):
            rows = (classes == label).nonzero()[:, 0]
            kept.append(rows[nms(refined[rows], sure[rows], 0.3)[:100]])
        found = torch.cat(kept)
        found = found[sure[found].argsort(descending=True)[:100]]
        return refined[found], classes[found], sure[found]

    def masks(self, maps: list[Tensor], boxes: Tensor, classes: Tensor, side: int) -> Tensor:
        x = self.pooled(maps, boxes, 14, side)
        for k in range(1, 5):
            x = self.conv(x, f"mrcnn_mask_conv{k}", f"mrcnn_mask_bn{k}", padding=1).relu()
        kernel = self.arrays["mrcnn_mask_deconv/kernel"]  # height, width, out, in
        grown = torch.einsum("nihw,abci->nchawb", x, kernel).flatten(4).flatten(2, 3)
        x = (grown + self.arrays["mrcnn_mask_deconv/bias"][:, None, None]).relu()
        return self.conv(x, "mrcnn_mask").sigmoid()[torch.arange(len(x)), classes]


def moved(boxes: Tensor, deltas: Tensor) -> Tensor:
    h, w = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    y, x = boxes[:, 0] + h / 2 + deltas[:, 0] * h, boxes[:, 1] + w / 2 + deltas[:, 1] * w
    h, w = h * deltas[:, 2].exp(), w * deltas[:, 3].exp()
    return torch.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], 1)


def crop(plane: Tensor, box: Tensor, size: int) -> Tensor:
    """TensorFlow's crop_and_resize of [C, h, w]: samples from border to border of the box, bilinear."""
    rows, columns = (
        (box[k] + (box[k + 2] - box[k]) * torch.arange(size) / (size - 1)) * (plane.shape[k + 1] - 1) for k in (0, 1)
    )
    y, x = (at.floor().clamp(max=extent - 1) for at, extent in ((rows, plane.shape[1]), (columns, plane.shape[2])))
    dy, dx = (rows - y)[:, None], columns - x
    y0, x0 = y.long()[:, None], x.long()
    y1, x1 = (y0 + 1).clamp(max=plane.shape[1] - 1), (x0 + 1).clamp(max=plane.shape[2] - 1)
    top = plane[:, y0, x0] * (1 - dx) + plane[:, y0, x1] * dx
    bottom = plane[:, y1, x0] * (1 - dx) + plane[:, y1, x1] * dx
    return top * (1 - dy) + bottom * dy
