"""What trainings put around a network's names is taken off, and what only code could read is refused."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from everymask.core.labels import labels_of
from everymask.errors import WeightsError
from everymask.models.blocks.encoders import build_features
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored, read_stored, views
from everymask.models.foreign.translate import translated
from everymask.models.specs.semantic import UNet
from everymask.train.start import build_start, read_source
from tests.models.foreign.region_layouts import detectron2, hollow

SMALL = hollow(detectron2(18, 2, width=16, hidden=32))
SPEC = UNet(encoder="resnet18", decoder_channels=(16, 8, 8, 8, 8))


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "module.model.", "_orig_mod.", "student."])
def test_names_of_trainings_are_taken_off(prefix: str) -> None:
    found = translated(Stored({f"{prefix}{name}": tensor for name, tensor in SMALL.items()}), Path("last.ckpt"))
    assert found is not None and found.spec.encoder == "resnet18" and not found.unused


def test_what_lies_around_the_network_is_told() -> None:
    around = {"loss.weight": torch.ones(2)} | {f"model.{name}": tensor for name, tensor in SMALL.items()}
    found = translated(Stored(around), Path("last.ckpt"))
    assert found is not None and "left out: 1 tensor (what the training had around the network)" in str(found)


def test_of_teacher_and_student_the_teacher_is_taken() -> None:
    both = {f"student.{name}": tensor for name, tensor in SMALL.items()}
    both |= {f"teacher.{name}": torch.full_like(tensor, 2.0) for name, tensor in SMALL.items()}
    found = translated(Stored(both), Path("last.ckpt"))
    assert found is not None and float(found.tensors["backbone.body.bn1.weight"][0]) == 2


def test_our_own_weights_in_a_lightning_checkpoint_start_a_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = build(SPEC, 2).state_dict()
    content = {"state_dict": {f"model.{name}": tensor for name, tensor in own.items()}, "hyper_parameters": {"lr": 1}}
    torch.save(content, tmp_path / "last.ckpt")
    module, said = build_start(SPEC, labels_of(["a", "b"]), read_source(str(tmp_path / "last.ckpt")), seed=1)
    assert torch.equal(module.state_dict()["backbone.conv1.weight"], own["backbone.conv1.weight"]) and "kept" in said


@pytest.mark.parametrize("wrap", [pytest.param("", marks=pytest.mark.slow), "teacher."])
def test_a_bare_encoder_of_timm_starts_a_training(wrap: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = build_features("resnet18", 3, out_indices=(1, 2, 3, 4)).state_dict()
    torch.save({f"{wrap}{name}": tensor for name, tensor in body.items()}, tmp_path / "resnet18.pth")
    source = read_source(str(tmp_path / "resnet18.pth"))
    module, said = build_start(SPEC, labels_of(["a", "b"]), source, seed=1)
    assert torch.equal(module.state_dict()["backbone.layer4.1.conv2.weight"], body["layer4.1.conv2.weight"])
    assert said.endswith("encoder of a checkpoint (resnet18.pth)")
    with pytest.raises(WeightsError, match="does not hold the weights of resnet34"):
        build_start(UNet(encoder="resnet34"), labels_of(["a", "b"]), source, seed=1)


def test_a_model_of_ultralytics_says_what_it_is_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = types.ModuleType("ultralytics.nn.tasks")

    class SegmentationModel:
        pass

    SegmentationModel.__module__, SegmentationModel.__qualname__ = tasks.__name__, "SegmentationModel"
    tasks.SegmentationModel = SegmentationModel  # type: ignore[attr-defined]
    for name in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks"):
        monkeypatch.setitem(sys.modules, name, tasks)
    torch.save({"model": SegmentationModel()}, tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=r"best\.pt: this is a model of Ultralytics .* run code\n.*yolo export"):
        read_stored(tmp_path / "best.pt")


def test_views_end() -> None:
    deep = {"model." * 9 + "a": torch.zeros(1)}
    assert [next(iter(view)) for view in views(deep)] == ["model." * k + "a" for k in (9, 8, 7, 6)]
