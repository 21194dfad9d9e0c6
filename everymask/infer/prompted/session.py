"""A picture that a network has looked at once, and that answers prompt after prompt."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.memory import room_for
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError
from everymask.infer.decoding.prompted import EmbeddingArrays, MaskArrays, MaskResizing, decode_masks
from everymask.infer.prompted.looks import Looks, digest_of, read_embedding, write_embedding
from everymask.infer.prompted.prompts import Numbers, Prompts, check_positive, check_prompts, mask_logits
from everymask.infer.result import Result
from everymask.infer.running import Running

_UPSCALED = 4
SMALLER = "make the picture smaller"


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture, what a network has seen of it, by which digest that is known, and how masks find the way back."""

    sample: Sample
    embedding: EmbeddingArrays
    digest: str
    resizing: MaskResizing


def look_at(predictor: Running, sample: Sample, looks: Looks, stored: str | Path | None = None) -> Seen:
    """The network's look at a picture: one that is kept or `stored`, else a new one.

    `ConfigError` where it takes no prompts, `DataError` where it cannot take the picture, or what is stored is of
    another one.
    """
    preprocess = predictor.card.preprocess
    with room_for(sample.file or sample.id, SMALLER):
        image, placement = preprocess.apply(sample.image)
        digest = digest_of(image)
        if stored is None:
            embedding = looks.get(digest, lambda: predictor.backend.encode(image))
        else:
            embedding = read_embedding(stored, digest)
            looks.put(digest, embedding)
    side = preprocess.resize.long
    frame = (side, side) if preprocess.resize.rule == "segment-anything" else None
    places = _UPSCALED * embedding.maps[0].shape[-1]
    return Seen(sample, embedding, digest, MaskResizing((places, places), placement, frame))


@dataclass(frozen=True, slots=True)
class _Turn:
    """What was asked so far, and the logits [B, h, w] of the answer."""

    prompts: Prompts
    logits: FloatArray


class Session:
    """A picture that was looked at once: `Predictor.session`. Its prompts add up until a box or `reset` begins anew.

    Threads may share the predictor, but not a session.

    >>> session = load("mobile-sam").session("photo.jpg")
    >>> session.predict(points=[[120, 80]]).show()
    >>> better = session.predict(points=[[150, 95]], labels=[0])
    """

    def __init__(self, predictor: Running, seen: Seen) -> None:
        self._predictor, self._seen = predictor, seen
        self._turns: list[_Turn] = []

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        return self._seen.sample.size

    @property
    def sample(self) -> Sample:
        """The picture, and its truth where that is known."""
        return self._seen.sample

    @property
    def logits(self) -> FloatArray | None:
        """[B, h, w] float32 of the last answer, h = w a quarter of the network's side (half of the small one's), which
        `predict` takes as `mask`; None before the first.
        """
        return self._turns[-1].logits if self._turns else None

    @property
    def nbytes(self) -> int:
        """What it takes of memory: the picture, what the network has seen of it, and the logits of its answers."""
        answers = sum(turn.logits.nbytes for turn in self._turns)
        return self._seen.sample.image.nbytes + self._seen.embedding.nbytes + answers

    def predict(
        self,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        boxes: Numbers | None = None,
        mask: Any = None,
        *,
        candidates: bool = False,
    ) -> Result:
        """What the prompts point at, one object for each; the scores are the IoU that the masks probably have.

        Further points refine the objects in progress: all points so far are asked with the last answer's mask, as the
        networks were trained. Boxes begin new objects. One point alone may mean a part or the whole: the surest of its
        three masks is given, or with `candidates` all three, surest first.

        Args:
            points: [N, 2] (x, y) in pixels of the picture for one object, or [B, N, 2] for B objects.
            labels: [N] or [B, N]: 1 on the object, 0 beside it; None: all on it.
            boxes: [4] or [B, 4] (x1, y1, x2, y2) in pixels.
            mask: What the objects look like so far, in place of the last answer: `Masks`, or booleans [H, W] or
                [B, H, W], or logits as `logits`.
            candidates: Give all three masks of each prompt.

        `ConfigError` for prompts that cannot be meant (see `check_prompts`), where none of an object's points is on it,
        and for points of another number of objects than are in progress.
        """
        started = time.perf_counter()
        prompts, masks = self._asked(check_prompts(points, labels, boxes, self.size), mask, begins=boxes is not None)
        if masks is None:
            check_positive(prompts)
        several = candidates or (masks is None and prompts.boxes is None and prompts.labels.shape[1] == 1)
        with room_for(self._seen.sample.file or self._seen.sample.id, SMALLER):
            arrays = prompts.arrays(self._seen.resizing.placement, masks, several=several)
            answer = self._predictor.backend.answer(self._seen.embedding, arrays)
            order = np.lexsort((-answer.scores, answer.prompts))
            best = order[np.unique(answer.prompts[order], return_index=True)[1]]
            result = self._result(answer, order if candidates else best, started)
        self._turns.append(_Turn(prompts, answer.logits[best]))
        return result

    def undo(self) -> None:
        """Take back what the last `predict` asked; `ConfigError` where there was none."""
        if not self._turns:
            raise ConfigError("there is nothing to take back")
        self._turns.pop()

    def reset(self) -> None:
        """Begin with new objects."""
        self._turns.clear()

    def save(self, path: str | Path) -> None:
        """Store what the network has seen of the picture, for `Predictor.session(picture, embedding=path)`."""
        write_embedding(path, self._seen.embedding, self._seen.digest)

    def _asked(self, given: Prompts | None, mask: Any, *, begins: bool) -> tuple[Prompts, FloatArray | None]:
        """All prompts for the objects in progress, and the logits of what they look like so far."""
        earlier = self._turns[-1] if self._turns and not begins else None
        prompts = given if earlier is None else earlier.prompts
        if given is not None and earlier is not None:
            if len(given) != len(earlier.prompts):
                raise ConfigError(
                    f"the points are for {len(given)} objects, but {len(earlier.prompts)} are in progress",
                    hint="call reset() to begin new ones",
                )
            prompts = earlier.prompts.with_more(given.points, given.labels)
        if mask is None:
            if given is None or prompts is None:
                raise ConfigError("there is no prompt", hint="give points, boxes or a mask")
            return prompts, None if earlier is None else earlier.logits
        resizing = self._seen.resizing
        count = None if prompts is None else len(prompts)
        masks = mask_logits(mask, count, resizing.placement, resizing.frame, resizing.logits[0])
        return Prompts.none(len(masks)) if prompts is None else prompts, masks

    def _result(self, answer: MaskArrays, rows: Any, started: float) -> Result:
        masks = decode_masks(answer.logits[rows], self._seen.resizing)
        scores = np.clip(answer.scores[rows], 0, 1).astype(np.float32)
        found = InstanceSet(masks.boxes(), np.zeros(len(masks), np.int64), scores, masks)
        labels, seconds = self._predictor.card.labels, time.perf_counter() - started
        return Result(self._seen.sample, found, labels, seconds)
