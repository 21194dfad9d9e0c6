"""`everymask demo`: the whole way once, on pictures that are drawn for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.commands.terminal import quoted, show
from everymask.commands.train import say_result
from everymask.core.threads import require_torch
from everymask.errors import ConfigError, counted, printable

if TYPE_CHECKING:
    from everymask.core.arrays import ByteArray
    from everymask.data.dataset import Dataset
    from everymask.infer.predictor import Predictor

TRAINING, HELD_OUT = 1050, 100
"""How many pictures the demo draws."""
_SIDE = 320
"""The pictures of 128 pixels are shown this large."""
_NEXT = """
Now with your own pictures:

  everymask check    DATA
  everymask train    DATA --model mask-rcnn --out runs/a
  everymask evaluate runs/a DATA --split val
  everymask predict  runs/a photos/ --out masks/

DATA is a folder or an annotation file: COCO, YOLO-seg, labelme, Pascal VOC, a mask
file per object, or instance-id PNGs. Or predict with the model of this demo:
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Draw a data set of shapes, train a small Mask R-CNN on it, evaluate it, and write a report with pictures."""

    out: Path = Path("runs/demo")
    """The folder to write; a demo that is there already is replaced."""
    seed: int = 0
    """The same seed gives the same pictures and the same number."""


def run(options: Demo) -> None:
    """Draw, train, evaluate, report."""
    require_torch()
    from everymask.api import load
    from everymask.data.shapes import write_shapes
    from everymask.settings.recipes import demo_recipe
    from everymask.train.run import train

    began = time.monotonic()
    data, folder = options.out / "data", options.out / "run"
    if data.exists() and not (folder / "config.json").is_file():
        raise ConfigError(
            f"{printable(data)} is there already, and no demo has finished drawing it",
            hint="choose another --out, or remove the folder if a demo left it",
        )
    shapes = write_shapes(data, train=TRAINING, val=HELD_OUT, seed=options.seed, vivid=True)
    show(f"drew {counted(len(shapes), 'picture')} of {', '.join(shapes.labels.names)}: {data}")
    ended = train(replace(demo_recipe(str(data), str(folder), seed=options.seed), weights="none"))
    say_result(ended)
    if ended.signal:
        raise SystemExit(128 + ended.signal)
    held_out = shapes.split("val")
    write_picture(options.out / "demo.png", load(folder), held_out)
    show(f"truth and prediction: {options.out / 'demo.png'}", f"all of it took {time.monotonic() - began:.0f} seconds")
    photos = data / "images" / "val"
    show(f"{_NEXT}\n  everymask predict  {quoted(folder)} {quoted(photos)} --out {quoted(options.out / 'masks')}")


def write_picture(file: Path, model: Predictor, pictures: Dataset, *, count: int = 3) -> None:
    """Write truth beside prediction for the first pictures of a data set, enlarged, one below the other.

    The pictures are drawn one like the other, so that the first are as good as any. Every object is shown once, as by
    `everymask predict`.
    """
    import numpy as np

    from everymask.data.pictures.read import write_image
    from everymask.viz.draw import draw_instances
    from everymask.viz.frame import draw_beside

    rows: list[ByteArray] = []
    for index in range(min(count, len(pictures))):
        sample = pictures[index]
        found = model.without_duplicates().predict(sample).instances
        sides = [
            draw_instances(sample.image, objects, pictures.labels, min_score=0.5, side=_SIDE)
            for objects in (pictures.objects(index), found)
        ]
        rows.append(draw_beside(sides[0], sides[1], ("truth", "prediction")))
    write_image(file, np.concatenate(rows))
