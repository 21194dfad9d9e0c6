"""Every network learns and predicts on a GPU: a pretended one, which refuses what was left on the CPU.

Its numbers are those of the CPU, so that ways which only a GPU takes (torchvision's RoIAlign, label maps decided beside
the logits) are compared with the CPU's too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from everymask.backends.pytorch import TorchBackend
from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.outputs import (
    DecidedMaps,
    PanopticArrays,
    QueryArrays,
    RegionArrays,
    SemanticArrays,
    Wanted,
)
from everymask.models.base import Network, SemanticOutputs
from everymask.models.inference import ready_to_predict
from everymask.models.specs.any_spec import ModelSpec
from everymask.settings.loss_terms import LOSS_NAMES
from everymask.train.semantic_losses import build_loss
from everymask.train.step import TrainStep
from tests.export.graphs import thinned
from tests.models.networks import (
    OTHER_ENCODERS,
    SEARCHED,
    SPECS,
    bands_of,
    shared_network,
    some_batch,
    with_channels,
)
from tests.pretended_gpu import GPU, LeftBehind, OnGpu, on_gpu, pretended_gpu
from tests.quick import quick

ALL: dict[str, ModelSpec] = {name: with_channels(spec, 3) for name, spec in (SPECS | OTHER_ENCODERS).items()}
# Objects with masks, and attention; the rest in the slow suite.
QUICK = quick(ALL, ["mask-rcnn", "segformer"])
CPU = torch.device("cpu")


@lru_cache(maxsize=4)
def network(name: str) -> Network:
    """The network in evaluation mode, to be left as it is; without layers that do once more what others show."""
    whole = shared_network(ALL[name])
    return whole if name in SEARCHED else thinned(copy.deepcopy(whole))


def losses(name: str, device: torch.device, spoil: Callable[[Network], None] = lambda _: None) -> dict[str, float]:
    module = copy.deepcopy(network(name)).train()
    if device == GPU:
        on_gpu(module)
    spoil(module)
    step, batch = TrainStep(module, device, bf16=False), some_batch(ALL[name])
    with torch.no_grad():
        found = step(batch, torch.Generator().manual_seed(0))
    return {key: loss.item() for key, loss in found.items()}


@pytest.mark.parametrize("name", QUICK)
def test_losses_on_a_gpu_are_those_of_the_cpu(name: str) -> None:
    with pretended_gpu():
        found = losses(name, GPU)
    assert found == pytest.approx(losses(name, CPU), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["exact", "fast"])
def test_predictions_on_a_gpu_are_those_of_the_cpu(name: str, dtype: torch.dtype | None) -> None:
    images = np.random.default_rng(0).random((2, bands_of(ALL[name]), 67, 93), np.float32)
    windows = np.array([[0, 0, 93, 67], [0, 0, 50, 40]])
    wanted = Wanted((Placement((200, 270), (67, 93)),) * 2, ignore=255, scored=True)
    expected = TorchBackend(ready_to_predict(network(name)), CPU).run(images, windows)
    with pretended_gpu():
        module = ready_to_predict(on_gpu(copy.deepcopy(network(name))), dtype, GPU)
        # Without its inference mode, in which torch lets no tensors pretend.
        found = TorchBackend.run.__wrapped__(TorchBackend(module, GPU), images, windows, wanted)  # type: ignore[attr-defined]
    if isinstance(expected, PanopticArrays):
        assert isinstance(found, PanopticArrays)
        same_objects(found.regions, expected.regions, exact=dtype is None)
        same_classes(found.classes, expected.classes, wanted, exact=dtype is None)
    elif isinstance(expected, RegionArrays):
        same_objects(found, expected, exact=dtype is None)
    elif isinstance(expected, QueryArrays):
        assert isinstance(found, QueryArrays) and found.spec == expected.spec
        for there, here in ((found.classes, expected.classes), (found.masks, expected.masks)):
            assert there.dtype == np.float32 and there.shape == here.shape
            if dtype is None:
                np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3)
    else:
        same_classes(found, expected, wanted, exact=dtype is None)


def same_objects(found: object, expected: RegionArrays, *, exact: bool) -> None:
    assert isinstance(found, RegionArrays)
    if not exact:
        return
    for part in ("boxes", "scores", "mask_logits", "class_ids", "image_index", "cut"):
        there, here = getattr(found, part), getattr(expected, part)
        assert (there is None) == (here is None)
        if here is not None:
            np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3)


def same_classes(found: object, expected: object, wanted: Wanted, *, exact: bool) -> None:
    assert isinstance(expected, SemanticArrays) and isinstance(found, DecidedMaps)
    for index in (0, 1):
        there, here = (arrays.segmentation(index, wanted).ids for arrays in (found, expected))
        assert np.mean(there == here) > (0.999 if exact else 0.9)


def test_exact_predictions_keep_all_digits_of_float32() -> None:
    """On GPUs torch lets convolutions round to 11 bits unless it is told not to."""
    asked: list[bool] = []

    class Asks(torch.nn.Module):
        spec = ALL["unet"]

        def forward(self, images: Tensor, windows: Tensor) -> SemanticOutputs:
            asked.append(torch.backends.cudnn.allow_tf32)
            return SemanticOutputs(images, "multiclass")

    before = torch.backends.cudnn.allow_tf32
    with pretended_gpu():
        TorchBackend.run.__wrapped__(  # type: ignore[attr-defined]
            TorchBackend(Asks(), GPU),
            np.zeros((1, 3, 8, 8), np.float32),
            np.zeros((1, 4), np.int64),  # type: ignore[arg-type]
        )
    assert asked == [False]
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("head", ["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("term", LOSS_NAMES)
def test_every_loss_of_pixels_is_calculated_where_the_logits_are(term: str, head: Any) -> None:
    channels = 1 if head == "binary" else 3
    logits = torch.randn(2, channels, 8, 12, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, max(2, channels), (2, 8, 12), generator=torch.Generator().manual_seed(1))
    target[:, :2] = -100
    weights = (0.5, 2.0) if head == "binary" else (0.5, 1.0, 2.0)
    for given in ((), weights):
        loss = build_loss(term, head, class_weights=given, label_smoothing=0.1)
        with pretended_gpu():
            found: Tensor = loss(OnGpu(logits), OnGpu(target))
            assert found.device == GPU
            number = found.item()
        assert number == pytest.approx(loss(logits, target).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["mask-rcnn", "unet", "segformer"])
def test_a_tensor_left_on_the_cpu_is_an_error(name: str) -> None:
    def leave_one(module: Network) -> None:
        part = next(part for part in reversed(list(module.modules())) if isinstance(part, torch.nn.Conv2d))
        part.weight = torch.nn.Parameter(part.weight.held, requires_grad=False)

    with pretended_gpu(), pytest.raises(LeftBehind, match="on the CPU"):
        losses(name, GPU, leave_one)


def test_only_what_a_gpu_takes_is_taken() -> None:
    rows, plain = torch.tensor([1, 0]), torch.arange(6.0).view(2, 3)
    with pretended_gpu():
        there = torch.arange(6.0, device=GPU).view(2, 3)
        assert there.device == GPU and torch.zeros(2, device="cuda").device == GPU
        assert (there + torch.tensor(1.0)).cpu().tolist() == (plain + 1).tolist()
        assert there[rows].cpu().tolist() == plain[rows].tolist()
        there[rows] = torch.zeros(2, 3, device=GPU)
        assert there.sum().item() == 0
        for call in (
            lambda: there + plain,
            lambda: torch.cat([there, plain]),
            lambda: plain[rows.to(GPU)],
            lambda: there.index_put_((rows,), plain),
            lambda: there.gather(1, rows[:, None]),
            lambda: torch.where(there > 0, there, plain),
        ):
            with pytest.raises(LeftBehind):
                call()
