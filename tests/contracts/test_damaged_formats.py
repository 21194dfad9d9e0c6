"""Whatever happens to an annotation file, readers refuse it with an `EverymaskError` or give what can be drawn."""

from __future__ import annotations

import io
import json
import logging
import random
import re
import signal
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.data.dataset import Dataset
from everymask.data.formats.labelmaps.cityscapes_instances import LABELS as CITY_LABELS
from everymask.data.formats.table import FORMATS, Format, read_dataset, write_dataset
from everymask.data.pictures.read import SUFFIXES
from everymask.errors import EverymaskError
from tests.contracts.test_formats import CASES, READERS, make_fake
from tests.contracts.test_semantic_formats import SEMANTIC, made
from tests.contracts.test_tasks import some_pairs
from tests.data.panoptic_files import make_panoptic

# Each of the three kinds of damage 17 times for each format, and then 33 times more.
MUTATIONS = [range(51), pytest.param(range(51, 150), marks=pytest.mark.slow)]
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e308, 2**70, -(2**63), "", "x", " ", "\x00", "é", "../..", [], {}, [[]], [None], {"a": []},
    [[1, 2], [3, 4]], "9" * 5000, [1] * 7,
)  # fmt: skip
TOKENS = (
    "-1",
    "0",
    "",
    "1e308",
    "nan",
    "inf",
    "-0.5",
    "9" * 30,
    "9" * 5000,
    "x",
    "0x10",
    ";",
    ",",
    "1,2",
    "٣",
    "\ud7ff",
)


def damaged(data: bytes, suffix: str, seed: int) -> bytes:
    """One of three kinds of damage: a JSON value, a number or text between quotes, or bytes."""
    draw = random.Random(seed)
    kind = seed % 3
    if kind == 0 and suffix in (".json", ".geojson"):
        return json.dumps(_with_strange_value(json.loads(data), draw)).encode()
    if kind == 1:
        tokens = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"\n]*"', data))
        if tokens:
            token = draw.choice(tokens)
            quote = b'"' if token[0].startswith(b'"') else b""
            return data[: token.start()] + quote + draw.choice(TOKENS).encode() + quote + data[token.end() :]
    return _with_other_bytes(data, draw)


