"""Where PyTorch is not installed, a bundle predicts and is evaluated all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.runtimes.bundle import write_bundle
from tests.runtimes.bundles import small_bundle

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

# What `pip install "everymask[runtime]"` does not bring along.
PROGRAM = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "timm", "tensorboard", "filelock", "psutil", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
from everymask.cli import run
commands = " ".join(sys.argv[1:]).split(" then ")
sys.exit(max([run(command.split()) for command in commands]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and pictures with label maps that it gets right but for one pixel."""
    folder = tmp_path_factory.mktemp("without")
    write_bundle(folder / "model.emz", small_bundle())
    for name in ("images", "masks"):
        (folder / "data" / name).mkdir(parents=True)
    for number in range(2):
        ids = np.random.default_rng(number).integers(0, 2, (12, 20)).astype(np.uint8)
        Image.fromarray(ids * 200).save(folder / "data" / "images" / f"{number}.png")
        ids[0, 0] ^= 1
        Image.fromarray(ids).save(folder / "data" / "masks" / f"{number}.png")
    (folder / "data" / "classes.csv").write_text("number,name\n0,dark\n1,bright\n", encoding="utf-8")
    return folder


def told(*commands: str) -> tuple[int, str, str]:
    program = [sys.executable, "-c", PROGRAM, " then ".join(commands)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_it_predicts_and_is_evaluated(folder: Path) -> None:
    model, data = folder / "model.emz", folder / "data"
    code, text, errors = told(f"predict {model} {data}/images --out {folder}/out", f"evaluate {model} {data} --json")
    assert code == 0, errors
    assert json.loads(text[text.index("{") :])["pixel_accuracy"] == pytest.approx(478 / 480)
    drawn, truth = (np.array(Image.open(place / "0.png")) for place in (folder / "out" / "maps", data / "masks"))
    assert int((drawn != truth).sum()) == 1


@pytest.mark.slow
def test_what_needs_torch_says_so(folder: Path) -> None:
    code, _, errors = told(f"export {folder}/model.safetensors --out {folder}/x.emz")
    assert code == 4 and 'pip install "everymask[train]"' in errors
