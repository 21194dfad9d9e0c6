"""Every step that is shown is one that the network takes: together they give its answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from everymask.core.labels import labels_of
from everymask.core.sample import Sample
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.errors import ConfigError
from everymask.inspection.inspecting import Inspection, Known, inspect_network
from everymask.inspection.page import write_inspection
from everymask.models.card import Card
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.prompted import PromptedSmall
from everymask.models.specs.queries import Mask2Former
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet
from everymask.models.steps import pixel_steps, taking_maps
from tests.models.networks import shared_network
from tests.viz.test_report import Page

_SMALL: dict[str, Any] = {
    "encoder": "mobilenetv3_small_100",
    "fpn_channels": 8,
    "rpn_channels": 8,
    "rpn_pre_nms": (60, 60),
    "rpn_post_nms": (30, 30),
    "anchor_sizes": (8, 16, 24, 32, 48),
    "box_fcs": (16,),
    "mask_convs": (8,),
    "mask_channels": 8,
    "score_threshold": 0.0,
    "max_detections": 7,
}
OBJECTS = MaskRCNN(**_SMALL)
SEGMENTS = PanopticFPN(**_SMALL, things=(0, 2), semantic_channels=8)
PIXELS = UNet(encoder=PLAIN_ENCODER, decoder_channels=(8, 4), decoder_norm="none")
QUERIES = Mask2Former(
    encoder="mobilenetv3_small_100", width=16, heads=4, pixel_layers=1, pixel_hidden=8, layers=1, hidden=8, queries=5,
    points=16, task="instance",
)  # fmt: skip
EVIL = '<script>alert("1")</script>'
LABELS = labels_of(["square", EVIL, "triangle"])


def seen_by(spec: ModelSpec, *, known: bool = False, threshold: float | None = None) -> Inspection:
    """A picture of shapes of 64 x 48 pixels, looked at by a network of random weights."""
    drawn = draw_shapes(ShapesConfig(pictures=1, seed=3, size=(48, 64)), 0)
    sample = Sample(drawn.image, id=EVIL)
    network = shared_network(spec)
    things = replace(LABELS, things=frozenset({0, 2})) if spec is SEGMENTS else LABELS
    card = Card(spec, things, Preprocess(mean=(0.5,) * 3, std=(0.25,) * 3, resize=Resize(64, 96)))
    truth = Known(drawn.truth, LABELS) if known and drawn.truth is not None else None
    if threshold is not None:
        network.spec = replace(spec, score_threshold=threshold)
    try:
        return inspect_network(network, card, sample, truth)
    finally:
        network.spec = spec


def answer_of(spec: ModelSpec, seen: Inspection) -> Any:
    with torch.inference_mode():
        window = torch.tensor([seen.prepared.placement.inside])
        return shared_network(spec)(torch.from_numpy(seen.fed[None]), window)


def test_the_steps_of_a_detector_lead_to_its_answer() -> None:
    seen = seen_by(OBJECTS)
    anchors, regions = seen.steps.anchors, seen.steps.regions
    assert anchors is not None and regions is not None
    assert [each.name for each in seen.steps.maps] == ["P2", "P3", "P4", "P5", "P6"]
    assert [(level.stride, len(level.boxes)) for level in anchors.pyramid] == [
        (each.stride, 3 * each.values.shape[1] * each.values.shape[2]) for each in seen.steps.maps
    ]
    np.testing.assert_array_equal(anchors.boxes[anchors.kept], regions.proposals)
    assert (np.diff(anchors.scores[anchors.kept]) <= 0).all() and len(anchors.kept) < len(anchors.boxes)
    for level, own in enumerate(anchors.pyramid):
        strongest = anchors.scores[anchors.levels == level]
        np.testing.assert_allclose(strongest, np.sort(own.objectness)[::-1][: len(strongest)], rtol=1e-6)
    np.testing.assert_allclose(regions.class_scores.sum(axis=1), 1, rtol=1e-5)
    chosen = regions.rows, regions.class_ids + 1
    np.testing.assert_array_equal(regions.moved[chosen], regions.boxes)
    np.testing.assert_array_equal(regions.class_scores[chosen], regions.scores)
    answer = answer_of(OBJECTS, seen)
    np.testing.assert_array_equal(regions.boxes, answer.boxes)
    np.testing.assert_allclose(regions.masks, answer.mask_logits.sigmoid(), atol=1e-6)
    np.testing.assert_allclose(seen.result.instances.scores, regions.scores, rtol=1e-5)


def test_a_truth_says_which_anchors_match_and_what_masks_should_be() -> None:
    seen = seen_by(OBJECTS, known=True)
    anchors, regions = seen.steps.anchors, seen.steps.regions
    assert anchors is not None and regions is not None and regions.truth is not None
    matches = np.concatenate([level.matches for level in anchors.pyramid])
    assert set(matches[matches >= 0].tolist()) == set(range(len(regions.truth)))  # none is left without an anchor
    for row in range(len(regions.boxes)):
        assert (regions.targets[row].max() > 0) == (regions.matches[row] >= 0)


def test_the_steps_of_other_networks_lead_to_their_answers() -> None:
    pixels = seen_by(PIXELS).steps.pixels
    assert pixels is not None
    np.testing.assert_allclose(pixels.scores.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(pixels.logits[None], answer_of(PIXELS, seen_by(PIXELS)).logits)
    seen = seen_by(QUERIES)
    assert seen.steps.queries is not None
    np.testing.assert_allclose(seen.steps.queries.classes, answer_of(QUERIES, seen).classes[0].softmax(1), atol=1e-6)
    steps = seen_by(SEGMENTS).steps
    assert steps.pixels is not None and steps.regions is not None
    assert (steps.pixels.classes, steps.regions.classes) == ((-1, 1), (0, 2))


def test_entropy_is_nothing_where_one_answer_is_certain_and_one_where_all_are_alike() -> None:
    logits = torch.tensor([[[0.0, 50.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    np.testing.assert_allclose(pixel_steps(logits, "multiclass").entropy, [[1, 0]], atol=1e-6)
    np.testing.assert_allclose(pixel_steps(logits[:1], "binary").entropy, [[1, 0]], atol=1e-6)
    np.testing.assert_allclose(pixel_steps(logits, "multilabel").entropy, [[1, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "headings"),
    [
        (OBJECTS, ["Anchors", "Proposals", "Boxes", "Classes", "Masks"]),
        (SEGMENTS, ["Anchors", "Proposals", "Boxes", "Classes", "Masks", "Classes of pixels"]),
        (PIXELS, ["Classes of pixels"]),
        (QUERIES, ["Queries"]),
    ],
    ids=["objects", "segments", "pixels", "queries"],
)
def test_the_page_shows_each_step_and_nothing_else(spec: ModelSpec, headings: list[str], tmp_path: Path) -> None:
    write_inspection(tmp_path / "page.html", seen_by(spec, known=spec is OBJECTS), most=3)
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    shown = [word for word in page.words if word in {"What the network sees", "Maps", *headings, "Answer"}]
    ordered = list(dict.fromkeys(shown))
    assert ordered == ["What the network sees", "Maps", *headings, "Answer"]
    assert not page.handlers and "script" not in page.tags
    assert all(each.startswith(("data:image/jpeg", "#")) for each in page.references)


def test_a_page_is_written_where_nothing_is_found(tmp_path: Path) -> None:
    seen = seen_by(OBJECTS, threshold=1.0)
    assert len(seen.steps.regions.boxes) == 0
    write_inspection(tmp_path / "page.html", seen)
    assert "No region was sure enough" in (tmp_path / "page.html").read_text("utf-8")


def test_what_has_no_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="answers prompts"):
        seen_by(PromptedSmall(side=64, width=32))


def test_a_part_that_is_asked_again_says_so() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = torch.nn.Conv2d(1, 2, 1)

        def forward(self, x: torch.Tensor) -> None:
            self.part(x)
            self.part(x[..., ::2, ::2])

    network = Twice()
    with taking_maps(network, (8, 8)) as maps:
        network(torch.zeros(1, 1, 8, 8))
    assert [(each.name, each.stride) for each in maps] == [("part", 1), ("part, call 2", 2)]
    network(torch.zeros(1, 1, 8, 8))
    assert len(maps) == 2  # no hook is left
