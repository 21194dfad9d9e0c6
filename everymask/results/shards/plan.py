"""Which pictures make which shard: by the hash of their paths, so that everybody comes to the same answer."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from everymask.core.json.sealed import sealed, unsealed
from everymask.core.json.values import value_of
from everymask.core.labels import Labels
from everymask.core.segmentation import TaskName
from everymask.errors import ConfigError, DataError, printable
from everymask.results.shards.store import Store

PLAN = "plan.json"
_BUCKETS = 64
_HASH_BYTES = 16
_HASH_DIGITS = 2 * _HASH_BYTES
_ALL = 1 << 8 * _HASH_BYTES


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be predicted, and how.

    `pictures` in `shards` of `shard_size`, the last of fewer. The listing named `listed` of them (some twice) and had
    that `digest`, which does not depend on its order. `about` says on what the results depend, `table` how they are
    stored, `task` whose they are.
    """

    pictures: int
    shards: int
    shard_size: int
    listed: int
    digest: str
    table: str
    task: TaskName
    labels: Labels
    about: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `from_json` takes them."""
        names = ("pictures", "shards", "shard_size", "listed", "digest", "table", "task")
        kept = {name: getattr(self, name) for name in names}
        return {**kept, "labels": self.labels.to_json(), "about": dict(self.about)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """What `to_json` wrote; `KeyError` or `TypeError` where it is something else."""
        task = value_of(TaskName, data["task"], "task")
        return cls(**{**data, "task": task, "labels": Labels.from_json(data["labels"])})


def read_plan(store: Store) -> Plan | None:
    """The plan of a folder; None where there is none. `DataError` where it is damaged."""
    data = store.read(PLAN)
    if data is None:
        return None
    try:
        return Plan.from_json(unsealed(json.loads(data)))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{printable(store.place)}/{PLAN} is damaged: {printable(error)}", hint="begin anew with --overwrite"
        ) from error


def read_paths(store: Store, shard: int) -> list[str]:
    """The pictures of a shard; `DataError` where the list is gone or damaged."""
    data = store.read(f"plan/{shard:05}.json")
    try:
        return list(unsealed(json.loads(data or b""))["paths"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{printable(store.place)}/plan/{shard:05}.json is damaged or gone: {printable(error)}",
            hint="begin anew with --overwrite",
        ) from error


def write_plan(
    store: Store,
    paths: Iterable[str],
    shard_size: int,
    describe: Callable[[int, int, int, str], Plan],
) -> Plan:
    """Divide pictures into shards and write down which they are; what is named twice is in there once.

    `describe` makes the plan of the number of pictures, of shards and of what was listed, and the listing's digest. In
    memory is a 64th of the paths at a time; the rest waits in a temporary folder of this machine. `MachineError` where
    there is no room.
    """
    with _Sorted() as listing:
        for path in paths:
            listing.add(path)
        shards = pictures = 0
        chunk: list[str] = []
        for path in listing:
            chunk.append(path)
            if len(chunk) == shard_size:
                _write_paths(store, shards, chunk)
                shards, pictures, chunk = shards + 1, pictures + len(chunk), []
        if chunk:
            _write_paths(store, shards, chunk)
            shards, pictures = shards + 1, pictures + len(chunk)
        plan = describe(pictures, shards, listing.count, listing.digest)
    store.write(PLAN, json.dumps(sealed(plan.to_json()), indent=1).encode("ascii"))
    return plan


def digest_listing(paths: Iterable[str]) -> tuple[int, str]:
    """How many pictures a listing names, and its digest, which does not depend on their order."""
    count = total = 0
    for path in paths:
        count, total = count + 1, total + int(_hash(path), 16)
    return count, _digest(total)


def check_same(plan: Plan, about: Mapping[str, Any], table: str, place: str) -> None:
    """`ConfigError` where a prediction would go on with another model or with other options."""
    then, now = {**plan.about, "table": plan.table}, json.loads(json.dumps({**about, "table": table}, default=str))
    changed = [name for name in now if then.get(name) != now[name]]
    if changed:
        shown = "; ".join(f"{name} was {then.get(name)!r}, now {now[name]!r}" for name in changed)
        raise ConfigError(
            f"the prediction in {printable(place)} began with other settings: {printable(shown, 400)}",
            hint="continue it with the same, begin anew with --overwrite, or choose another --out",
        )


def _write_paths(store: Store, shard: int, paths: list[str]) -> None:
    store.write(f"plan/{shard:05}.json", json.dumps(sealed({"paths": paths}), indent=0).encode("ascii"))


def _hash(path: str) -> str:
    return hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=_HASH_BYTES).hexdigest()


def _digest(total: int) -> str:
    return f"{total % _ALL:0{_HASH_DIGITS}x}"


class _Sorted:
    """Paths in the order of their hashes, each once; they wait in files for the beginnings of these."""

    def __init__(self) -> None:
        self.count = self._total = 0

    def __enter__(self) -> _Sorted:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="everymask-plan-")))
            self._files = [
                stack.enter_context((folder / str(number)).open("w+", encoding="ascii", newline="\n"))
                for number in range(_BUCKETS)
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, path: str) -> None:
        """One more, which may have come before."""
        hashed = _hash(path)
        self.count, self._total = self.count + 1, self._total + int(hashed, 16)
        self._files[int(hashed[:2], 16) * _BUCKETS >> 8].write(f"{hashed}{json.dumps(path)}\n")

    @property
    def digest(self) -> str:
        """Of all that was added."""
        return _digest(self._total)

    def __iter__(self) -> Iterator[str]:
        for file in self._files:
            file.seek(0)
            for line, _ in groupby(sorted(file)):
                yield json.loads(line[_HASH_DIGITS:])
