"""Every network goes into one ONNX file, which says what the network says: for any size, and any number of pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from everymask.export.check import apart, reference
from everymask.models.specs.any_spec import ModelSpec
from everymask.runtimes.on_onnxruntime import OnnxRuntimeEngine
from everymask.runtimes.on_openvino import OpenVinoEngine
from tests.export.graphs import decided_network, onnx_of
from tests.models.networks import (
    CHANGE,
    DETECTORS,
    DETR,
    ONE_STAGE,
    PANOPTIC,
    QUERIES,
    REGIONS,
    SEMANTIC,
    bands_of,
    bare_network,
    with_channels,
)

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

CHANNELS = 3
ALL: dict[str, ModelSpec] = {
    name: with_channels(spec, CHANNELS)
    for name, spec in (REGIONS | PANOPTIC | SEMANTIC | CHANGE | ONE_STAGE | QUERIES | DETR).items()
}
MANY = "mask-rcnn-v2"
ALL[MANY] = replace(REGIONS[MANY], score_threshold=0.26, rpn_post_nms=(300, 300)).with_detections(300)
EXPORTED = (
    MANY, "faster-rcnn-last", "panoptic-fpn-norms", "unet", "unet-transposed", "unet-original-paper",
    "unet-original-bilinear", "unet++", "deeplabv3", "deeplabv3+", "pspnet", "upernet", "segformer", "fcn", "hrnet-ocr",
    "lraspp", "pidnet", "tinycd", "fc-ef", "fc-siam-conc", "fc-siam-diff", "unet-difference", "unet-original-concat",
    "yolox", "rtmdet-ins", "rtmdet", "mask2former-semantic", "eomt", "bit", "snunet", "changeformer", "changer-ex",
    "cascade-mask-rcnn-stages", "point-rend", "rf-detr-seg",
)  # fmt: skip
"""Those of which the others are made too: the exporter takes 5 to 30 seconds for each."""
SHAPES = ((1, (64, 96)), (2, (160, 64)), (5, (96, 64)))
"""How many pictures of which size: none is that with which networks are traced, and sides have odd numbers of cells."""


def pictures(count: int, size: tuple[int, int], bands: int = CHANNELS) -> tuple[np.ndarray, np.ndarray]:
    images = torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(1)).numpy()
    windows = np.array([(0, 0, size[1] - 5 * k, size[0] - 3) for k in range(count)])
    return images, windows


def engines_of(graph: bytes) -> tuple[OnnxRuntimeEngine, OpenVinoEngine]:
    return OnnxRuntimeEngine(graph, device="cpu", threads=1), OpenVinoEngine(graph, threads=1)


@cache
def kinds_of(spec: ModelSpec) -> set[type]:
    """The network and all kinds of layers in it."""
    return {type(part) for part in bare_network(spec).modules()}


@pytest.mark.parametrize("name", [name for name in ALL if name not in EXPORTED])
def test_what_is_not_exported_here_is_made_of_the_same_layers(name: str) -> None:
    known = set().union(*(kinds_of(ALL[other]) for other in EXPORTED))
    alike = [ALL[other] for other in EXPORTED if kinds_of(ALL[other]) & {type(bare_network(ALL[name]))}]
    assert alike and kinds_of(ALL[name]) <= known


@pytest.mark.parametrize(
    ("window", "objects"), [((0, 0, 0, 0), 0), ((0, 0, 1, 1), 1), ((0, 0, 160, 93), 300)], ids=["none", "one", "many"]
)
def test_none_one_and_many_objects(window: tuple[int, ...], objects: int) -> None:
    """Where the picture has no area there are no proposals; where it is a pixel, they are all the same."""
    own, engines = reference(decided_network(ALL[MANY])), engines_of(onnx_of(ALL[MANY]))
    images, _ = pictures(1, (96, 160))
    for shown, wanted in ((images, objects), (images * 0, 0)):
        expected = own(shown, np.array([window]))
        assert len(expected["scores"]) == wanted
        for engine in engines:
            found = apart(expected, engine(shown, np.array([window])))
            assert found.difference < 1e-3 and found.unmatched == 0


@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_says_what_the_network_says(name: str) -> None:
    spec = ALL[name]
    own, engines = reference(decided_network(spec)), engines_of(onnx_of(spec))
    alone = isinstance(spec, DETECTORS)
    for count, size in SHAPES:
        images, windows = pictures(count, size, bands_of(spec))
        for rows in [slice(row, row + 1) for row in range(count)] if alone else [slice(0, count)]:
            expected = own(images[rows], windows[rows])
            for engine in engines:
                found = apart(expected, engine(images[rows], windows[rows]))
                assert found.difference < 1e-3 and found.unmatched == 0, (engine.name, size, found)
                assert not alone or name == MANY or found.detections == 14
