"""Source archives that are the same, byte for byte, whenever and wherever they are made of the same files.

All else stands in pyproject.toml. setuptools gives each file of a source archive the time at which it was written; here
it is SOURCE_DATE_EPOCH, as wheels have it already (https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.sdist import sdist

_FIRST = 315_532_800
"""1980, before which zip files know no time."""


class Reproducible(sdist):
    """Packs the files sorted, with one time, without the names of who packs them."""

    def make_archive(self, base_name: Any, kind: str, root_dir: Any = None, base_dir: Any = None, **_: Any) -> str:
        """The archive's name; `base_dir` is packed."""
        if kind != "gztar":
            raise ValueError(f"source archives are .tar.gz here, but got {kind}")
        when = int(os.environ.get("SOURCE_DATE_EPOCH", _FIRST))

        def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.mtime, member.uid, member.gid, member.uname, member.gname = when, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        name = f"{base_name}.tar.gz"
        folder = Path(base_dir)
        with (
            Path(name).open("wb") as file,
            gzip.GzipFile("", "wb", mtime=when, fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in [folder, *sorted(folder.rglob("*"))]:
                archive.add(path, recursive=False, filter=plain)
        return name


os.umask(0o022)  # wheels keep the modes of files that are written while they are built
setup(cmdclass={"sdist": Reproducible})
