"""What the readers of folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

from everymask.data.formats.folders import unique_ids


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
