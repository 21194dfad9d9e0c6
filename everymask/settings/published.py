"""Recipes behind published numbers of semantic networks, for who wants to repeat them. They take GPUs and days.

Sources: mmsegmentation's configuration files for the dilated networks, HRNet-Semantic-Segmentation's for HRNet,
SegFormer's own for SegFormer. What they call iterations is here the number of epochs that is nearest. Not the same:
the convolutional ones let the learning rate end at 1e-4 instead of 0, and all spread a batch over several GPUs, with
norms over all of it; here it is on one. SegFormer's lets biases decay.
"""

from __future__ import annotations

from dataclasses import replace

from everymask.data.feed.augment import Augment
from everymask.models.specs.semantic import DeepLabV3Plus, HRNet, SemanticModelSpec, segformer
from everymask.settings.config import TrainConfig

_AUGMENT = replace(Augment(), scale=(0.5, 2.0), flip=0.5, blur=0.0, noise=0.0, category_max=0.75)


def dilated_voc(data: str, out: str, *, model: SemanticModelSpec | None = None) -> TrainConfig:
    """FCN, PSPNet, DeepLabV3, DeepLabV3+ (the default) or UPerNet on Pascal VOC 2012 with its added annotations.

    40,000 steps of 16 crops of 512 x 512, which are 60 epochs of 10,582 pictures.
    """
    return TrainConfig(
        data=data,
        out=out,
        model=model or DeepLabV3Plus(auxiliary=True),
        weights="imagenet",
        epochs=60,
        batch=16,
        size=512,
        augment=_AUGMENT,
        loss="ce",
        optimizer="sgd",
        lr=0.01,
        head_lr=1.0,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="poly",
        warmup_steps=0,
    )


def dilated_cityscapes(data: str, out: str, *, model: SemanticModelSpec | None = None) -> TrainConfig:
    """The same networks on Cityscapes: 80,000 steps of 8 crops of 512 x 1024, 215 epochs of 2,975 pictures."""
    return replace(dilated_voc(data, out, model=model), epochs=215, batch=8, size=(512, 1024))


def hrnet_cityscapes(data: str, out: str, *, ocr: bool = False) -> TrainConfig:
    """HRNet-W48, with `ocr` HRNet-OCR, on Cityscapes: 484 epochs of 12 crops of 512 x 1024, hard pixels alone."""
    model = HRNet(encoder="hrnet_w48", ocr=ocr)
    return replace(dilated_cityscapes(data, out, model=model), epochs=484, batch=12, loss="ohem")


def segformer_ade20k(data: str, out: str, *, weights: str, size: str = "b0") -> TrainConfig:
    """SegFormer "b0" to "b5" on ADE20K.

    160,000 steps of 16 crops of 512 x 512 (b5: 640 x 640), which are 127 epochs of 20,210 pictures. `weights` is a file
    of its encoder trained on ImageNet-1k, such as that of `nvidia/mit-b0` for transformers.
    """
    side = 640 if size == "b5" else 512
    return TrainConfig(
        data=data,
        out=out,
        model=segformer(size),
        weights=weights,
        epochs=127,
        batch=16,
        size=side,
        resize=(side, 2048),
        augment=_AUGMENT,
        loss="ce",
        optimizer="adamw",
        lr=6e-5,
        head_lr=10.0,
        momentum=0.9,
        weight_decay=0.01,
        schedule="linear",
        warmup_steps=1500,
    )


def segformer_cityscapes(data: str, out: str, *, weights: str, size: str = "b0") -> TrainConfig:
    """The same on Cityscapes: 160,000 steps of 8 crops of 1024 x 1024, 431 epochs of 2,975 pictures."""
    recipe = segformer_ade20k(data, out, weights=weights, size=size)
    return replace(recipe, epochs=431, batch=8, size=1024, resize=(1024, 2048))
