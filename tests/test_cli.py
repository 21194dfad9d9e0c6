"""What the command line promises: its words, its exit codes, JSON that a program can read."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask import __version__
from everymask.cli import VERBS, parse, run
from everymask.data.pictures.read import write_image
from everymask.data.shapes import write_shapes
from everymask.settings.config import TrainConfig

OPTIONS = Path(__file__).with_name("cli_options.txt")


def call(*arguments: object) -> int:
    """The exit code of `everymask` with these arguments."""
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def words(verb: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The verb's positional words and options, as its help lists them."""
    assert call(verb, "--help") == 0
    found = re.findall(r"^[│ ] ((?:--[a-z][\w.-]*)|(?:[A-Z]{2,}))(?= |$)", capsys.readouterr().out, re.MULTILINE)
    return [f"{verb} {word}" for word in sorted(set(found))]


def test_the_options_change_on_purpose_or_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    """After a wanted change, write the new list into cli_options.txt and a line into the changelog."""
    assert [word for verb in VERBS for word in words(verb, capsys)] == OPTIONS.read_text("utf-8").splitlines()


def test_the_commands_in_the_readme_exist() -> None:
    blocks = re.findall(r"```\n(.*?)```", (OPTIONS.parents[1] / "README.md").read_text("utf-8"), re.DOTALL)
    lines = [line.partition("#")[0].split() for line in "".join(blocks).splitlines() if line.startswith("everymask ")]
    verbs = [type(parse(words[1:])).__name__.lower() for words in lines]
    assert verbs == [words[1] for words in lines]
    assert set(verbs) == set(VERBS) - {"demo"}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"everymask {__version__}\n"


