"""Data that changed under a run: refused with the difference, or gone on with where it cannot matter. Fault F29."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

from everymask.data.dataset import Dataset
from everymask.data.feed.packed import PackedRecords
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError, WeightsError
from everymask.evaluate import evaluate
from everymask.models.checkpoint import read_model
from everymask.train.folder.logs import read_log
from everymask.train.run import train
from tests.quick import quick
from tests.train import test_run, test_semantic_run
from tests.train.test_run import QUIET, shapes
from tests.train.test_semantic_run import maps

__all__ = ["maps", "shapes"]


@pytest.fixture(scope="module")
def objects_run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(test_run.settings(shapes, tmp_path_factory.mktemp("o") / "a", epochs=1), console=QUIET).folder


@pytest.fixture(scope="module")
def maps_run(maps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(test_semantic_run.settings(maps, tmp_path_factory.mktemp("m") / "a", epochs=1), console=QUIET).folder


def pictures(data: Path, split: str) -> list[Path]:
    return sorted((data / "images" / split).iterdir())


def mirror(file: Path) -> None:
    with Image.open(file) as image:
        image.load()
    mirrored = ImageOps.mirror(image)
    mirrored.save(file)


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def with_same_times(change: Callable[[Path], None], file: Path) -> None:
    """Other content of the same size, and both times that a program can set as they were."""
    status = file.stat()
    change(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def last_bits(file: Path) -> None:
    """Other pixels in a file of the same size: a PNG whose end is another, which readers do not look at."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def edit(data: Path, split: str, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> None:
    file = next(data.rglob(f"*{split}*.json"))
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))


def other_classes(content: dict[str, list[dict[str, object]]]) -> None:
    for annotation in content["annotations"][:1]:
        annotation["category_id"] = annotation["category_id"] % 3 + 1  # type: ignore[operator]


def moved_outline(content: dict[str, list[dict[str, object]]]) -> None:
    first = content["annotations"][0]
    x, y, width, height = first["bbox"]  # type: ignore[misc]
    first["segmentation"] = [[x, y, x + width, y, x + width, y + height, x + 1, y + height]]


OBJECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a training picture mirrored": (
        lambda d: mirror(pictures(d, "train")[2]),
        r"1 picture file changed \(1 in train\)",
    ),
    "a validation picture mirrored": (lambda d: mirror(pictures(d, "val")[0]), r"1 picture file changed \(1 in val\)"),
    "two training pictures swapped": (
        lambda d: swap(*pictures(d, "train")[:2]),
        r"2 picture files changed \(2 in train\)(.|\n)*holds what \S+ held",
    ),
    "swapped across splits": (
        lambda d: swap(pictures(d, "train")[0], pictures(d, "val")[0]),
        r"2 picture files changed \(1 in train, 1 in val\)",
    ),
    "same size and time": (
        lambda d: with_same_times(last_bits, pictures(d, "train")[1]),
        r"1 picture file changed \(1 in train\)",
    ),
    "a class edited": (lambda d: edit(d, "train", other_classes), r"1 truth changed(.|\n)*classes of objects"),
    "an outline moved": (
        lambda d: edit(d, "val", moved_outline),
        r"1 truth changed \(1 in val\)(.|\n)*outlines of obj",
    ),
    "an object removed": (
        lambda d: edit(d, "train", lambda c: c["annotations"].pop()),
        r"1 truth changed \(1 in train\)(.|\n)*objects were annotated, and \d are",
    ),
    "classes renamed": (
        lambda d: [
            edit(d, split, lambda c: c["categories"].append({"id": 9, "name": "star"})) for split in ("train", "val")
        ],
        r"the classes were square, circle, triangle, and are square, circle, triangle, star",
    ),
    "a picture removed": (
        lambda d: edit(d, "train", lambda c: drop(c, 0)),
        r"1 picture gone \(1 in train\)(.|\n)*not there any more",
    ),
}


def drop(content: dict[str, list[dict[str, object]]], row: int) -> None:
    number = content["images"].pop(row)["id"]
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != number]


def refused(settings: Callable[..., object], data: Path, folder: Path, said: str) -> None:
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(DataError, match=said) as found:
        train(settings(data, folder, epochs=2, resume=True), console=QUIET)  # type: ignore[arg-type]
    assert "--weights" in found.value.hint
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("case", OBJECTS)
def test_changed_objects_are_refused_with_the_difference(
    objects_run: Path, shapes: Path, tmp_path: Path, case: str
) -> None:
    change, said = OBJECTS[case]
    shutil.copytree(shapes, tmp_path / "data")
    change(tmp_path / "data")
    refused(test_run.settings, tmp_path / "data", objects_run, said)


