"""Archives that tools export, unpacked into the user's cache folder: the data set is the folder that comes out.

Read are .zip, .tar, .tar.gz, .tgz, .tar.bz2 and .tar.xz. The same file, by its path, size and time, is unpacked once.
Refused are a name that leads out of the folder, a link to somewhere else, more than 2,000,000 files, more than 200
times the archive's bytes once that is more than 1 GiB, and more than 90 % of what is free on the disk. Nothing in the
archive but files and folders is made; links within it become copies of what they lead to.
"""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from everymask.core.files import whole_folder
from everymask.data.identity.copies import copies_of
from everymask.data.issues import IssueLog
from everymask.errors import DataError, counted, printable

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
UNREAD_SUFFIXES = (".7z", ".rar", ".gz", ".zst")
MOST_FILES = 2_000_000
MOST_RATIO = 200
FREELY = 1 << 30
"""So many bytes may come out of any archive, however small it is."""
_SHARE_OF_DISK = 0.9
_PIECE = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, UnicodeError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file in an archive: its name, the bytes it says it has, and its content; or where it is a link out of it to."""

    name: str
    num_bytes: int
    content: IO[bytes] | None
    leads_out_to: str = ""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that is read."""
    return path.name.lower().endswith(SUFFIXES)


def unpacked(archive: Path, issues: IssueLog) -> Path:
    """The folder with an archive's files; where they all lie in one folder, that one. `issues` is told what was done.

    `DataError` for what this module's text refuses and for a damaged or encrypted archive, `MachineError` where there
    is no place to unpack it.
    """
    cure = "unpack it yourself and name the folder"
    place, known = copies_of(archive, "archives", what="unpack it", cure=cure)
    target = place / f"{_stem(archive)}-{known[:16]}"
    if not target.exists():
        with whole_folder(target) as folder:
            _unpack(archive, folder, archive.stat().st_size)
    files = [path for path in target.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    message = f"the archive is unpacked: {counted(len(files), 'file')}, {total / 1e6:,.1f} MB, in {printable(target)}"
    issues.warn("archive", message, file=archive, hint="this copy is made again when it is needed: you may delete it")
    return _only_folder(target)


def _unpack(archive: Path, folder: Path, packed: int) -> None:
    room = int(shutil.disk_usage(folder).free * _SHARE_OF_DISK)
    most = min(max(FREELY, MOST_RATIO * packed), room)
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened_zip:
                _write(_zip_entries(opened_zip), folder, archive, most)
        else:
            with tarfile.open(archive) as opened_tar:
                _write(_tar_entries(opened_tar), folder, archive, most)
    except (*_DAMAGE, OSError) as error:
        # What a damaged zip says lies before its beginning, where no file can be read.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        hint = "fetch or export it again, or unpack it yourself and name the folder"
        raise DataError(f"{printable(archive)}: the archive is damaged ({printable(error)})", hint=hint) from error
    except RuntimeError as error:  # as zipfile says that a password is needed
        hint = "unpack it yourself, and name the folder"
        raise DataError(f"{printable(archive)}: the archive cannot be read ({printable(error)})", hint=hint) from error


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    known = {info.filename: info for info in archive.infolist()}
    for info in known.values():
        if info.is_dir():
            continue
        content = info
        if stat.S_ISLNK(info.external_attr >> 16) and info.file_size < 4096:
            leads_to = archive.read(info).decode("utf-8", "replace")
            inner = os.path.normpath(PurePosixPath(info.filename).parent / leads_to)
            if inner not in known:
                yield _Entry(info.filename, 0, None, leads_to if _leads_out(inner) else "")
                continue
            content = known[inner]
        with archive.open(content) as stream:
            yield _Entry(info.filename, content.file_size, stream)


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for member in archive:
        if member.isdir():
            continue
        linked = member.issym() or member.islnk()
        base = PurePosixPath(member.name).parent if member.issym() else PurePosixPath()
        if linked and _leads_out(str(base / member.linkname)):
            yield _Entry(member.name, 0, None, member.linkname)
            continue
        try:
            stream = archive.extractfile(member)
        except KeyError:  # a link to what is not there
            continue
        if stream is not None:
            with closing(stream):
                yield _Entry(member.name, 0 if linked else member.size, stream)


def _write(entries: Iterable[_Entry], folder: Path, archive: Path, most: int) -> None:
    total = 0
    for count, entry in enumerate(entries, 1):
        name = entry.name.replace("\\", "/")
        if _leads_out(name) or "\0" in name:
            raise DataError(
                f"{printable(archive)}: the entry {printable(entry.name)!r} leads out of the archive",
                hint="no tool that exports data sets writes such names: do not trust this file",
            )
        if entry.leads_out_to:
            raise DataError(
                f"{printable(archive)}: {printable(entry.name)!r} is a link out of the archive, to "
                f"{printable(entry.leads_out_to)!r}",
                hint="make the archive again with the files that the links lead to",
            )
        if count > MOST_FILES:
            raise DataError(f"{printable(archive)}: expected at most {MOST_FILES:,} files in an archive")
        if total + entry.num_bytes > most:
            raise _too_much(archive, most)
        parts = PurePosixPath(name).parts
        if entry.content is None or "__MACOSX" in parts or any(part.startswith("._") for part in parts):
            continue
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            while piece := entry.content.read(_PIECE):
                total += len(piece)
                if total > most:
                    raise _too_much(archive, most)
                stream.write(piece)


def _too_much(archive: Path, most: int) -> DataError:
    return DataError(
        f"{printable(archive)}: more than {most / 1e9:,.1f} GB would come out, which the archive is too small or the "
        "disk too full for",
        hint="if you trust it, unpack it yourself and name the folder",
    )


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    inside = os.path.normpath(name)
    return path.is_absolute() or re.match(r"[A-Za-z]:", name) is not None or inside == ".." or inside.startswith("../")


def _only_folder(folder: Path) -> Path:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return _only_folder(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def _stem(archive: Path) -> str:
    name = archive.name
    ending = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len)
    return re.sub(r"[^\w.-]", "_", name[: -len(ending)])[:60] or "archive"
