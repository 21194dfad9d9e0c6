"""The notebooks of the site: run in an empty folder each, and written with what they show.

python scripts/notebooks.py [NAME ...]

Their sources are `notebooks/NAME.py` in jupytext's percent format, which run as plain Python too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "notebooks"
WRITTEN = ROOT / "docs" / "notebooks"


def execute(source: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, without what differs from run to run."""
    notebook = jupytext.read(source)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{source.stem}-{number}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            # Progress and remarks of a training go to stderr.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.output_type = "display_data"
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def main() -> None:
    """Run those that are named, or all."""
    chosen = [SOURCES / f"{name}.py" for name in sys.argv[1:]] or sorted(SOURCES.glob("*.py"))
    WRITTEN.mkdir(exist_ok=True)
    for source in chosen:
        print(source.stem, flush=True)
        nbformat.write(execute(source), WRITTEN / f"{source.stem}.ipynb")


if __name__ == "__main__":
    main()
