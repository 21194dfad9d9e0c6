"""Files of a run with seeded damage: found before they are used, never a traceback, never another run.

Faults F1 and F5. `pytest -m slow` does ten thousand of each.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from everymask.core.json.sealed import sealed
from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.fingerprint import Fingerprint
from everymask.data.records import Objects, Record
from everymask.data.splits import read_split
from everymask.errors import EverymaskError, WeightsError
from everymask.train.folder.given import read_decided, read_held, read_preprocess, write_given
from everymask.train.folder.state import read_state, write_state
from everymask.train.pictures import seen
from tests.train.folder.test_state import training
from tests.train.tiny_training import planned, settings, train_tiny

FILES = ("config.json", "origin.json", "splits.json", "data.json")
QUIET = Console(quiet=True)
STATISTICS = {"channels": 1, "dtype": "uint8", "scale": 255.0, "mean": (0.0,), "std": (1.0,)}
MEASURED = Fingerprint(10, 10, 8.0, 8.0, object_sizes=(), max_objects=0, **STATISTICS)  # type: ignore[arg-type]


def mutated(content: bytes, seed: int) -> bytes:
    """The content with one damage, drawn by the seed: a bit, a digit, a hole, a cut, bytes lost, doubled or moved."""
    draw, data = rng(seed, "damage"), bytearray(content)
    at, span = int(draw.integers(len(data))), int(draw.integers(1, 200))
    match int(draw.integers(9)):
        case 0 | 1 | 2:
            data[at] ^= 1 << int(draw.integers(8))
        case 3:
            digits = [place for place, byte in enumerate(data[:100_000]) if chr(byte).isdigit()]
            if digits:
                data[digits[at % len(digits)]] = ord("0") + int(draw.integers(10))
        case 4:
            data[at : at + span] = bytes(len(data[at : at + span]))
        case 5:
            data = data[:at]
        case 6:
            del data[at : at + span]
        case 7:
            data[at:at] = data[at : at + span]
        case _:
            data[at : at + span] = draw.bytes(len(data[at : at + span]))
    return bytes(data)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with states of steps 12 and 13."""
    folder = tmp_path_factory.mktemp("states")
    config = settings(folder)
    train_tiny(config)
    current = training(config)
    read_state(folder / "state", current, config)
    current.progress.step = 13
    write_state(folder / "state", current, config)
    return folder


def damage_states(folder: Path, count: int) -> Counter[str]:
    """What became of so many damages to the newest state; `AssertionError` for a silent one."""
    config = settings(folder)
    newest = folder / "state" / "step-00000013"
    whole = training(config)
    read_state(folder / "state", whole, config)
    kept = {file: file.read_bytes() for file in newest.iterdir()}
    found: Counter[str] = Counter()
    for seed in range(count):
        file = sorted(kept)[seed % 2 if seed % 5 else 0]
        broken = mutated(kept[file], seed)
        file.write_bytes(broken)
        restored = training(config)
        read_state(folder / "state", restored, config)
        file.write_bytes(kept[file])
        assert restored.progress.step in (12, 13), seed
        expected = asdict(whole.progress) | {"step": restored.progress.step}
        assert asdict(restored.progress) == expected, seed
        weights = zip(whole.module.state_dict().values(), restored.module.state_dict().values(), strict=True)
        assert all(torch.equal(*pair) for pair in weights), seed
        found["before" if restored.progress.step == 12 else "same"] += 1
        assert restored.progress.step == 12 or json_of(broken) == json_of(kept[file]), seed
    return found


def json_of(content: bytes) -> Any:
    """What the file says; spaces say nothing."""
    try:
        return json.loads(content)
    except ValueError:
        return content


def test_a_damaged_state_is_never_used(states: Path) -> None:
    assert damage_states(states, 300)["before"] > 250


