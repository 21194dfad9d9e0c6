"""`everymask check` and `convert` say how many pictures are not annotated."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.cli import run
from everymask.data.formats.table import write_dataset
from everymask.data.pictures import read
from tests.contracts.test_formats import make_fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", make_fake(tmp_path), "labelme")
    file = next((tmp_path / "data").rglob("*.json"))
    Image.new("RGB", (7, 5)).save(file.parent / "loose.png")
    return tmp_path / "data"


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_pictures_that_are_not_annotated_are_counted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = json.loads(answer(capsys, "check", data, "--json"))
    assert counts["not_annotated"] == 1
    for task, what in (("instance", "objects"), ("semantic", "truth")):
        shown = answer(capsys, "check", data, "--task", task)
        assert f"{counts['pictures']} pictures (" in shown and f" without {what}) and 1 not annotated, " in shown


def test_a_conversion_counts_what_it_wrote(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = json.loads(answer(capsys, "check", data, "--json"))["pictures"]
    assert f"{pictures} pictures: " in answer(capsys, "convert", data, "--to", "coco", "--out", tmp_path / "out")
    assert json.loads(answer(capsys, "check", tmp_path / "out", "--json"))["pictures"] == pictures


@pytest.fixture
def defective(tmp_path: Path) -> Path:
    """A COCO set in which two objects cannot be used, and which lists 1,230 classes that it does not show."""
    folder = tmp_path / "coco"
    write_dataset(folder, make_fake(tmp_path), "coco")
    for file in (folder / "annotations").iterdir():
        document = json.loads(file.read_text())
        document["annotations"][0]["bbox"] = [1000, 0, 5, 5]
        document["annotations"][1]["segmentation"] = [[0, 0, 1, 1]]
        document["categories"] += [{"id": 100 + k, "name": f"rare <b>{k}</b>"} for k in range(1230)]
        file.write_text(json.dumps(document))
    return folder


def test_every_defect_is_on_the_page_with_a_picture_and_nothing_is_loaded(defective: Path, tmp_path: Path) -> None:
    page = tmp_path / "check.html"
    assert run(["check", str(defective), "--report", str(page)]) == 3
    text = page.read_text("utf-8")
    assert len(text) < 5_000_000
    for code in ("box-outside", "polygon-points"):
        article = next(part for part in text.split("<article") if f"</span> {code} " in part)
        assert "data:image/jpeg;base64," in article
        assert "strict: refused; skip: left out" in article
        assert "/annotations/" in article
    assert "<b>0</b>" not in text and "rare &lt;b&gt;0&lt;/b&gt;" in text
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text


def test_the_page_shows_what_was_understood_of_the_annotations(tmp_path: Path) -> None:
    """Pictures with the truth drawn over them, so that annotations that lie elsewhere are seen at once."""
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(8):
        ids = np.zeros((40, 60), np.uint8)
        ids[10:30, 30:50] = number > 0
        ids[2:8, 2:12] = 2 * (number > 1)
        Image.new("RGB", (60, 40)).save(tmp_path / "data/images" / f"{number}.png")
        Image.fromarray(ids).save(tmp_path / "data/masks" / f"{number}.png")
    page = tmp_path / "check.html"
    assert run(["check", str(tmp_path / "data"), "--format", "instance-pngs", "--report", str(page)]) == 0
    (shown,) = (part for part in page.read_text("utf-8").split("<section")[1:] if "<h2>What was understood" in part)
    captions = re.findall(r"<figcaption>([^<]+)<", shown)
    assert captions == ["1.png: 1 object", *(f"{number}.png: 2 objects" for number in (2, 3, 5, 6, 7))]
    coded = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', shown)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded[0]))).convert("RGB")).max(axis=2) > 40
    assert drawn[160, 320] and not drawn[:, :200].any() and not drawn[:60].any()


def test_a_page_of_label_maps_says_what_the_values_were_taken_for(tmp_path: Path) -> None:
    write_dataset(tmp_path / "maps", make_fake(tmp_path).for_task("semantic"), "image-masks")
    page = tmp_path / "maps.html"
    assert run(["check", str(tmp_path / "maps"), "--report", str(page)]) == 0
    assert "taken for" in page.read_text("utf-8") and "semantic: a class for every pixel" in page.read_text("utf-8")


def test_long_lists_are_folded_in_the_table_and_whole_in_json(
    defective: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = answer(capsys, "check", defective, "--on-defect", "skip")
    assert "classes without any objects" in shown and "rare" not in shown
    found = json.loads(answer(capsys, "check", defective, "--on-defect", "skip", "--json"))
    assert found["schema"] == 1 and found["task"] == "instance" and len(found["classes"]) > 1230
    assert {row["code"]: row["skip"] for row in found["treatments"]}["box-outside"] == "left out"
    assert sum(row["count"] for row in found["treatments"]) == found["num_errors"] + found["num_warnings"]


def test_every_key_of_the_json_is_documented(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text("utf-8")
    table = page.partition("## `--json`")[2]
    keys = {
        key
        for line in table.splitlines()
        for key in re.findall("`([a-z_]+)`", line.split("|")[1] if "|" in line else "")
    }
    assert keys == set(json.loads(answer(capsys, "check", data, "--json")))


def test_repairs_go_into_new_files_which_have_no_defects(
    defective: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in defective.rglob("*") if file.is_file()}
    target = tmp_path / "new" / "repaired.json"
    target.parent.mkdir()
    assert run(["check", str(defective), "--repaired", str(target), "--json"]) == 3
    assert {file: file.read_bytes() for file in defective.rglob("*") if file.is_file()} == before
    capsys.readouterr()
    kept = json.loads(answer(capsys, "check", defective, "--on-defect", "skip", "--json"))
    written = json.loads(answer(capsys, "check", target.parent, "--images", defective / "images", "--json"))
    assert written["num_errors"] == 0
    assert (written["pictures"], written["objects"]) == (kept["pictures"], kept["objects"])
    assert set(written["splits"]) == set(kept["splits"])


def test_every_picture_is_decoded_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To find damage and what looks alike."""
    damaged = max(data.rglob("p*.png"))
    damaged.write_bytes(damaged.read_bytes()[:-200])
    decode, decoded = read._decoded, Counter[str]()

    def counting(opened: Any, image: Any) -> Any:
        decoded[opened.file.name] += 1
        return decode(opened, image)

    monkeypatch.setattr(read, "_decoded", counting)
    assert run(["check", str(data), "--json"]) == 3
    assert decoded == {"p0.png": 1, "p1.png": 1, "p2.png": 1, "p3.png": 1}


@pytest.mark.parametrize("option", ["--report", "--repaired"])
def test_a_file_of_the_users_is_not_written_over(option: str, data: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    assert run(["check", str(data), option, str(mine)]) == 2
    assert mine.read_text() == "mine"


def test_only_a_page_of_the_doctors_is_replaced_and_that_is_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "check.html"
    assert "in place of" not in answer(capsys, "check", data, "--report", page)
    first = page.read_bytes()
    assert "(in place of the one that was there)" in answer(capsys, "check", data, "--report", page)
    assert page.read_bytes() == first
    mine = tmp_path / "mine.html"
    for content in (b"<html>mine</html>", first.replace(b"<h2>Data set</h2>", b"<h2>Scores</h2>")):
        mine.write_bytes(content)
        assert run(["check", str(data), "--report", str(mine)]) == 2
        assert mine.read_bytes() == content
        assert "exists already, and is another page" in capsys.readouterr().err


def test_of_many_pictures_only_headers_are_read_and_that_is_said(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everymask.commands.sources._LARGE", 1)
    shown = answer(capsys, "check", data)
    assert "not looked at (--decode looks at everything):" in shown and "pictures were not decoded" in shown
    assert "not looked at" not in answer(capsys, "check", data, "--decode")
