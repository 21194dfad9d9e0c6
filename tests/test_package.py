"""What is uploaded: small, the same whenever it is built, and whole where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy
import pytest

from everymask import __version__

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "everymask",
)
WHEEL, SOURCE = f"everymask-{__version__}-py3-none-any.whl", f"everymask-{__version__}.tar.gz"
MOST = 2_000_000

pytestmark = pytest.mark.slow


def run(*words: object, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        env=kept | environment,
        cwd=ROOT.anchor,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(folder: Path, mask: int) -> Path:
    """The folder with wheel and source archive of a copy that was made just now, with such a mask of modes."""
    copy = folder / "copy"
    for name in PARTS:
        source, target = ROOT / name, copy / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    before = os.umask(mask)
    try:
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy, SOURCE_DATE_EPOCH="1700000000")
    finally:
        os.umask(before)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("package"), 0o022)


def test_it_is_the_same_whenever_it_is_built(package: Path, tmp_path: Path) -> None:
    again = built(tmp_path, 0o002)
    for name in (WHEEL, SOURCE):
        assert (again / name).read_bytes() == (package / name).read_bytes(), name
    with tarfile.open(package / SOURCE) as archive:
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(1_700_000_000, 0, "")}


def test_it_holds_the_code_and_nothing_else(package: Path) -> None:
    assert (package / WHEEL).stat().st_size <= MOST
    with zipfile.ZipFile(package / WHEEL) as wheel:
        names = {Path(name) for name in wheel.namelist()}
    folders = {name.parts[0] for name in names}
    assert folders == {"everymask", f"everymask-{__version__}.dist-info"}
    ours = {name for name in names if name.parts[0] == "everymask"}
    assert {
        Path("everymask/py.typed"),
        Path("everymask/__init__.pyi"),
        Path("everymask/serving/page/index.html"),
    } <= ours
    assert {name.suffix for name in ours} == {".py", ".pyi", ".typed", ".html", ".css", ".js"}
    code = {path.relative_to(ROOT) for path in (ROOT / "everymask").rglob("*.py")}
    assert {name for name in ours if name.suffix == ".py"} == code
    assert Path(f"everymask-{__version__}.dist-info/licenses/LICENSE") in names


def test_it_works_where_nothing_else_of_the_project_is(package: Path, tmp_path: Path) -> None:
    """What it needs is that of the tests' own environment: fetching it all anew would take minutes."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    programs = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = ("install", "--no-deps", "--no-index", "--quiet", package / WHEEL)
    run(sys.executable, "-m", "pip", "--python", programs / "python", *install)
    (site,) = (tmp_path / "venv").glob("**/site-packages")
    (site / "rest.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    where = run(programs / "python", "-c", "import everymask; print(everymask.__file__)").strip()
    assert Path(where).is_relative_to(tmp_path)
    assert run(programs / "everymask", "--version") == f"everymask {__version__}\n"
    assert '"architectures"' in run(programs / "everymask", "models", "--json")
    drawn = "from everymask.data.shapes import write_shapes; write_shapes('{}', train=2, val=1, size=64)"
    run(programs / "python", "-c", drawn.format(tmp_path / "shapes"))
    assert "circle" in run(programs / "everymask", "check", tmp_path / "shapes")