@pytest.mark.slow
def test_ten_thousand_damaged_states(states: Path) -> None:
    assert damage_states(states, 10_000)["before"] > 9_000


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A run folder that has just begun, and its data."""
    folder = tmp_path_factory.mktemp("given")
    records = tuple(
        Record(f"picture-{k}", folder / f"{k}.png", (8, 8), Objects(()), split="val" if k > 7 else "train")
        for k in range(10)
    )
    pictures = Dataset(labels_of(["cat", "dog"]), records, format="coco", root=folder)
    config = settings(folder, model=None)
    plan = planned(replace(config, model=settings(folder).model))
    for record in records:
        record.image.write_text(record.id)
    write_given(folder, config, plan, seen(pictures, QUIET), pictures.split("train"), MEASURED)
    return folder, pictures


def read_given(folder: Path, pictures: Dataset) -> list[Any]:
    """All that a run that goes on reads of them."""
    resumed = settings(folder, model=None, resume=True)
    config, notes = read_decided(folder, resumed)
    held = read_held(folder)
    drawn = read_split(folder / "splits.json", pictures)
    preprocess = read_preprocess(folder, drawn.split("train"), MEASURED)
    return [config, notes, [(record.id, record.split) for record in drawn.records], preprocess, held]


def damage_given(folder: Path, pictures: Dataset, count: int) -> Counter[str]:
    whole = read_given(folder, pictures)
    kept = {folder / name: (folder / name).read_bytes() for name in FILES}
    found: Counter[str] = Counter()
    for seed in range(count):
        file = list(kept)[seed % 4]
        file.write_bytes(mutated(kept[file], seed))
        try:
            assert read_given(folder, pictures) == whole, seed
            found["same"] += 1
        except EverymaskError as error:
            assert file.name in str(error), seed
            found["refused"] += 1
        file.write_bytes(kept[file])
    return found


def test_a_damaged_beginning_is_refused_by_its_name(given: tuple[Path, Dataset]) -> None:
    assert damage_given(*given, 300)["refused"] > 200


@pytest.mark.slow
def test_ten_thousand_damaged_beginnings(given: tuple[Path, Dataset]) -> None:
    assert damage_given(*given, 10_000)["refused"] > 7_000


def test_a_state_without_a_checksum_loads_and_is_checked_for_types(states: Path, tmp_path: Path) -> None:
    """E16: as earlier versions wrote them."""
    shutil.copytree(states / "state", tmp_path / "state")
    config = settings(states)
    facts_file = tmp_path / "state" / "step-00000013" / "state.json"
    facts = json.loads(facts_file.read_bytes())
    del facts["checksum"]

    def step_after(change: Callable[[dict[str, Any]], object]) -> int:
        changed = json.loads(json.dumps(facts))
        change(changed)
        facts_file.write_text(json.dumps(changed))
        restored = training(config)
        read_state(tmp_path / "state", restored, config)
        return restored.progress.step

    assert step_after(lambda facts: None) == 13
    assert step_after(lambda facts: facts["progress"].update(step="13")) == 12
    assert step_after(lambda facts: facts["progress"].update(step=7)) == 12
    assert step_after(lambda facts: facts["progress"].update(speed=7)) == 12
    assert step_after(lambda facts: facts.update(progress=None)) == 12
    assert step_after(lambda facts: facts["config"].update(lr="fast")) == 12
    assert step_after(lambda facts: facts.update(machine=[])) == 12
    assert step_after(lambda facts: facts.update(version=2)) == 12


def test_files_without_a_checksum_are_read_as_they_are(given: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, pictures = given
    for name in FILES:
        data = json.loads((folder / name).read_bytes())
        assert sealed({key: value for key, value in data.items() if key != "checksum"}) == data
        (tmp_path / name).write_text(json.dumps({key: value for key, value in data.items() if key != "checksum"}))
    assert read_given(tmp_path, pictures)[2] == read_given(folder, pictures)[2]
    (tmp_path / "origin.json").write_text('{"settings": 3}')
    with pytest.raises(WeightsError, match="cannot go on"):
        read_given(tmp_path, pictures)
