"""What the readers of folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

from everymask.data.formats.folders import files_in, folders_in, unique_ids


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["a.png", "b.jpg"], ["a", "b"]),
        (["train/a.png", "val/a.png"], ["train-a", "val-a"]),
        (["a.png", "a.jpg", "a.tif"], ["a", "a-2", "a-3"]),
        pytest.param(["a.png", "a.jpg", "a-2.png"], ["a", "a-2", "a-2-2"], id="A34 a name that looks numbered"),
        pytest.param(
            ["train/a.png", "val/a.png", "train-a.png"], ["train-a", "val-a", "train-a-2"], id="A34 like a path"
        ),
    ],
)
def test_ids_differ(files: list[str], ids: list[str]) -> None:
    assert unique_ids([Path("root") / file for file in files], Path("root")) == ids


def test_files_and_folders_come_by_name_and_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in ("b.png", "a.png", "B.png", ".hidden", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "to-file").symlink_to(tmp_path / "a.png")
    (tmp_path / "to-folder").symlink_to(tmp_path / "c")
    (tmp_path / "to-itself").symlink_to(tmp_path / "to-itself")
    (tmp_path / "to-nothing").symlink_to(tmp_path / "gone")
    assert files_in(tmp_path) == [tmp_path / name for name in ("B.png", "a.png", "b.png", "to-file")]
    assert folders_in(tmp_path) == [tmp_path / name for name in ("c", "to-folder")]
    assert files_in(tmp_path / "gone") == []
