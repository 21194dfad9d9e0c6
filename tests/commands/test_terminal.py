"""What people read: foreign text stays as it is, in lines and in tables."""

from __future__ import annotations

import pytest

from everymask.cli import run
from everymask.commands.terminal import show, table

FOREIGN = "a :train: of [red]cars[/red] [/]"


def test_foreign_text_becomes_neither_pictures_nor_colours(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOREIGN, table(FOREIGN, (FOREIGN,), [(FOREIGN,)]))
    assert capsys.readouterr().out.count(FOREIGN) == 4


def test_neither_does_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", FOREIGN]) == 3
    assert FOREIGN in capsys.readouterr().err
