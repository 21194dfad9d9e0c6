"""Archives that tools export."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import time
import zipfile

import pytest

from everymask.data.formats.finding import archives
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError, MachineError
from tests.data.coco_files import document, lay_out


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/everymask/archives"


def packed(tmp_path, name, *, top="", extra=()):
    """A COCO data set as an archive, and files beside it."""
    source = tmp_path / "source"
    lay_out(source, document())
    files = {f"{top}{path.relative_to(source).as_posix()}": path.read_bytes() for path in source.rglob("*.*")}
    return write(tmp_path / name, files | dict(extra))


def write(archive, files):
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, data in files.items():
                opened.writestr(name, data)
        return archive
    with tarfile.open(archive, f"w:{'gz' if 'gz' in archive.name else ''}") as opened:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return archive


@pytest.mark.parametrize("top", ["", "export/"])
@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz", "SET.TGZ"])
def test_an_archive_is_read_and_said(tmp_path, cache, name, top):
    extra = {"__MACOSX/images/._a.png": b"x", f"{top}images/._a.png": b"x"}.items()
    archive = packed(tmp_path, name, top=top, extra=extra)
    found = read_dataset(archive)
    assert (found.format, len(found)) == ("coco", 2)
    assert found.root.is_relative_to(cache)
    assert len(found.truth(0)) == 3
    assert [issue.code for issue in found.issues] == ["archive"]
    assert found.issues[0].message.startswith("the archive is unpacked: 3 files, ")
    before = [path.stat().st_ino for path in sorted(cache.rglob("*"))]
    assert read_dataset(archive).root == found.root
    assert before == [path.stat().st_ino for path in sorted(cache.rglob("*"))]


def test_another_archive_of_that_name_is_unpacked_anew(tmp_path):
    first = read_dataset(packed(tmp_path, "set.zip")).root
    content = document()
    content["images"].pop()
    second = write(tmp_path / "set.zip", {"images/a.png": (tmp_path / "source/images/a.png").read_bytes(),
                                          "instances.json": json.dumps(content).encode()})  # fmt: skip
    found = read_dataset(second)
    assert (len(found), found.root == first) == (1, False)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"])
def test_a_name_that_leads_out_is_refused(tmp_path, cache, kind, name):
    archive = write(tmp_path / f"set.{kind}", {"a.txt": b"a", name: b"b"})
    with pytest.raises(DataError, match="leads out of the archive"):
        read_dataset(archive)
    assert list(cache.iterdir()) == []


def linked(archive, target, kind=tarfile.SYMTYPE):
    with tarfile.open(archive, "w") as opened:
        data = tarfile.TarInfo("images/a.txt")
        data.size = 1
        opened.addfile(data, io.BytesIO(b"a"))
        link = tarfile.TarInfo("images/b.txt")
        link.type, link.linkname = kind, target
        opened.addfile(link)
    return archive


@pytest.mark.parametrize(
    ("target", "kind"),
    [("../../secret", tarfile.SYMTYPE), ("/etc/hostname", tarfile.SYMTYPE), ("../secret", tarfile.LNKTYPE)],
)
def test_a_link_that_leads_out_is_refused(tmp_path, cache, target, kind):
    with pytest.raises(DataError, match="is a link out of the archive"):
        read_dataset(linked(tmp_path / "set.tar", target, kind))
    assert list(cache.iterdir()) == []


def test_an_archive_that_was_given_its_old_time_back_is_unpacked_anew(tmp_path, cache):
    """Programs that copy or unpack keep times of writing; the time of change is the file system's own."""
    archive = write(tmp_path / "set.tar", {"a.txt": b"one"})
    with pytest.raises(DataError, match="no known data set"):
        read_dataset(archive)
    before = archive.stat()
    while time.time_ns() // 20_000_000 == before.st_ctime_ns // 20_000_000:
        pass  # the clock of the file system moves in steps
    archive.write_bytes(write(tmp_path / "other.tar", {"a.txt": b"two"}).read_bytes())
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = archive.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    with pytest.raises(DataError, match="no known data set"):
        read_dataset(archive)
    assert sorted(file.read_bytes() for file in cache.rglob("a.txt")) == [b"one", b"two"]


def test_a_link_of_a_zip_that_leads_out_is_refused(tmp_path, cache):
    info = zipfile.ZipInfo("images/b.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as opened:
        opened.writestr(info, "../../../../etc/hostname")
    with pytest.raises(DataError, match="is a link out of the archive"):
        read_dataset(tmp_path / "set.zip")


@pytest.mark.parametrize(("target", "kind"), [("a.txt", tarfile.SYMTYPE), ("images/a.txt", tarfile.LNKTYPE)])
def test_a_link_within_is_a_copy(tmp_path, cache, target, kind):
    with pytest.raises(DataError, match="no known data set"):
        read_dataset(linked(tmp_path / "set.tar", target, kind))
    (copy,) = cache.rglob("b.txt")
    assert (copy.read_bytes(), copy.is_symlink()) == (b"a", False)


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_more_than_an_archive_may_hold_is_refused(tmp_path, cache, monkeypatch, name):
    monkeypatch.setattr(archives, "FREELY", 1 << 20)
    archive = write(tmp_path / name, {"zeros.bin": bytes(8 << 20)})
    with pytest.raises(DataError, match="would come out"):
        read_dataset(archive)
    assert list(cache.iterdir()) == []


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(DataError, match="at most 3 files"):
        read_dataset(write(tmp_path / "many.zip", {f"{k}.txt": b"" for k in range(4)}))


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz", "set.tar"])
@pytest.mark.parametrize("data", [b"", b"no archive", None])
def test_a_damaged_archive_is_named(tmp_path, cache, name, data):
    archive = packed(tmp_path, name)
    archive.write_bytes(archive.read_bytes()[:300] if data is None else data)
    with pytest.raises(DataError, match=name):
        read_dataset(archive)
    assert list(cache.iterdir()) == []


def test_files_before_the_beginning_of_an_archive_are_damage(tmp_path, cache):
    archive = packed(tmp_path, "set.zip")
    data = bytearray(archive.read_bytes())
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 1000).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"set\.zip"):
        read_dataset(archive)
    assert list(cache.iterdir()) == []


def test_without_a_place_to_unpack_it_says_what_to_do(tmp_path, monkeypatch):
    archive = packed(tmp_path, "set.zip")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="unpack it yourself"):
        read_dataset(archive)
