"""Objects followed through videos: as transformers does, in bounded memory; what cannot be meant is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from everymask.core.masks import Masks
from everymask.errors import ConfigError, DataError, EverymaskError
from everymask.infer.predictor import Predictor
from everymask.infer.prompted.video import VideoSession
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, SAM2
from tests.models.prompted.random_sam import SIDE, own_of, predictor_of, scatter
from tests.models.prompted.random_video import session_of, video_sam2

SMALL = 32


@cache
def small_model() -> Predictor:
    """A network of random weights with which objects are always seen."""
    module = PromptedNetwork(SAM2(side=SMALL, memory="2.1"))
    scatter(module)
    with torch.no_grad():
        module.mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(50)
    return predictor_of(module.eval())


class Repeated(Sequence[np.ndarray]):
    """Frames without end, of noise that moves."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.still = np.random.default_rng(0).integers(0, 256, (SMALL, SMALL, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, frame: Any) -> Any:
        if not 0 <= frame < self.count:
            raise IndexError(frame)
        return np.roll(self.still, frame % 7, axis=1)


def video(count: int = 8) -> VideoSession:
    return small_model().video(Repeated(count))


def masks_of(session: Iterator[Any]) -> dict[int, dict[int, np.ndarray]]:
    """By frame and object."""
    found = {}
    for tracked in session:
        objects = tracked.result.instances
        found[tracked.frame] = {int(number): objects.masks.to_dense(row) for row, number in enumerate(objects.ids)}
    return found


def check_same(found: dict[int, np.ndarray], expected: Any, number: int) -> bool:
    """Whether an object is seen, as it is by transformers, `expected`."""
    logits = torch.nn.functional.interpolate(expected.float(), (SIDE, SIDE), mode="bilinear")[0, 0].numpy()
    mask = found.get(number, np.zeros((SIDE, SIDE), np.bool_))
    assert (mask != (logits > 0)).mean() < 1e-3
    return bool(mask.any())


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Predictor, np.ndarray, torch.Tensor]:
    """transformers' network and ours with the same weights, frames, and these as a network takes them."""
    theirs = video_sam2()
    model = predictor_of(own_of(theirs.state_dict(), SIDE))
    still = np.random.default_rng(0).integers(0, 256, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
    still = np.kron(still, np.ones((8, 8, 1), np.uint8))
    frames = np.stack([np.roll(still, (3 * frame, 5 * frame), (0, 1)) for frame in range(10)])
    shown = torch.from_numpy(np.stack([model.card.preprocess.apply(frame)[0] for frame in frames]))
    return theirs, model, frames, shown


@pytest.mark.slow
def test_objects_are_followed_as_transformers_does_forwards_and_backwards(pair: Any) -> None:
    theirs, model, frames, shown = pair
    session = model.video(frames)
    session.prompt(3, 4, points=[[40, 50]])
    session.prompt(7, 4, box=[20, 30, 90, 100])
    forwards = masks_of(session.propagate())
    backwards = masks_of(session.propagate(4, reverse=True))
    assert list(forwards) == list(range(4, 10)) and list(backwards) == [4, 3, 2, 1, 0]
    seen = []
    for number, points, labels in ((3, [[40.0, 50]], [1]), (7, [[20.0, 30], [90, 100]], [2, 3])):
        reference = session_of(shown)
        row = reference.obj_id_to_idx(1)
        points_, labels_ = torch.tensor([[points]]), torch.tensor([[labels]])
        reference.add_point_inputs(row, 4, {"point_coords": points_, "point_labels": labels_})
        reference.obj_with_new_inputs = [1]
        with torch.no_grad():
            theirs(reference, frame_idx=4)
            for found, order, reverse in ((forwards, range(4, 10), False), (backwards, range(4, -1, -1), True)):
                for frame in order:
                    expected = theirs(reference, frame_idx=frame, reverse=reverse).pred_masks
                    seen.append(check_same(found[frame], expected, number))
    assert any(seen) and not all(seen)


@pytest.mark.slow
def test_a_mask_is_followed_as_transformers_does(pair: Any) -> None:
    theirs, model, frames, shown = pair
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:70, 30:90] = True
    session = model.video(frames[:6])
    first = session.prompt(1, 0, mask=mask)
    assert (first.instances.masks.to_dense(0) != mask).mean() < 0.01  # through logits of a quarter of the side
    found = masks_of(session.propagate())
    reference = session_of(shown[:6])
    reference.add_mask_inputs(reference.obj_id_to_idx(1), 0, torch.from_numpy(mask)[None, None].float())
    reference.obj_with_new_inputs = [1]
    with torch.no_grad():
        seen = [check_same(found[frame], theirs(reference, frame_idx=frame).pred_masks, 1) for frame in range(6)]
    assert sum(seen) > 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video() -> None:
    session = small_model().video(Repeated(45))
    session.prompt(1, 0, points=[[10, 12]])
    sizes = []
    for tracked in session.propagate():
        (memory,) = session._objects.values()
        sizes.append((len(memory.passed), len(memory.pointers), session.nbytes))
        assert tracked.result.instances.ids.tolist() == [1]
    # Six maps behind the first frame, and those up to the last one; so with pointers.
    assert len(set(sizes[35:])) == 1 and sizes[-1][:2] == (6 + 7, 15 + 16)


