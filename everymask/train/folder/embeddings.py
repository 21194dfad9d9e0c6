"""What an encoder that does not learn sees of each picture, kept on disk: it looks at each once."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import everymask
from everymask.core.cache import cache_folder
from everymask.core.files import clear_leftovers
from everymask.data.feed.augment import Augment
from everymask.errors import EverymaskError
from everymask.infer.decoding.prompted import EmbeddingArrays
from everymask.infer.prompted.looks import digest_of, read_embedding, write_embedding
from everymask.models.base import Network
from everymask.models.header import digest_of as digest_of_tensors
from everymask.settings.plan import Plan
from everymask.train.layers import frozen_parameters, learning_parameters

BUDGET = 8 << 30
"""Bytes that the embeddings of all networks may take."""
_FOLDER = "embeddings"
_FREE = 2  # a file is written where so many times its size is free
_SHARES = 8
_ABANDONED = 3600.0  # seconds after which nobody is still writing a file
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Embeddings:
    """The maps that the encoder of a network makes of pictures, in `folder` up to `budget` bytes.

    A file has the maps of one picture, known by what the network is shown, in a folder of the network, which is known
    by its encoder's tensors, its `precision` and this version of everymask. Several processes may use the folder at
    once: files appear whole, and up to eight processes keep to the budget. One that is damaged, of another network, or
    gone is made anew. Where there is no room, pictures are encoded each time; that is said once.
    """

    folder: Path
    precision: str = "fp32"
    budget: int = BUDGET
    _network: str = field(default="", init=False)
    _told: bool = field(default=False, init=False)
    _full: bool = field(default=False, init=False)
    _uncounted: int = field(default=0, init=False)

    @torch.no_grad()
    def __call__(self, images: Tensor, network: Network) -> tuple[Tensor, ...]:
        """The maps [B, C, h, w] float32 of pictures [B, C, side, side], each encoded by itself, so that they are the
        same whatever is beside it.

        The encoder must not change after the first call.
        """
        if not self._network:  # only now has a run that goes on the weights of its saved state
            self._network = f"{_digest(network)[:32]}-{self.precision}-{everymask.__version__}"
            self._make_room()
        found = [self._one(image, network) for image in images]
        return tuple(torch.stack(maps).to(images.device) for maps in zip(*found, strict=True))

    def _one(self, image: Tensor, network: Network) -> tuple[Tensor, ...]:
        shown = image.detach().float().cpu().contiguous().numpy()
        picture = digest_of(shown)
        path = self.folder / self._network / f"{picture}.safetensors"
        found = self._read(path, picture)
        if found is not None:
            return tuple(map(torch.from_numpy, found.maps))
        maps = tuple(each[0].float().cpu().contiguous() for each in network.encoded(image[None]))
        self._keep(path, EmbeddingArrays(tuple(np.asarray(each.numpy()) for each in maps), self._network), picture)
        return maps

    def _read(self, path: Path, picture: str) -> EmbeddingArrays | None:
        """What is kept of a picture; None where that is nothing, or cannot be used."""
        try:
            if not path.is_file():
                return None
            found = read_embedding(path, picture)
            if found.network == self._network:
                return found
            self._tell(f"{path} is the embedding of another network; it is made anew")
        except EverymaskError as error:
            self._tell(f"{error}; it is made anew")
        except OSError as error:  # a folder that may not be entered
            self._tell(f"embeddings cannot be read: {error}")
        return None

    def _keep(self, path: Path, seen: EmbeddingArrays, picture: str) -> None:
        if self._full:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._has_room(seen.nbytes):
                self._full = True
                self._tell(f"{self.folder} has no room for more embeddings: other pictures are encoded each time")
                return
            write_embedding(path, seen, picture)
            self._uncounted -= seen.nbytes
        except (OSError, EverymaskError) as error:
            self._tell(f"embeddings cannot be kept: {error}")

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more may be kept.

        To count all that is kept takes long. So between two counts as much is written as is an eighth of what was free.
        """
        if size > self._uncounted:
            free = self.budget - _bytes_in(self.folder)
            if size > free:
                return False
            self._uncounted = max(size, free // _SHARES)
        return shutil.disk_usage(self.folder).free >= _FREE * size

    def _make_room(self) -> None:
        """Remove what other networks have seen, the one that was used longest ago first, until half of the budget is
        free; and what killed processes have left half-written.
        """
        try:
            folders = [path for path in self.folder.iterdir() if path.is_dir()]
            for folder in folders:
                clear_leftovers(folder, older=_ABANDONED)
                if folder.name == self._network:
                    os.utime(folder)
            others = [path for path in folders if path.name != self._network]
            for other in sorted(others, key=lambda path: path.stat().st_mtime):
                if _bytes_in(self.folder) <= self.budget // 2:
                    return
                shutil.rmtree(other, ignore_errors=True)
        except OSError:  # there is no such folder yet, or another process was faster
            return

    def _tell(self, what: str) -> None:
        if not self._told:
            _logger.warning("%s", what)
        self._told = True


def keep_embeddings(
    module: Network, plan: Plan, folder: Path | None = None, *, budget: int = BUDGET
) -> tuple[str, ...]:
    """Let a network that looks once keep what its encoder sees, where that does not learn and pictures come unvaried; a
    line about it.
    """
    if not module.looks_once:
        return ()
    frozen = frozen_parameters(module)
    learning = {name for phase in plan.phases for name in learning_parameters(module, phase.selection, frozen)}
    if plan.augment != Augment.none() or any(name.startswith(module.encoder_prefix) for name in learning):
        return ()
    try:
        folder = folder or cache_folder() / _FOLDER
    except RuntimeError:  # the user has no home
        return ()
    module.kept = Embeddings(folder, "bf16" if plan.bf16 else "fp32", budget)
    return (f"the encoder sees each picture once: what it sees is kept in {folder}, up to {budget >> 30} GB",)


def _digest(module: Network) -> str:
    encoder = module.get_submodule(module.encoder_prefix.removesuffix("."))
    whole = ((name, value.detach().cpu().contiguous()) for name, value in encoder.state_dict().items())
    return digest_of_tensors(
        (name, str(value.dtype), list(value.shape), value.reshape(-1).view(torch.uint8).numpy())
        for name, value in whole
    )


def _bytes_in(folder: Path) -> int:
    """Of the embeddings of all networks. Files that another process is just removing count as nothing."""
    total = 0
    for path in folder.glob("*/*.safetensors"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
