"""Published weights: fetched when they are asked for, checked, and kept in a cache."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from everymask.core.cache import cache_folder
from everymask.core.files import whole_file
from everymask.errors import WeightsError
from everymask.models.base import Network
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.catalog import Weights
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.torchvision import read_state_dict, upgrade_names

_TIMEOUT = 30
_CHUNK = 1 << 20


def load_pretrained(weights: Weights, file: Path | None = None) -> tuple[Network, Card]:
    """The network of a row of the catalogue with its weights from `file` (None: fetched), in evaluation mode."""
    file = file or fetch_weights(weights)
    module = build(weights.spec, len(weights.labels))
    load_exactly(module, upgrade_names(read_state_dict(file)), file)
    card = Card(
        weights.spec,
        weights.labels,
        weights.preprocess,
        metrics=dict(weights.metrics),
        licence=weights.licence,
        source=weights.url,
    )
    return module.eval(), card


def fetch_weights(weights: Weights, folder: Path | None = None) -> Path:
    """The file of a row of the catalogue, from the cache or from its url, with a progress bar on stderr.

    The file appears whole, and only when its SHA-256 begins as the catalogue says. `WeightsError` names the url and
    where to put the file by hand.
    """
    target = (folder or cache_folder()) / weights.url.rpartition("/")[2]
    if target.is_file():
        return target
    by_hand = f"fetch {weights.url} by other means and put it at {target}"
    try:
        with (
            urllib.request.urlopen(weights.url, timeout=_TIMEOUT) as source,
            whole_file(target) as temporary,
        ):
            found = _copy(source, temporary, int(source.headers.get("Content-Length") or 0), weights)
            if not found.startswith(weights.sha256):
                raise WeightsError(
                    f"{weights.url} is not what it should be: its SHA-256 begins {found[:8]}, not {weights.sha256}",
                    hint=by_hand,
                )
    except (urllib.error.URLError, OSError) as error:
        raise WeightsError(f"{weights.url} cannot be fetched: {error}", hint=by_hand) from error
    return target


def _copy(source: IO[bytes], target: Path, total: int, weights: Weights) -> str:
    """Copy the stream into a file; the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, target.open("wb") as file:
        task = bar.add_task(f"{weights.name} ({weights.licence})", total=total or None)
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
            bar.advance(task, len(chunk))
    return digest.hexdigest()
