"""The page's sections on anchors, proposals, boxes, classes and masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import ByteArray, FloatArray, IntArray
from everymask.core.labels import Colour
from everymask.errors import printable
from everymask.inspection.drawing import AFTER, BEFORE, LEVELS, MATCHED, TRUTH, Canvas, beside, cut_out, heat
from everymask.inspection.panels import lead, panel, panels, share_table, shots
from everymask.models.steps import AnchorLevel, AnchorSteps, FeatureMap, RegionSteps
from everymask.viz.charts import histogram
from everymask.viz.parts import grid

_MASK_SIDE = 160
_MASKS_SHOWN = 8
_COLUMNS = 8
_IOUS = (0.5, 0.7)


def anchor_sections(
    steps: AnchorSteps, picture: ByteArray, regions: RegionSteps | None, most: int
) -> list[tuple[str, str]]:
    """Anchors by level, and the proposals that they become."""
    truth = None if regions is None else regions.truth
    return [("Anchors", _anchors(steps, picture, truth)), ("Proposals", _proposals(steps, picture, truth, most))]


def _anchors(steps: AnchorSteps, picture: ByteArray, truth: FloatArray | None) -> str:
    said = (
        "Around every place of every level lie boxes of a few shapes; the network says of each how much it looks like "
    )
    said += "an object, and how to move it."
    if truth is not None:
        said += " White is the truth; green are the anchors that a training would let learn it."
    tiles = []
    for number, level in enumerate(steps.pyramid):
        colour = LEVELS[number % len(LEVELS)]
        tiles += [_level_panel(level, number, picture, truth, colour), _objectness_panel(level, number)]
    return lead(said) + panels(tiles)


def _level_panel(level: AnchorLevel, number: int, picture: ByteArray, truth: FloatArray | None, colour: Colour) -> str:
    height, width = level.size
    around = len(level.boxes) // max(1, height * width)
    middle = (height // 2 * width + width // 2) * around
    canvas = Canvas(picture).boxes(level.boxes[middle : middle + around], colour)
    sentence = (
        f"The {around} anchors around one of {height} x {width} places, {level.stride} pixels apart: "
        f"{len(level.boxes):,} in all."
    )
    if truth is not None and level.matches is not None:
        hit = level.matches >= 0
        aside = int((level.matches < -1).sum())
        canvas.boxes(truth, TRUTH).boxes(level.boxes[hit], MATCHED)
        sentence += f" {int(hit.sum()):,} match a truth, {aside:,} nearly do and are left aside."
    return panel(f"P{2 + number}: anchors", sentence, canvas.picture)


def _objectness_panel(level: AnchorLevel, number: int) -> str:
    height, width = level.size
    best = level.objectness.reshape(height, width, -1).max(axis=2)
    sentence = f"How much the best anchor of each place looks like an object: at most {best.max():.3f}."
    return panel(f"P{2 + number}: objectness", sentence, heat(best, low=0.0, high=1.0))


def _proposals(steps: AnchorSteps, picture: ByteArray, truth: FloatArray | None, most: int) -> str:
    order = np.argsort(-steps.scores, kind="stable")[:most]
    kept = steps.kept[:most]
    total = sum(len(level.boxes) for level in steps.pyramid)
    flow = histogram(
        [("anchors", total), ("strongest, moved", len(steps.boxes)), ("proposals", len(steps.kept))],
        title="How many are left",
    )
    parts = [
        panel(
            f"The {len(order)} strongest before suppression",
            "The same object is found by many anchors; the colour tells the level.",
            Canvas(picture).boxes(steps.boxes[order], _by_level(steps.levels[order])).picture,
        ),
        panel(
            f"The {len(kept)} strongest proposals",
            "Of boxes that overlap much the surest has stayed.",
            Canvas(picture).boxes(steps.boxes[kept], _by_level(steps.levels[kept])).picture,
        ),
    ]
    return recall_line(steps.boxes[steps.kept], truth) + grid([flow]) + panels(parts)


def recall_line(proposals: FloatArray, truth: FloatArray | None) -> str:
    """How many of the truth's boxes a proposal overlaps enough to find them."""
    if truth is None or not len(truth):
        return ""
    best = _iou(truth, proposals).max(axis=1, initial=0.0)
    found = " and ".join(f"{int((best >= least).sum())} by an IoU of {least}" for least in _IOUS)
    return lead(f"Of the {len(truth)} objects of the truth, the proposals overlap {found} or more.")


def _by_level(levels: IntArray) -> list[Colour]:
    return [LEVELS[level % len(LEVELS)] for level in levels.tolist()]


def searched_section(steps: RegionSteps, picture: ByteArray, most: int) -> tuple[str, str]:
    """The proposals of a detector that has no anchors."""
    first = panel(
        f"The first {min(most, len(steps.proposals))} of {len(steps.proposals)} proposals",
        "No network has made them: regions that look alike were merged step by step, and these are their boxes.",
        Canvas(picture).boxes(steps.proposals[:most], BEFORE).picture,
    )
    return "Proposals", recall_line(steps.proposals, steps.truth) + panels([first])


