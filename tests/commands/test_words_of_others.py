"""The pages for who comes from other programs name commands, options, settings and models that exist."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from everymask.cli import VERBS, parse
from everymask.models.catalog import catalog
from everymask.models.specs.any_spec import FAMILIES
from everymask.models.specs.regions import MaskRCNN

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("from_matterport", "coming_from", "inspect")]
OPTIONS = {line.split()[1] for line in (ROOT / "tests" / "cli_options.txt").read_text("utf-8").splitlines()}


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def text(request: pytest.FixtureRequest) -> str:
    return request.param.read_text("utf-8")


def ours(text: str) -> list[str]:
    """Pieces of code in what is not another program's column."""
    lines = [line.rpartition(" | ")[2] if line.startswith("| ") else line for line in text.splitlines()]
    return re.findall(r"`([^`\n]+)`", "\n".join(lines)) + re.findall(r"^(?:everymask .*)$", text, re.MULTILINE)


@pytest.mark.slow
def test_commands_are_understood(text: str) -> None:
    commands = [piece for piece in ours(text) if re.match(r"everymask \w+ ", piece) and "..." not in piece]
    assert commands
    for command in commands:
        words = shlex.split(command)[1:]
        assert words[0] in VERBS, command
        parse(words if "--out" in words or words[0] != "predict" else [*words, "--out", "found"])


def test_options_settings_and_models_exist(text: str) -> None:
    known = {name for family in FAMILIES for name in family.named} | {row.name for row in catalog()}
    settings = {field.name for field in fields(MaskRCNN)}
    code = " ".join(ours(text))
    assert set(re.findall(r"(?<!\S)--[a-z][a-z.-]*", code)) - {"--nproc-per-node"} <= OPTIONS
    assert set(re.findall(r"--model ([\w-]+)", code)) <= known
    assert {word for word in re.findall(r"--weights (\w[\w-]+)", code) if "-" in word} <= known
    assert set(re.findall(r"MaskRCNN\((\w+)=", code)) <= settings
    for piece in re.findall(r"((?:`\w+`(?:, )?)+) of `em\.MaskRCNN`", text):
        assert set(re.findall(r"\w+", piece)) <= settings
