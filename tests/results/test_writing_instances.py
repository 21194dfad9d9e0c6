"""The folder of predictions: names, tables, and what is left after an interruption."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from everymask.commands.sources import find_pictures
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.pictures.read import write_image
from everymask.errors import ConfigError, DataError, MachineError
from everymask.infer.result import Result
from everymask.results import coco_table, writing_instances
from everymask.results.writing_instances import InstanceFolder

LABELS = Labels(("cell", "dust"))


def put(folder: InstanceFolder, result: Result) -> str:
    return folder.add(result.sample, result.segmentation)


def example(file: str = "", *, id: str = "a", objects: int = 2) -> Result:  # noqa: A002
    size = (30, 12 * max(objects, 1))
    crops = [np.ones((10, 10), bool)] * objects
    masks = Masks.from_crops(crops, np.array([(12 * k, 5) for k in range(objects)]).reshape(-1, 2), size)
    scores = np.linspace(0.9, 0.4, objects).astype(np.float32)
    found = InstanceSet(masks.boxes(), np.arange(objects) % 2, scores, masks)
    return Result(Sample(np.zeros((*size, 3), np.uint8), id=id, file=file), found, LABELS, 0.1)


def write(out: Path, *results: Result, **options: Any) -> list[str]:
    with InstanceFolder(out, LABELS, **options) as folder:
        return [put(folder, result) for result in results]


def coco(out: Path) -> dict[str, Any]:
    return json.loads((out / "predictions.json").read_text("utf-8"))


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_a_picture_gives_an_overlay_ids_and_rows_in_both_tables(tmp_path: Path) -> None:
    results = [example(id="a"), example(id="none", objects=0), example(id="b", objects=3)]
    assert write(tmp_path / "out", *results) == ["a", "none", "b"]
    out = tmp_path / "out"
    assert files(out) == [
        "ids/a.png", "ids/b.png", "ids/none.png", "overlays/a.png", "overlays/b.png", "overlays/none.png",
        "predictions.csv", "predictions.json",
    ]  # fmt: skip
    np.testing.assert_array_equal(np.asarray(Image.open(out / "overlays/a.png")), results[0].draw())
    ids = np.asarray(Image.open(out / "ids/b.png"))
    assert ids.dtype == np.uint16
    np.testing.assert_array_equal(ids, results[2].to_ids())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_the_json_is_coco_with_scores(tmp_path: Path) -> None:
    results = [example(id="a"), example(id="none", objects=0), example(id="b", objects=3)]
    write(tmp_path, *results)
    data = coco(tmp_path)
    assert data["categories"] == [{"id": 1, "name": "cell"}, {"id": 2, "name": "dust"}]
    assert [(i["id"], i["file_name"], i["height"], i["width"]) for i in data["images"]] == [
        (1, "a", 30, 24), (2, "none", 30, 12), (3, "b", 30, 36),
    ]  # fmt: skip
    assert [a["id"] for a in data["annotations"]] == [1, 2, 3, 4, 5]
    assert [a["image_id"] for a in data["annotations"]] == [1, 1, 3, 3, 3]
    last = data["annotations"][-1]
    np.testing.assert_array_equal(coco_masks.decode(last["segmentation"]), results[2].instances.masks.to_dense(2))
    assert last["score"] == 0.4


def test_the_csv_has_a_line_per_object(tmp_path: Path) -> None:
    write(tmp_path, example(id="a"), example(id="b", objects=1))
    assert (tmp_path / "predictions.csv").read_bytes().startswith(b"file,object,class,score,area,x1,y1,x2,y2,cut\r\n")
    assert rows(tmp_path)[1] == {
        "file": "a", "object": "2", "class": "dust", "score": "0.4000", "area": "100",
        "x1": "12.00", "y1": "5.00", "x2": "22.00", "y2": "15.00", "cut": "no",
    }  # fmt: skip
    assert [row["file"] for row in rows(tmp_path)] == ["a", "a", "b"]


def test_boxes_without_masks_have_no_id_pictures(tmp_path: Path) -> None:
    result = example()
    write(tmp_path, replace(result, segmentation=replace(result.instances, masks=None)))
    assert not (tmp_path / "ids").exists()
    assert "ids" not in coco(tmp_path)["images"][0]
    assert "segmentation" not in coco(tmp_path)["annotations"][0]


def test_overlays_can_be_jpeg(tmp_path: Path) -> None:
    write(tmp_path, example(), overlay="jpg")
    assert (tmp_path / "overlays/a.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert [row["overlay"] for row in coco(tmp_path)["images"]] == ["overlays/a.jpg"]


def test_overlays_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, example(), overlay="none")
    assert files(tmp_path) == ["ids/a.png", "predictions.csv", "predictions.json"]
    assert "overlay" not in coco(tmp_path)["images"][0]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "day 1").mkdir(parents=True)
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        pytest.param(["x.png", "day 1/x.png"], ["x", "day 1/x"], id="A34 folders"),
        pytest.param(["x.png", "x.jpg", "x.jpg"], ["x", "x_jpg", "x_jpg_2"], id="A34 ending"),
        pytest.param(["x.png", "X.png", "x_png.png"], ["x", "X_png", "x_png_png"], id="A34 case"),
        pytest.param(["\u00e9.png", "e\u0301.tif"], ["\u00e9", "e\u0301_tif"], id="A34 NFC NFD"),
        pytest.param(["a.b.png", "a.b.c"], ["a.b", "a.b_c"], id="dots"),
    ],
)
def test_every_picture_has_its_own_name(photos: Path, tmp_path: Path, inputs: list[str], names: list[str]) -> None:
    results = [example(str(photos / file)) for file in inputs]
    assert write(tmp_path / "out", *results, inputs=[photos]) == names
    assert len(files(tmp_path / "out")) == 2 * len(names) + 2
    assert [row["file_name"] for row in coco(tmp_path / "out")["images"]] == inputs
    assert [row["overlay"] for row in coco(tmp_path / "out")["images"]] == [f"overlays/{name}.png" for name in names]


@pytest.mark.parametrize(
    ("inputs", "shown"),
    [
        (["d1"], ["p.png", "sub/p.png"]),
        (["d1", "d2"], ["d1/p.png", "d1/sub/p.png", "d2/p.png"]),
        (["d1/sub", "d1"], ["sub/p.png", "p.png"]),
        (["d1/../d2", "d1"], ["d2/p.png", "d1/p.png", "d1/sub/p.png"]),
        (["p.png", "d2"], ["p.png", "d2/p.png"]),
    ],
)
def test_the_tables_tell_files_of_one_name_apart(
    inputs: list[str], shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("p.png", "d1/p.png", "d1/sub/p.png", "d2/p.png"):
        write_image(Path(name), np.zeros((4, 4, 3), np.uint8))
    pictures = find_pictures(inputs)
    write(tmp_path / "out", *(example(str(file)) for file in pictures), inputs=inputs)
    assert [image["file_name"] for image in coco(tmp_path / "out")["images"]] == shown
    assert list(dict.fromkeys(row["file"] for row in rows(tmp_path / "out"))) == shown
    assert len(set(files(tmp_path / "out"))) == 2 + 2 * len(shown)


def test_pictures_without_files_are_numbered(tmp_path: Path) -> None:
    assert write(tmp_path, *[example(id="picture v1.2")] * 3) == ["picture v1.2", "picture v1.2_2", "picture v1.2_3"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        pytest.param("new\nline\t.png", "new_line_", id="A33 control characters"),
        pytest.param("-rf.png", "_rf", id="A33 leading minus"),
        pytest.param(".hidden.png", "_hidden", id="A33 leading dot"),
        pytest.param("surro\udcffgate.png", "surro_gate", id="A33 surrogate"),
        pytest.param('a<b>:"|?*\\.png', "a_b_______", id="A33 reserved"),
        pytest.param("n" * 251 + ".png", "n" * 150, id="A33 255 bytes"),
        pytest.param("日" * 80 + ".png", "日" * 50, id="A33 255 bytes of UTF-8"),
    ],
)
def test_odd_file_names_are_made_harmless(photos: Path, tmp_path: Path, file: str, name: str) -> None:
    assert write(tmp_path / "out", example(str(photos / file)), inputs=[photos]) == [name]
    assert (tmp_path / "out" / "overlays" / f"{name}.png").is_file()
    assert len(coco(tmp_path / "out")["images"]) == 1
    assert len(rows(tmp_path / "out")) == 2


@pytest.mark.parametrize("file", ["../../evil.png", "/etc/../evil.png", ".."])
def test_no_name_leads_out_of_the_folder(photos: Path, tmp_path: Path, file: str) -> None:
    write(tmp_path / "a" / "out", example(file, id="../../evil"), example("", id="../../evil"), inputs=[photos])
    assert [path.name for path in tmp_path.iterdir()] in (["a", "photos"], ["photos", "a"])
    assert len(files(tmp_path / "a" / "out")) == 6


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", 'a,"b"\n'])
def test_no_cell_is_a_formula(tmp_path: Path, name: str) -> None:
    result = replace(example(id=name), labels=Labels((name + "c", "dust")))
    write(tmp_path, result)
    row = rows(tmp_path)[0]
    for cell in (row["file"], row["class"]):
        assert cell[0] not in "=+-@\t\r"
        assert "\n" not in cell


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """F11"""
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not empty"):
        InstanceFolder(tmp_path, LABELS)
    write(tmp_path, example(), overwrite=True)
    write(tmp_path, example(objects=1), overwrite=True)
    assert len(rows(tmp_path)) == 1
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_output_and_input_stay_apart(tmp_path: Path) -> None:
    """F12"""
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    picture = tmp_path / "photos" / "a.png"
    picture.write_bytes(b"")
    for out in (tmp_path / "photos", tmp_path / "photos" / "sub", tmp_path / "photos" / "x" / ".." / "new"):
        with pytest.raises(ConfigError, match="inside the input folder"):
            InstanceFolder(out, LABELS, inputs=[tmp_path / "photos"], overwrite=True)
    with pytest.raises(ConfigError, match="inside the output folder"):
        InstanceFolder(tmp_path, LABELS, inputs=[picture], overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        InstanceFolder(picture, LABELS)
    InstanceFolder(tmp_path / "photos" / "sub", LABELS, inputs=[picture])
    assert files(tmp_path) == ["photos/a.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_what_is_done(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), InstanceFolder(tmp_path, LABELS) as folder:
        put(folder, example(id="a"))
        put(folder, example(id="b"))
        raise error
    assert [image["file_name"] for image in coco(tmp_path)["images"]] == ["a", "b"]
    assert len(coco(tmp_path)["annotations"]) == len(rows(tmp_path)) == 4
    assert not [name for name in files(tmp_path) if "/." in name or name.startswith(".")]


@pytest.mark.parametrize(
    ("step", "call"),
    [
        pytest.param("write_image", 1, id="between overlay and ids"),
        pytest.param("csv_lines", 0, id="between annotations and rows"),
        pytest.param("_json", 2, id="between rows and image"),
    ],
)
def test_an_interruption_within_a_picture_leaves_the_pictures_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    place = coco_table if step == "_json" else writing_instances
    original, calls = getattr(place, step), iter(range(1_000))

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    with pytest.raises(KeyboardInterrupt), InstanceFolder(tmp_path, LABELS) as folder:
        put(folder, example(id="a"))
        monkeypatch.setattr(place, step, interrupted)
        put(folder, example(id="b"))
    assert [image["file_name"] for image in coco(tmp_path)["images"]] == ["a"]
    assert {a["image_id"] for a in coco(tmp_path)["annotations"]} == {1}
    assert [row["file"] for row in rows(tmp_path)] == ["a", "a"]


def test_a_picture_that_fails_can_be_followed_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = coco_table._json

    def failing(value: Any) -> bytes:
        if value.get("file_name") == "bad":
            raise DataError("no")
        return original(value)

    with InstanceFolder(tmp_path, LABELS) as folder:
        put(folder, example(id="a"))
        monkeypatch.setattr(coco_table, "_json", failing)
        with pytest.raises(DataError):
            put(folder, example(id="bad"))
        put(folder, example(id="c"))
    assert [image["file_name"] for image in coco(tmp_path)["images"]] == ["a", "c"]
    assert [a["id"] for a in coco(tmp_path)["annotations"]] == [1, 2, 3, 4]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """J01"""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with InstanceFolder(tmp_path, LABELS) as folder:
        put(folder, example(id="a"))
        monkeypatch.setattr(writing_instances, "write_image", full)
        with pytest.raises(MachineError, match="No space left"):
            put(folder, example(id="b"))
    assert len(coco(tmp_path)["images"]) == 1


def test_more_objects_than_sixteen_bits_can_number_are_refused(tmp_path: Path) -> None:
    masks = Masks((4, 4), np.zeros((65_536, 4), np.int32), np.zeros(0, bool), np.zeros(65_537, np.int64))
    found = InstanceSet(np.zeros((65_536, 4), np.float32), np.zeros(65_536, np.int64), masks=masks)
    result = Result(Sample(np.zeros((4, 4, 3), np.uint8), id="many"), found, LABELS)
    with InstanceFolder(tmp_path, LABELS) as folder, pytest.raises(DataError, match="65,535"):
        put(folder, result)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
def test_memory_does_not_hold_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_table, "_KEPT_IN_MEMORY", 1_000)
    monkeypatch.setattr(writing_instances, "write_image", lambda *_: None)
    monkeypatch.setattr(writing_instances, "draw_instances", lambda *_: None)
    result = example(objects=8)

    def peak(count: int, turn: int) -> int:
        tracemalloc.start()
        try:
            with InstanceFolder(tmp_path / f"{count}-{turn}", LABELS) as folder:
                for number in range(count):
                    put(folder, replace(result, sample=replace(result.sample, id=f"{number}")))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Twice: once in a process's life Python's own table of names may grow by megabytes meanwhile.
    few, many = (min(peak(count, turn) for turn in (1, 2)) for count in (50, 150))
    tables = (tmp_path / "150-1" / "predictions.json").stat().st_size
    assert many - few < 0.15 * tables
