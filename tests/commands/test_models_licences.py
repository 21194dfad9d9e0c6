"""`everymask models --licences` lists only what may be used so."""

from __future__ import annotations

import json

import pytest

from everymask.commands.models import Models, run
from everymask.errors import ConfigError


def listed(capsys: pytest.CaptureFixture[str], licences: str | None) -> set[str]:
    run(Models(json=True, licences=licences))
    return {row["licence"] for row in json.loads(capsys.readouterr().out)["weights"]}


def test_only_weights_of_the_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    every = listed(capsys, None)
    free = listed(capsys, "apache, MIT,bsd,cc-by")
    assert every - free and all(licence.startswith(("Apache", "BSD")) for licence in free)
    assert all(licence.startswith("CC BY-SA 3.0 (Detectron2)") for licence in listed(capsys, "cc-by-sa"))


def test_an_unknown_family_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="licence must be one of apache, bsd, cc-by, cc-by-sa, mit"):
        run(Models(licences="apach"))
