"""The shape of the code: who may import what, how long a file may be, what must not stand in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from everymask.core.segmentation import TaskName
from scripts import architecture

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "everymask"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = MODULES + sorted(
    path for folder in ("tests", "docs_src", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TORCH_FREE = (
    "errors", "cli", "api", "core", "data", "metrics", "viz", "commands", "results", "settings", "tasks",
    "models.specs", "models.catalog", "models.card", "infer", "engines", "runtimes", "serving",
    "classical", "backends.methods", "models.header", "models.method_file",
)  # fmt: skip
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
    for node in ast.walk(architecture.parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_torch_free_modules_do_not_import_torch() -> None:
    wanted = tuple(f"everymask.{part}" for part in TORCH_FREE)
    modules = [dotted(path) for path in MODULES if f"{dotted(path)}.".startswith(tuple(f"{name}." for name in wanted))]
    assert len(modules) > 20
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_contract_names_the_rooms_without_torch() -> None:
    """Whole rooms, and those modules of `models` that are to be had without it: no list that grows with the code."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = {contract["name"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}
    named = {*contracts["numpy outside, torch inside"]["source_modules"]}
    lazy = {f"everymask.{part}" for part in ("cli", "api", "commands")}
    assert named | lazy == {f"everymask.{part}" for part in TORCH_FREE}


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
    """The layers stand in pyproject.toml; a room that they forget would be free to import anything."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (layers,) = (c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    floors = [{room.strip().removeprefix("everymask.") for room in floor.split("|")} for floor in layers]
    assert list(architecture.FLOORS) == [tuple(sorted(floor)) for floor in reversed(floors)]
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    assert rooms - {"__init__"} == set().union(*floors)


def test_no_two_modules_import_each_other() -> None:
    assert architecture.two_way(architecture.imports(architecture.modules())) == []


def test_no_folder_is_crowded() -> None:
    folders = Counter(path.parent for path in MODULES)
    assert {name(folder): count for folder, count in folders.items() if count > 15} == {}


def test_few_places_ask_for_the_task_and_each_names_every_kind() -> None:
    """A further task is a room of its own, and the places that mypy then names (docs/adding_a_task.md)."""
    places = architecture.asking(architecture.modules())
    assert [place for place in places if not place.exhaustive] == []
    assert len(places) <= 8


def test_what_belongs_to_one_task_is_found_in_the_code() -> None:
    """There is no list to keep: the classes of a further task are noticed because it has them."""
    found = architecture.kinds()
    for kind in ("Instance", "Semantic"):
        assert {f"{kind}{word}" for word in ("Settings", "Scores", "Metric", "Pipeline", "Folder")} <= found
    assert {"InstanceSet", "SemanticMap", "PanopticMap", "FasterRCNN", "SemanticSpec"} <= found
    assert {"RegionModelSpec", "SemanticModelSpec", "RCNN", "SemanticModel"} <= found
    assert {"RegionOutputs", "SemanticOutputs", "RegionArrays", "SemanticArrays"} <= found
    assert not found & {"Dataset", "Labels", "Sample", "Task", "Network", "OutputFolder", "TaskName"}
    assert architecture.task_values() == {name.upper() for name in get_args(TaskName)}
    assert architecture.task_names() >= {*get_args(TaskName), "label maps"}


def test_asking_for_the_task_is_noticed() -> None:
    """The counts above would be worth nothing if they did not see how people ask."""
    asks = "isinstance(x, SemanticMap)", "isinstance(x, (int, InstanceSet))", "name == 'semantic'", "data.is_semantic"
    asks += "kind != 'label maps'", "task is SEMANTIC"
    for code in asks:
        assert any(map(architecture.asks, ast.walk(ast.parse(code)))), code
    assert not any(map(architecture.asks, ast.walk(ast.parse("isinstance(x, Masks) or name == 'semantics'"))))
