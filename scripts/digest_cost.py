"""How long it takes to know what a data set holds: `python scripts/digest_cost.py DATA`, files in the page cache."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from everymask.data.formats.table import read_dataset
from everymask.data.identity.content import identity_of, read_identity, see_dataset, write_identity
from everymask.data.identity.watch import watched


def main(data: str) -> None:
    """Print the seconds of a beginning, of going on, and of the looks while a run learns."""
    dataset = read_dataset(data)
    file = Path(tempfile.mkdtemp()) / "data.json"
    see_dataset(dataset, {})
    clock = time.perf_counter()
    seen = see_dataset(dataset, {})
    write_identity(file, identity_of(dataset, seen), seen.values())
    begun = time.perf_counter() - clock
    clock = time.perf_counter()
    _, known = read_identity(file)
    identity_of(dataset, see_dataset(dataset, known))
    again = time.perf_counter() - clock
    megabytes = sum(item.mark.num_bytes for item in seen.values()) / 1e6
    print(f"{len(dataset)} pictures, {len(seen)} files, {megabytes:.1f} MB; {len(known)} marks are trusted")
    print(f"beginning {begun:.3f} s, going on {again:.3f} s")
    for trusted in (True, False):
        guarded = watched(dataset, {path: replace(item, lasting=trusted) for path, item in seen.items()}).records
        clock = time.perf_counter()
        for index in range(len(dataset)):
            guarded[index]
        spent = (time.perf_counter() - clock) / len(dataset)
        print(f"a look at a picture's files, marks {'' if trusted else 'not '}trusted: {1e6 * spent:.0f} µs")


if __name__ == "__main__":
    main(sys.argv[1])
