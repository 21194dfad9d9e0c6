"""What a semantic training leaves open is chosen from the data; what is set stays; what does not belong is refused."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from everymask.data.feed.augment import Augment
from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import DeepLabV3Plus, SegFormer, UNet
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.loss_terms import class_weights
from everymask.settings.plan import SemanticSettings
from everymask.settings.recipes import model_for_weights, resolve
from everymask.settings.semantic_recipes import resolve_semantic

STREETS = Fingerprint(
    pictures=367,
    measured=50,
    short=360.0,
    long=480.0,
    channels=3,
    dtype="uint8",
    scale=255.0,
    mean=(0.4, 0.4, 0.4),
    std=(0.3, 0.3, 0.3),
    object_sizes=(),
    max_objects=0,
)
OPEN_AFTERWARDS = {"format", "images", "weights", "time_limit", "patience", "clip_norm", "ema", "resize", "task"}
OPEN_AFTERWARDS |= {"masks", "mask_threshold", "max_detections", "encoder", "norm", "head", "fusion", "save_every"}
CPU = Facts(num_classes=11, threads=2)
GPU = replace(CPU, gpu=True)


@pytest.mark.parametrize("facts", [CPU, GPU], ids=["cpu", "gpu"])
def test_nothing_that_training_needs_stays_open(facts: Facts) -> None:
    plan = resolve_semantic(TrainConfig(data="d"), STREETS, facts)
    assert all(getattr(plan, column.name) is not None for column in fields(plan))
    still_open = {column.name for column in fields(plan.settings) if getattr(plan.settings, column.name) is None}
    assert still_open <= OPEN_AFTERWARDS
    assert plan.model == UNet()
    assert plan.optimizer == "adamw"
    assert plan.task_settings == SemanticSettings(loss="ce", class_weights=(), label_smoothing=0.0)
    again = resolve_semantic(plan.settings, STREETS, facts)
    assert again.settings == plan.settings, "choosing twice changes nothing"


def test_crops_fit_into_the_pictures_and_stand_as_they_do() -> None:
    def crop(measured: Fingerprint, facts: Facts = CPU) -> tuple[int, int]:
        return resolve_semantic(TrainConfig(data="d"), measured, facts).crop

    assert crop(STREETS) == (352, 480)
    assert crop(replace(STREETS, tall=0.9)) == (480, 352)
    assert crop(replace(STREETS, short=1024.0, long=2048.0)) == (512, 512)
    assert crop(replace(STREETS, short=1024.0, long=2048.0), GPU) == (1024, 1024)
    assert crop(replace(STREETS, short=20.0, long=30.0)) == (64, 64)


def test_what_is_set_stays() -> None:
    given = TrainConfig(
        data="d",
        model=DeepLabV3Plus(encoder="resnet18", channels=3),
        epochs=3,
        batch=5,
        size=(96, 128),
        lr=0.5,
        head_lr=1.0,
        optimizer="sgd",
        weight_decay=0.0,
        warmup_steps=0,
        validate_every=2,
        loss="dice",
        domain="free",
        augment=Augment(scale=(0.9, 1.1), rotate=0.1),
        precision="bf16",
        workers=3,
        gradient_threads="half",
    )
    assert resolve_semantic(given, STREETS, CPU).settings == given


@pytest.mark.parametrize(("num_classes", "loss"), [(2, "ce+dice"), (3, "ce"), (19, "ce")])
def test_the_loss_follows_from_the_classes(num_classes: int, loss: str) -> None:
    plan = resolve_semantic(TrainConfig(data="d"), STREETS, replace(CPU, num_classes=num_classes))
    assert isinstance(plan.task_settings, SemanticSettings)
    assert plan.task_settings.loss == plan.settings.loss == loss


def test_rates_are_those_of_the_beginning_and_the_kind() -> None:
    def rates(model: UNet | SegFormer, start: Start | None = None, **given: float) -> tuple[float, float]:
        config = TrainConfig(data="d", model=model, batch=16, **given)  # type: ignore[arg-type]
        resolved = resolve_semantic(config, STREETS, replace(GPU, start=start))
        return resolved.lr, resolved.head_lr

    trained = Start(Preprocess(), detects=False)
    assert rates(UNet()) == (1e-3, 1)
    assert rates(UNet(), trained) == (3e-4, 1)
    assert rates(SegFormer()) == (2e-4, 1)
    assert rates(SegFormer(), trained) == (6e-5, 10)
    assert rates(SegFormer(), trained, head_lr=3.0) == (6e-5, 3)
    assert rates(SegFormer(), trained, lr=1e-3) == (1e-3, 1)


def test_classes_weigh_more_the_rarer_they_are() -> None:
    weights = class_weights((0.6, 0.39, 0.01, 0.0))
    assert list(weights) == sorted(weights)
    assert weights[-1] == pytest.approx(50.5, abs=0.1)
    assert class_weights((1.0,))[0] == pytest.approx(1.42, abs=0.01)


@pytest.mark.parametrize("changes", [{"loss": "ce"}, {"class_weights": "auto"}, {"label_smoothing": 0.1}])
def test_detectors_refuse_settings_of_semantic_networks(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        resolve(TrainConfig(data="d", **changes), STREETS, CPU)  # type: ignore[arg-type]


def test_semantic_networks_refuse_settings_of_detectors() -> None:
    with pytest.raises(ConfigError, match="max_detections"):
        resolve_semantic(TrainConfig(data="d", max_detections=9), STREETS, CPU)


def test_weights_of_the_same_kind_bring_the_network_and_others_the_encoder() -> None:
    stored = DeepLabV3Plus(encoder="resnet18", skip_channels=24, head="multilabel")
    assert model_for_weights(DeepLabV3Plus(), stored) == stored
    assert model_for_weights(UNet(), stored) == UNet(encoder="resnet18")
    assert model_for_weights(UNet(encoder="resnet50"), stored) == UNet(encoder="resnet50")
    assert model_for_weights(UNet(), MaskRCNN(encoder="resnet101")) == UNet(encoder="resnet101")
