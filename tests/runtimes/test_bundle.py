"""Bundles are read as they were written, or not at all."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask.api import load
from everymask.core.json.sealed import sealed
from everymask.errors import ConfigError, EverymaskError, WeightsError
from everymask.runtimes.bundle import DESCRIPTION, GRAPH, GraphFacts, read_bundle, write_bundle
from tests.runtimes.bundles import small_bundle

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "model.emz"
    write_bundle(path, small_bundle())
    return path


def test_read_it_is_what_was_written(file: Path, tmp_path: Path) -> None:
    assert read_bundle(file) == small_bundle()
    write_bundle(tmp_path / "again.emz", read_bundle(file))
    assert (tmp_path / "again.emz").read_bytes() == file.read_bytes()


def test_it_holds_two_parts_that_are_stored_as_they_are(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [DESCRIPTION, GRAPH]
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        description = json.loads(archive.read(DESCRIPTION))
    assert description["card"]["licence"] == "CC0" and description["graph"]["runtime"] == "onnxruntime"


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime", "openvino"])
def test_it_predicts(file: Path, runtime: Any) -> None:
    image = np.array([[0, 200, 90], [255, 129, 0]], np.uint8)[..., None]
    result = load(file, runtime=runtime, device="cpu").predict(image)
    assert result.semantic.ids.tolist() == [[0, 1, 0], [1, 1, 0]]


def written(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return stream.getvalue()


def parts_of(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def told(parts: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    """The parts with another description, sealed as if it were ours."""
    before = {name: value for name, value in json.loads(parts[DESCRIPTION]).items() if name != "checksum"}
    return parts | {DESCRIPTION: json.dumps(sealed(before | changes)).encode()}


TWISTS: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "foreign": (lambda parts: b"PNG or so", "not a whole bundle"),
    "empty": (lambda parts: b"", "not a whole bundle"),
    "truncated": (lambda parts: written(parts)[:-40], "not a whole bundle"),
    "another zip": (lambda parts: written({"readme.txt": b"hello"}), "there is no bundle.json"),
    "another json": (lambda parts: written({DESCRIPTION: b"[1]", GRAPH: b""}), "does not say everymask-bundle"),
    "broken json": (lambda parts: written(parts | {DESCRIPTION: b'{"format"'}), "is damaged"),
    "deep json": (lambda parts: written(parts | {DESCRIPTION: b"[" * 200_000}), "is damaged"),
    "changed description": (
        lambda parts: written(parts | {DESCRIPTION: parts[DESCRIPTION].replace(b"CC0", b"MIT")}),
        "does not match its checksum",
    ),
    "changed graph": (
        lambda parts: written(parts | {GRAPH: parts[GRAPH].replace(b"dark", b"bark")}),
        "does not match its hash",
    ),
    "longer graph": (lambda parts: written(parts | {GRAPH: parts[GRAPH] + b" "}), "another length"),
    "a part too many": (lambda parts: written(parts | {"run.py": b"print()"}), "but lists model.onnx"),
    "no graph": (lambda parts: written({DESCRIPTION: parts[DESCRIPTION]}), "but lists model.onnx"),
    "newer": (lambda parts: written(told(parts, version=2, written_by="everymask 9")), "written by everymask 9"),
    "no version": (lambda parts: written(told(parts, version="one")), "which is none"),
    "unknown runtime": (lambda parts: written(told(parts, graph={"runtime": "sh"})), "one of onnxruntime, openvino"),
    "no card": (lambda parts: written(told(parts, card={})), "lacks 'spec'"),
    "card of nothing": (lambda parts: written(told(parts, card=None)), "cannot be used"),
    "bomb": (lambda parts: written(parts | {GRAPH: bytes(10_000_000)}, zipfile.ZIP_DEFLATED), "is compressed"),
    "outside": (lambda parts: written(parts | {"../../x": b""}), "but lists model.onnx"),
    "folder": (lambda parts: written(parts | {"folder/": b""}), "one part too many"),
    "many parts": (lambda parts: written(parts | {str(k): b"" for k in range(99)}), "one part too many"),
}


@pytest.mark.parametrize("twist", TWISTS)
def test_what_is_no_whole_bundle_is_refused(twist: str, file: Path, tmp_path: Path) -> None:
    make, message = TWISTS[twist]
    other = tmp_path / "other.emz"
    other.write_bytes(make(parts_of(file)))
    with pytest.raises(WeightsError, match=message):
        read_bundle(other)


def test_any_byte_changed_is_noticed_or_changes_nothing(file: Path, tmp_path: Path) -> None:
    whole, other = file.read_bytes(), tmp_path / "other.emz"
    for place in np.random.default_rng(0).integers(0, len(whole), 150).tolist():
        other.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert read_bundle(other) == small_bundle()
        except EverymaskError as error:
            assert "other.emz" in str(error) or "model" in str(error)


def test_a_graph_of_something_else_is_refused(tmp_path: Path) -> None:
    for graph, runtime in ((b"nonsense", "onnxruntime"), (b"nonsense", "openvino")):
        write_bundle(tmp_path / "m.emz", replace(small_bundle(), graph=graph))
        with pytest.raises(WeightsError, match="cannot load the graph"):
            load(tmp_path / "m.emz", runtime=runtime)


def test_what_is_not_there_is_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no bundle"):
        load(tmp_path / "none.emz")
    with pytest.raises(ConfigError, match="runtime must be one of"):
        load(file, runtime="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot be used"):
        load(file, device="cuda:7")
    write_bundle(tmp_path / "rough.emz", replace(small_bundle(), facts=GraphFacts("int8")))
    with pytest.raises(ConfigError, match="exported in int8"):
        load(tmp_path / "rough.emz", precision="exact")
    with pytest.raises(ConfigError, match="holds the graph of one"):
        load(file, runtime="torch")
    with pytest.raises(ConfigError, match="is a method without one"):
        load("otsu", runtime="openvino")
