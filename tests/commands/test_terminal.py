"""What people read: foreign text stays as it is, in lines and in tables."""

from __future__ import annotations

import pytest

from everymask.cli import run
from everymask.commands import terminal
from everymask.commands.terminal import counting, show, table, watched

FOREIGN = "a :train: of [red]cars[/red] [/]"


def test_foreign_text_becomes_neither_pictures_nor_colours(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOREIGN, table(FOREIGN, (FOREIGN,), [(FOREIGN,)]))
    assert capsys.readouterr().out.count(FOREIGN) == 4


def test_neither_does_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", FOREIGN]) == 3
    assert FOREIGN in capsys.readouterr().err


def test_where_no_terminal_is_a_log_has_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting("predicting", 100) as move:
        move(40, 1)
    assert list(watched("listing", "ab")) == ["a", "b"]
    assert capsys.readouterr().err == ""  # it took no half minute

    monkeypatch.setattr(terminal, "_EVERY", -1.0)
    monkeypatch.setattr(terminal, "_SOME", 2)
    with counting("predicting", 100) as move:
        move(40, 1)
        move(50, 2)
    assert list(watched("listing", "abc")) == ["a", "b", "c"]
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "predicting: 40 of 100, 1 failed, 0.0 per second, ? left"
    assert second.startswith("predicting: 90 of 100, 3 failed, ")
    assert third == "listing: 2"
