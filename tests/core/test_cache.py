"""Where files are kept that can be had again."""

from __future__ import annotations

from pathlib import Path

import pytest

from everymask.core.cache import cache_folder


@pytest.mark.parametrize("named", ["", "cache", "./cache"])
def test_a_cache_is_never_made_where_the_program_happens_to_run(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder() == tmp_path / ".cache" / "everymask"


def test_an_absolute_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "everymask"
