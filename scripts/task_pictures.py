"""The pictures of docs/tasks.md: what goes in beside what comes out, of one drawn scene as each task sees it.

python scripts/task_pictures.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from everymask.core.arrays import Array, ByteArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import ChangeMap, InstanceSet, PanopticMap, SemanticMap, expected
from everymask.data.scenery import LABELS, draw_scene
from everymask.data.shapes import LABELS as SHAPES
from everymask.data.shapes import ShapesConfig
from everymask.viz.change import draw_change
from everymask.viz.draw import draw_instances, resized
from everymask.viz.frame import PAPER, draw_beside, letter_height
from everymask.viz.semantic import draw_panoptic, draw_semantic
from everymask.viz.text import write_tag

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
SIDE = 300
COLOURS = 128
"""So many each picture keeps, for a small file."""
SCENE = ShapesConfig(pictures=100, size=(240, 240), max_objects=4, seed=3, vivid=True)
INDEX = 46


def objects_of(scene: PanopticMap) -> InstanceSet:
    """The things of the scene."""
    things = [segment for segment in scene.segments if segment.class_id < len(SHAPES)]
    masks = Masks.from_dense(np.stack([scene.ids == segment.id for segment in things]))
    return InstanceSet(masks.boxes(), np.array([segment.class_id for segment in things], np.int64), masks=masks)


def classes_of(scene: PanopticMap) -> SemanticMap:
    """The class of every pixel."""
    return SemanticMap(scene.looked_up([segment.class_id for segment in scene.segments], LABELS.ignore))


def pointed(image: Array, objects: InstanceSet) -> ByteArray:
    """The picture with a cross in the middle of the largest object."""
    assert objects.masks is not None
    row = int(objects.masks.areas().argmax())
    y, x = (int(places.mean() * SIDE / SCENE.size[0]) for places in np.nonzero(objects.masks.to_dense(row)))
    shown = resized(np.asarray(image, np.uint8).copy(), (SIDE, SIDE))
    for colour, reach, half in (((0, 0, 0), 13, 3), ((255, 255, 255), 11, 1)):
        shown[y - reach : y + reach, x - half : x + half] = colour
        shown[y - half : y + half, x - reach : x + reach] = colour
    return shown


def main() -> None:
    """Write them."""
    sample = draw_scene(SCENE, INDEX)
    image, scene = sample.image, expected(PanopticMap, sample.truth, sample.id)
    plain = resized(np.asarray(image, np.uint8), (SIDE, SIDE))
    objects = objects_of(scene)
    assert objects.masks is not None
    largest = objects[[int(objects.masks.areas().argmax())]]
    pointed_at = replace(largest, class_ids=np.zeros(1, np.int64))
    answers = {
        "semantic": (plain, draw_semantic(image, classes_of(scene), LABELS, side=SIDE)),
        "instance": (plain, draw_instances(image, objects, SHAPES, side=SIDE)),
        "panoptic": (plain, draw_panoptic(image, scene, LABELS, side=SIDE)),
        "prompted": (pointed(image, objects), draw_instances(image, pointed_at, Labels(("object",)), side=SIDE)),
    }
    for name, sides in answers.items():
        save(name, draw_beside(*sides, ("what goes in", "what comes out")))
    changed = ChangeMap(objects.masks.to_dense(0).astype(np.uint8))
    before = np.asarray(cv2.inpaint(image, changed.ids.astype(np.uint8), 5, cv2.INPAINT_TELEA))
    dates = Labels(("same", "changed"))
    save("change", draw_change(image, changed, dates, before=before, side=SIDE))
    strip = {
        "a picture": plain,
        "semantic": draw_semantic(image, classes_of(scene), LABELS, legend=False, side=SIDE),
        "instance": draw_instances(image, objects, SHAPES, names=False, side=SIDE),
        "panoptic": draw_panoptic(image, scene, LABELS, legend=False, side=SIDE),
        "prompted": draw_instances(
            pointed(image, objects), resized_to(pointed_at), Labels(("object",)), names=False, side=SIDE
        ),
        "change": draw_change(image, changed, dates, legend=False, side=SIDE),
    }
    write("tasks", in_a_row(strip))


def resized_to(objects: InstanceSet) -> InstanceSet:
    """The objects, as large as the pictures are drawn."""
    assert objects.masks is not None
    masks = objects.masks.resize((SIDE, SIDE))
    return replace(objects, boxes=masks.boxes(), masks=masks)


def in_a_row(pictures: dict[str, ByteArray]) -> ByteArray:
    """Pictures of one size side by side, under their names."""
    gap, letters = 6, letter_height((SIDE, SIDE))
    page = np.empty((SIDE + 2 * letters, len(pictures) * (SIDE + gap) - gap, 3), np.uint8)
    page[:] = PAPER
    for place, (name, picture) in enumerate(pictures.items()):
        x, tag = place * (SIDE + gap), write_tag(name, PAPER, letters, SIDE)
        page[2 * letters :, x : x + SIDE] = picture
        page[letters // 2 : letters // 2 + tag.shape[0], x : x + tag.shape[1]] = tag
    return page


def save(task: str, picture: ByteArray) -> None:
    """As the picture of the task."""
    write(f"task_{task}", picture)


def write(name: str, picture: ByteArray) -> None:
    """As a PNG of few colours."""
    Image.fromarray(picture).quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
