"""What the project says of itself in several places is the same in all of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from everymask import __version__
from everymask.commands.doctor import env

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_the_version_is_one_everywhere() -> None:
    assert parsed(ROOT / "CITATION.cff")["version"] == __version__
    titles = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert titles[:2] == ["Unreleased", __version__]


def test_the_project_is_cited_as_the_package_calls_itself() -> None:
    cited = parsed(ROOT / "CITATION.cff")
    assert cited["title"] == PROJECT["name"]
    assert cited["license"] == PROJECT["license"]
    assert cited["authors"] == PROJECT["authors"]
    assert cited["abstract"] == PROJECT["description"]


def test_pythons_are_the_same_in_package_and_workflows() -> None:
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {lowest}" in PROJECT["classifiers"]
    for path in WORKFLOWS:
        for job in parsed(path)["jobs"].values():
            pythons = job.get("strategy", {}).get("matrix", {}).get("python", [lowest])
            assert pythons[0] == lowest, path.name
            assert pythons[1:] in ([], ["3.x"]), path.name


def test_workflows_run_what_there_is() -> None:
    steps = [step for path in WORKFLOWS for job in parsed(path)["jobs"].values() for step in job["steps"]]
    commands = " ".join(step["run"] for step in steps if "run" in step)
    scripts = set(re.findall(r"\.ci/\w+", commands))
    assert {".ci/run", ".ci/versions"} == scripts
    assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts)
    systems = {system for path in WORKFLOWS for system in re.findall(r"(\w+)-latest", path.read_text("utf-8"))}
    assert systems == {"ubuntu", "macos", "windows"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_report.yml")), ids=lambda p: p.stem
)
def test_a_bug_report_asks_for_what_env_prints(path: Path) -> None:
    asked = [part["attributes"]["label"] for part in parsed(path)["body"] if part["type"] == "textarea"]
    assert any(f"everymask {env.Env.__name__.lower()}" in label for label in asked)


def test_hooks_are_the_checks_of_ci() -> None:
    (repository,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    for hook in repository["hooks"]:
        words = hook["entry"].replace(" --force-exclude", "")
        assert re.search(rf"^{words}( --check)?( \.)?$", ci, re.MULTILINE), words


def test_other_files_of_github_are_whole() -> None:
    assert {update["package-ecosystem"] for update in parsed(ROOT / ".github" / "dependabot.yml")["updates"]} == {
        "github-actions", "docker", "pip",
    }  # fmt: skip
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert parsed(path), path.name


def test_stability_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "stability.md").read_text("utf-8")
    named = re.findall(r"`((?:tests|everymask)/[\w./]+)`", page)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []
