"""One ROI as ImageJ stores it: bytes to outline and back.

64 bytes of header, big-endian, then coordinates, then a second header with the group and where the name stands. Format:
`ij/io/RoiDecoder.java` and `RoiEncoder.java` of ImageJ. Coordinates are places between pixels: (0, 0) is the upper left
corner of the upper left pixel.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.data.formats.drawn.shapes import ellipse_ring
from everymask.data.records import Box
from everymask.errors import DataError

LARGEST = 32_767
"""The largest coordinate that the format holds."""
_MAGIC = b"Iout"
_HEADER = 64
_VERSION = 228
_SUB_PIXEL = 128
_POLYGON, _RECTANGLE, _OVAL, _FREEHAND, _TRACED = 0, 1, 2, 7, 8
_NO_AREA = {3: "line", 4: "freeline", 5: "polyline", 6: "none", 9: "angle", 10: "point"}
_NEGATIVE = -5000  # ImageJ takes smaller numbers for those above 32,767
_STEPS = 16  # of a curve


@dataclass(frozen=True, slots=True)
class Roi:
    """A region: its kind, its `rings` [K, 2] (filled even-odd) or `box`, and its group, 0 for none.

    Kinds without area (line, point ...) have neither rings nor box.
    """

    kind: str
    rings: tuple[FloatArray, ...] = ()
    box: Box | None = None
    group: int = 0


def decode_roi(data: bytes) -> Roi:
    """The region in a ROI file; `DataError` where the bytes are none or are cut short."""
    if not data.startswith(_MAGIC) or len(data) < _HEADER:
        raise DataError("expected a ROI of ImageJ, which begins with Iout", hint="save it again in ImageJ")
    try:
        return _decoded(data)
    except struct.error:
        raise DataError("the ROI is cut short", hint="save it again in ImageJ") from None


def encode_roi(rings: Sequence[Array], box: Box | None, name: str, group: int) -> bytes:
    """A ROI of rings with whole-numbered corners, filled even-odd, or of a box; coordinates from 0 to `LARGEST`."""
    corners = np.concatenate([np.asarray(ring) for ring in rings]) if box is None else np.array(box).reshape(2, 2)
    (left, top), (right, bottom) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    kind, count, options, composite, body = _RECTANGLE, 0, 0, 0, b""
    exact = (0.0, 0.0, 0.0, 0.0)
    if box is not None:
        options, exact = _SUB_PIXEL, (box[0], box[1], box[2] - box[0], box[3] - box[1])
    elif len(rings) == 1 and len(rings[0]) < 1 << 16:
        kind, count = _TRACED, len(rings[0])
        body = (np.asarray(rings[0]) - (left, top)).T.astype(">i2").tobytes()
    else:
        segments = np.concatenate([_segments(np.asarray(ring)) for ring in rings])
        composite, body = segments.size, segments.astype(">f4").tobytes()
    second = _HEADER + len(body)
    header = struct.pack(
        ">4shBx4hH4fhiiihhxxhii", _MAGIC, _VERSION, kind, int(top), int(left), int(bottom), int(right), count, *exact,
        0, composite, 0, 0, 0, options, 0, 0, second,
    )  # fmt: skip
    text = name.encode("utf-16-be", "replace")
    more = struct.pack(">16xii6xB33x", second + _HEADER, len(text) // 2, group)
    return header + body + more + text


def _decoded(data: bytes) -> Roi:
    version, kind = struct.unpack_from(">hB", data, 4)
    top, left, bottom, right, count = struct.unpack_from(">4hH", data, 8)
    composite, options, second = (struct.unpack_from(">i", data, 36)[0], struct.unpack_from(">h", data, 50)[0],
                                  struct.unpack_from(">i", data, 60)[0])  # fmt: skip
    fine = bool(options & _SUB_PIXEL) and version >= 222
    group = data[second + 30] if second > 0 and second + _HEADER <= len(data) else 0
    if composite > 0:
        return Roi("composite", tuple(_rings(_numbers(data, _HEADER, composite, ">f4"))), group=group)
    if kind in (_RECTANGLE, _OVAL):
        box: Box = (float(left), float(top), float(right), float(bottom))
        if fine and version >= 223:
            x, y, width, height = struct.unpack_from(">4f", data, 18)
            box = (x, y, x + width, y + height)
        if kind == _RECTANGLE:
            return Roi("rectangle", box=box, group=group)
        x1, y1, x2, y2 = box
        radii = (max((x2 - x1) / 2, 0.0), max((y2 - y1) / 2, 0.0))
        return Roi("oval", (ellipse_ring(((x1 + x2) / 2, (y1 + y2) / 2), radii),), group=group)
    if kind in _NO_AREA:
        return Roi(_NO_AREA[kind])
    if kind not in (_POLYGON, _FREEHAND, _TRACED):
        raise DataError(f"the ROI is of an unknown kind, {kind}", hint="save it as a polygon")
    count = count or struct.unpack_from(">i", data, 18)[0]
    if fine:
        values = _numbers(data, _HEADER + 4 * count, 2 * count, ">f4")
        ring = values.reshape(2, -1).T
    else:
        offsets = _numbers(data, _HEADER, 2 * count, ">i2").reshape(2, -1).T
        ring = np.where(offsets < _NEGATIVE, offsets + 65_536, offsets) + np.array([left, top])
    return Roi("polygon", (ring,), group=group)


def _numbers(data: bytes, at: int, count: int, kind: str) -> FloatArray:
    size = np.dtype(kind).itemsize
    if count < 0 or at + count * size > len(data):
        raise struct.error
    return np.frombuffer(data, kind, count, at).astype(np.float64)


def _segments(ring: Array) -> FloatArray:
    """A closed path: to the first corner, lines to the others, and back."""
    codes = np.ones(len(ring))
    codes[0] = 0
    return np.append(np.column_stack([codes, ring]).ravel(), 4.0)


def _rings(values: FloatArray) -> list[FloatArray]:
    """The rings of a path: 0 begins one, 1 is a line, 2 and 3 are curves with one and two points between, 4 closes."""
    rings: list[list[FloatArray]] = []
    at = 0
    while at < values.size:
        code = int(values[at]) if np.isfinite(values[at]) else -1
        size = {0: 2, 1: 2, 2: 4, 3: 6, 4: 0}.get(code)
        if size is None or at + 1 + size > values.size or (code and not rings):
            raise DataError("the path of a composite ROI is damaged", hint="save it again in ImageJ")
        points = values[at + 1 : at + 1 + size].reshape(-1, 2)
        if code == 0:
            rings.append([points])
        elif code < 4:
            rings[-1].append(_curve(np.concatenate([rings[-1][-1][-1:], points])) if code > 1 else points)
        at += 1 + size
    return [np.concatenate(parts) for parts in rings]


def _curve(points: FloatArray) -> FloatArray:
    """The Bézier curve through its control points, without its begin."""
    steps = np.linspace(0, 1, _STEPS + 1)[1:, None, None]
    level = np.broadcast_to(points, (_STEPS, *points.shape))
    while level.shape[1] > 1:
        level = level[:, :-1] * (1 - steps) + level[:, 1:] * steps
    return np.asarray(level[:, 0])