def masks(data: Path, split: str) -> list[Path]:
    return sorted((data / "masks" / split).iterdir())


MAPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a mask mirrored": (lambda d: mirror(masks(d, "train")[0]), r"1 truth changed \(1 in train\)(.|\n)*label map"),
    "a validation mask mirrored": (lambda d: mirror(masks(d, "val")[0]), r"1 truth changed \(1 in val\)"),
    "two masks swapped": (lambda d: swap(*masks(d, "train")[:2]), r"2 truths changed \(2 in train\)"),
    "two pictures swapped": (lambda d: swap(*pictures(d, "train")[:2]), r"2 picture files changed \(2 in train\)"),
    "same size and time": (
        lambda d: with_same_times(last_bits, masks(d, "val")[1]),
        r"1 truth changed \(1 in val\)",
    ),
    "classes swapped": (
        lambda d: (d / "labels.txt").write_text("background\nblue\nred\n"),
        "the classes were background, red, blue, and are background, blue, red",
    ),
    "a pair removed": (
        lambda d: (pictures(d, "train")[0].unlink(), masks(d, "train")[0].unlink()),
        r"1 picture gone \(1 in train\)",
    ),
}


@pytest.mark.parametrize("case", MAPS)
def test_changed_label_maps_are_refused_with_the_difference(
    maps_run: Path, maps: Path, tmp_path: Path, case: str
) -> None:
    change, said = MAPS[case]
    shutil.copytree(maps, tmp_path / "data")
    change(tmp_path / "data")
    refused(test_semantic_run.settings, tmp_path / "data", maps_run, said)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_model(folder / "best.safetensors")[0]


def notes(folder: Path) -> str:
    return "\n".join(entry["text"] for entry in read_log(folder / "log.jsonl") if entry["kind"] == "note")


