"""`python -m benchmarks gpu`: every part of it runs, on the CPU and tiny, to work at the first try on a GPU."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.crowds import PREPROCESS
from benchmarks.gpu import detector, maps, parity, run
from benchmarks.gpu.found import Found, Sizes, peak_on
from benchmarks.page import text_of
from everymask.core.label_sets import coco_labels
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import MaskRCNN

CPU = torch.device("cpu")
TINY = Sizes(
    networks=("lraspp",),
    side=32,
    picture=(64, 96),
    tiles=(1, 2),
    batches=(2,),
    train=1,
    regions=16,
    map_side=64,
    rounds=1,
    killed=12,
)


def random_detector() -> tuple[RCNN, Card]:
    torch.manual_seed(0)
    module = build(MaskRCNN(norm="frozen"), 90).eval()
    assert isinstance(module, RCNN)
    return module, Card(module.spec, coco_labels(), PREPROCESS)


def test_networks_on_the_same_device_are_the_same() -> None:
    found = parity.parity(CPU, TINY)
    assert len(found.bars) == 5 and all(bar.at_most for bar in found.bars)
    assert [bar.measured for bar in found.bars[:3]] == [0, 0, 0]
    assert all(0 < bar.measured < 0.5 for bar in found.bars[3:])


def test_another_answer_is_a_gap() -> None:
    """The comparison must see what it is for."""
    here = ({"a": 1.0, "b": 3.0}, 2.0, torch.tensor([0.0, 2.0]))
    there = ({"a": 1.0, "b": 2.0}, 1.0, torch.tensor([0.0, 1.0]))
    found = parity.gaps(here, there)
    assert (found.losses, found.gradient) == (0.25, 0.5)
    assert found.answers == pytest.approx(0.5 / math.sqrt(2))


def test_full_sizes_are_those_of_all_networks_and_the_usual_pictures() -> None:
    assert {"mask-rcnn", "faster-rcnn-v2", "unet", "segformer", "hrnet"} <= set(run.FULL.networks)
    assert (run.FULL.picture, run.FULL.batches) == ((800, 1333), (1, 16))


@pytest.mark.slow
def test_every_part_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the detectors' training, which takes minutes on a processor."""
    monkeypatch.setattr(run.detector, "learning", run.maps.learning)
    section = run.measure(CPU, replace(TINY, networks=("mask-rcnn-small",), side=64), random_detector)
    text = text_of("gpu", section)
    assert "parts that failed | ≤ 0  | 0  | reached" in text and "Traceback" not in capsys.readouterr().err
    assert {"batch 2, exact", "batch 2, fast path"} <= {row.what.removeprefix("prediction, ") for row in section.times}
    assert sum(row.what.startswith("U-Net") for row in section.times) == 5
    assert "Killed after" in text and "weights differ by up to 0.0e+00" in text


def test_a_part_that_fails_is_told_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> Found:
        raise RuntimeError("out of luck\nand more")

    for part, module in (("predicting", detector), ("learning", detector), ("predicting", maps), ("learning", maps)):
        monkeypatch.setattr(module, part, lambda *_: Found(notes=("measured",)))
    monkeypatch.setattr(run, "killed", fails)
    monkeypatch.setattr(run, "parity", fails)
    section = run.measure(CPU, TINY, random_detector)
    text = text_of("gpu", section)
    assert "**Not measured: kill and resume**: RuntimeError: out of luck." in text and "parts that failed" in text
    assert section.notes.count("measured") == 4
    assert capsys.readouterr().err.count("RuntimeError: out of luck") == 2


def test_the_memory_of_a_cpu_is_not_the_gpus() -> None:
    calls: list[int] = []
    assert peak_on(CPU, lambda: calls.append(1)) == 0
    assert calls == [1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "gpu"])
    assert command.main() == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and "needs a GPU" in told.err
