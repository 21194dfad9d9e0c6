"""`everymask predict --track`: objects keep their numbers through a video."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.cli import run
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, SAM2, prompted_labels, prompted_preprocess
from tests.data.video.small_videos import write_video
from tests.models.prompted.random_sam import scatter
from tests.quick import quick

COUNT = 4
SIZE = (32, 48)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a small network of random weights with which objects are always seen."""
    module = PromptedNetwork(SAM2(side=32, memory="2.1"))
    scatter(module)
    with torch.no_grad():
        module.mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(50)
    file = tmp_path_factory.mktemp("weights") / "sam2.safetensors"
    save_model(file, module, Card(module.spec, prompted_labels(), prompted_preprocess(module.spec)))
    return file


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi", COUNT, SIZE)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """The same as pictures, of which the third is called by a number of more digits."""
    (tmp_path / "frames").mkdir()
    for number, name in enumerate(("f2", "f3", "f10", "f11")):
        Image.fromarray(np.full((*SIZE, 3), 40 * number, np.uint8)).save(tmp_path / "frames" / f"{name}.png")
    return tmp_path / "frames"


def track(model: Path, source: Path, *options: object) -> int:
    out = source.parent / "out"
    return run(["predict", str(model), str(source), "--out", str(out), "--track", *map(str, options)])


def rows(source: Path) -> list[dict[str, str]]:
    with (source.parent / "out" / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_objects_of_a_video_file_keep_their_numbers(
    model: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = write(clip.parent / "points.csv", "frame,object,x,y,label\n1,7,10,12,1\n1,7,30,20,0\n2,300,40,20,1\n")
    assert track(model, clip, "--points", points, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["pictures"] == COUNT and answer["objects"] == 2
    out = clip.parent / "out"
    found = rows(clip)
    assert [row["frame"] for row in found] == sorted((row["frame"] for row in found), key=int)
    assert {row["frame"] for row in found} == {"0", "1", "2", "3"} and {row["object"] for row in found} == {"7", "300"}
    assert [row["seconds"] for row in found if row["object"] == "300"][-1] == "0.300"
    told = json.loads((out / "predictions.json").read_text("utf-8"))
    assert {each["track_id"] for each in told["annotations"]} == {7, 300}
    for frame in range(COUNT):
        ids = np.asarray(Image.open(out / "ids" / f"{frame:06d}.png"))
        shown = {int(row["object"]) for row in found if row["frame"] == str(frame)}
        assert ids.shape == SIZE and set(np.unique(ids)) - {0} <= shown and ids.any()
        assert (out / "overlays" / f"{frame:06d}.png").is_file()


@pytest.mark.slow
def test_frames_in_a_folder_are_named_and_may_be_few(model: Path, frames: Path) -> None:
    boxes = write(frames.parent / "boxes.csv", "file,x1,y1,x2,y2\nf10.png,5,5,30,30\nf10.png,0,0,48,32\n")
    assert track(model, frames, "--boxes", boxes, "--overlay", "none") == 0
    found, told = rows(frames), json.loads((frames.parent / "out" / "predictions.json").read_text("utf-8"))
    assert [image["file_name"] for image in told["images"]] == ["f2.png", "f3.png", "f10.png", "f11.png"]
    assert {row["object"] for row in found} == {"1", "2"} and {row["seconds"] for row in found} == {""}
    assert not (frames.parent / "out" / "overlays").exists()


@pytest.mark.slow
def test_masks_show_objects(model: Path, frames: Path, clip: Path) -> None:
    ids = np.zeros(SIZE, np.uint8)
    ids[4:20, 5:30], ids[22:30, 30:45] = 3, 9
    Image.fromarray(ids).save(frames.parent / "first.png")
    assert track(model, frames, "--masks", frames.parent / "first.png") == 0
    assert {row["object"] for row in rows(frames)} == {"3", "9"}
    first = np.asarray(Image.open(frames.parent / "out" / "ids" / "f2.png"))
    assert (first != ids).mean() < 0.1
    (frames.parent / "masks").mkdir()
    Image.fromarray(ids).save(frames.parent / "masks" / "1.png")
    assert track(model, clip, "--masks", frames.parent / "masks", "--overwrite") == 0


REFUSED: list[tuple[tuple[str, ...], str, str]] = [
    ((), "", "must be pointed at"),
    (("--everything",), "", "must be pointed at"),
    (("--points", "p.csv"), "frame,x,y\n9,1,1\n", "there is no frame 9"),
    (("--points", "p.csv"), "frame,x,y\nzero,1,1\n", "expected the number of a frame, but found 'zero'"),
    (("--points", "p.csv"), "frame,x,y,object\n0,1,1,car\n", "expected the number of an object, but found 'car'"),
    (("--points", "p.csv"), "frame,x,y\n0,100,1\n", "object 1 in frame 0: the point (100, 1) lies outside"),
    (("--points", "p.csv"), "file,x,y\nclip.avi,1,1\n", "lacks the column frame"),
    (("--points", "p.csv", "--resume"), "", "leave out resume"),
    (("--points", "p.csv", "--tile", "64"), "", "without tiles"),
]


@pytest.mark.parametrize("refused", quick(REFUSED, [REFUSED[0], REFUSED[2], REFUSED[5]]))
def test_what_a_video_does_not_have_is_refused(
    model: Path,
    clip: Path,
    refused: tuple[tuple[str, ...], str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options, table, said = refused
    monkeypatch.chdir(clip.parent)
    write(clip.parent / "p.csv", table)
    assert track(model, clip, *options) != 0
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (clip.parent / "out").exists()


def test_a_video_without_track_and_masks_without_one_are_refused(
    model: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(model), str(clip), "--out", str(clip.parent / "out")]) != 0
    assert "--track" in capsys.readouterr().err
    assert run(["predict", str(model), str(clip), "--out", "out", "--masks", "a.png"]) != 0
    assert "add --track" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_network_without_memory_is_refused(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = PromptedNetwork(SAM(encoder="vit_t", side=32))
    torch.save(module.state_dict(), tmp_path / "pictures.pth")
    points = write(tmp_path / "points.csv", "frame,x,y\n0,10,12\n")
    assert track(tmp_path / "pictures.pth", clip, "--points", points) != 0
    assert "follows nothing through a video" in " ".join(capsys.readouterr().err.split())


def test_what_was_followed_is_judged_by_its_true_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("found/ids", "masks"):
        (tmp_path / folder).mkdir(parents=True)
    for frame in range(5):
        ids = np.zeros(SIZE, np.uint16)
        ids[4:20, 5:25], ids[22:30, 30:45] = 3, 400
        Image.fromarray(ids).save(tmp_path / "masks" / f"{frame}.png")
        ids[ids == 400] = 0 if frame == 2 else 400
        Image.fromarray(ids).save(tmp_path / "found" / "ids" / f"{frame}.png")
    judged = ["evaluate", str(tmp_path / "found"), str(tmp_path / "masks"), "--track"]
    assert run([*judged, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["objects"] == {"3": {"J": 1, "F": 1}, "400": {"J": pytest.approx(2 / 3), "F": pytest.approx(2 / 3)}}
    assert told["frames"] == 3 and told["J&F"] == pytest.approx(5 / 6)
    assert run(judged) == 0
    assert "0.833" in capsys.readouterr().out
    (tmp_path / "found" / "ids" / "3.png").unlink()
    assert run(judged) != 0
    assert "lacks 1 frame" in " ".join(capsys.readouterr().err.split())
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "found" / "ids" / "3.png")
    assert run(judged) != 0
    assert "is (8, 8), but the truth of the frame (32, 48)" in " ".join(capsys.readouterr().err.split())
