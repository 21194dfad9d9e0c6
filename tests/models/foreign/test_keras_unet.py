"""Keras' U-Nets: told by shapes alone, calculating what they did there, with what had to be assumed said."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import everymask
from everymask.errors import WeightsError
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored, read_stored
from everymask.models.foreign.translate import translated
from everymask.models.foreign.whole import Whole

h5py = pytest.importorskip("h5py", reason="h5py is an extra")
from tests.models.foreign.keras_layout import KerasUNet  # noqa: E402

FILES = ("unet.h5", "whole.h5", "unet.weights.h5", "unet.keras")


def read(net: KerasUNet, path: Path) -> Whole:
    net.write(path)
    found = translated(read_stored(path), path)
    assert found is not None and found.origin == "Keras"
    return found


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("norms", [False, True], ids=["plain", "norms"])
def test_logits_are_those_of_a_forward_by_numpy(file: str, norms: bool, tmp_path: Path) -> None:
    net = KerasUNet(norms=norms)
    found = read(net, tmp_path / file)
    network = build(found.spec, len(found.labels)).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    image = np.random.default_rng(1).uniform(size=(16, 24, 3))
    with torch.no_grad():
        own = network(torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None]).logits[0].permute(1, 2, 0)
    theirs = net(image)
    assert theirs.std() > 0.05
    np.testing.assert_allclose(own.numpy(), theirs, atol=1e-4 * theirs.std())
    assumed = any("the file does not say" in words and "ReLU" in words for words in found.assumed)
    assert assumed == (file in ("unet.h5", "unet.weights.h5"))


@pytest.mark.parametrize(("file", "skip_first"), [("whole.h5", True), ("unet.keras", True), ("unet.keras", False)])
def test_descriptions_say_which_map_comes_first(file: str, skip_first: bool, tmp_path: Path) -> None:
    net = KerasUNet(skip_first=skip_first, transposed=file == "whole.h5")
    found = read(net, tmp_path / file)
    assert found.spec.upsampling == ("transposed" if file == "whole.h5" else "nearest")
    network = build(found.spec, 3).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    image = np.random.default_rng(1).uniform(size=(8, 16, 3))
    with torch.no_grad():
        own = network(torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None]).logits[0].permute(1, 2, 0)
    np.testing.assert_allclose(own.numpy(), net(image), atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "last", "head", "count"),
    [(1, "sigmoid", "binary", 2), (4, "sigmoid", "multilabel", 4), (4, "softmax", "multiclass", 4)],
)
def test_the_last_layer_tells_what_classes_are(classes: int, last: str, head: str, count: int, tmp_path: Path) -> None:
    found = read(KerasUNet(classes=classes, last=last, channels=1), tmp_path / "unet.keras")
    assert (found.spec.head, len(found.labels), found.spec.channels, found.preprocess.divisor) == (head, count, 1, 4)
    assert (found.preprocess.mean, found.preprocess.std) == ((0.0,), (1.0,))


@pytest.mark.slow
def test_a_file_predicts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    KerasUNet(classes=1, last="sigmoid").write(tmp_path / "unet.h5")
    model = everymask.load(tmp_path / "unet.h5", device="cpu")
    assert "UNet with plain by Keras, 2 classes (background, foreground)" in caplog.text
    assert "the one from below to come first, which the file does not say" in caplog.text
    result = model.predict(np.random.default_rng(0).integers(0, 255, (30, 42, 3)).astype(np.uint8))
    assert result.semantic is not None


def changed(net: KerasUNet, kind: str, **config: Any) -> str:
    whole = json.loads(net.config(third=True))
    for layer in whole["config"]["layers"]:
        if layer["class_name"] == kind:
            layer["config"] |= config
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("Conv2D", {"padding": "valid"}, "without padding"),
        ("Conv2D", {"activation": "elu"}, "the activation elu"),
        ("Conv2D", {"dilation_rate": [2, 2]}, "dilated"),
        ("Conv2DTranspose", {"activation": "relu"}, "relu behind the steps up"),
        ("MaxPooling2D", {"pool_size": [3, 3]}, "pooling by other than 2"),
    ],
)
def test_descriptions_of_other_networks_are_refused(
    kind: str, config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    net = KerasUNet()
    net.write(tmp_path / "unet.h5")
    stored = Stored(read_stored(tmp_path / "unet.h5").tensors, settings=changed(net, kind, **config))
    with pytest.raises(WeightsError, match=said):
        translated(stored, tmp_path / "unet.h5")


def test_norms_behind_the_activation_and_strange_layers_are_refused(tmp_path: Path) -> None:
    net = KerasUNet(norms=True)
    net.write(tmp_path / "unet.h5")
    tensors = read_stored(tmp_path / "unet.h5").tensors
    with pytest.raises(WeightsError, match="norms behind the ReLU"):
        translated(Stored(tensors, settings=changed(net, "Conv2D", activation="relu")), Path("a.h5"))
    strange = net.config(third=True).replace('"MaxPooling2D"', '"Lambda"')
    with pytest.raises(WeightsError, match="layers of class Lambda"):
        translated(Stored(tensors, settings=strange), Path("a.h5"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conv2d/kernel": (3, 3, 3, 5)}, "a strange bias"),
        ({"conv2d/kernel": (3, 3, 3, 5), "conv2d/bias": (5,)}, "convolution number 1 of 3 to 5 channels"),
        ({"conv2d_3/kernel": (5, 5, 8, 8)}, "convolutions of 5 x 5"),
        ({"conv2d_transpose/kernel": (2, 2, 16, 8)}, "2x2 convolutions such as conv2d_transpose"),
        ({"dense/kernel": (16, 3), "dense/bias": (3,)}, "the layer dense"),
        ({"conv2d_11/kernel": (3, 3, 4, 4), "conv2d_11/bias": (4,)}, "11 convolutions of 3 x 3"),
    ],
)
def test_shapes_of_other_networks_are_refused(change: dict[str, tuple[int, ...]], said: str, tmp_path: Path) -> None:
    KerasUNet().write(tmp_path / "unet.h5")
    tensors = dict(read_stored(tmp_path / "unet.h5").tensors)
    tensors |= {name: torch.zeros(shape) for name, shape in change.items()}
    with pytest.raises(WeightsError, match=said):
        translated(Stored(tensors), Path("a.h5"))


def test_an_archive_that_is_damaged_or_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "unet.keras"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(3_000_000))
    with pytest.raises(WeightsError, match="not a whole HDF5 file"):
        read_stored(file)
    file.write_bytes(b"no zip")
    with pytest.raises(WeightsError, match="not a whole HDF5 file"):
        read_stored(file)
