"""What is done of a shard: its blocks of pictures, how often each was begun, and the marker that it is finished."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from everymask.core.json.sealed import sealed, unsealed
from everymask.core.labels import Labels
from everymask.errors import DataError, printable
from everymask.results.shards.pictures import FoundPicture
from everymask.results.shards.plan import Plan, read_paths
from everymask.results.shards.store import Store
from everymask.results.shards.tables import table_of

BLOCK = 50
"""Pictures that are written at once: as many are predicted again where a process dies."""
_SUM_BYTES = 16


@dataclass(frozen=True, slots=True)
class Block:
    """Some pictures of a shard, and the name under which they are written: those of a single one end with its place."""

    name: str
    paths: tuple[str, ...]

    def singles(self) -> list[Block]:
        """The same pictures one by one."""
        return [Block(f"{self.name}-{place:02}", (path,)) for place, path in enumerate(self.paths)]


@dataclass(frozen=True, slots=True)
class Tally:
    """What finished shards show: pictures, those that failed, that may show more, and per class objects and pixels.

    `errors` are the files that failed and why; `unusable` of them did not come from this machine.
    """

    pictures: int = 0
    failed: int = 0
    unusable: int = 0
    cut: int = 0
    objects: Mapping[str, int] = field(default_factory=dict)
    pixels: Mapping[str, int] = field(default_factory=dict)
    errors: Sequence[tuple[str, str]] = ()

    def __add__(self, other: Tally) -> Tally:
        """Both together, without the list of errors."""
        return Tally(
            pictures=self.pictures + other.pictures,
            failed=self.failed + other.failed,
            unusable=self.unusable + other.unusable,
            cut=self.cut + other.cut,
            objects=Counter(self.objects) + Counter(other.objects),
            pixels=Counter(self.pixels) + Counter(other.pixels),
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard in a store, by its number."""

    store: Store
    number: int

    def blocks(self) -> list[Block]:
        """Its pictures, `BLOCK` at a time."""
        paths = read_paths(self.store, self.number)
        starts = range(0, len(paths), BLOCK)
        return [Block(f"{place:03}", tuple(paths[start : start + BLOCK])) for place, start in enumerate(starts)]

    def read(self, block: Block) -> list[FoundPicture] | None:
        """What was found in the pictures of a block; None where that is not written, or damaged."""
        data = self.store.read(self._name(block, "json"))
        return None if data is None else _unchecked(data)

    def write(self, block: Block, found: Sequence[FoundPicture]) -> None:
        """Keep what was found in the pictures of a block."""
        self.store.write(self._name(block, "json"), _checked([picture.to_json() for picture in found]))

    def tries(self, block: Block) -> int:
        """How often the block was begun."""
        data = self.store.read(self._name(block, "try"))
        return int(data) if data and data.isdigit() else 0

    def begin(self, block: Block) -> None:
        """Note that the block is begun once more."""
        self.store.write(self._name(block, "try"), b"%d" % (self.tries(block) + 1))

    def finish(self, found: Sequence[FoundPicture], plan: Plan, first: int) -> None:
        """Write the tables of all pictures, then the marker; what was kept until then is removed."""
        for name, data in table_of(plan.table).encode(self.number, found, plan.labels, first).items():
            self.store.write(name, data)
        tally = sealed(_to_json(_tally(found, plan.labels)))
        self.store.write(_marker(self.number), json.dumps(tally).encode("ascii"))
        self.store.remove(f"parts/{self.number:05}")

    def _name(self, block: Block, kind: str) -> str:
        return f"parts/{self.number:05}/{block.name}.{kind}"


def finished(store: Store) -> set[int]:
    """The numbers of the shards that are finished."""
    return {int(name[:-5]) for name in store.names("done") if name.endswith(".json") and name[:-5].isdigit()}


def read_tally(store: Store, shard: int) -> Tally:
    """What a finished shard shows; `DataError` where its marker is damaged."""
    try:
        return Tally(**unsealed(json.loads(store.read(_marker(shard)) or b"")))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{printable(store.place)}/{_marker(shard)} is damaged: {printable(error)}",
            hint="remove it, and predict the shard again with --resume",
        ) from error


def tallies(store: Store, shards: int) -> Iterator[Tally]:
    """Of all finished shards, one after the other."""
    done = finished(store)
    for shard in range(shards):
        if shard in done:
            yield read_tally(store, shard)


def _marker(shard: int) -> str:
    return f"done/{shard:05}.json"


def _tally(found: Sequence[FoundPicture], labels: Labels) -> Tally:
    objects: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    for picture in found:
        for region in picture.regions:
            objects[labels.names[region.class_id]] += 1
            pixels[labels.names[region.class_id]] += region.area
    failed = [picture for picture in found if picture.error]
    return Tally(
        pictures=len(found) - len(failed),
        failed=len(failed),
        unusable=sum(picture.unusable for picture in failed),
        cut=sum(picture.cut for picture in found),
        objects=objects,
        pixels=pixels,
        errors=[(picture.file, picture.error) for picture in failed],
    )


def _to_json(tally: Tally) -> dict[str, Any]:
    return {name: getattr(tally, name) for name in tally.__slots__}


def _checked(rows: list[list[Any]]) -> bytes:
    """The rows behind a checksum, without the work that `sealed` makes of much data."""
    data = json.dumps(rows, separators=(",", ":")).encode("ascii")
    return hashlib.blake2b(data, digest_size=_SUM_BYTES).hexdigest().encode() + b"\n" + data


def _unchecked(data: bytes) -> list[FoundPicture] | None:
    checksum, _, rows = data.partition(b"\n")
    if hashlib.blake2b(rows, digest_size=_SUM_BYTES).hexdigest().encode() != checksum:
        return None
    return [FoundPicture.from_json(row) for row in json.loads(rows)]
