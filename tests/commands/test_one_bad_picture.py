"""A picture that cannot be read, or is too much for the memory, fails alone: it is named, and the others are done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from everymask.backends.pytorch import TorchBackend
from everymask.cli import run
from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.table import read_dataset
from everymask.data.pictures.read import write_image
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet
from tests.bad_pictures import BAD, UNUSABLE, break_disk, write_far_tiff
from tests.grey_model import write_grey

NAMES = ("ground", "road")
Writer = Callable[[Path], None]


@pytest.fixture(autouse=True)
def faulty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    break_disk(monkeypatch)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = UNet(encoder=PLAIN_ENCODER, channels=1, decoder_channels=(8, 4), decoder_norm="none")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build_semantic(spec, 2)
    preprocess = Preprocess(1, 255.0, (0.2,), (0.2,), Resize(rule="none"), divisor=8)
    file = tmp_path_factory.mktemp("model") / "grey.safetensors"
    save_model(file, module, Card(spec, labels_of(NAMES), preprocess))
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two sound pictures, a and z; what is bad comes between them."""
    for name in "az":
        write_image(tmp_path / "in" / f"{name}.png", np.full((16, 24), 90, np.uint8))
    return tmp_path / "in"


def call(*arguments: object) -> int:
    return run([str(argument) for argument in arguments])


@pytest.mark.parametrize("tiles", [(), ("--tile", 8)], ids=["whole", "tiles"])
@pytest.mark.parametrize(("write", "name", "code"), BAD)
def test_predict_goes_on_behind_it(
    model: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Writer,
    name: str,
    code: int,
    tiles: tuple[object, ...],
) -> None:
    write(pictures / name)
    assert call("predict", model, pictures, "--out", tmp_path / "out", "--json", *tiles) == code
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert answer["pictures"] == 2
    assert name in answer["failed"][0]
    assert f"1 of 3 pictures could not be predicted\n  {pictures / name}" in told.err
    assert {file.stem for file in (tmp_path / "out" / "maps").iterdir()} == {"a", "z"}


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "a.png/"], ids=["J02 a name too long", "no folder"])
def test_a_name_that_cannot_be_is_one_picture_or_a_mistake(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code = call(
        "predict", model, pictures / "a.png", f"{pictures}/{name}x", pictures / "z.png", "--out", tmp_path / "o"
    )
    told = capsys.readouterr().err
    if "/" in name:
        assert (code, "does not exist" in told) == (3, True)
        return
    assert (code, "1 of 3 pictures could not be predicted" in told) == (4, True)
    assert {file.stem for file in (tmp_path / "o" / "maps").iterdir()} == {"a", "z"}


def test_a_folder_that_cannot_be_read_is_said(
    model: Path, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "closed").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert call("predict", model, pictures, "--out", tmp_path / "out") == 0
    assert "closed cannot be read and is left out: Permission denied" in caplog.text


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pictures with label maps; picture 2 is still sound."""
    maps = [rng(k, "map").integers(2, size=(4, 5)).repeat(6, 0).repeat(6, 1) for k in range(5)]
    write_grey(tmp_path / "data", maps, NAMES)
    return tmp_path / "data"


def spoil(data: Path, write: Writer, name: str) -> str:
    """Put the bad picture in the place of the third, under its name."""
    victim = sorted((data / "images").iterdir())[2]
    victim.unlink()
    bad = victim.with_suffix(Path(name).suffix)
    write(bad)
    return bad.stem


@pytest.mark.parametrize(("write", "name", "code"), [*UNUSABLE[:1], BAD[0]])
def test_check_lists_it_and_skip_leaves_it_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Writer, name: str, code: int
) -> None:
    stem = spoil(data, write, name)
    assert call("check", data) == 3
    told = capsys.readouterr()
    assert stem in told.out + told.err
    assert call("convert", data, "--out", tmp_path / "out", "--to", "image-masks", "--on-defect", "skip") == 0
    assert len(read_dataset(tmp_path / "out")) == 4


@pytest.mark.slow
def test_train_leaves_it_out_with_skip(data: Path, tmp_path: Path) -> None:
    stem = spoil(data, write_far_tiff, "bad.tif")
    arguments = ("train", data, "--out", tmp_path / "run", "--on-defect", "skip", "--epochs", 1, "--batch", 1)
    assert (
        call(
            *arguments, "--model", "unet", "--encoder", "mobilenetv3_small_100", "--workers", 0, "--val-fraction", 0.25
        )
        == 0
    )
    drawn = json.loads((tmp_path / "run" / "splits.json").read_text("utf-8"))
    assert stem not in {*drawn["train"], *drawn["val"]}


def full(limit: int) -> Callable[..., object]:
    """A backend that finds no memory for pictures that are wider than `limit`, and for two at once."""
    calculate = TorchBackend.run

    def run_in_little(self: TorchBackend, images: np.ndarray, *others: object) -> object:
        if images.shape[-1] > limit or len(images) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return calculate(self, images, *others)

    return run_in_little


def test_full_memory_fails_one_picture_and_offers_tiles(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(pictures / "large.png", np.full((16, 64), 90, np.uint8))
    write_image(pictures / "l.png", np.full((16, 24), 90, np.uint8))
    monkeypatch.setattr(TorchBackend, "run", full(limit=32))
    assert call("predict", model, pictures, "--out", tmp_path / "out", "--batch", 4) == 4
    told = capsys.readouterr().err
    assert f"{pictures / 'large.png'}: not enough memory" in told
    assert "--tile 1024" in told
    assert {file.stem for file in (tmp_path / "out" / "maps").iterdir()} == {"a", "l", "z"}


def test_full_memory_within_tiles(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(pictures / "large.png", np.full((64, 64), 90, np.uint8))
    monkeypatch.setattr(TorchBackend, "run", full(limit=32))
    assert call("predict", model, pictures, "--out", tmp_path / "out", "--tile", 64) == 4
    told = capsys.readouterr().err
    assert f"{pictures / 'large.png'}: not enough memory" in told
    assert "smaller tile" in told
    assert {file.stem for file in (tmp_path / "out" / "maps").iterdir()} == {"a", "z"}


def test_full_memory_ends_an_evaluation_with_the_name(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchBackend, "run", full(limit=8))
    assert call("evaluate", model, data) == 4
    told = capsys.readouterr().err
    assert sorted((data / "images").iterdir())[0].name in told
    assert "not enough memory" in told
