"""Where shards are kept: a folder of this machine, or one that fsspec reaches (s3://bucket/folder, gs://...)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from everymask.core.files import clear_leftovers, write_bytes
from everymask.errors import EverymaskError, MachineError, MissingExtra, printable, require

_LOCAL = "file://"


class Store(Protocol):
    """A folder of files that are written whole, by their names with `/` between folders.

    `MachineError` says what could not be read or written.
    """

    @property
    def place(self) -> str:
        """The folder as it is named on the command line."""

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, sorted; none where it is not there."""

    def remove(self, folder: str) -> None:
        """Remove a folder, or one file, where it is there."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder of this machine, or one that it shares with others."""

    root: Path

    @property
    def place(self) -> str:
        """The folder's path."""
        return str(self.root)

    def read(self, name: str) -> bytes | None:
        """As the protocol says."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise MachineError(f"cannot read {printable(self.root / name)}: {error.strerror or error}") from error

    def write(self, name: str, data: bytes) -> None:
        """As the protocol says."""
        write_bytes(self.root / name, data)

    def names(self, folder: str) -> list[str]:
        """As the protocol says; what begins with a dot was being written by one that was killed."""
        try:
            return sorted(path.name for path in (self.root / folder).iterdir() if not path.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, folder: str) -> None:
        """As the protocol says."""
        path = self.root / folder
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what killed processes have left half-written; nobody may write now."""
        for folder in (self.root, *(path for path in self.root.rglob("*") if path.is_dir())):
            clear_leftovers(folder)


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A folder that fsspec reaches, in a store of objects: there each appears when it is whole."""

    place: str
    files: Any
    root: str

    def read(self, name: str) -> bytes | None:
        """As the protocol says."""
        with reaching(f"cannot read {self.place}/{name}"):
            try:
                data: bytes = self.files.cat_file(f"{self.root}/{name}")
            except FileNotFoundError:
                return None
            return data

    def write(self, name: str, data: bytes) -> None:
        """As the protocol says."""
        with reaching(f"cannot write {self.place}/{name}"):
            path = f"{self.root}/{name}"
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.files.pipe_file(path, data)

    def names(self, folder: str) -> list[str]:
        """As the protocol says."""
        with reaching(f"cannot list {self.place}/{folder}"):
            self.files.invalidate_cache()
            try:
                found = self.files.ls(f"{self.root}/{folder}", detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
            return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def remove(self, folder: str) -> None:
        """As the protocol says."""
        with reaching(f"cannot remove {self.place}/{folder}"):
            if self.files.exists(f"{self.root}/{folder}"):
                self.files.rm(f"{self.root}/{folder}", recursive=True)


def is_remote(path: str) -> bool:
    """Whether a path is an address that fsspec reaches, and no file of this machine."""
    return "://" in path and not path.startswith(_LOCAL)


def local_path(path: str) -> Path:
    """The path of a file of this machine, which may be written as an address too."""
    return Path(path.removeprefix(_LOCAL))


def open_store(place: str) -> Store:
    """The store of a folder by its path or address; errors as by `open_remote`."""
    if is_remote(place):
        files, root = open_remote(place)
        return RemoteStore(place.rstrip("/"), files, root)
    return LocalStore(local_path(place))


def open_remote(address: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it; `MissingExtra` where a package is missing for it."""
    fsspec = require("fsspec", "ray")
    try:
        files, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingExtra(f"{printable(address)} cannot be reached: {error}", hint="install that package") from error
    except Exception as error:  # whatever a file system says of its address
        raise MachineError(f"{printable(address)} cannot be reached: {printable(error)}") from error
    return files, str(root).rstrip("/")


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Within, whatever another machine answers with is a `MachineError` that says `what` could not be done."""
    try:
        yield
    except EverymaskError:
        raise
    except Exception as error:  # file systems have errors of their own
        raise MachineError(f"{printable(what)}: {printable(error) or type(error).__name__}") from error
