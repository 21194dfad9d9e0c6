"""Every verb on pictures of two dates."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.cli import run
from everymask.data.pictures.read import write_image
from tests.commands.small_models import make_change_model
from tests.data.change_files import place, write_places

TRAIN = (
    "--model", "fc-siam-diff", "--weights", "none", "--epochs", "1", "--batch", "2", "--size", "32", "--device", "cpu",
)  # fmt: skip


def call(*arguments: object) -> int:
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    write_places(tmp_path / "data", count=3)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_change_model(tmp_path_factory.mktemp("model"))


def test_check_counts_and_says_what_a_training_learns(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", places, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["task"], told["pictures"], told["format"]) == ("change", 3, "change-pairs")
    assert call("check", places, "--report", places.parent / "check.html") == 0
    assert "what changed between two dates" in (places.parent / "check.html").read_text("utf-8")


@pytest.mark.parametrize("tile", [(), pytest.param(("--tile", "32"), marks=pytest.mark.slow)])
def test_two_folders_are_predicted(model: Path, places: Path, tmp_path: Path, tile: tuple[str, ...]) -> None:
    assert call("predict", model, places / "A", places / "B", "--out", tmp_path / "out", *tile) == 0
    with (tmp_path / "out" / "predictions.csv").open() as file:
        assert {row["file"] for row in csv.DictReader(file)} == {"p0.png", "p1.png", "p2.png"}
    for number in range(3):
        found = np.array(Image.open(tmp_path / "out" / "maps" / f"p{number}.png"))
        assert found.shape == (48, 64) and set(np.unique(found)) <= {0, 1}
        drawn = np.array(Image.open(tmp_path / "out" / "overlays" / f"p{number}.png"))
        np.testing.assert_array_equal(drawn[:48, :64], place(number)[0])


@pytest.mark.slow
def test_one_folder_with_both_dates_and_two_files_are_predicted(model: Path, places: Path, tmp_path: Path) -> None:
    assert call("predict", model, places, "--out", tmp_path / "folder") == 0
    assert call("predict", model, places / "A/p1.png", places / "B/p1.png", "--out", tmp_path / "files") == 0
    maps = [next((tmp_path / name / "maps").rglob("p1.png")).read_bytes() for name in ("folder", "files")]
    assert maps[0] == maps[1]


def test_a_date_without_its_partner_is_named(
    model: Path, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "A" / "p1.png").unlink()
    assert call("predict", model, places / "A", places / "B", "--out", tmp_path / "out") == 3
    told = capsys.readouterr().err
    assert "1 picture of" in told and "p1.png" in told and not (tmp_path / "out").exists()
    assert call("predict", model, places / "B", "--out", tmp_path / "out") == 2
    assert "predict RUN before/ after/" in capsys.readouterr().err
    assert call("predict", model, places / "A", places / "B", "--engine", "local", "--out", tmp_path / "out") == 2
    assert "compares two dates" in capsys.readouterr().err


@pytest.mark.slow
def test_dates_of_unequal_size_do_not_stop_the_others(
    model: Path, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(places / "A" / "p1.png", place(1)[0][:-1])
    assert call("predict", model, places / "A", places / "B", "--out", tmp_path / "out") == 3
    assert "64 x 47 pixels" in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "out" / "maps").iterdir()) == ["p0.png", "p2.png"]


@pytest.mark.slow
def test_predictions_in_files_are_evaluated_as_the_model_is(
    model: Path, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", model, places / "A", places / "B", "--out", tmp_path / "out") == 0
    found = []
    for source in (model, tmp_path / "out"):
        capsys.readouterr()
        assert call("evaluate", source, places, "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["f1"] == found[1]["f1"] and found[0]["pictures"] == found[1]["pictures"]
    assert call("compare", model, tmp_path / "out", places) == 0
    assert "F1" in capsys.readouterr().out


@pytest.mark.slow
def test_the_data_set_is_converted_tiled_and_split(
    places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("convert", places, "--to", "change-pairs", "--out", tmp_path / "tiled", "--tile", "32/0") == 0
    assert len(list((tmp_path / "tiled").rglob("A/*.png"))) == 12
    assert call("convert", places, "--to", "change-pairs", "--out", tmp_path / "split", "--split", "60/40") == 0
    assert len(list((tmp_path / "split" / "val" / "label").iterdir())) == 1
    capsys.readouterr()
    assert call("convert", places, "--to", "coco", "--out", tmp_path / "coco") == 2
    assert "change maps" in capsys.readouterr().err


@pytest.mark.slow
def test_other_networks_are_refused_with_a_cure(
    places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", places, "--model", "unet", "--out", tmp_path / "run") == 2
    assert "--fusion difference" in capsys.readouterr().err
    assert call("train", places, "--model", "mask-rcnn", "--out", tmp_path / "run") == 2
    assert "change maps" in capsys.readouterr().err


@pytest.mark.slow
def test_a_training_from_plan_to_comparison(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_places(places, count=9)
    assert call("plan", places, *TRAIN, "--json") == 0
    run_folder, other = tmp_path / "run", tmp_path / "other"
    assert call("train", places, *TRAIN, "--out", run_folder) == 0
    assert "F1 of change" in capsys.readouterr().out and "F1 of change" in (run_folder / "report.html").read_text(
        "utf-8"
    )
    assert call("train", places, *TRAIN, "--out", run_folder, "--epochs", "2", "--resume") == 0
    small = ("--model", "unet", "--task", "change", "--encoder", "mobilenetv3_small_100", *TRAIN[2:])
    assert call("train", places, *small, "--out", other) == 0
    begun = ("--weights", other, *TRAIN[4:])
    assert call("train", places, *begun, "--out", tmp_path / "begun") == 0
    capsys.readouterr()
    assert call("evaluate", run_folder, places, "--split", "val", "--calibration", "--json") == 0
    assert 0 <= json.loads(capsys.readouterr().out)["accuracy"] <= 1
    assert call("compare", run_folder, other, places, "--split", "val") == 0
    assert call("predict", other, places / "A", places / "B", "--out", tmp_path / "masks", "--tta-flip", "both") == 0
