"""Files by the names that annotations give them."""

from __future__ import annotations

import unicodedata

import pytest

from everymask.data.formats.finding.named import NamedFiles
from everymask.data.issues import IssueLog


def found(root, name, *files, bases=("",)):
    """The file that a name means among `files` below `root`, and the codes of what was noted."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    issues = IssueLog("skip")
    path = NamedFiles(root, issues).find(name, [root / base for base in bases], file=root / "notes.json", where="/x")
    return path and path.relative_to(root).as_posix(), [(issue.code, issue.severity) for issue in issues.noted()]


@pytest.mark.parametrize("name", ["a.png", "./a.png", "sub/../a.png"])
def test_a_path_from_here_is_followed(tmp_path, name):
    (tmp_path / "sub").mkdir()
    assert found(tmp_path, name, "a.png") == ("a.png", [])


ELSEWHERE = [("path-elsewhere", "warning")]


@pytest.mark.parametrize(
    "name",
    ["/somewhere/images/a.png", "..\\images\\a.png", "D:/x/a.png", "file:///x/a.png", "http://x.org/images/a.png?size=1",
     "/data/local-files/?d=images/a.png", "other/images/a.png", "\\\\server\\share\\a.png"],
)  # fmt: skip
def test_the_end_of_a_path_from_elsewhere_is_looked_for(tmp_path, name):
    assert found(tmp_path, name, "images/a.png", "images/b.png") == ("images/a.png", ELSEWHERE)


def test_the_longest_end_decides(tmp_path):
    files = ("one/images/a.png", "two/images/a.png", "two/masks/a.png")
    assert found(tmp_path, "/x/two/images/a.png", *files) == ("two/images/a.png", ELSEWHERE)


def test_none_is_taken_where_several_would_do(tmp_path):
    path, notes = found(tmp_path, "/x/y/a.png", "one/a.png", "two/a.png")
    assert (path, notes) == (None, [("file-name", "error")])


def test_a_missing_file_is_not_replaced_by_one_of_another_folder(tmp_path):
    """The folder that the name says is there, and lacks the file: another camera's picture is another picture."""
    assert found(tmp_path, "cam1/0.png", "cam1/1.png", "cam2/0.png") == (None, [("picture-missing", "error")])


def test_no_path_leads_out_of_the_folder(tmp_path):
    (tmp_path / "secret.png").touch()
    assert found(tmp_path / "set", "../secret.png", "a.png") == (None, [("file-name", "error")])
    assert found(tmp_path / "set", str(tmp_path / "secret.png")) == (None, [("file-name", "error")])


SPELLED = [("name-spelling", "warning")]


@pytest.mark.parametrize(
    ("written", "stored"), [("Caf\u00e9/A.PNG", "cafe\u0301/a.png"), ("\u00c4.png", "a\u0308.png")]
)
def test_letter_case_and_unicode_form_do_not_count(tmp_path, written, stored):
    path, notes = found(tmp_path, written, stored, "b.png")
    assert unicodedata.normalize("NFC", path) == unicodedata.normalize("NFC", stored)
    assert notes == SPELLED


def test_two_spellings_of_one_name_are_two_files(tmp_path):
    assert found(tmp_path, "A.png", "a.png", "A.png") == ("A.png", [])
    assert found(tmp_path, "A.PNG", "a.png", "A.png") == (None, [("picture-missing", "error")])


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a.png/b.png", "/" + "x" * 300])
def test_names_that_no_disk_has_are_missing_files(tmp_path, name):
    path, notes = found(tmp_path, name, "a.png")
    assert path is None
    assert [severity for _, severity in notes] == ["error"]