@pytest.fixture(scope="module")
def whole(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of two epochs without an end between them."""
    return weights(train(longer(shapes, tmp_path_factory.mktemp("w") / "a"), console=QUIET).folder)


def longer(data: Path, out: Path, **changes: object) -> object:
    steady = {"schedule": "constant", "warmup_steps": 1, "epochs": 2}
    return test_run.settings(data, out, **(steady | changes))


@pytest.fixture(scope="module")
def half(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(longer(shapes, tmp_path_factory.mktemp("h") / "a", epochs=1), console=QUIET).folder  # type: ignore[arg-type]


def goes_on(half: Path, tmp_path: Path, data: object, dataset: Dataset | None = None) -> Path:
    shutil.copytree(half, tmp_path / "run")
    config = replace(longer(Path("data"), tmp_path / "run", resume=True), data=str(data))  # type: ignore[type-var]
    return train(config, dataset=dataset, console=QUIET).folder  # type: ignore[arg-type]


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("spelling", quick(["slash", "dot", "relative", "link", "moved"], ["relative", "moved"]))
def test_another_path_to_the_same_data_goes_on_to_the_same_weights(
    shapes: Path,
    half: Path,
    whole: dict[str, torch.Tensor],
    tmp_path: Path,
    spelling: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shapes.parent)
    (tmp_path / "link").symlink_to(shapes)
    shutil.copytree(shapes, tmp_path / "moved")
    places = {"slash": f"{shapes}/", "dot": f"./{shapes.name}", "relative": shapes.name, "link": tmp_path / "link"}
    folder = goes_on(half, tmp_path, places.get(spelling, tmp_path / "moved"))
    assert_equal(weights(folder), whole)
    stored = json.loads((folder / "config.json").read_text())["data"]
    assert stored == str(tmp_path / "moved" if spelling == "moved" else shapes)
    assert ("the data lie in" in notes(folder)) is (spelling == "moved")


@pytest.mark.slow
def test_pictures_in_another_order_train_in_the_order_of_the_run(
    shapes: Path, half: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    dataset = read_dataset(shapes)
    folder = goes_on(half, tmp_path, shapes, replace(dataset, records=dataset.records[::-1]))
    assert_equal(weights(folder), whole)
    assert "another order" in notes(folder)


@pytest.mark.slow
def test_pictures_that_came_to_the_data_are_left_out_and_named(
    shapes: Path, half: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    dataset = read_dataset(shapes)
    new = replace(dataset.records[0], id="new")
    folder = goes_on(half, tmp_path, shapes, replace(dataset, records=(new, *dataset.records)))
    assert_equal(weights(folder), whole)
    assert "1 picture came to the data and is left out, for the run goes on with those it began with: new" in notes(
        folder
    )


@pytest.mark.slow
def test_pictures_with_other_names_are_known_by_what_they_hold(
    shapes: Path, half: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    dataset = read_dataset(shapes)
    renamed = tuple(replace(record, id=f"new-{record.id}") for record in dataset.records)
    folder = goes_on(half, tmp_path, shapes, replace(dataset, records=renamed))
    assert_equal(weights(folder), whole)
    assert "8 pictures with other names and what they held before: new-" in notes(folder)


@pytest.mark.slow
def test_pictures_that_the_run_does_not_use_may_change(shapes: Path, tmp_path: Path) -> None:
    dataset = read_dataset(shapes)
    first, second, *rest = dataset.records
    tested = (replace(first, split="test"), replace(second, split="test"), *rest)
    config = longer(shapes, tmp_path / "run", epochs=1)
    train(config, dataset=replace(dataset, records=tested), console=QUIET)  # type: ignore[arg-type]
    changed = (replace(first, split="test", image=second.image), *rest)
    again = replace(config, resume=True, epochs=2)  # type: ignore[type-var]
    train(again, dataset=replace(dataset, records=changed), console=QUIET)  # type: ignore[arg-type]
    train(replace(again, epochs=3), dataset=replace(dataset, records=changed), console=QUIET)  # type: ignore[arg-type]
    said = "2 pictures of test, which the run neither learns nor validates on, changed: "
    assert said + f"{first.id}, {second.id}" in notes(tmp_path / "run")


@pytest.mark.parametrize(("split", "at", "step"), [("train", 14, 5), ("val", 20, 6)])
def test_a_picture_that_changes_while_the_run_learns_ends_it_with_its_state(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, at: int, step: int
) -> None:
    shutil.copytree(shapes, tmp_path / "data")
    file = pictures(tmp_path / "data", split)[0]
    content, asked = file.read_bytes(), []
    bare = PackedRecords.bare

    def count(self: PackedRecords, index: int) -> object:
        asked.append(index)
        if len(asked) == at:
            mirror(file)
        return bare(self, index)

    monkeypatch.setattr(PackedRecords, "bare", count)
    config = test_run.settings(tmp_path / "data", tmp_path / "run", workers=0, epochs=2)
    with pytest.raises(DataError, match=rf"{file.name}: the file was changed(.|\n)*--resume"):
        train(config, console=QUIET)
    saved = sorted(path.name for path in (tmp_path / "run" / "state").glob("step-*"))
    assert saved[-1].startswith(f"step-{step:08d}")
    monkeypatch.undo()
    file.write_bytes(content)
    ended = train(replace(config, resume=True), console=QUIET)
    assert (ended.reason, ended.steps) == ("finished", 6)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on_with_one_note(shapes: Path, half: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(half, old)
    (old / "data.json").unlink()
    origin = json.loads((old / "origin.json").read_text())
    (old / "origin.json").write_text(json.dumps({k: v for k, v in origin.items() if k not in ("data", "checksum")}))
    folder = goes_on(old, tmp_path, shapes)
    assert notes(folder).count("whether the data are those that the run began with cannot be said") == 1
    dataset = read_dataset(shapes)
    swapped = replace(dataset.records[0], image=dataset.records[1].image)
    again = longer(shapes, folder, resume=True, epochs=3)
    with pytest.raises(DataError, match="1 picture file changed"):
        train(again, dataset=replace(dataset, records=(swapped, *dataset.records[1:])), console=QUIET)  # type: ignore[arg-type]


def test_what_the_data_held_cannot_be_lost_or_another_runs(
    shapes: Path, half: Path, maps_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(half, tmp_path / "a")
    again = longer(shapes, tmp_path / "a", resume=True)
    shutil.copy(maps_run / "data.json", tmp_path / "a" / "data.json")
    with pytest.raises(WeightsError, match=r"data.json is damaged \(it is not what origin.json says"):
        train(again, console=QUIET)  # type: ignore[arg-type]
    (tmp_path / "a" / "data.json").unlink()
    with pytest.raises(WeightsError, match=r"data.json is damaged \(No such file"):
        train(again, console=QUIET)  # type: ignore[arg-type]


def test_evaluate_says_which_pictures_changed(
    shapes: Path, half: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import everymask

    shutil.copytree(shapes, tmp_path / "data")
    model = everymask.load(half, device="cpu")
    evaluate(model, tmp_path / "data", split="val")
    assert "changed" not in caplog.text
    file = pictures(tmp_path / "data", "val")[1]
    mirror(file)
    evaluate(model, tmp_path / "data", split="val")
    assert f"1 picture changed since the training began: {file.stem}" in caplog.text
