"""Which pictures a folder, a list or a pattern names."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from everymask.engines import listing
from everymask.engines.listing import list_pictures
from everymask.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/c.JPG", "a.png", "b/notes.txt", ".hidden/d.png", "b/.e.png", "f.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def listed(*sources: object) -> list[str]:
    return sorted(list_pictures(map(str, sources), Counter()))


def test_a_folder_gives_its_pictures_and_counts_the_rest(folder: Path) -> None:
    left_out: Counter[str] = Counter()
    found = sorted(list_pictures([str(folder)], left_out))
    assert found == [str(folder / "a.png"), str(folder / "b" / "c.JPG")]
    assert left_out == {"hidden": 2, "not pictures by their endings": 2}
    assert listed(f"file://{folder}") == found


def test_arrays_are_pictures_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes(b"")
    left_out: Counter[str] = Counter()
    assert list(list_pictures([str(tmp_path)], left_out)) == [str(tmp_path / "a.npy")]
    assert +left_out == {"not pictures by their endings": 1}


def test_a_folder_is_not_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first picture is there before the last file has been seen; this folder has no end."""
    endless: Iterator[str] = (f"{number}.png" for number in itertools.count())
    monkeypatch.setattr(listing, "_files_below", lambda folder, left_out: endless)
    assert list(itertools.islice(list_pictures([str(folder)], Counter()), 3)) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "a.png\r\nb/ü c.png\n\n/x/d.png\ns3://bucket/e.png\n"),
        ("l.csv", '\ufeffid,Path\n1,a.png\n2,"b/ü c.png"\n\n3,/x/d.png\n4,s3://bucket/e.png\n'),
        ("l.csv", "a.png,1\nb/ü c.png,2\n/x/d.png,3\ns3://bucket/e.png,4\n"),
        ("l.csv", "pictures\na.png\nb/ü c.png\n/x/d.png\ns3://bucket/e.png\n"),
        ("l.jsonl", '"a.png"\n"b/\\u00fc c.png"\n\n"/x/d.png"\n"s3://bucket/e.png"\n'),
        ("l.ndjson", "\n".join(json.dumps({"n": 1, "file_name": p}) for p in
                               ("a.png", "b/ü c.png", "/x/d.png", "s3://bucket/e.png"))),
    ],
)  # fmt: skip
def test_a_list_names_pictures_from_its_own_folder(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8", newline="")
    expected = [str(tmp_path / "a.png"), str(tmp_path / "b" / "ü c.png"), "/x/d.png", "s3://bucket/e.png"]
    assert list(list_pictures([str(file)], Counter())) == expected


def test_a_list_may_be_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow comes with everymask[ray]")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"n": [1, 2], "path": ["a.png", "b.png"]}), tmp_path / "l.parquet")
    assert listed(tmp_path / "l.parquet") == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"bad\.parquet"):
        listed(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("l.csv", "id,where\n1,a.png\n", ConfigError, "expected a column of paths.*columns are id, where"),
        ("l.csv", "id,path\n1\n", DataError, "line 2"),
        ("l.jsonl", '{"path": "a.png"}\n{"path": 3}\n', DataError, "line 2: expected the path"),
        ("l.jsonl", '"a.png"\n{"path"\n', DataError, "line 2"),
        ("l.jsonl", '{"n": 1, "m": 2}\n', ConfigError, "expected a column"),
    ],
)
def test_a_list_that_is_none_says_where(tmp_path: Path, name: str, text: str, error: type, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=said):
        listed(tmp_path / name)


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        listed(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in"):
        listed(tmp_path / "empty")
    with pytest.raises(DataError, match="no picture in"):
        listed(tmp_path / "*.gif")
    assert listed(tmp_path / "**" / "*.png") == [str(tmp_path / "a.png")]
    assert listed(tmp_path / "a.png") == [str(tmp_path / "a.png")]


def test_another_file_system_is_listed_like_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    try:
        for name in ("in/a.png", "in/b/c.jpg", "in/.d/e.png", "in/.f.png", "in/g.txt"):
            files.pipe_file(f"/{name}", b"a.png\nb/c.jpg\ns3://x/y.png\n")
        left_out: Counter[str] = Counter()
        assert sorted(list_pictures(["memory://in"], left_out)) == ["memory:///in/a.png", "memory:///in/b/c.jpg"]
        assert left_out == {"hidden": 2, "not pictures by their endings": 1}
        assert listed("memory://in/*.png") == ["memory:///in/a.png"]
        assert listed("memory://in/a.png") == ["memory://in/a.png"]
        assert listed("memory://in/g.txt") == ["memory://in/a.png", "memory://in/b/c.jpg", "s3://x/y.png"]
        with pytest.raises(DataError, match="does not exist"):
            listed("memory://nowhere")
    finally:
        files.rm("/in", recursive=True)
