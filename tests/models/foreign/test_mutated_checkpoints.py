"""Damaged checkpoints of every layout: a `WeightsError`, or what the file still says; never anything else."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.foreign.files.stored import Stored, read_stored
from everymask.models.foreign.translate import translated
from tests.models.foreign.benchmark_layout import benchmark, with_background
from tests.models.foreign.openmmlab_layouts import SETTINGS, mmdetection
from tests.models.foreign.region_layouts import Shapes, bottom_up, cascaded, detectron2, hollow, point_rend
from tests.models.foreign.test_mmsegmentation import layout

pytestmark = pytest.mark.slow
h5py = pytest.importorskip("h5py", reason="h5py is an extra")
from tests.models.foreign.keras_layout import KerasUNet  # noqa: E402
from tests.models.foreign.matterport_layout import matterport, write  # noqa: E402

COUNT = 1000
LARGE = ("mmsegmentation-ocrnet",)  # whose networks take ten times as long to build
SHARE = 20  # of which one in so many is of tensors in memory, whose networks take longer
SMALL = detectron2(18, 2, width=16, hidden=32)
UNET = KerasUNet((2, 4), norms=True)


def keras(shapes: Shapes) -> Shapes:
    return {"/".join(name.partition(":")[0].split("/")[-2:]): shape for name, shape in shapes.items()}


LAYOUTS: dict[str, Callable[[], Shapes]] = {
    "detectron2": lambda: SMALL,
    "detectron2-cascade": lambda: cascaded(SMALL),
    "detectron2-point-rend": lambda: point_rend(SMALL, 2),
    "mmdetection": lambda: mmdetection(SMALL),
    "mmdetection-cascade-pafpn": lambda: mmdetection(bottom_up(cascaded(SMALL, masks=True))),
    "maskrcnn-benchmark": lambda: benchmark(with_background(SMALL)),
    "mmsegmentation": lambda: layout("pspnet_r50"),
    "mmsegmentation-segformer": lambda: layout("segformer_mit-b0"),
    "mmsegmentation-ocrnet": lambda: layout("ocrnet_hr18"),
    "mmsegmentation-pidnet": lambda: layout("pidnet-s"),
    "keras-unet": lambda: {
        f"{layer}/{kind}": values.shape for layer, own in UNET.layers for kind, values in own.items()
    },
    "matterport": lambda: keras(matterport(2, width=8, shared=8, hidden=8)),
}


def is_refused_or_read(work: Callable[[], object]) -> bool:
    try:
        work()
    except WeightsError as error:
        assert str(error)
        return True
    return False


@pytest.mark.parametrize("name", LAYOUTS)
def test_tensors_that_are_missing_strange_or_of_other_shapes(name: str) -> None:
    draw = random.Random(0)
    whole = hollow(LAYOUTS[name]())
    refused = 0
    count = COUNT // SHARE // (5 if name in LARGE else 1)
    for _ in range(count):
        tensors = dict(whole)
        for victim in draw.sample(sorted(tensors), draw.choice((1, 1, 3))):
            mutate(tensors, victim, draw)
        refused += is_refused_or_read(lambda tensors=tensors: translated(Stored(tensors), Path("a.pth")))
    assert refused > 0.8 * count


def mutate(tensors: dict[str, Tensor], victim: str, draw: random.Random) -> None:
    tensor = tensors.pop(victim)
    match draw.randrange(7):
        case 0:
            return
        case 1:
            tensors[victim + draw.choice(("x", ".weight", ".0"))] = tensor
        case 2:
            tensors[victim] = tensor[..., :0] if tensor.ndim else tensor
        case 3:
            tensors[victim] = tensor.sum()
        case 4:
            tensors[victim] = tensor[None]
        case 5:
            tensors[victim] = torch.zeros(tuple(draw.randrange(1, 9) for _ in range(draw.randrange(5))))
        case _:
            tensors[draw.choice(sorted(tensors))] = tensor


def few(name: str) -> dict[str, Tensor]:
    """Some of a layout's names with small tensors, so that a file has a few thousand bytes."""
    shapes = LAYOUTS[name]()
    return {key: torch.ones([min(side, 2) for side in shapes[key]]) for key in sorted(shapes)[::6]}


def a_pickle(path: Path) -> None:
    path.write_bytes(
        pickle.dumps({"model": {key: value.numpy() for key, value in few("detectron2").items()}}, protocol=2)
    )


def a_torch_file(path: Path) -> None:
    meta = {"CLASSES": ("a", "b"), "config": SETTINGS["caffe"]}
    torch.save({"meta": meta, "state_dict": few("mmdetection"), "seed": np.float64(1)}, path)


def an_older_torch_file(path: Path) -> None:
    torch.save({"state_dict": few("mmsegmentation")}, path, _use_new_zipfile_serialization=False)


def a_keras_file(path: Path) -> None:
    shapes = matterport(2, width=8, shared=8, hidden=8)
    write(path, {name: np.ones([min(side, 2) for side in shapes[name]], "f4") for name in sorted(shapes)[::6]})


def a_keras_archive(path: Path) -> None:
    UNET.write(path)


FILES = {
    "a.keras": a_keras_archive,
    "a.pkl": a_pickle,
    "a.pth": a_torch_file,
    "b.pth": an_older_torch_file,
    "a.h5": a_keras_file,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_bytes_that_are_wrong_missing_or_too_many(name: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    file = tmp_path / name
    FILES[name](file)
    whole = file.read_bytes()
    assert not is_refused_or_read(lambda: read_stored(file))
    refused = 0
    for _ in range(COUNT - COUNT // SHARE):
        content = resealed(whole, draw) if name == "a.pth" and draw.random() < 0.5 else damaged(whole, draw)
        file.write_bytes(content)
        refused += is_refused_or_read(lambda: translated(read_stored(file), file))
    assert refused > 0


def damaged(content: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(content)), draw.randrange(1, 40)
    noise = draw.randbytes(length)
    match draw.randrange(5):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + noise + content[at:]
        case 2:
            return content[:at] + content[at + length :]
        case 3:
            return content[:at] + noise + content[at + length :]
        case _:
            return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]


def resealed(content: bytes, draw: random.Random) -> bytes:
    """A zip whose checksums are right, with damaged parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(out, "w") as made:
        for part in given.namelist():
            inside = given.read(part)
            made.writestr(part, damaged(inside, draw) if part.endswith("data.pkl") else inside)
    return out.getvalue()
