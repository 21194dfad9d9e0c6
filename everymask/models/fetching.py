"""Files on servers: fetched where that is allowed, whole and with the right hash, and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import IO, Any
from urllib.error import HTTPError

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from everymask.core.cache import cache_folder
from everymask.core.files import whole_file
from everymask.errors import WeightsError, printable

OFFLINE = "EVERYMASK_OFFLINE"
PATIENCE = 30.0
"""Seconds for a server to answer where a file was asked for by its name."""
UNASKED = 3.0
"""Seconds for a server to answer where a file would be good to have; then there is no network."""
_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Published:
    """A file on a server: `title` says what it is, `file` what it is called in the cache.

    `sha256` is the start of its hash; where that is not known beforehand, the server may name it (Hugging Face does).
    Where a publisher tells only an `md5`, that is its start.
    """

    title: str
    url: str
    file: str
    licence: str
    sha256: str = ""
    md5: str = ""

    def place(self, folder: Path | None = None) -> Path:
        """Where it is kept; `WeightsError` where the user has no cache folder."""
        try:
            return (folder or cache_folder()) / self.file
        except RuntimeError as error:
            raise WeightsError(
                f"there is no place to keep {self.title}: {error}", hint="name a folder in XDG_CACHE_HOME"
            ) from error

    def by_hand(self, folder: Path | None = None) -> str:
        """How to have it without a network."""
        return f"fetch {self.url} by other means and put it at {self.place(folder)}"


def is_offline() -> bool:
    """Whether `EVERYMASK_OFFLINE` forbids to touch the network."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def fetch(
    published: Published,
    folder: Path | None = None,
    *,
    patience: float = PATIENCE,
    say: Callable[[str], None] | None = None,
) -> Path:
    """The file, from the cache or from its server, with a progress bar on stderr.

    It appears whole, and only with the right hash. Before it is fetched, `say` is told what it is, how large, and under
    which licence. `WeightsError` names the address and where to put the file by hand; a server that does not answer
    within `patience` seconds cannot be reached.
    """
    target = published.place(folder)
    if target.is_file():
        return target
    by_hand = published.by_hand(folder)
    if is_offline():
        raise WeightsError(f"{published.url} is not fetched: {OFFLINE} is set", hint=by_hand)
    hashes = _Hashes()
    try:
        source = _opened(published.url, hashes, patience)
    except (OSError, HTTPException, ValueError) as error:
        reason = printable(error if isinstance(error, HTTPError) else getattr(error, "reason", None) or error)
        if isinstance(error, HTTPError):
            error.close()
        raise WeightsError(f"{published.url} cannot be fetched: {reason}", hint=by_hand) from error
    with source, whole_file(target) as temporary:
        length = source.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else 0
        if say is not None:
            extent = f"{size / 1e6:.1f} MB" if size else "of a size that the server does not say"
            say(f"fetching {published.title}: {extent}, {published.licence}, from {published.url}")
        found = _copy(source, temporary, size, published, by_hand)
        expected = published.md5 or published.sha256 or hashes.named
        if not found.startswith(expected):
            kind = "MD5" if published.md5 else "SHA-256"
            raise WeightsError(
                f"{published.url} is not what it should be: its {kind} begins {found[:8]}, not {expected[:8]}",
                hint=by_hand,
            )
    return target


class _Hashes(urllib.request.HTTPRedirectHandler):
    """Follows redirections, and keeps the SHA-256 that Hugging Face names in them."""

    named = ""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        tag = str(headers.get("X-Linked-ETag", "")).strip('"')
        self.named = tag if _SHA256.fullmatch(tag) else self.named
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(url: str, hashes: _Hashes, patience: float) -> Any:
    """The server's answer; `TimeoutError` without one.

    Looking up a name knows no limit of time, so that a thread does it, which is left alone when the time is over.
    """
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(urllib.request.build_opener(hashes).open(url, timeout=PATIENCE))
        except Exception as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    try:
        return answer.result(timeout=patience)
    except TimeoutError:
        answer.add_done_callback(_close)
        raise TimeoutError(f"no answer within {patience:g} seconds") from None


def _close(answer: Future[Any]) -> None:
    """What came too late holds no connection."""
    if answer.exception() is None:
        answer.result().close()


def _copy(source: IO[bytes], target: Path, size: int, published: Published, by_hand: str) -> str:
    """Copy the stream into a file; the hash of what was copied. `WeightsError` where it is not all of it."""
    digest = hashlib.md5(usedforsecurity=False) if published.md5 else hashlib.sha256()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, target.open("wb") as file:
        task = bar.add_task(f"{published.title} ({published.licence})", total=size or None)
        while chunk := _read(source, published, by_hand):
            digest.update(chunk)
            file.write(chunk)
            bar.advance(task, len(chunk))
        if size and file.tell() != size:
            raise WeightsError(
                f"{published.url} broke off after {file.tell():,} of {size:,} bytes", hint=f"try again, or {by_hand}"
            )
    return digest.hexdigest()


def _read(source: IO[bytes], published: Published, by_hand: str) -> bytes:
    """The next bytes; what fails is the network, not the disk."""
    try:
        return source.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise WeightsError(f"{published.url} broke off: {error}", hint=f"try again, or {by_hand}") from error