def _with_strange_value(document: Any, draw: random.Random) -> Any:
    places = list(_places(document))
    if not places:
        return draw.choice(STRANGE)
    holder, key = draw.choice(places)
    action = draw.randrange(4)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder[key], str):
        holder[key] = holder[key][: len(holder[key]) // 2]
    else:
        holder[key] = draw.choice(STRANGE)
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document as its holder and key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


def _with_other_bytes(data: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 4, 20))
    inserted = bytes(draw.randrange(256) for _ in range(length))
    match draw.randrange(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + inserted + data[at + length :]
        case _:
            return data[:at] + data[max(0, at - 30) : at] + data[at:]


@pytest.mark.parametrize("numbers", MUTATIONS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_damage_is_refused_or_can_be_drawn(tmp_path, caplog, name, numbers):
    caplog.set_level(logging.CRITICAL)  # thousands of warnings about what is left out
    CASES[name].write(tmp_path / "out", make_fake(tmp_path / "in", crowd=CASES[name].crowd).subset([0]))
    looks_like = next(known.looks_like for known in FORMATS if known.name == name)
    files = [file for file in sorted((tmp_path / "out").rglob("*")) if file.is_file()]
    files = [file for file in files if file.suffix.lower() not in SUFFIXES or "mask" in str(file.parent).lower()]
    for number in numbers:
        file = files[number % len(files)]
        sound = file.read_bytes()
        file.write_bytes(damaged(sound, file.suffix, number))
        try:
            looks_like(tmp_path / "out")
            found = READERS[name](tmp_path / "out", policy="skip")
            for row in range(len(found)):
                found.truth(row)
        except EverymaskError:
            pass
        except Exception as error:
            pytest.fail(f"{file.name}, mutation {number}: {type(error).__name__}: {error}")
        finally:
            file.write_bytes(sound)


EACH, SINGLE = 5_800, 2_700
"""So many damaged files of each format: of those that have a file for each picture, and of the others."""
TOGETHER = 40
"""So many files are damaged and read at once, where there is one for each picture."""
PANOPTIC = {known.name for known in FORMATS if known.task == "panoptic"}
SINGLE_FILES = {"coco", "cvat", "label-studio", "via", "rle-csv", "open-images", "datumaro"}
LONGEST, LARGEST = 5.0, 500e6


def damaged_map(data: bytes, draw: random.Random) -> bytes:
    """A PNG with other numbers, sides or storage, or with other bytes, under a right checksum or not."""
    kind = draw.randrange(3)
    if kind == 0:
        return _with_other_bytes(data, draw)
    if kind == 1:
        return _with_other_chunk(data, draw)
    with Image.open(io.BytesIO(data)) as image:
        ids = np.array(image)
    # Colours are no numbers of sixteen bits, which are no colours, and have their three channels already.
    action = draw.choice((0, 1, 4) if ids.ndim == 3 else range(5) if ids.dtype == np.uint8 else (0, 1, 2, 4))
    if action == 0:
        ids[draw.randrange(len(ids)), draw.randrange(ids.shape[1])] = draw.randrange(256)
    elif action == 1:
        ids = ids[: draw.randrange(1, len(ids) + 1), : draw.randrange(1, ids.shape[1] + 1)]
    elif action == 2:
        ids = ids.astype(np.uint16) * draw.choice((1, 257))
    elif action == 3:
        ids = np.stack([ids, ids, ids * np.uint8(draw.randrange(2))], axis=-1)
    else:
        ids = ids * np.uint8(draw.randrange(2))
    stream = io.BytesIO()
    Image.fromarray(ids).save(stream, format="PNG")
    return stream.getvalue()


def _with_other_chunk(data: bytes, draw: random.Random) -> bytes:
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    place = draw.randrange(len(chunks))
    kind, content = chunks[place]
    chunks[place] = (kind, _with_other_bytes(content, draw))
    rows = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return data[:8] + b"".join(rows)


def as_cityscapes(dataset: Dataset) -> Dataset:
    """The same segments as persons, riders and sky."""
    (first,) = dataset.records[:1]
    segments = tuple(replace(one, class_id=(11, 12, 10)[one.class_id]) for one in first.truth.segments)
    return replace(
        dataset, labels=CITY_LABELS, records=(replace(first, truth=replace(first.truth, segments=segments)),)
    )


def many_alike(folder: Path, known: Format, count: int) -> Dataset:
    """A data set that the format can hold: pictures, all of which show the same."""
    if known.name in SEMANTIC:
        whole = made(folder, known.name, splits=False)
    elif known.name in PANOPTIC:
        whole = make_panoptic(folder, splits=False)
        if known.name == "cityscapes-instances":
            whole = as_cityscapes(whole)
    elif known.name == "change-pairs":
        some_pairs(folder)
        whole = read_dataset(folder)
    else:
        whole = make_fake(folder, splits=False, crowd=CASES[known.name].crowd)
    record = whole.records[0]
    if known.name in CASES:  # an outline and runs: more of the time would go into drawing
        record = replace(record, truth=replace(record.objects, annotations=record.objects.annotations[:2]))
    # Some layouts are nothing without a split.
    split = "train" if known.name in ("camvid", "cityscapes", "cityscapes-instances", "ade20k") else None
    return replace(whole, records=tuple(replace(record, id=f"q{n:03}x", split=split) for n in range(count)))


def annotation_files(root: Path, known: Format) -> list[Path]:
    """All files but the pictures."""
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    pictures = {record.image for record in known.read(root, policy="skip").records}
    return [file for file in files if file not in pictures]


@contextmanager
def limited() -> Iterator[None]:
    """`TimeoutError` after 5 seconds of calculation, however busy the machine is."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {LONGEST} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def most_memory() -> int:
    """The most bytes that the process has had."""
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def spoil(file: Path, sound: bytes, seed: int) -> None:
    draw = random.Random(seed)
    if file.suffix == ".png":
        file.write_bytes(damaged_map(sound, draw))
    else:
        file.write_bytes(damaged(sound, file.suffix, seed))


def test_they_are_a_hundred_thousand():
    assert {known.name for known in FORMATS} >= SINGLE_FILES
    assert EACH * (len(FORMATS) - len(SINGLE_FILES)) + SINGLE * len(SINGLE_FILES) >= 100_000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system does not interrupt what takes too long")
@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_a_hundred_thousand_damaged_files_are_refused_or_can_be_drawn(tmp_path, caplog, known):
    """Of all formats together; none takes more than 5 seconds, and all together no more than 500 MB."""
    caplog.set_level(logging.CRITICAL)
    root = tmp_path / "out"
    write_dataset(root, many_alike(tmp_path / "in", known, TOGETHER), known.name)
    if known.name in SINGLE_FILES:
        root = tmp_path / "one"
        write_dataset(root, many_alike(tmp_path / "in", known, 1), known.name)
    files = annotation_files(root, known)
    sound = {file: file.read_bytes() for file in files}
    own = [file for file in files if re.search(r"q\d{3}x", str(file.relative_to(root)))]
    shared = [file for file in files if file not in own]
    wanted = SINGLE if known.name in SINGLE_FILES else EACH
    before, done, rounds = most_memory(), 0, 0
    spoiled: list[Path] = []
    while done < wanted:
        # What all pictures need is damaged alone: else nothing would be seen of the others.
        alone = shared and (not own or rounds % 4 == 3)
        victims = [shared[rounds // 4 % len(shared)] if own else shared[rounds % len(shared)]] if alone else own
        for file in set(spoiled) - set(victims):
            file.write_bytes(sound[file])
        for place, file in enumerate(victims):
            spoil(file, sound[file], rounds * TOGETHER + place)
        try:
            with limited():
                known.looks_like(root)
                found = known.read(root, policy="skip")
                for row in range(len(found)):
                    found.truth(row)
        except EverymaskError:
            pass
        except Exception as error:
            listed = ", ".join(file.name for file in victims[:1])
            pytest.fail(f"round {rounds} ({listed}): {type(error).__name__}: {error}")
        spoiled, done, rounds = victims, done + len(victims), rounds + 1
    assert most_memory() - before < LARGEST