def region_sections(
    steps: RegionSteps, maps: Sequence[FeatureMap], picture: ByteArray, names: Sequence[str], most: int
) -> list[tuple[str, str]]:
    """What box regression did, classes, and masks before and after they are pasted."""
    own = [printable(names[class_id], 40) for class_id in steps.classes]
    some = min(most, len(steps.boxes))
    if not some:
        words = "No region was sure enough of any class to become a detection."
        return [("Boxes", lead(words)), ("Classes", _classes(steps, own, most))]
    sections = [
        ("Boxes", _moved(steps, maps, picture, some)),
        ("Classes", _classes(steps, own, most)),
    ]
    return [*sections, *([] if steps.masks is None else [("Masks", _masks(steps, steps.masks, picture, own))])]


def _moved(steps: RegionSteps, maps: Sequence[FeatureMap], picture: ByteArray, some: int) -> str:
    first, second = steps.proposals[steps.rows[:some]], steps.boxes[:some]
    canvas = Canvas(picture).boxes(first, BEFORE).boxes(second, AFTER, width=2).arrows(first, second, AFTER)
    moved = np.abs(((first[:, :2] + first[:, 2:]) - (second[:, :2] + second[:, 2:])) / 2).mean()
    cuts = np.bincount(steps.levels[:some])
    levels = ", ".join(f"{count} from {each.name}" for each, count in zip(maps, cuts.tolist(), strict=False) if count)
    whence = f"Features were cut out of the pyramid: {levels}." if levels else "Each was cut out of the picture itself."
    parts = [
        panel(
            "Regions and what became of them",
            f"Orange is the proposal, blue the box of its class; middles moved by {moved:.1f} pixels on average. "
            f"{whence}",
            canvas.picture,
        )
    ]
    if steps.truth is not None and steps.matches is not None:
        hit = steps.matches[:some] >= 0
        drawn = (
            Canvas(picture).boxes(steps.truth, TRUTH).boxes(second[~hit], BEFORE).boxes(second[hit], MATCHED, width=2)
        )
        sentence = (
            f"{int(hit.sum())} of {some} boxes overlap a truth (white) by at least one half (green), the others do not "
            "(orange)."
        )
        parts.append(panel("Boxes and the truth", sentence, drawn.picture))
    return panels(parts)


def _classes(steps: RegionSteps, names: Sequence[str], most: int) -> str:
    rows = list(dict.fromkeys(steps.rows.tolist()))[:most] or list(range(min(most, len(steps.proposals))))
    if not rows:
        return lead("There is no region.")
    shares = steps.class_scores[rows]
    columns = np.sort(np.argsort(-shares[:, 1:].max(axis=0), kind="stable")[:_COLUMNS])
    what = "of which detections are made" if len(steps.rows) else "first in line, none of which became a detection"
    said = f"How probable each class is for the {len(rows)} regions {what}; the rest up to 1 are classes not shown."
    table = share_table(
        [f"region {row + 1}" for row in rows],
        ["background", *(names[column] for column in columns.tolist())],
        shares[:, np.concatenate([[0], columns + 1])],
        "region ↓ · class →",
    )
    return lead(said) + table


def _masks(steps: RegionSteps, masks: FloatArray, picture: ByteArray, names: Sequence[str]) -> str:
    side = masks.shape[-1]
    said = (
        f"Each mask is {side} x {side} probabilities in its box; stretched over it, the object is where they are at "
        "least one half."
    )
    if steps.targets is not None:
        said += " The target is what the truth would have the mask be there."
    shown: list[tuple[str, ByteArray]] = []
    for row in range(min(_MASKS_SHOWN, len(masks))):
        parts = [heat(masks[row], low=0.0, high=1.0, side=_MASK_SIDE), _pasted(masks[row], steps.boxes[row], picture)]
        words = "mask, in the picture"
        if steps.targets is not None and steps.matches is not None:
            known = steps.matches[row] >= 0
            words += ", target" if known else "; it matches no truth"
            parts += [heat(steps.targets[row], low=0.0, high=1.0, side=_MASK_SIDE)] if known else []
        shown.append((f"{names[steps.class_ids[row]]} {steps.scores[row]:.2f}: {words}", beside(parts, _MASK_SIDE)))
    return lead(said) + shots(shown)


def _pasted(mask: FloatArray, box: FloatArray, picture: ByteArray) -> ByteArray:
    """The object tinted in a cut-out of the picture."""
    import cv2

    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (round(value) for value in box.tolist())
    size = (max(1, x2 - x1), max(1, y2 - y1))
    inside = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) >= 0.5
    left, top = max(0, x1), max(0, y1)
    right, bottom = min(width, x1 + size[0]), min(height, y1 + size[1])
    tinted = picture.copy()
    part = tinted[top:bottom, left:right]
    chosen = inside[top - y1 : bottom - y1, left - x1 : right - x1]
    part[chosen] = (part[chosen] * 0.4 + np.array(AFTER) * 0.6).astype(np.uint8)
    return cut_out(tinted, box, _MASK_SIDE)


def _iou(first: FloatArray, second: FloatArray) -> FloatArray:
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    inter = np.clip(np.minimum(first[:, None, 2:], second[None, :, 2:]) - corner, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (first, second)]
    overlap: FloatArray = inter / np.maximum(areas[0][:, None] + areas[1] - inter, 1e-9)
    return overlap
