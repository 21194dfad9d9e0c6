"""`everymask predict` with a network that answers prompts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.cli import run
from everymask.commands.prompting.files import read_prompts
from everymask.commands.train import _asked
from everymask.errors import DataError
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM
from everymask.settings.config import TrainConfig
from tests.commands.small_models import OBJECTS, make_model
from tests.models.prompted.random_sam import scatter


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the layout of SAM's authors."""
    module = PromptedNetwork(SAM(encoder="vit_t", side=64))
    scatter(module)
    file = tmp_path_factory.mktemp("weights") / "sam-small.pth"
    torch.save(module.state_dict(), file)
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, in folders."""
    for number, name in enumerate(("a/one.png", "b/two.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def predict(model: Path, photos: Path, *options: object) -> int:
    return run(["predict", str(model), str(photos), "--out", str(photos.parent / "out"), *map(str, options)])


def rows(photos: Path) -> list[dict[str, str]]:
    with (photos.parent / "out" / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_is_found_in_every_picture(model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(model, photos, "--everything", "--points-per-side", 2, "--json", "--min-score", 0) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
    assert (photos.parent / "out" / "overlays" / "a" / "one.png").is_file()


def test_each_box_becomes_a_mask_and_predictions_are_prompts(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = write(photos.parent / "boxes.csv", "file,x1,y1,x2,y2,class\na/one.png,5,5,30,30,cat\n"
                  "b/two.png,0,0,60,40,dog\na/one.png,1,2,20,39.5,cat\n")  # fmt: skip
    assert predict(model, photos, "--boxes", boxes) == 0
    assert [row["file"] for row in rows(photos)] == ["a/one.png", "a/one.png", "b/two.png"]
    again = photos.parent / "out" / "predictions.csv"
    again = write(photos.parent / "again.csv", again.read_text("utf-8"))
    assert predict(model, photos, "--boxes", again, "--overwrite") == 0
    assert len(rows(photos)) == 3 and "WARNING" not in capsys.readouterr().err


def test_points_of_one_object_belong_together(model: Path, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = write(photos.parent / "points.csv", "file,object,x,y,label\na/one.png,1,10,10,1\na/one.png,2,30,30,1\n"
                   "a/one.png,1,50,20,0\n")  # fmt: skip
    assert predict(model, photos, "--points", points) == 0
    assert [row["file"] for row in rows(photos)] == ["a/one.png"] * 2
    assert "asks nothing of 1 picture" in caplog.text
    asked = read_prompts(points, "points")["a/one.png"]
    assert [each.labels for each in asked] == [(1, 0), (1,)]
    plain = write(photos.parent / "plain.csv", "file,x,y\na/one.png,10,10\na/one.png,30,30\n")
    assert [each.points for each in read_prompts(plain, "points")["a/one.png"]] == [((10.0, 10.0),), ((30.0, 30.0),)]


def test_a_prompt_that_a_picture_cannot_have_stops_no_other(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = write(photos.parent / "boxes.csv", "file,x1,y1,x2,y2\none.png,5,5,99,30\ntwo.png,0,0,60,40\n")
    assert predict(model, photos, "--boxes", boxes) == 3
    assert "one.png" in (said := capsys.readouterr().err) and "outside the picture" in said
    assert [row["file"] for row in rows(photos)] == ["b/two.png"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,x1,y1,x2\na,1,2,3\n", "lacks the column y2"),
        ("file,x1,y1,x2,y2\n", "no rows"),
        ("file,x1,y1,x2,y2\nmissing.png,1,2,3,4\n", "no picture here"),
        ("file,x1,y1,x2,y2\none.png,1,2,x,nan\n", "expected a number as x2"),
    ],
)
def test_files_that_ask_for_nothing_are_refused(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert predict(model, photos, "--boxes", write(photos.parent / "boxes.csv", text)) == 3
    assert said in capsys.readouterr().err


def test_labels_are_0_or_1(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 1"):
        read_prompts(write(tmp_path / "p.csv", "file,x,y,label\na,1,2,-1\n"), "points")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "finds nothing unasked"),
        (("--everything", "--boxes", "b.csv"), "exclude each other"),
        (("--points-per-side", "4"), "add --everything"),
        (("--everything", "--engine", "local"), "leave out engine"),
        (("--everything", "--max-detections", "5"), "no number of detections"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert predict(model, photos, *options) == 2
    assert said in capsys.readouterr().err


def test_a_detector_takes_no_prompts(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for picture in photos.rglob("*.png"):
        Image.open(picture).convert("L").save(picture)
    assert predict(make_model(tmp_path, OBJECTS, 64), photos, "--everything") == 2
    assert "answers once and takes none" in capsys.readouterr().err


def test_a_training_says_what_to_ask_next() -> None:
    assert _asked(TrainConfig(data="d", model="prompted-small")) == " --everything"
    assert _asked(TrainConfig(data="d", model="unet")) == ""
