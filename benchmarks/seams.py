"""How many things tiles cut, and what a large picture costs: `python -m benchmarks.seams RUN [SIDE [TILE]]`.

RUN is a panoptic network that learned `everymask.data.scenery.write_scenes(folder)`. Such pictures that it has not seen
are laid side by side to one of SIDE x SIDE pixels (10,000), which `everymask predict --tile TILE` (512) segments. A
thing is cut where two segments have at least a quarter of it each; how often that happens away from the seams is what
the network itself does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.arrays import Array, BoolArray, IntArray
from everymask.core.segmentation import PanopticMap, expected
from everymask.data.panoptic import read_numbers
from everymask.data.scenery import LABELS, draw_scene
from everymask.data.shapes import ShapesConfig
from everymask.infer.tiling import Tiling, spans

SCENE = 128
DIFFERENT = 400
DIVISOR = 32
OUTSIDE = 51
PART = 0.25
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime)
"""


def large_picture(side: int) -> tuple[Array, IntArray]:
    """The picture [side, side, 3] and the numbers of its things [side, side], 0 where there is stuff."""
    config = ShapesConfig(10_000 + DIFFERENT, (SCENE, SCENE))
    scenes = [draw_scene(config, 10_000 + index) for index in range(DIFFERENT)]
    image, things, count = np.empty((side, side, 3), np.uint8), np.zeros((side, side), np.int32), 0
    # Begun a little outside, so that the scenes' borders do not lie where windows meet.
    for place, top in enumerate(range(-OUTSIDE, side, SCENE)):
        for at, left in enumerate(range(-OUTSIDE, side, SCENE)):
            scene = scenes[(7 * place + at) % DIFFERENT]
            truth = expected(PanopticMap, scene.truth, "scene")
            rows = [one.id for one in truth.segments if one.class_id in LABELS.things]
            values = [count + row if row in rows else 0 for row in (one.id for one in truth.segments)]
            part = slice(max(top, 0), min(top + SCENE, side)), slice(max(left, 0), min(left + SCENE, side))
            seen = slice(part[0].start - top, part[0].stop - top), slice(part[1].start - left, part[1].stop - left)
            image[part], things[part] = scene.image[seen], truth.looked_up(values, 0)[seen]
            count += len(rows)
    return image, things


def cut_things(things: IntArray, found: IntArray) -> BoolArray:
    """[N]: of each thing of the truth, counted from 1, whether two of the things found have a quarter of it each."""
    inside = (things > 0) & (found > 0)
    pairs, pixels = np.unique(np.stack([things[inside], found[inside]]), axis=1, return_counts=True)
    areas = np.bincount(things.ravel())
    large = pixels >= PART * areas[pairs[0]]
    cut: BoolArray = np.bincount(pairs[0][large], minlength=len(areas))[1:] > 1
    return cut


def crossed_things(things: IntArray, tile: int) -> BoolArray:
    """[N]: whether the middle of what two windows share runs through a thing."""
    crossed = np.zeros(int(things.max()) + 1, np.bool_)
    for axis in (0, 1):
        lines = [(one.done + one.last) // 2 for one in spans(things.shape[axis], Tiling(tile), DIVISOR)[:-1]]
        plane = things if axis == 0 else things.T
        for line in lines:
            before, after = plane[line - 1], plane[line]
            crossed[before[before == after]] = True
    return crossed[1:]


def main() -> None:
    run, given = sys.argv[1], [int(word) for word in sys.argv[2:]]
    side, tile = (given + [10_000, 512][len(given) :])[:2]
    image, things = large_picture(side)
    with tempfile.TemporaryDirectory() as folder:
        picture, out = Path(folder, "large.png"), Path(folder, "out")
        Image.fromarray(image).save(picture, compress_level=1)
        del image
        command = [
            sys.executable,
            "-m",
            "everymask",
            "predict",
            run,
            str(picture),
            "--tile",
            str(tile),
            "--out",
            str(out),
        ]
        command += ["--overlay", "jpg", "--device", "cpu"]
        # A process in between, since what this one has held at most would be handed down.
        measured = subprocess.run([sys.executable, "-c", MEASURE, *command], check=True, stdout=subprocess.PIPE)
        resident, seconds = map(float, measured.stdout.split())
        entries = json.loads((out / "predictions.json").read_text("utf-8"))["annotations"][0]["segments_info"]
        numbers = [entry["id"] for entry in entries if entry["category_id"] - 1 in LABELS.things]
        found = read_numbers(out / "panoptic" / "large.png")
        found[~np.isin(found, numbers)] = 0
    cut, crossed, there = cut_things(things, found), crossed_things(things, tile), np.bincount(things.ravel())[1:] > 0
    shares = {name: cut[part & there].mean() for name, part in (("at seams", crossed), ("elsewhere", ~crossed))}
    print(f"{there.sum():,} things, {(crossed & there).sum():,} at seams; {len(numbers):,} found")
    print(", ".join(f"cut {name}: {100 * share:.2f} % of these" for name, share in shares.items()))
    print(f"cut at seams, of all things: {100 * (cut & crossed).sum() / there.sum():.2f} %")
    print(f"most resident {resident / 1024:,.0f} MB, {seconds:.0f} s of CPU time")


if __name__ == "__main__":
    main()
