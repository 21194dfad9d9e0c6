"""One data set for either task: objects as label maps, in `check` and `convert` as in training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from everymask.cli import run
from everymask.data.formats.coco.instances import write_coco
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    write_coco(folder / "coco", write_shapes(folder / "drawn", train=2, val=1, size=64))
    return folder / "coco"


def call(*arguments: object) -> int:
    return run([str(argument) for argument in arguments])


def test_objects_are_converted_to_label_maps(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", coco, "--task", "semantic", "--to", "image-masks", "--out", tmp_path / "maps") == 0
    assert "3 pictures" in capsys.readouterr().out
    written, painted = read_dataset(tmp_path / "maps"), read_dataset(coco, task="semantic")
    assert written.labels.names == painted.labels.names == ("background", "square", "circle", "triangle")
    assert written.splits() == painted.splits() == {"train": 2, "val": 1}
    maps = {record.id: painted.label_map(row).ids for row, record in enumerate(painted.records)}
    for row, record in enumerate(written.records):
        assert np.array_equal(written.label_map(row).ids, maps[record.image.stem])


def test_check_shows_what_a_semantic_network_would_learn(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for task in ("instance", "semantic"):
        assert call("check", coco, "--task", task, "--json") == 0
        shown[task] = json.loads(capsys.readouterr().out)
    assert list(shown["instance"]["classes"]) == ["square", "circle", "triangle"]
    assert list(shown["semantic"]["shares"]) == ["background", "square", "circle", "triangle"]
    assert "painted from objects" in shown["semantic"]["encoding"]


def test_objects_are_not_made_of_label_maps(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """F11"""
    assert call("convert", coco, "--to", "image-masks", "--out", tmp_path / "maps") == 0
    for verb, options in (("check", ()), ("convert", ("--to", "coco", "--out", tmp_path / "new"))):
        assert call(verb, tmp_path / "maps", "--task", "instance", *options) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "image-masks), which do not tell objects apart" in said
        assert "leave out --task" in said
    assert not (tmp_path / "new").exists()
    assert call("convert", coco, "--task", "semantic", "--to", "coco", "--out", tmp_path / "new") == 2
    assert "holds objects" in capsys.readouterr().err