def test_objects_come_and_go_while_the_video_runs() -> None:
    session = video()
    session.prompt(5, 0, points=[[10, 12]])
    seen = {}
    for tracked in session.propagate():
        seen[tracked.frame] = tracked.result.instances.ids.tolist()
        if tracked.frame == 2:
            session.prompt(2, 2, box=[4, 4, 20, 25])
        if tracked.frame == 5:
            session.remove(5)
    assert [seen[frame] for frame in range(8)] == [[5]] * 3 + [[2, 5]] * 3 + [[2]] * 2


@pytest.mark.slow
def test_one_object_is_followed_the_same_among_others() -> None:
    alone, together = video(), video()
    for session in (alone, together):
        session.prompt(1, 1, points=[[10, 12]])
    together.prompt(2, 0, points=[[20, 25]])
    apart, beside = masks_of(alone.propagate(1)), masks_of(together.propagate(1))
    for frame, objects in apart.items():
        np.testing.assert_array_equal(objects[1], beside[frame][1])


def test_a_frame_that_was_followed_is_corrected() -> None:
    session = video()
    session.prompt(1, 0, points=[[10, 12]])
    running = session.propagate()
    before = [next(running) for _ in range(4)][-1].result.instances.masks.to_dense(0)
    corrected = session.prompt(1, 3, points=[[25, 25]], labels=[0])
    assert (corrected.instances.masks.to_dense(0) != before).any()
    again = masks_of(session.propagate(3))
    np.testing.assert_array_equal(again[3][1], corrected.instances.masks.to_dense(0))
    assert list(masks_of(running)) == [4, 5, 6, 7]


def test_points_of_one_frame_add_up() -> None:
    session, other = video(), video()
    session.prompt(1, 0, points=[[10, 12]])
    both = session.prompt(1, 0, points=[[25, 25]], labels=[0])
    alone = other.prompt(1, 0, points=[[25, 25]])
    assert (both.instances.masks.to_dense(0) != alone.instances.masks.to_dense(0)).any()


@pytest.mark.slow
def test_what_is_hidden_is_named() -> None:
    module = PromptedNetwork(SAM2(side=SMALL, memory="2.1"))
    with torch.no_grad():
        module.mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(-50)
    session = predictor_of(module.eval()).video(Repeated(2))
    assert not len(session.prompt(1, 0, points=[[10, 12]]).instances)
    for tracked in session.propagate():
        assert tracked.hidden == (1,) and tracked.result.instances.ids.tolist() == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"object_id": 0}, "from 1 to 65535"),
        ({"object_id": True}, "from 1 to 65535"),
        ({"frame": 8}, "there is no frame 8: the video has 8 frames"),
        ({"frame": -1}, "no frame -1"),
        ({}, "no prompt"),
        ({"points": [[40, 2]]}, "outside the picture"),
        ({"points": [[4, 2]], "labels": [0]}, "all points are negative"),
        ({"points": [[[4, 2]], [[5, 5]]]}, "2 objects"),
        ({"box": [9, 9, 3, 3]}, "reversed"),
        ({"mask": np.zeros((4, 4), np.bool_)}, r"booleans \[32, 32\] of the frame"),
        ({"mask": Masks.empty((SMALL, SMALL))}, r"booleans \[32, 32\] of the frame"),
        ({"mask": np.ones((SMALL, SMALL), np.bool_), "points": [[4, 2]]}, "no other prompt"),
    ],
)
def test_prompts_that_cannot_be_meant_are_refused(asked: dict[str, Any], said: str) -> None:
    session = video()
    with pytest.raises(ConfigError, match=said):
        session.prompt(**{"object_id": 1, "frame": 0} | asked)
    assert session.objects == ()


def test_a_video_without_objects_or_memory_is_refused() -> None:
    session = video()
    with pytest.raises(ConfigError, match="no object to be followed"):
        session.propagate()
    with pytest.raises(ConfigError, match="no object 4"):
        session.remove(4)
    session.prompt(1, 0, points=[[10, 12]])
    with pytest.raises(ConfigError, match="no frame 99"):
        session.propagate(99)
    session.reset()
    assert session.objects == () and session.nbytes == 0
    for spec in (SAM2(side=SMALL), SAM(encoder="vit_t", side=SMALL)):
        with pytest.raises(ConfigError, match="follows nothing through a video"):
            predictor_of(PromptedNetwork(spec).eval()).video(Repeated(2))


def test_frames_of_no_kind_are_refused() -> None:
    refused: list[tuple[Any, type[EverymaskError], str]] = [
        ([], DataError, "has no frames"),
        (np.zeros((4, 4, 3), np.uint8), ConfigError, r"\[T, H, W, C\]"),
        (7, ConfigError, "but got int"),
    ]
    for source, kind, said in refused:
        with pytest.raises(kind, match=said):
            small_model().video(source)
