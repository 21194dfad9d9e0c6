"""The shape of the code: who may import what, how long a file may be, what must not stand in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "everymask"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = MODULES + sorted(
    path for folder in ("tests", "docs_src", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TORCH_FREE = (
    "errors", "cli", "api", "core", "data", "metrics", "viz", "commands", "results", "settings",
    "models.specs", "models.catalog", "models.card", "infer",
)  # fmt: skip
# The first backend, the one part of a room without torch that has it.
TORCH = ("infer.torch_backend", "infer.torch_decode")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
# The training loop is one text on purpose (docs/design.md, 1.4).
LONG = {"everymask/train/loop.py": {"fit"}}
# A folder of somebody's machine: files must run where they are cloned.
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|Users|mnt|work)/\w|[A-Z]:\\Users")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_torch_free_modules_do_not_import_torch() -> None:
    wanted = tuple(f"everymask.{part}" for part in TORCH_FREE)
    modules = [dotted(path) for path in MODULES if f"{dotted(path)}.".startswith(tuple(f"{name}." for name in wanted))]
    modules = [module for module in modules if module not in {f"everymask.{part}" for part in TORCH}]
    assert len(modules) > 20
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_contract_names_every_module_of_a_room_that_has_torch_in_part() -> None:
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    modules = [dotted(path) for path in MODULES if dotted(path).startswith("everymask.infer.")]
    torch = {f"everymask.{part}" for part in TORCH}
    assert {module for module in modules if f'"{module}"' not in settings} == torch


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_are_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_fit_on_a_page(path: Path) -> None:
    lines = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions(path)}
    assert {function: count for function, count in lines.items() if count > 60}.keys() <= LONG.get(name(path), set())


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_names_say_what_is_inside(path: Path) -> None:
    assert not VAGUE & {*path.relative_to(PACKAGE).parts, path.stem}


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    texts = [path for pattern in ("*.md", "docs/*.md", ".ci/*", "*.toml") for path in ROOT.glob(pattern)]
    found = [name(path) for path in [*SOURCES, *texts] if MACHINE.search(path.read_text("utf-8"))]
    assert not found


def test_the_order_of_imports_is_proved_by_import_linter() -> None:
    """The contracts live in pyproject.toml; a package that they forget would be free to import anything."""
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    parts = {
        path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    named = {Path(part).stem for part in parts if part not in ("__init__.py",)}
    assert {part for part in named if f"everymask.{part}" not in settings} == set()
