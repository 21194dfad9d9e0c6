"""How a command may be written, and what is said of one that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask.cli import parse, run
from everymask.data.pictures.read import write_image


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--size", "64", "DATA", "--epochs", "1"], "size", 64),
        (["--size", "64", "96", "DATA", "--epochs", "1"], "size", (64, 96)),
        (["--size", "64", "./2024", "--epochs", "1"], "size", 64),
        (["--milestones", "0.5", "DATA", "--epochs", "1"], "milestones", (0.5,)),
        (["--milestones", "0.5", "0.7", "DATA", "--epochs", "1"], "milestones", (0.5, 0.7)),
        (["--resize", "64", "96", "DATA", "--epochs", "1"], "resize", (64, 96)),
        (["DATA", "--size", "64"], "size", 64),
    ],
)
def test_options_of_several_numbers_leave_the_folder_alone(words: list[str], name: str, value: Any) -> None:
    found = parse(["train", *words])
    assert getattr(found, name) == value
    assert Path(found.data).name in ("DATA", "2024")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "D", "--model", "maskrcnn"], "known names, but got 'maskrcnn'\n    did you mean mask-rcnn, "),
        (["train", "D", "--model=qqqq"], "--model must be one of active-contour, adaptive, bit, canny,"),
        (["train", "D", "--optimizer", "adam"], "--optimizer must be one of adamw, sgd, but got 'adam'"),
        (["check", "D", "--format", "COCO"], "did you mean coco?"),
        (["predict", "M", "D", "--out", "o", "--engine", "openvino"], "did you mean --runtime openvino?"),
        (["predict", "M", "D", "--out", "o", "--runtime", "ray"], "did you mean --engine ray?"),
        (["check", "D", "--on_defect", "skp"], "did you mean skip?"),
        (["evaluate", "m", "D", "--void", "wrongly"], "did you mean wrong?"),
    ],
)
def test_a_mistyped_choice_names_the_nearest_and_all_in_order(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "None" not in told


def test_choices_may_be_left_open() -> None:
    assert parse(["train", "D", "--optimizer", "None", "--model", "unet"]).optimizer is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["check", "no-such-folder", "--json"], 3, "DataError"),
        (["check", "no-such-folder", "--format", "cco", "--json"], 2, "ConfigError"),
        (["evaluate", "no-such-model", "d", "--json"], 5, "WeightsError"),
        (["predict", "m", "--out", "o", "--json"], 2, "ConfigError"),
        (["check", "--json"], 2, "ConfigError"),
    ],
)
def test_a_program_is_answered_in_json_whatever_goes_wrong(
    words: list[str], code: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert run(words) == code
    except SystemExit as stop:
        assert stop.code == code
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, code)
    assert error["message"]
    assert told.err


def test_an_answer_is_not_followed_by_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is defective is in the answer already."""
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "a.png", np.zeros((8, 8, 3), np.uint8))
    coco = {"images": [{"id": 1, "file_name": "b.png", "height": 8, "width": 8}], "annotations": [], "categories": []}
    (tmp_path / "instances_train.json").write_text(json.dumps(coco), "utf-8")
    assert run(["check", str(tmp_path), "--json"]) == 3
    assert "num_errors" in json.loads(capsys.readouterr().out)
