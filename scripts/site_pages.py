"""Pages of the site that are made from the code when it is built: all models and weights, and the public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from everymask.classical.named import METHODS
from everymask.models.catalog import catalog
from everymask.models.specs.any_spec import FAMILIES

_STUB = Path(__file__).resolve().parents[1] / "everymask" / "__init__.pyi"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that no file holds; called by mkdocs."""
    for name, lines in (("models.md", models()), ("api.md", public_names())):
        files.append(File.generated(config, name, content="\n".join(lines) + "\n"))
    return files


def models() -> Iterator[str]:
    """What `everymask models` shows."""
    yield "# All models and weights\n"
    yield "What `--model` and `--weights` take, made from the tables that `everymask models` prints.\n"
    for family in FAMILIES:
        yield f"## {family.family_name[0].upper()}{family.family_name[1:]}\n"
        yield f"They find {family.finds}.\n"
        yield ", ".join(f"`{name}`" for name in family.named) + "\n"
    yield "## Methods without a network\n"
    yield ", ".join(f"`{name}`" for name in METHODS) + " ([which one when](classical.md)).\n"
    yield "## Published weights\n"
    yield "Fetched when they are first asked for. Accuracies are the publishers' on COCO, Cityscapes or ADE20K.\n"
    yield "| name | accuracy | licence | million parameters | MB |"
    yield "|---|---|---|---|---|"
    for row in catalog():
        metrics = ", ".join(f"{name} {value}" for name, value in row.metrics)
        yield f"| `{row.name}` | {metrics} | {row.licence} | {row.params / 1e6:.1f} | {row.megabytes:.0f} |"


def public_names() -> Iterator[str]:
    """The names of `everymask`, in the order of their modules."""
    yield "# Python\n"
    yield "`import everymask as em`: all public names. What is not listed here may change without notice.\n"
    for statement in ast.parse(_STUB.read_text("utf-8")).body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield f"::: everymask.{statement.module}.{alias.name}\n"
