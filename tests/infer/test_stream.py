"""Many pictures: batches of one size, in order, whatever is slow, broken or interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.backends.pytorch import build_predictor
from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.labels import labels_of
from everymask.core.sample import Sample
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError, DataError
from everymask.infer import stream
from everymask.infer.backend import Backend
from everymask.infer.decoding.outputs import Outputs, Wanted
from everymask.infer.predictor import Predictor
from everymask.infer.tiling import Tiling
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import PLAIN_ENCODER, DeepLabV3Plus, UNet
from tests.grey_model import grey_model

LABELS = labels_of(["ground", "road", "sky"])
SIZES = ((24, 40), (17, 33), (40, 24), (24, 40), (24, 39), (8, 8), (24, 40), (40, 24), (23, 40))


@dataclass
class Watched:
    """A backend that remembers what it was given, and in which thread."""

    backend: Backend
    lanes: int = 1
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    @property
    def spec(self) -> object:
        return self.backend.spec

    @property
    def device(self) -> str:
        return self.backend.device

    @property
    def most_pixels(self) -> int:
        return self.backend.most_pixels

    def open_lanes(self) -> Executor:
        return ThreadPoolExecutor(self.lanes)

    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        self.shapes.append((len(images), *images.shape[2:]))
        self.threads.add(threading.get_ident())
        return self.backend.run(images, windows, wanted)


def watched(model: Predictor) -> tuple[Predictor, Watched]:
    backend = Watched(model.backend)
    return replace(model, backend=backend), backend


def pictures(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Array]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 150, size).astype(np.uint8) for size in sizes]


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 100])
def test_order_and_answers_are_those_of_one_picture_after_the_other(batch: int | None) -> None:
    model, backend = watched(grey_model(LABELS))
    found = list(model.stream(pictures(), batch=batch))
    assert [result.id for result in found] == [f"picture-{place}" for place in range(1, len(SIZES) + 1)]
    for result, picture in zip(found, pictures(), strict=True):
        np.testing.assert_array_equal(result.semantic.ids, grey_model(LABELS).predict(picture).semantic.ids)
        np.testing.assert_array_equal(result.sample.image[..., 0], picture)
    assert sum(count for count, *_ in backend.shapes) == len(SIZES)
    assert threading.get_ident() not in backend.threads and len(backend.threads) == 1


def test_only_pictures_of_one_padded_size_share_a_batch() -> None:
    """With their padding 17 x 33, 24 x 39 and 23 x 40 are 24 x 40; who waits longest is first."""
    model, backend = watched(grey_model(LABELS))
    list(model.stream(pictures(), batch=8))
    assert backend.shapes == [(6, 24, 40), (2, 40, 24), (1, 8, 8)]


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_batches_are_no_larger_than_asked_for(batch: int) -> None:
    model, backend = watched(grey_model(LABELS))
    list(model.stream(pictures(((16, 16),) * 9), batch=batch))
    assert [count for count, *_ in backend.shapes] == [batch] * (9 // batch) + [9 % batch] * bool(9 % batch)


def test_without_a_number_small_pictures_share_a_batch_and_large_ones_do_not() -> None:
    model, backend = watched(grey_model(LABELS))
    list(model.stream([*pictures(((256, 256),) * 6), *pictures(((1200, 1000),) * 2)]))
    assert backend.shapes == [(6, 256, 256), (1, 1200, 1000), (1, 1200, 1000)]


def test_small_batches_share_the_lanes_and_large_pictures_use_none() -> None:
    model, backend = watched(grey_model(LABELS))
    backend.lanes = 4
    images = [*pictures(((256, 256),) * 9), *pictures(((800, 1000),))]
    found = list(model.stream(images))
    assert [result.id for result in found] == [f"picture-{place}" for place in range(1, 11)]
    assert sorted(backend.shapes) == [(1, 256, 256), (1, 800, 1000), (4, 256, 256), (4, 256, 256)]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_lanes_share_the_threads_and_leave_the_number_of_others_as_it_was(threads: int) -> None:
    backend = grey_model(LABELS).backend
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with backend.open_lanes() as lanes:
            shares = set(lanes.map(lambda _: torch.get_num_threads(), range(20)))
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == threads
        assert (backend.lanes, shares) == (min(4, threads), {threads // min(4, threads)})
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus", "mask-rcnn"])
def test_an_answer_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    """DeepLabV3+ pools over the whole frame: were it padded further for others, its answer would change."""
    specs = {
        "unet": UNet(encoder=PLAIN_ENCODER, decoder_channels=(8, 4), decoder_norm="none"),
        "deeplabv3plus": DeepLabV3Plus(encoder="mobilenetv3_small_100"),
        "mask-rcnn": MaskRCNN(
            encoder="mobilenetv3_small_100", fpn_channels=16, rpn_channels=16, rpn_post_nms=(20, 20), box_fcs=(16,),
            mask_convs=(16,), mask_channels=16, score_threshold=0.0, max_detections=5,
        ),
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(specs[name], 3).eval()
    card = Card(module.spec, LABELS, Preprocess(resize=Resize(64, 96)))
    model = build_predictor(module, card, "cpu", precision="exact")
    model = model.with_scores() if "calibration" in model.task.options else model
    shown = [np.repeat(picture[..., None], 3, axis=2) for picture in pictures()]
    for picture, result in zip(shown, model.stream(shown, batch=4), strict=True):
        alone = model.predict(picture)
        if "calibration" in model.task.options:
            np.testing.assert_allclose(result.semantic.scores, alone.semantic.scores, atol=1e-5)
        else:
            np.testing.assert_allclose(result.instances.boxes, alone.instances.boxes, atol=1e-3)
            np.testing.assert_allclose(result.instances.scores, alone.instances.scores, atol=1e-5)


def test_a_picture_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    good = pictures(((16, 16),) * 4)
    found = list(grey_model(LABELS).attempts([good[0], bad, good[1], "missing.png", good[2], good[3]], batch=2))
    assert [isinstance(each, DataError) for each in found] == [False, True, False, True, False, False]
    assert "bad.png: expected a picture" in str(found[1]) and "missing.png: there is no such file" in str(found[3])
    assert [each.id for each in found if not isinstance(each, DataError)] == [f"picture-{n}" for n in (1, 3, 5, 6)]
    given = grey_model(LABELS).stream([good[0], bad, good[1]])
    assert next(given).id == "picture-1"
    with pytest.raises(DataError, match=r"bad\.png"):
        next(given)


def test_what_the_sources_raise_comes_behind_the_pictures_before_it() -> None:
    def sources() -> Iterator[Array]:
        yield from pictures(((16, 16),) * 3)
        raise KeyError("the reader is at fault")

    found = []
    with pytest.raises(KeyError, match="the reader"):
        found.extend(grey_model(LABELS).attempts(sources()))
    assert len(found) == 3


def test_what_the_network_raises_is_raised() -> None:
    model, backend = watched(grey_model(LABELS))
    backend.run = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match="not callable"):
        list(model.stream(pictures()))


def test_sources_are_asked_for_only_a_little_ahead() -> None:
    asked = 0

    def sources() -> Iterator[Array]:
        nonlocal asked
        while True:
            asked += 1
            yield np.zeros((16, 16), np.uint8)

    with closing(watched(grey_model(LABELS))[0].attempts(sources(), batch=2)) as attempts:
        for given in range(1, 30):
            next(attempts)
            assert asked <= given + stream._GROUPS_AHEAD * 2 + 2 * 2
    assert asked > 30


def test_memory_bounds_what_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_BYTES_AHEAD", 1)
    model, backend = watched(grey_model(LABELS))
    found = list(model.stream(pictures(((16, 16),) * 4), batch=4))
    assert len(found) == 4 and backend.shapes == [(1, 16, 16)] * 4


def test_who_stops_early_leaves_nothing_running() -> None:
    before = set(threading.enumerate())
    with closing(grey_model(LABELS).attempts(pictures() * 9)) as attempts:
        next(attempts)
        assert set(threading.enumerate()) - before
    assert not set(threading.enumerate()) - before


def test_truth_stays_with_the_sample() -> None:
    truth = grey_model(LABELS).predict(pictures()[0]).semantic
    [result] = grey_model(LABELS).predict([Sample(pictures()[0][..., None], truth, "a")])
    assert result.sample.truth is truth and result.seconds > 0


def test_files_are_read_by_path_bytes_and_open_file(tmp_path: Path) -> None:
    file = tmp_path / "grey.png"
    Image.fromarray(pictures()[0]).save(file)
    data, model = file.read_bytes(), grey_model(LABELS)
    with file.open("rb") as opened:
        found = model.predict([file, data, bytearray(data), memoryview(data), opened])
    assert [(each.id, each.file) for each in found] == [
        ("grey", str(file)), ("picture-2", ""), ("picture-3", ""), ("picture-4", ""), ("grey", str(file)),
    ]  # fmt: skip
    for each in found:
        np.testing.assert_array_equal(each.semantic.ids, found[0].semantic.ids)
    assert model.predict(data).id == "picture"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"batch": 0}, "batch must be at least 1, but got 0"), ({"batch": 2, "tiling": Tiling()}, "one by one")],
)
def test_batches_that_make_no_sense_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        grey_model(LABELS).attempts([], **options)


def test_no_model_here_answers_prompts() -> None:
    with pytest.raises(ConfigError, match="a UNet answers once and takes none"):
        grey_model(LABELS).session(pictures()[0])
