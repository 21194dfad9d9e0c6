"""What the documentation shows is what runs."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest

from everymask.data.formats.labelme.files import write_labelme
from everymask.data.shapes import write_shapes
from tests.quick import quick

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "docs_src").glob("*.py"))
LONG = {"train_and_predict", "from_matterport", "follow_objects"}
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("**/*.md") if path.name != "design.md")]
TRANSLATED = sorted((ROOT / "docs").glob("zh/*.md"))


def python_blocks() -> list[str]:
    return [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]


def test_every_example_in_the_docs_is_a_file_that_runs() -> None:
    assert sorted(python_blocks()) == sorted(path.read_text("utf-8") for path in EXAMPLES)


@pytest.mark.parametrize(
    "example",
    quick(EXAMPLES, [path for path in EXAMPLES if path.stem not in LONG]),
    ids=lambda path: path.stem,
)
def test_the_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = write_shapes(tmp_path / "drawn", train=4, val=2, size=64)
    if "write_coco" in example.read_text("utf-8"):
        shutil.copytree(tmp_path / "drawn", tmp_path / "data")
    else:
        write_labelme(tmp_path / "data", drawn.split("train"))  # no splits: training draws them
    shutil.copy(next((tmp_path / "drawn" / "images" / "val").iterdir()), tmp_path / "photo.png")
    script = tmp_path / example.name
    # One round instead of twenty: that the example trains well is not what is tested here.
    script.write_text(example.read_text("utf-8").replace("epochs=20", "epochs=1, workers=0"), "utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_the_notebook_runs(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As plain Python, with less training; as notebooks `scripts/notebooks.py` runs them."""
    text = source.read_text("utf-8").replace("train=120", "train=12").replace("train=160", "train=16")
    text = text.replace('time_limit="90s"', "epochs=1, batch=4").replace("range(20)", "range(1)")
    script = tmp_path / source.name
    script.write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("PIL.Image.Image.show", lambda image, title=None: None)
    runpy.run_path(str(script))
    assert (ROOT / "docs" / "notebooks" / f"{source.stem}.ipynb").is_file()


def commands_of(page: Path) -> list[str]:
    """The lines of its blocks, without what is said of them."""
    blocks = re.findall(r"```\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda path: path.stem)
def test_translated_pages_have_the_commands_and_pictures_of_their_originals(page: Path) -> None:
    original = ROOT / "docs" / page.name
    assert commands_of(page) == commands_of(original)
    first, second = (re.findall(r"!\[[^\]]*\]\(.*?([\w.]+)\)", path.read_text("utf-8")) for path in (page, original))
    assert first == second
    assert len(re.findall("^## ", page.read_text("utf-8"), re.M)) == len(
        re.findall("^## ", original.read_text("utf-8"), re.M)
    )


def test_the_readme_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert 'pip install -e ".[all]" && everymask demo' in lines
    assert 'pip install -e ".[all,test]" && pytest' in lines
