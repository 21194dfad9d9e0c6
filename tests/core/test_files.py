"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from everymask.core.files import whole_file, whole_folder, write_json, write_text
from everymask.errors import ConfigError, MachineError


def test_a_file_is_replaced_whole_and_folders_above_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "old")
    write_text(tmp_path / "deep" / "a.txt", "new")
    assert [(path.name, path.read_text()) for path in (tmp_path / "deep").iterdir()] == [("a.txt", "new")]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyError), whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Öl", "A33 caf\udce9", "\ud800"])
def test_any_text_comes_back_from_json(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {name: [name]})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {name: [name]}


def test_where_the_disk_refuses_the_error_names_the_path(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(MachineError, match=r"file/a\.txt"):
        write_text(tmp_path / "file" / "a.txt", "text")
    with pytest.raises(MachineError, match="file/folder"), whole_folder(tmp_path / "file" / "folder"):
        pass


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_a_folder_appears_when_it_is_complete(there: bool, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if there:
        target.mkdir()
    with whole_folder(target) as temporary:
        write_text(temporary / "a.txt", "text")
        assert not (target / "a.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (target / "a.txt").read_text() == "text"


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyError), whole_folder(tmp_path / "out") as temporary:
        write_text(temporary / "a.txt", "text")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "out" / "mine.txt", "text")
    for target in (tmp_path / "out", tmp_path / "out" / "mine.txt"):
        with pytest.raises(ConfigError, match="new or empty folder"), whole_folder(target):
            pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]
