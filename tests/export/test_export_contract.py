"""Every network goes into one ONNX file, which says what the network says: for any size, and any number of pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.export.check import apart, reference
from everymask.models.specs.any_spec import ModelSpec
from everymask.runtimes.on_onnxruntime import OnnxRuntimeEngine
from everymask.runtimes.on_openvino import OpenVinoEngine
from tests.export.graphs import decided_network, onnx_of
from tests.models.networks import CHANGE, DETECTORS, ONE_STAGE, PANOPTIC, REGIONS, SEMANTIC, bands_of, with_channels

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
# PyTorch's exporter takes 5 to 40 seconds for each.
pytestmark = pytest.mark.slow

CHANNELS = 3
ALL: dict[str, ModelSpec] = {
    name: with_channels(spec, CHANNELS) for name, spec in (REGIONS | PANOPTIC | SEMANTIC | CHANGE | ONE_STAGE).items()
}
SIZES = ((64, 96), (160, 32))
"""Neither is the size that the network was traced with, and one has sides of an odd number of cells."""


def pictures(count: int, size: tuple[int, int], bands: int = CHANNELS) -> tuple[np.ndarray, np.ndarray]:
    images = torch.rand(count, bands, *size, generator=torch.Generator().manual_seed(1)).numpy()
    windows = np.array([(0, 0, size[1] - 5 * k, size[0] - 3) for k in range(count)])
    return images, windows


@pytest.mark.parametrize("name", ALL)
def test_the_graph_says_what_the_network_says(name: str) -> None:
    spec = ALL[name]
    own, graph = reference(decided_network(spec)), onnx_of(spec)
    engines = [OnnxRuntimeEngine(graph, device="cpu", threads=1), OpenVinoEngine(graph, threads=1)]
    alone = isinstance(spec, DETECTORS)
    for engine in engines:
        for size in SIZES:
            images, windows = pictures(2, size, bands_of(spec))
            for rows in (slice(0, 1), slice(1, 2)) if alone else (slice(0, 1), slice(0, 2)):
                found = apart(own(images[rows], windows[rows]), engine(images[rows], windows[rows]))
                assert found.difference < 1e-3 and found.unmatched == 0, (engine.name, size, found)
                assert not alone or found.detections == 14


@pytest.mark.parametrize(("threshold", "most"), [(1.0, 100), (0.0, 1), (0.0, 300)])
@pytest.mark.parametrize("name", ["mask-rcnn-v2"])
def test_none_one_and_many_objects(name: str, threshold: float, most: int) -> None:
    spec = replace(REGIONS[name], score_threshold=threshold, rpn_post_nms=(300, 300)).with_detections(most)
    own, graph = reference(decided_network(spec)), onnx_of(spec)
    images, windows = pictures(1, (96, 160))
    expected = own(images, windows)
    assert len(expected["scores"]) == (0 if threshold == 1 else most)
    for engine in (OnnxRuntimeEngine(graph, device="cpu", threads=1), OpenVinoEngine(graph, threads=1)):
        found = apart(expected, engine(images, windows))
        assert found.difference < 1e-3 and found.unmatched == 0
