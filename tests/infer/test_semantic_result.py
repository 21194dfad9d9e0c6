"""A label map in the forms that people use, and in the folder that prediction writes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.core.arrays import Array
from everymask.core.labels import Labels
from everymask.core.rows import ClassArea
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.data.pictures.read import read_label_map
from everymask.errors import ConfigError, DataError, MachineError
from everymask.infer.result import Result
from everymask.results import thinned, writing_semantic
from everymask.results.output import OutputFolder
from everymask.results.writing_instances import InstanceFolder
from everymask.results.writing_semantic import SemanticFolder

LABELS = Labels(("background", "road", "=sky"), ((0, 0, 0), (200, 0, 0), (0, 0, 200)))


def put(folder: SemanticFolder, result: Result) -> str:
    return folder.add(result.sample, result.segmentation)


def example(id: str = "a", file: str = "") -> Result:  # noqa: A002
    ids = np.zeros((20, 30), np.uint8)
    ids[:, 12:] = 1
    ids[:2] = 255
    return Result(Sample(np.full((20, 30, 3), 90, np.uint8), id=id, file=file), SemanticMap(ids), LABELS, 0.25)


def write(out: Path, *results: Result, **options: Any) -> list[str]:
    with SemanticFolder(out, LABELS, **options) as folder:
        return [put(folder, result) for result in results]


def rows(out: Path) -> list[list[str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_the_table_lists_classes_by_area() -> None:
    assert example().table() == [ClassArea("road", 324, 0.54), ClassArea("background", 216, 0.36)]
    assert repr(example()) == "<Result a: 54 % road, 36 % background, 0.25 s>"


def test_a_map_without_any_class() -> None:
    result = Result(Sample(np.zeros((4, 5, 3), np.uint8)), SemanticMap(np.full((4, 5), 255, np.uint8)), LABELS)
    assert result.table() == []
    assert repr(result) == "<Result picture: no class, 0.00 s>"
    assert result.draw().shape == (4, 5, 3)


def test_ids_are_those_of_the_classes() -> None:
    np.testing.assert_array_equal(example().to_ids(), example().semantic.ids)
    for wrong in (lambda: example().instances, lambda: example().to_coco(), lambda: example().objects()):
        with pytest.raises(ConfigError, match="SemanticMap"):
            wrong()
    with pytest.raises(ConfigError, match="InstanceSet"):
        Result(Sample(np.zeros((4, 5, 3), np.uint8)), InstanceSet.empty((4, 5)), LABELS).areas()


def test_saving_writes_the_picture_with_its_legend(tmp_path: Path) -> None:
    result = example()
    result.save(tmp_path / "a.png")
    drawn = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(drawn, result.draw())
    assert drawn.shape[1] > 30
    np.testing.assert_array_equal(drawn[:20, :30], result.draw(names=False))


def test_a_picture_gives_an_overlay_a_map_and_rows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write(out, example("a"), example("b")) == ["a", "b"]
    assert files(out) == [
        "classes.csv",
        "maps/a.png",
        "maps/b.png",
        "overlays/a.png",
        "overlays/b.png",
        "predictions.csv",
    ]
    np.testing.assert_array_equal(read_label_map(out / "maps/b.png"), example().semantic.ids)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "overlays/a.png")), example().draw())
    assert rows(out) == [
        ["file", "class", "pixels", "share"],
        ["a", "road", "324", "0.540000"],
        ["a", "background", "216", "0.360000"],
        ["b", "road", "324", "0.540000"],
        ["b", "background", "216", "0.360000"],
    ]


def test_names_are_as_for_objects(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    given = [photos / name for name in ("a.jpg", "A.png", "sub/a.jpg")]
    results = [example("a", str(file)) for file in given]
    assert write(tmp_path / "out", *results, inputs=[photos], overlay="none") == ["a", "A_png", "sub/a"]
    with pytest.raises(ConfigError, match="inside the input folder"):
        SemanticFolder(photos / "out", LABELS, inputs=[photos])


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    result = Result(Sample(np.zeros((2, 2, 3), np.uint8), id="=1+1"), SemanticMap(np.full((2, 2), 2)), LABELS)
    write(tmp_path, result, overlay="jpg")
    assert rows(tmp_path)[1] == ["'=1+1", "'=sky", "4", "1.000000"]
    assert (tmp_path / "overlays").is_dir()


def test_an_interruption_leaves_the_pictures_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), SemanticFolder(tmp_path, LABELS) as folder:
        put(folder, example("a"))
        monkeypatch.setattr(writing_semantic, "write_image", interrupted)
        put(folder, example("b"))
    assert [row[0] for row in rows(tmp_path)] == ["file", "a", "a"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """J01"""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with SemanticFolder(tmp_path, LABELS) as folder:
        put(folder, example("a"))
        monkeypatch.setattr(writing_semantic, "writing_label_map", full)
        with pytest.raises(MachineError, match="No space left"):
            put(folder, example("b"))
        assert folder.count == 1
    assert len(rows(tmp_path)) == 3


def strips_of(result: Result, height: int) -> Iterator[tuple[Array, SemanticMap]]:
    for top in range(0, 20, height):
        rows = slice(top, top + height)
        yield result.sample.image[rows], SemanticMap(result.semantic.ids[rows])


def test_strips_give_what_the_whole_gives(tmp_path: Path) -> None:
    write(tmp_path / "a", example("", "x/a.tif"))
    with SemanticFolder(tmp_path / "b", LABELS) as folder:
        assert folder.add_strips("x/a.tif", (20, 30), strips_of(example(), 7)) == "a"
        assert (folder.count, folder.found) == (1, {"road": 324, "background": 216})
    for file in files(tmp_path / "a"):
        assert (tmp_path / "b" / file).read_bytes() == (tmp_path / "a" / file).read_bytes()


def test_of_a_large_picture_every_nth_row_and_column_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinned, "_DRAWN_SIDE", 11)
    whole = example()
    with SemanticFolder(tmp_path, LABELS) as folder:
        folder.add_strips("a.tif", (20, 30), strips_of(whole, 7))
    small = Result(Sample(whole.sample.image[::3, ::3]), SemanticMap(whole.semantic.ids[::3, ::3]), LABELS)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "overlays/a.png")), small.draw())
    np.testing.assert_array_equal(read_label_map(tmp_path / "maps/a.png"), whole.semantic.ids)


def test_an_interruption_leaves_no_half_map(tmp_path: Path) -> None:
    def interrupted() -> Iterator[tuple[Array, SemanticMap]]:
        yield next(strips_of(example(), 7))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), SemanticFolder(tmp_path, LABELS) as folder:
        folder.add_strips("a.tif", (20, 30), interrupted())
    assert files(tmp_path) == []


@pytest.mark.parametrize("kind", [SemanticFolder, InstanceFolder])
def test_without_a_picture_nothing_is_left(tmp_path: Path, kind: type[OutputFolder]) -> None:
    with pytest.raises(DataError, match="unreadable"), kind(tmp_path / "a" / "b", LABELS):
        raise DataError("unreadable")
    with kind(tmp_path / "a" / "b", LABELS) as folder:
        (folder.out / "maps" / "deep").mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "predictions.csv").write_text("of last time")
    with kind(tmp_path / "mine", LABELS, overwrite=True):
        pass
    assert [(file.name, file.read_text()) for file in (tmp_path / "mine").iterdir()] == [
        ("predictions.csv", "of last time")
    ]
