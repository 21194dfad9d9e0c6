"""Prints the lowest versions that pyproject.toml allows, as constraints for pip: `python scripts/oldest_versions.py`.

Those of what everymask itself needs, and the last repair of each (4.9.0.80 of 4.9); what only tests need is left free.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
FLOOR = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?>=([0-9.]+)")


def floors(text: str) -> dict[str, str]:
    """The lowest version of each package: of the dependencies, and of those of all extras but `test`."""
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for name, group in extras.items() if name != "test" for one in group)]
    found: dict[str, str] = {}
    for one in wanted:
        match = FLOOR.fullmatch(one)
        if match is None:
            continue
        name, version = match.groups()
        assert found.setdefault(name, version) == version, f"{name} has two lowest versions"
    return found


if __name__ == "__main__":
    for name, version in sorted(floors(PROJECT.read_text("utf-8")).items()):
        print(f"{name}=={version}{'.0' * (1 - version.count('.'))}.*")
