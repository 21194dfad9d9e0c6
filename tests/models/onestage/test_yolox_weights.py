"""YOLOX-nano's published weights for COCO, from the ONNX file in which they are to be had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from everymask.cli import run
from everymask.errors import WeightsError
from everymask.models.foreign.yolox import read_yolox_onnx
from everymask.models.specs.onestage import YOLOX, published_preprocess
from everymask.train.start import read_source

NAMES = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
"""What coco128 calls six of COCO's classes."""


@pytest.fixture
def weights(shared: Path) -> Path:
    pytest.importorskip("onnx", reason="onnx is not installed, which reads the file")
    file = shared / "weights_yolox_nano" / "yolox_nano.onnx"
    if not file.is_file():
        pytest.skip("the weights (../shared/data/weights_yolox_nano) are not on this machine")
    return file


@pytest.mark.slow
def test_they_are_as_good_as_published(weights: Path, shared: Path, capsys: Any) -> None:
    """Measured with the file itself on ONNX Runtime: AP 0.3325, AP50 0.5032."""
    classes = ",".join(f"{ours}={theirs}" for ours, theirs in NAMES.items())
    data = str(shared / "coco128_seg" / "instances.json")
    words = ["evaluate", str(weights), data, "--classes", classes, "--precision", "exact", "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["mask"] is None
    assert found["box"]["AP"] == pytest.approx(0.3325, abs=0.002)
    assert found["box"]["AP50"] == pytest.approx(0.5032, abs=0.002)


def test_a_training_starts_from_them_by_names_of_classes(weights: Path) -> None:
    source = read_source(str(weights))
    assert source is not None and isinstance(source.spec, YOLOX) and source.labels is not None
    assert source.start.preprocess == published_preprocess(source.spec) == replace(source.start.preprocess, bgr=True)
    assert source.labels.names[:3] == ("person", "bicycle", "car") and len(source.labels) == 80
    assert source.tensors is not None and torch.equal(
        source.tensors["backbone.backbone.stem.conv.bn.weight"], torch.ones(16)
    )


def test_pictures_come_as_bytes_less_grey() -> None:
    """Blue first, rounded down at the upper left of a square, whose padding is 0: the grey that they learned from."""
    import numpy as np

    image = np.zeros((213, 427, 3), np.uint8)
    image[..., 0] = 200
    planes, placement = published_preprocess(YOLOX()).apply(image)
    assert placement.resized == (207, 416)  # 213 * 416 / 427 is 207.5
    assert planes[2].max() == pytest.approx(200 - 114, abs=1e-4) and planes[0].max() == pytest.approx(-114, abs=1e-4)


@pytest.mark.slow
def test_files_of_others_are_refused(weights: Path, tmp_path: Path) -> None:
    content = weights.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="not a whole ONNX file"):
        read_yolox_onnx(tmp_path / "cut.onnx")
    (tmp_path / "text.onnx").write_text("no protocol buffer")
    with pytest.raises(WeightsError, match="ONNX"):
        read_yolox_onnx(tmp_path / "text.onnx")
    import onnx

    model = onnx.load(str(weights))
    # The last convolution is gone, as in a network that is none of these.
    last = max(row for row, node in enumerate(model.graph.node) if node.op_type == "Conv")
    del model.graph.node[last]
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(WeightsError, match="not of a YOLOX"):
        read_yolox_onnx(tmp_path / "other.onnx")
