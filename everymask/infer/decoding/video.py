"""What crosses to and from a backend where objects are followed through a video."""

from __future__ import annotations

from dataclasses import dataclass

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.infer.decoding.prompted import PromptArrays


@dataclass(frozen=True, slots=True, eq=False)
class RecalledArrays:
    """What is remembered of an object, for one frame.

    `maps` [M, c, h, w] uint16 are bfloat16 bit by bit; `map_ages` [M] int64 say how many frames ago each was seen (0:
    in a frame with prompts, whenever that was). `pointers` [K, width] float32 say what the object was, `pointer_ages`
    [K] float32 how many frames ago; `oldest` is the age that counts as 1.
    """

    maps: IntArray
    map_ages: IntArray
    pointers: FloatArray
    pointer_ages: FloatArray
    oldest: int


@dataclass(frozen=True, slots=True, eq=False)
class FollowedArrays:
    """An object in a frame: `logits` [h, w] float32 of its mask, the IoU that this probably has (`score`), and the
    logit of its being there at all (`presence`: below 0 it is hidden).

    To be remembered are `map` [c, h / 4, w / 4] uint16 and `pointer` [width] float32, as in `RecalledArrays`.
    """

    logits: FloatArray
    score: float
    presence: float
    map: IntArray
    pointer: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """An object to be found in a frame, by what is recalled of it (None: nothing yet), and by one prompt (None: there
    is none) or its mask [H, W] in the frame.
    """

    recalled: RecalledArrays | None = None
    prompts: PromptArrays | None = None
    mask: BoolArray | None = None
