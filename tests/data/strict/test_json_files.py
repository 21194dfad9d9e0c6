"""JSON that the standard library lets pass, and JSON that is broken, are refused with their place."""

from __future__ import annotations

import pytest

from everymask.data.issues import IssueLog
from everymask.data.strict.json_files import read_strict_json


def read(tmp_path, data: bytes):
    file = tmp_path / "a.json"
    file.write_bytes(data)
    issues = IssueLog()
    return read_strict_json(file, issues), issues.issues


BAD = [
    pytest.param(b"", "empty-file", "", id="C01 empty"),
    pytest.param(b"hello", "json-syntax", "line 1, byte 0", id="C01 not JSON"),
    pytest.param(b"\xef\xbb\xbf{}", "json-encoding", "byte 0", id="C01 byte order mark"),
    pytest.param('{"a": 1}'.encode("utf-16"), "json-encoding", "byte 0", id="C01 UTF-16 with mark"),
    pytest.param('{"a": 1}'.encode("utf-16-le"), "json-encoding", "byte 0", id="C01 UTF-16 without mark"),
    pytest.param(b'{\n"a": "\xe9"}', "json-encoding", "line 2, byte 8", id="C01 Latin-1"),
    pytest.param('{"ä": 1,\n "b": [1,]}'.encode(), "json-syntax", "line 2, byte ", id="C01 trailing comma"),
    pytest.param(b'{"a": [1, 2', "json-truncated", "line 1, byte 11", id="C01 truncated"),
    pytest.param(b'{"a": "xy', "json-truncated", "line 1, byte 6", id="C01 truncated in a text"),
    pytest.param(b'{"a": 1} {}', "json-syntax", "line 1, byte 9", id="C01 two documents"),
    pytest.param(b"[" * 65 + b"]" * 65, "json-depth", "/0" * 64, id="C02 65 levels"),
    pytest.param(b"[" * 100_000, "json-depth", "", id="C02 100000 levels"),
    pytest.param(b'{"a/b": [{"c": NaN}]}', "json-number", "/a~1b/0/c", id="C03 NaN"),
    pytest.param(b'{"a": [0, -Infinity]}', "json-number", "/a/1", id="C03 infinity"),
    pytest.param(b'{"a": [0, 1, 1e999]}', "json-number", "/a/2", id="C03 1e999"),
    pytest.param(b'{"a": ' + b"7" * 250 + b"e99}", "json-number", "/a", id="C03 many digits and an exponent"),
    pytest.param(b'{"a": ' + b"7" * 400 + b".0}", "json-number", "/a", id="C03 many digits"),
    pytest.param(b'{"a": ' + b"1" * 5000 + b"}", "json-number", "", id="C03 5000 digits"),
    pytest.param(b'[{"id": 1}, {"id": 1, "id": 2}]', "json-repeated-key", "/1", id="C04 repeated key"),
    pytest.param(b'"text"', "json-type", "", id="C05 a text"),
    pytest.param(b"null", "json-type", "", id="C05 null"),
    pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "lfs-pointer", "", id="A06 git LFS pointer"),
]


@pytest.mark.parametrize(("data", "code", "where"), BAD)
def test_bad_json_is_refused_with_its_place(tmp_path, data, code, where):
    found, issues = read(tmp_path, data)
    assert found is None
    assert [issue.code for issue in issues] == [code]
    assert issues[0].where.startswith(where)
    assert issues[0].file.endswith("a.json")
    assert "\n" not in issues[0].message


def test_good_json_comes_back_as_it_is(tmp_path):
    text = '{"ä": [1, -2.5, 1e5, true, null, {"[[": "]]]]"}], "b": {}}'
    assert read(tmp_path, text.encode()) == ({"ä": [1, -2.5, 1e5, True, None, {"[[": "]]]]"}], "b": {}}, [])


def test_64_levels_and_brackets_in_texts_are_allowed(tmp_path):
    found, issues = read(tmp_path, b"[" * 64 + b"]" * 64)
    assert found is not None and not issues
    found, issues = read(tmp_path, b'["' + b"[" * 1000 + b'"]')
    assert found == ["[" * 1000] and not issues


def test_every_defect_is_listed(tmp_path):
    found, issues = read(tmp_path, b'[NaN, {"a": 1, "a": Infinity}]')
    assert found is None
    assert [(issue.code, issue.where, issue.value) for issue in issues] == [
        ("json-number", "/0", "NaN"),
        ("json-repeated-key", "/1", "'a'"),
        ("json-number", "/1/a", "Infinity"),
    ]


def test_a_missing_file_and_a_folder_are_issues(tmp_path):
    issues = IssueLog()
    assert read_strict_json(tmp_path / "missing.json", issues) is None
    assert read_strict_json(tmp_path, issues) is None
    assert [issue.code for issue in issues.issues] == ["file-missing", "not-a-file"]
