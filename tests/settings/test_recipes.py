"""What is left open is chosen from the data; what is set stays; every choice has its reason."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Literal

import pytest

from everymask.data.feed.augment import Augment
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.onestage import YOLOX, RTMDet
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, RegionProfile, mask_rcnn_small
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.going_on import changed_settings
from everymask.settings.plan import InstanceSettings
from everymask.settings.recipes import anchor_sizes, demo_recipe, model_for_weights, resolve
from everymask.settings.semantic_recipes import resolve_semantic

CELLS = Fingerprint(
    pictures=464,
    measured=50,
    short=256.0,
    long=256.0,
    channels=3,
    dtype="uint8",
    scale=255.0,
    mean=(0.1, 0.1, 0.1),
    std=(0.2, 0.2, 0.2),
    object_sizes=(6.0, 10.0, 17.0, 24.0, 43.0),
    max_objects=375,
)
PHOTOS = replace(CELLS, pictures=5000, short=480.0, long=640.0, object_sizes=(20, 40, 90, 180, 400), max_objects=30)
OPEN_AFTERWARDS = {
    "format",
    "images",
    "masks",
    "mask_threshold",
    "weights",
    "time_limit",
    "patience",
    "save_every",
    "clip_norm",
    "ema",
    "resize",
    "task",
    "loss",
    "encoder",
    "norm",
    "head",
    "fusion",
}
CPU = Facts(num_classes=3, threads=2)
GPU = replace(CPU, gpu=True)


@pytest.mark.parametrize("measured", [CELLS, PHOTOS], ids=["cells", "photos"])
@pytest.mark.parametrize("facts", [CPU, GPU], ids=["cpu", "gpu"])
def test_nothing_that_training_needs_stays_open(measured: Fingerprint, facts: Facts) -> None:
    plan = resolve(TrainConfig(data="d"), measured, facts)
    assert all(getattr(plan, column.name) is not None for column in fields(plan))
    still_open = {column.name for column in fields(plan.settings) if getattr(plan.settings, column.name) is None}
    assert still_open <= OPEN_AFTERWARDS
    assert plan.reasons
    assert plan.task_settings == InstanceSettings(max_detections=plan.model.max_detections)
    assert resolve(plan.settings, measured, facts).settings == plan.settings, "choosing twice changes nothing"


def test_what_is_set_stays() -> None:
    given = TrainConfig(
        data="d",
        model=MaskRCNN(anchor_sizes=(8, 12, 16, 24, 32)),
        epochs=3,
        batch=5,
        size=(96, 128),
        lr=0.5,
        weight_decay=0.0,
        warmup_steps=0,
        validate_every=2,
        max_detections=7,
    )
    config = resolve(given, CELLS, CPU).settings
    assert (config.epochs, config.batch, config.crop, config.lr) == (3, 5, (96, 128), 0.5)
    assert (config.weight_decay, config.warmup_steps, config.validate_every) == (0.0, 0, 2)
    assert config.model.anchor_sizes == (8, 12, 16, 24, 32)
    assert config.max_detections == config.model.max_detections == 7


def test_many_objects_raise_the_limit_of_detections() -> None:
    assert resolve(TrainConfig(data="d"), CELLS, CPU).model.max_detections == 500
    assert resolve(TrainConfig(data="d"), PHOTOS, CPU).model.max_detections == 100


def test_proposals_suffice_for_the_detections() -> None:
    model = resolve(TrainConfig(data="d", max_detections=1500), CELLS, CPU).model
    assert model.rpn_post_nms == (2000, 6000)


@pytest.mark.parametrize(
    ("objects", "wanted"),
    [
        ((6.0, 10.0, 17.0, 24.0, 43.0), (8, 16, 32, 64, 128)),
        ((12.0, 20.0, 30.0, 40.0, 60.0), (16, 32, 64, 128, 256)),
        ((20.0, 40.0, 90.0, 180.0, 400.0), (32, 64, 128, 256, 512)),
        ((100.0, 200.0, 300.0, 400.0, 900.0), (32, 64, 128, 256, 512)),
        ((1.0, 1.0, 1.0, 1.0, 1.0), (8, 16, 32, 64, 128)),
    ],
)
def test_anchors_surround_the_objects(objects: tuple[float, ...], wanted: tuple[int, ...]) -> None:
    assert anchor_sizes(objects) == wanted


def test_anchors_shrink_with_the_pictures() -> None:
    large = replace(PHOTOS, short=3000.0, long=4000.0, object_sizes=(120, 250, 560, 1100, 2400))
    plan = resolve(TrainConfig(data="d"), large, GPU)
    assert plan.preprocess.resize.size_of((3000, 4000)) == (1000, 1333)
    assert plan.model.anchor_sizes == anchor_sizes((40, 0, 0, 0, 800))


@pytest.mark.parametrize(
    ("shapes", "domain", "wanted"),
    [
        pytest.param((0.1, 0.8, 1.0, 1.25, 9.0), "upright", (0.5, 1.0, 2.0), id="as usual"),
        pytest.param((0.1, 0.34, 1.0, 2.9, 9.0), "upright", (0.5, 1.0, 2.0), id="overlapped well enough"),
        pytest.param((0.9, 2.0, 3.04, 4.12, 9.0), "upright", (2.0, 3.0, 4.1), id="tall"),
        pytest.param((0.9, 2.0, 3.04, 4.0, 9.0), "free", (0.25, 1.0, 4.0), id="tall, and turned"),
        pytest.param((0.01, 0.02, 0.03, 0.04, 0.05), "upright", (0.1,), id="lines"),
        pytest.param((), "upright", (0.5, 1.0, 2.0), id="not measured"),
    ],
)
def test_anchors_have_the_shapes_of_objects(
    shapes: tuple[float, ...], domain: Literal["upright", "free"], wanted: tuple[float, ...]
) -> None:
    plan = resolve(TrainConfig(data="d", domain=domain), replace(CELLS, object_shapes=shapes), CPU)
    assert isinstance(plan.model, MaskRCNN) and plan.model.anchor_ratios == wanted
    assert any("as high as wide" in reason for reason in plan.reasons) == (wanted != (0.5, 1.0, 2.0))


def test_a_detector_keeps_its_anchors_and_its_resizing() -> None:
    start = Start(Preprocess(), detects=True)
    plan = resolve(TrainConfig(data="d"), CELLS, replace(GPU, start=start))
    assert plan.model.anchor_sizes == MaskRCNN().anchor_sizes
    assert plan.preprocess == Preprocess()


def test_normalisation_comes_from_the_data_or_from_the_weights() -> None:
    words = replace(CELLS, dtype="uint16", scale=4095.0)
    assert resolve(TrainConfig(data="d"), words, CPU).preprocess.mean == (0.1, 0.1, 0.1)
    encoder = resolve(TrainConfig(data="d"), words, replace(CPU, start=Start(Preprocess(), detects=False))).preprocess
    assert encoder.mean == Preprocess().mean
    assert encoder.scale == 4095.0
    assert encoder.resize.rule == "shrink"


def test_channels_come_from_the_data() -> None:
    grey = replace(CELLS, channels=1, mean=(0.1,), std=(0.2,))
    assert resolve(TrainConfig(data="d"), grey, CPU).model.channels == 1
    start = Start(Preprocess(), detects=False)
    assert resolve(TrainConfig(data="d"), grey, replace(CPU, start=start)).model.channels == 3


def test_the_rate_grows_with_the_pictures_of_a_step() -> None:
    rates = [resolve(TrainConfig(data="d", batch=4, accumulate=n), CELLS, CPU).lr for n in (1, 2, 4)]
    assert rates == [0.005, 0.01, 0.02]


def test_a_batch_is_no_larger_than_the_data() -> None:
    few = replace(CELLS, pictures=3)
    assert resolve(TrainConfig(data="d"), few, GPU).batch == 3


def test_resize_is_the_users() -> None:
    plan = resolve(TrainConfig(data="d", resize=(320, 512)), PHOTOS, CPU)
    assert plan.preprocess.resize == Resize(320, 512)
    assert plan.crop == (384, 384)


def test_the_demo_leaves_only_its_anchors_to_the_data() -> None:
    config = demo_recipe("d", "runs/x")
    resolved = resolve(config, replace(CELLS, max_objects=4), CPU).settings
    assert resolved.model == replace(config.model, anchor_sizes=resolved.model.anchor_sizes)
    chosen = {"model", "max_detections", "weight_decay", "head_lr", "size", "precision", "workers", "gradient_threads"}
    assert set(changed_settings(config, resolved)) == chosen
    assert resolved.crop == config.crop


def test_weights_bring_their_network_but_not_their_kind() -> None:
    stored = FasterRCNN(encoder="resnet34", norm="frozen", profile=RegionProfile(norm_eps=0.0))
    plain = model_for_weights(MaskRCNN(), stored)
    assert isinstance(plain, MaskRCNN)
    assert (plain.encoder, plain.norm, plain.profile.norm_eps) == ("resnet34", "frozen", 0.0)
    chosen = model_for_weights(MaskRCNN(encoder="resnet101"), stored)
    assert (chosen.encoder, chosen.norm, chosen.profile.norm_eps) == ("resnet101", "batch", 0.0)


def test_weights_whose_encoder_a_kind_cannot_have_are_refused_by_their_kind() -> None:
    with pytest.raises(
        ConfigError, match=r"those of RTMDet, and YOLOX cannot begin with them: .*cspnext_tiny"
    ) as caught:
        model_for_weights(YOLOX(), RTMDet(encoder="cspnext_tiny"))
    assert "leave out --model to go on with RTMDet" in caught.value.hint


def test_an_encoder_is_adapted_to_many_channels() -> None:
    many = replace(CELLS, channels=5, mean=(0.1,) * 5, std=(0.2,) * 5)
    plan = resolve(TrainConfig(data="d"), many, replace(CPU, start=Start(Preprocess(), detects=False)))
    assert plan.model.channels == plan.preprocess.channels == 5
    assert plan.preprocess.mean == many.mean
    with pytest.raises(ConfigError, match="for pictures with 3 channels, but these have 5"):
        resolve(TrainConfig(data="d"), many, replace(CPU, start=Start(Preprocess(), detects=True)))


def test_crops_on_a_cpu_are_no_wider_than_eight_large_objects() -> None:
    large = replace(CELLS, short=1000.0, long=1000.0)
    assert resolve(TrainConfig(data="d"), large, CPU).crop == (352, 352)
    assert resolve(TrainConfig(data="d"), large, GPU).crop == (1024, 1024)
    assert resolve(TrainConfig(data="d"), CELLS, CPU).crop == (256, 256)
    assert resolve(TrainConfig(data="d"), replace(large, object_sizes=(1.0,) * 5), CPU).crop == (128, 128)
    assert resolve(TrainConfig(data="d"), replace(large, object_sizes=()), CPU).crop == (512, 512)


def test_pictures_without_an_up_are_turned() -> None:
    for recipe, model in ((resolve, mask_rcnn_small()), (resolve_semantic, UNet())):
        upright = recipe(TrainConfig(data="x", model=model), CELLS, Facts(num_classes=2))
        assert (upright.augment.vertical, upright.augment.rotate) == (0, 0)
        free = recipe(TrainConfig(data="x", model=model, domain="free"), CELLS, Facts(num_classes=2))
        assert (free.augment.vertical, free.augment.rotate) == (0.5, 0.75)
        assert any("no up" in reason for reason in free.reasons)
        told = recipe(TrainConfig(data="x", model=model), replace(CELLS, has_up=False), Facts(num_classes=2))
        assert (told.augment, told.settings.domain) == (free.augment, "free")
        assert any("--domain upright" in reason for reason in told.reasons)
        against = TrainConfig(data="x", model=model, domain="upright")
        assert recipe(against, replace(CELLS, has_up=False), Facts(num_classes=2)).augment == upright.augment
        own = TrainConfig(data="x", model=model, domain="free", augment=Augment(rotate=0.1))
        assert (recipe(own, CELLS, Facts(num_classes=2)).augment.vertical) == 0


def test_a_network_with_norms_in_its_heads_learns_from_nothing_by_adamw() -> None:
    plan = resolve(TrainConfig(data="x", model=mask_rcnn_small(), batch=8), CELLS, Facts(num_classes=2))
    assert (plan.optimizer, plan.lr, plan.clip_norm, plan.ema) == ("adamw", 2e-3, 5.0, 0.998)
    off = TrainConfig(data="x", model=mask_rcnn_small(), batch=8, clip_norm=0, ema=0)
    plan = resolve(off, CELLS, Facts(num_classes=2))
    assert (plan.clip_norm, plan.ema) == (math.inf, 0)
    large = resolve(TrainConfig(data="x", model=MaskRCNN(), batch=8), CELLS, Facts(num_classes=2))
    assert (large.optimizer, large.clip_norm, large.ema) == ("sgd", math.inf, 0)