def test_help_lists_the_verbs_and_imports_no_torch() -> None:
    code = (
        "import sys\nfrom everymask.cli import run\n"
        "try: run(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(re.search(rf"^. +\S {verb} ", done.stdout, re.MULTILINE) for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["chek", "DATA"], 2, "did you mean check?", id="F01 unknown command"),
        pytest.param(["check", "DATA", "--on-defct", "skip"], 2, "--on-defect", id="F01 unknown option"),
        pytest.param(["check"], 2, "DATA", id="F01 missing argument"),
        pytest.param(["check", "DATA", "--format", "pascal"], 2, "voc", id="F01 unknown choice"),
        pytest.param(["train", "DATA", "--epochs", "many"], 2, "--epochs", id="F02 wrong type"),
        pytest.param(["train", "DATA", "--lr", "-1"], 2, "lr must be", id="F03 out of range"),
        pytest.param(["train", "DATA", "--encoder", "resnet1"], 2, "resnet18", id="F03 unknown encoder"),
        pytest.param(["train", "DATA", "--resume", "--overwrite"], 2, "exclude each other", id="F10 exclusive"),
        pytest.param(["check", "no-such-folder"], 3, "no-such-folder", id="F07 missing folder"),
        pytest.param(
            ["predict", "runs/a", "nothing-*.png", "--out", "m"], 2, "matched nothing", id="F20 empty pattern"
        ),
        pytest.param(
            ["predict", "runs/a", "no.png", "--out", "m"], 3, "no.png does not exist", id="A02 missing picture"
        ),
        pytest.param(["predict", "runs/a", ".", "--out", "m"], 3, "no picture in the folder", id="F16 empty folder"),
        pytest.param(["predict", "r", "p", "--out", "m", "--min-score", "7"], 2, "min-score", id="F03 min-score"),
    ],
)
def test_mistakes_are_named_with_their_exit_code(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == code
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, b"", b"not safetensors at all"], ids=["E01 missing", "E01 empty", "E08 broken"]
)
def test_a_model_that_cannot_be_used_is_exit_code_5(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, model = tmp_path / "a.png", tmp_path / "model.safetensors"
    write_image(picture, np.zeros((8, 8, 3), np.uint8))
    if content is not None:
        model.write_bytes(content)
    assert call("predict", model, picture, "--out", tmp_path / "masks") == 5
    assert "model.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


def test_evaluate_gives_the_coco_numbers(tiny: Path, shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", tiny, shapes, "--split", "val", "--max-detections", 5, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["num_pictures"] == 2
    assert answer["max_detections"] == 5
    assert len(answer["mask"]) == len(answer["box"]) == 12
    assert call("evaluate", tiny, shapes, "--split", "val") == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("AP50", "mask", "box", "circle"))
    assert max(map(len, told.splitlines())) <= 80


def test_evaluate_names_the_splits_that_there_are(tiny: Path, shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", tiny, shapes, "--split", "test") == 2
    assert "train (3), val (2)" in capsys.readouterr().err


def test_evaluate_refuses_classes_that_the_model_does_not_know(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shapes(tmp_path, train=1, val=1, size=64)
    for file in (tmp_path / "annotations").iterdir():
        file.write_text(file.read_text("utf-8").replace("circle", "disc"), "utf-8")
    assert call("evaluate", tiny, tmp_path) == 3
    assert "disc" in capsys.readouterr().err


def test_predict_writes_overlays_ids_coco_and_csv(tiny: Path, shapes: Path, tmp_path: Path) -> None:
    pictures = sorted((shapes / "images" / "val").iterdir())
    assert call("predict", tiny, shapes / "images" / "val", "--out", tmp_path / "masks", "--min-score", 0) == 0
    stems = {picture.stem for picture in pictures}
    assert {path.stem for path in (tmp_path / "masks" / "overlays").iterdir()} == stems
    assert {path.stem for path in (tmp_path / "masks" / "ids").iterdir()} == stems
    coco = json.loads((tmp_path / "masks" / "predictions.json").read_text("utf-8"))
    assert {image["file_name"] for image in coco["images"]} == {picture.name for picture in pictures}
    assert len((tmp_path / "masks" / "predictions.csv").read_text("utf-8").splitlines()) == len(coco["annotations"]) + 1


def test_one_bad_picture_does_not_stop_the_others(
    tiny: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = next((shapes / "images" / "val").iterdir())
    (tmp_path / "bad.png").write_bytes(b"<html>")
    assert call("predict", tiny, tmp_path / "bad.png", good, "--out", tmp_path / "masks", "--json") == 3
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert answer["pictures"] == 1
    assert "bad.png" in answer["failed"][0]
    assert "bad.png" in told.err
    assert [path.stem for path in (tmp_path / "masks" / "overlays").iterdir()] == [good.stem]
    assert call("predict", tiny, tmp_path / "bad.png", "--out", tmp_path / "none" / "masks") == 3
    assert not (tmp_path / "none").exists()


def test_predict_does_not_write_into_a_folder_that_is_not_empty(
    tiny: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "masks" / "mine.png", np.zeros((8, 8, 3), np.uint8))
    assert call("predict", tiny, shapes / "images", "--out", tmp_path / "masks") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["mine.png"]


def test_without_torch_the_error_says_what_to_install(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    verbs = [["train", "."], ["evaluate", "m", "."], ["predict", "m", "a.png", "--out", "o"], ["demo"]]
    code = (
        "import sys\nclass Absent:\n    def find_spec(self, name, *_):\n"
        "        if name == 'torch': raise ModuleNotFoundError('No module named torch', name='torch')\n"
        f"sys.meta_path.insert(0, Absent())\nfrom everymask.cli import run\nprint([run(verb) for verb in {verbs!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[4, 4, 4, 4]"
    assert done.stderr.count('pip install "everymask[train]"') == 4
    assert "Traceback" not in done.stderr


def test_traceback_shows_where_an_error_arose(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "no-such-folder", "--traceback") == 3
    assert "Traceback" in capsys.readouterr().err


def test_check_says_what_is_there(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", shapes) == 0
    told = capsys.readouterr()
    assert all(word in told.out for word in ("train", "val", "circle", "square", "triangle"))
    assert max(map(len, told.out.splitlines())) <= 80
    assert told.err == ""


def test_json_answers_are_one_object_on_stdout(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["check", shapes, "--json"], ["models", "--json"]):
        assert call(*arguments) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert isinstance(answer, dict)
        assert answer


@pytest.mark.parametrize("target", ["coco", "yolo", "labelme", "mask-files"])
def test_convert_writes_what_check_reads(
    target: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("convert", shapes, "--to", target, "--out", tmp_path / "new") == 0
    capsys.readouterr()
    assert call("check", tmp_path / "new", "--json") == 0
    new = json.loads(capsys.readouterr().out)
    assert call("check", shapes, "--json") == 0
    old = json.loads(capsys.readouterr().out)
    assert new["format"] == target
    assert new["pictures"] == old["pictures"] == 5


@pytest.mark.parametrize(
    ("out", "said"),
    [
        pytest.param("other", "not empty", id="F11 folder with something in it"),
        pytest.param("data", "inside the data set", id="F12 the data set itself"),
        pytest.param("data/new", "inside the data set", id="F12 inside the data set"),
    ],
)
def test_convert_never_writes_over_anything(
    out: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shapes(tmp_path / "data", train=1, val=1, size=64)
    write_image(tmp_path / "other" / "mine.png", np.zeros((8, 8, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    assert call("convert", tmp_path / "data", "--to", "coco", "--out", tmp_path / out) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_convert_leaves_nothing_of_a_data_set_that_is_refused(tmp_path: Path) -> None:
    write_shapes(tmp_path / "data", train=1, val=1, size=64)
    next((tmp_path / "data" / "images" / "val").iterdir()).unlink()
    assert call("convert", tmp_path / "data", "--to", "yolo", "--out", tmp_path / "new") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_convert_lists_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "data", train=3, val=1, size=64)
    lost = next((tmp_path / "data" / "images" / "train").iterdir())
    lost.unlink()
    options = ["--to", "coco", "--out", tmp_path / "new", "--on-defect", "skip"]
    assert call("convert", tmp_path / "data", *options) == 0
    said = capsys.readouterr().out
    assert lost.name in said
    assert "[picture-missing]" in said
    assert "3 pictures: " in said


def test_a_data_set_of_which_all_pictures_are_left_out_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shapes(tmp_path / "data", train=3, val=1, size=64)
    for picture in (tmp_path / "data" / "images").rglob("*.*"):
        picture.write_bytes(b"")
    skip = ["--on-defect", "skip"]
    assert call("check", tmp_path / "data", *skip) == 3
    assert "no picture is left" in capsys.readouterr().err
    assert call("convert", tmp_path / "data", "--to", "yolo", "--out", tmp_path / "new", *skip) == 3
    assert call("train", tmp_path / "data", "--out", tmp_path / "new", *skip) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_picture_that_is_cut_off_is_found_and_not_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path / "data", train=3, val=1, size=64)
    cut = next((tmp_path / "data" / "images" / "train").iterdir())
    cut.write_bytes(cut.read_bytes()[:-200])
    assert call("check", tmp_path / "data") == 3
    assert cut.name in capsys.readouterr().out
    options = ["--to", "yolo", "--out", tmp_path / "new"]
    assert call("convert", tmp_path / "data", *options) == 3
    assert cut.name in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert call("convert", tmp_path / "data", *options, "--on-defect", "skip") == 0
    assert cut.name in capsys.readouterr().out
    assert not any(cut.stem in file.name for file in (tmp_path / "new").rglob("*"))


def test_check_shows_the_numbers_and_then_fails_on_defects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(tmp_path, train=2, val=1, size=64)
    next((tmp_path / "images" / "train").iterdir()).unlink()
    assert call("check", tmp_path, "--json") == 3
    told = capsys.readouterr()
    assert json.loads(told.out)["num_errors"] == 1
    assert "1 defect found" in told.err
    assert call("check", tmp_path, "--on-defect", "skip") == 0
    assert "1 defect" in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from everymask.cli import main; main()", "models"],
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == ""


def test_train_evaluate_predict_and_what_a_second_training_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The words of the README, on pictures without splits: training draws them and evaluation keeps to them."""
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "drawn", train=4, val=1, size=64)
    assert call("convert", "drawn/annotations/instances_train.json", "--to", "labelme", "--out", "data") == 0
    options = [
        "--encoder",
        "mobilenetv3_small_100",
        "--epochs",
        1,
        "--batch",
        2,
        "--max-detections",
        5,
        "--out",
        "runs/a",
    ]
    assert call("train", "data", "--model", "mask-rcnn", *options) == 0
    told = capsys.readouterr()
    assert "runs/a/report.html" in told.out
    assert "everymask predict runs/a" in told.out
    assert "Traceback" not in told.err

    assert call("evaluate", "runs/a", "data", "--split", "val", "--json") == 0
    splits = json.loads((tmp_path / "runs" / "a" / "splits.json").read_text("utf-8"))
    assert [picture["id"] for picture in json.loads(capsys.readouterr().out)["pictures"]] == splits["val"]
    assert call("evaluate", "runs/a", "data") == 0
    assert "trained on" in caplog.text

    assert call("predict", "runs/a", "drawn/images/val", "--out", "masks") == 0
    assert (tmp_path / "masks" / "predictions.json").is_file()
    assert call("train", "data", *options) == 2
    assert "--resume" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("everymask.commands.models.run", stop)
    assert call("models") == 130
    assert capsys.readouterr().err == "error: stopped\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_that_a_signal_ended_says_how_to_go_on(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from everymask.train import run as training

    def train(config: TrainConfig, **_: object) -> training.Run:
        return training.Run(tmp_path / "a b", "interrupted", None, config, steps=7, seconds=60.0, signal=number)

    monkeypatch.setattr(training, "train", train)
    assert call("train", "DATA") == code
    assert f"--resume --out '{tmp_path}/a b'" in capsys.readouterr().out


@pytest.mark.parametrize("near", ["runs/a/config.json", "runs/a/state/step-00000001", "runs/aa", "runs"])
def test_the_run_nearby_is_named(
    near: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "runs/a")
    Path("runs/a/state/step-00000001").mkdir(parents=True)
    Path("runs/a/config.json").write_text("{}")
    write_image("picture.png", np.zeros((8, 8, 3), np.uint8))
    assert call("predict", near, "picture.png", "--out", "x") == 5
    assert capsys.readouterr().err.endswith("did you mean runs/a?\n")


def test_predict_without_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("predict", "photos", "--out", "x") == 2
    assert "needs a model and pictures, but got only photos" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_f01_model_and_pictures_swapped(
    verb: str, tiny: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", tmp_path / "masks"] if verb == "predict" else []
    for model in (tiny, tiny / "best.safetensors"):
        assert call(verb, shapes, model, *out) == 2
        assert f"did you mean: everymask {verb} {model} {shapes}?" in capsys.readouterr().err
    assert call(verb, shapes, "maskrcnn-resnet50-fpn-coco", *out) == 2
    assert "did you mean" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


def test_one_picture_is_no_pictures(
    tiny: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next((shapes / "images" / "val").iterdir())
    assert call("predict", tiny, picture, "--out", tmp_path / "m", "--max-detections", 1, "--min-score", 0) == 0
    assert capsys.readouterr().out == f"1 object in 1 picture: {tmp_path / 'm'}\n"


def test_tables_and_pictures_show_an_object_once_unless_all_are_asked_for(
    tiny: Path, shapes: Path, tmp_path: Path
) -> None:
    counts = []
    for number, wanted in enumerate(([], ["--duplicate-iou", 0.8], ["--duplicate-iou", 0.1], ["--duplicate-iou", 1])):
        out, few_guesses = tmp_path / str(number), ["--min-score", 0, "--max-detections", 30]
        assert call("predict", tiny, shapes / "images" / "val", "--out", out, *few_guesses, *wanted) == 0
        listed = json.loads((out / "predictions.json").read_text("utf-8"))["annotations"]
        assert len((out / "predictions.csv").read_text("utf-8").splitlines()) == len(listed) + 1
        counts.append(len(listed))
    default, usual, few, everything = counts
    assert default == usual
    assert few < usual <= everything


def test_what_one_process_does_is_refused_by_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    codes = []
    for index in "01":
        monkeypatch.setenv("RANK", index)
        monkeypatch.setenv("LOCAL_RANK", index)
        codes.append(run(["models"]))
    assert codes == [2, 4]
    said = capsys.readouterr().err
    assert said.count("models runs in one process, but 2 were started") == 1
    assert "start it without torchrun" in said
