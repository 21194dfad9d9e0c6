"""Training on a data set in which a picture is cut off behind a sound header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from everymask.data.shapes import write_shapes
from everymask.errors import DataError, WeightsError
from everymask.train.run import train
from tests.train.test_run import QUIET, settings


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Seven training pictures, one of them cut off."""
    write_shapes(tmp_path / "shapes", train=7, val=2, size=64)
    victim(tmp_path / "shapes").write_bytes(victim(tmp_path / "shapes").read_bytes()[:-200])
    return tmp_path / "shapes"


def victim(shapes: Path) -> Path:
    return sorted((shapes / "images" / "train").iterdir())[3]


@pytest.mark.slow
def test_a09_skip_leaves_it_out_and_resuming_does_too(shapes, tmp_path):
    out = tmp_path / "run"
    train(settings(shapes, out, epochs=1, on_defect="skip"), console=QUIET)
    listed = json.loads((out / "splits.json").read_text())
    assert len(listed["train"]) == 6
    assert victim(shapes).stem not in listed["train"]
    assert victim(shapes).name in (out / "report.html").read_text()
    again = train(settings(shapes, out, epochs=2, resume=True, on_defect="skip"), console=QUIET)
    assert again.steps == 6


def test_a09_strict_stops_with_its_name(shapes, tmp_path):
    with pytest.raises(DataError, match=victim(shapes).name):
        train(settings(shapes, tmp_path / "run"), console=QUIET)


def test_damaged_best_weights_are_named_before_training_goes_on(shapes, tmp_path):
    out = tmp_path / "run"
    train(settings(shapes, out, epochs=1, on_defect="skip"), console=QUIET)
    content = bytearray((out / "best.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "best.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"best weights so far are damaged(.|\n)*remove"):
        train(settings(shapes, out, epochs=2, resume=True, on_defect="skip"), console=QUIET)
    (out / "best.safetensors").unlink()
    assert train(settings(shapes, out, epochs=2, resume=True, on_defect="skip"), console=QUIET).steps == 6
