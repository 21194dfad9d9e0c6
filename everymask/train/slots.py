"""Memory in which worker processes hand batches over, used again and again.

Handing over a tensor the usual way costs a new shared file for each batch: its pages are found, cleared and thrown
away, and its descriptor is sent through a socket. Here worker and main process share some blocks from the fork on. The
main process says with each order which block is free; a block is free again when nothing refers to the batch in it.
"""

from __future__ import annotations

import mmap
import pickle
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from everymask.core.arrays import ByteArray
from everymask.models.base import Batch

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch in block `slot`: the shape of its images, and all else pickled, with arrays at `places` (begin, end)."""

    slot: int
    shape: tuple[int, ...]
    rest: bytes
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A batch for which there is no block, pickled whole.

    Tensors would be handed over as descriptors that the worker has to give out: whoever waits for those of one that
    was stopped waits without end.
    """

    content: bytes

    @classmethod
    def of(cls, batch: Batch) -> Letter:
        """The batch, in one piece."""
        arrays = {"images": batch.images.numpy(), "windows": batch.windows.numpy()}
        return cls(pickle.dumps({column.name: getattr(batch, column.name) for column in fields(batch)} | arrays))

    def opened(self) -> Batch:
        """The batch again."""
        found = pickle.loads(self.content)  # noqa: S301 (our own worker wrote it)
        images, windows = (torch.from_numpy(found.pop(name)) for name in ("images", "windows"))
        return Batch(images=images, windows=windows, **found)


class Slots:
    """`count` blocks of `size` bytes of memory that forked processes share; only what is written to takes room."""

    def __init__(self, count: int, size: int) -> None:
        reserve = getattr(mmap, "MAP_NORESERVE", 0)
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | reserve
        self._blocks = [np.frombuffer(mmap.mmap(-1, size, flags=flags), np.uint8) for _ in range(count)]
        self._free = list(range(count))

    def take(self) -> int | None:
        """A free block, or None; it is free again when all arrays of the batch that `unpack` makes of it are gone.

        A block of which nothing is unpacked, because a batch is too large for it, is not used again.
        """
        return self._free.pop() if self._free else None

    def images(self, slot: int) -> Tensor:
        """Room for the images of a batch, flat float32."""
        return torch.from_numpy(self._blocks[slot].view(np.float32))

    def pack(self, slot: int, batch: Batch) -> Parcel | None:
        """A batch whose images lie in `images(slot)` already; None where its other arrays find no room behind them."""
        buffers: list[pickle.PickleBuffer] = []
        others = {column.name: getattr(batch, column.name) for column in fields(batch) if column.name != "images"}
        # As an array: PyTorch 2.4 warns of its own pickled tensors, and they would not lie in the block.
        others["windows"] = batch.windows.numpy()
        rest = pickle.dumps(others, protocol=5, buffer_callback=buffers.append)
        block, end = self._blocks[slot], batch.images.nbytes
        places = []
        for buffer in buffers:
            values = np.frombuffer(buffer.raw(), np.uint8)
            begin = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = begin + values.size
            if end > block.size:
                return None
            block[begin:end] = values
            places.append((begin, end))
        return Parcel(slot, tuple(batch.images.shape), rest, tuple(places))

    def unpack(self, parcel: Parcel) -> Batch:
        """The batch; its arrays lie in the block."""
        block = _leased(self._blocks[parcel.slot], lambda: self._free.append(parcel.slot))
        count = int(np.prod(parcel.shape))
        images = torch.from_numpy(block[: 4 * count].view(np.float32)).view(parcel.shape)
        buffers = [block[begin:end] for begin, end in parcel.places]
        others = pickle.loads(parcel.rest, buffers=buffers)  # noqa: S301 (our own worker wrote it)
        return Batch(images=images, windows=torch.from_numpy(others.pop("windows")), **others)


class _Lease:
    """What all arrays on a block refer to as their base: it dies with the last of them."""

    def __init__(self, block: ByteArray) -> None:
        self.__array_interface__ = block.__array_interface__


def _leased(block: ByteArray, end: Callable[[], None]) -> ByteArray:
    lease = _Lease(block)
    weakref.finalize(lease, end).atexit = False
    return np.asarray(lease)
