"""How long the doctor takes for a data set as large as COCO's train2017."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.compare import Bar, Disagreement
from benchmarks.page import Section
from everymask.core.randomness import rng

PICTURES, OBJECTS, CLASSES, FILES = 118_000, 860_000, 80, 8
SIZE = (480, 640)
SETTING = f"""`everymask check` in a fresh process on one core, for a made-up COCO file of {PICTURES:,} pictures of
640 × 480 pixels ({FILES} JPEG files, linked under all names) and {OBJECTS:,} polygons of 8 to 44 points in {CLASSES}
classes, from the start of the process to the answer as JSON. Headers only, which is what it does above 5,000 pictures.
There is nothing to compare with; the bars are what the project set out to reach."""
_CALL = """
import json, os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.stdout = open(os.devnull, "w")
begin = time.perf_counter()
from everymask.cli import run
code = run(["check", sys.argv[1], "--json", "--on-defect", "skip"])
answer = {"code": code, "wall": time.perf_counter() - begin, "cpu": time.process_time()}
with open("/proc/self/status") as status:  # getrusage would begin with what the parent held
    answer["memory"] = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
print(json.dumps(answer), file=sys.__stdout__)
"""


def make(folder: Path) -> None:
    """The data set, below `folder`."""
    random = rng(0, "doctor")
    (folder / "images").mkdir()
    height, width = SIZE
    sources = [folder / f"source{number}.jpg" for number in range(FILES)]
    for source in sources:
        small = random.integers(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
        Image.fromarray(small).resize((width, height)).save(source, quality=30)
    images = []
    for number in range(PICTURES):
        name = f"{number:012d}.jpg"
        os.link(sources[number % FILES], folder / "images" / name)
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
    annotations = [_object(number, random) for number in range(OBJECTS)]
    categories = [{"id": number + 1, "name": f"class {number}"} for number in range(CLASSES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(document))
    for source in sources:
        source.unlink()


def _object(number: int, random: np.random.Generator) -> dict[str, object]:
    """A blob, with the box and the area that are its own."""
    count, radius = int(random.integers(8, 45)), random.uniform(5, 55)
    angles = np.sort(random.uniform(0, 2 * np.pi, count))
    radii = radius * random.uniform(0.8, 1, count)
    center = random.uniform(60, (SIZE[1] - 60, SIZE[0] - 60))
    points = np.round(center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1), 2)
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    x, y = points.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return {
        "id": number + 1,
        "image_id": int(random.integers(PICTURES)) + 1,
        "category_id": int(random.integers(CLASSES)) + 1,
        "segmentation": [points.ravel().tolist()],
        "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
        "area": round(area, 4),
        "iscrowd": 0,
    }


def run() -> Section:
    """`everymask check` for 118,000 pictures and 860,000 polygons: seconds and memory, on one core"""
    with tempfile.TemporaryDirectory() as place:
        make(Path(place))
        command = [sys.executable, "-c", _CALL, place]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    if answer["code"]:
        raise Disagreement(f"expected exit code 0, but got {answer['code']}")
    load = os.getloadavg()[0]
    return Section(
        title="The doctor: a data set of COCO's size",
        setting=SETTING,
        packages=("pillow",),
        threads="one core",
        bars=(
            Bar("seconds that the core calculated", answer["cpu"], 60, unit="s", at_most=True),
            Bar("peak memory of the process", answer["memory"] / 1e9, 3, unit="GB", at_most=True),
        ),
        notes=(
            f"By the clock {answer['wall']:.0f} s: other work shared the machine, with a load of {load:.1f} on "
            f"{os.cpu_count()} cores at the end.",
        ),
    )
