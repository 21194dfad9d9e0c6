"""What every network promises, whatever it finds; each network is built once, for pictures of five channels."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from everymask.core.labels import labels_of
from everymask.core.segmentation import InstanceSet, PanopticMap, Segmentation, SemanticMap
from everymask.data.feed.preprocess import Preprocess
from everymask.errors import ConfigError
from everymask.models.base import LAST_STAGE, Network, PanopticOutputs, QueryOutputs, RegionOutputs, SemanticOutputs
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.inference import ready_to_predict
from everymask.models.queries.network import QueryNetwork
from everymask.models.specs.any_spec import KINDS, ModelSpec
from everymask.models.specs.detr import RFDETRSeg
from everymask.models.specs.onestage import RTMDetIns
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.queries import QuerySpec
from everymask.models.specs.regions import MaskRCNN
from everymask.train.step import TrainStep
from tests.models.networks import (
    CLASSES,
    DETECTORS,
    OTHER_ENCODERS,
    PROMPTED,
    SPECS,
    bands_of,
    bare_network,
    own_network,
    shared_network,
    some_batch,
    with_channels,
)
from tests.quick import quick

CHANNELS = 5
PREPROCESS = Preprocess(CHANNELS, mean=(0.5,) * CHANNELS, std=(0.25,) * CHANNELS)
STEPS = 16
ALL: dict[str, ModelSpec] = {name: with_channels(spec, CHANNELS) for name, spec in (SPECS | OTHER_ENCODERS).items()}
# One of each kind, for what all networks of a kind share; what RF-DETR learns of boxes, that with masks learns too.
KIND = list({type(ALL[name]): name for name in reversed(SPECS) if name != "rf-detr"}.values())
# One of each family, and the one with a loss of its own, for what all networks of a family share.
FAMILY = ["mask-rcnn", "deeplabv3", "pidnet"]
# One of each family of encoders: convolutions, attention, without a map at stride 2, with channels last.
OTHERS = ["mask-rcnn-mobilenetv3_small_100", "unet-mit", "unet-convnext", "upernet-swin"]
# Of most rooms of networks one, of semantic ones those of FAMILY: these learn each time, the rest in the slow suite.
ROOMS = [*FAMILY, "unet", "panoptic-fpn", "rtmdet-ins", "mask2former"]
KINDS_QUICK = quick(SPECS, ROOMS)
FAMILY_QUICK = quick(KIND, FAMILY)
# Those whose norms can be chosen.
NORMS_QUICK = quick([name for name in KIND if hasattr(ALL[name], "norm")], FAMILY)


def test_every_kind_is_under_contract() -> None:
    assert {type(spec) for spec in (SPECS | PROMPTED).values()} == set(KINDS.values()) == set(get_args(ModelSpec))


@dataclass(frozen=True)
class Lesson:
    """A network that was taught one batch: what it lost in the first step, what had no gradient then, and the sums."""

    module: Network
    losses: dict[str, torch.Tensor]
    left_out: list[str]
    totals: list[float]


@pytest.fixture(scope="module", params=KINDS_QUICK)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def taught(name: str) -> Lesson:
    """After at most 16 steps, which end when less than 70 % of the loss is left."""
    module, batch, first, left_out = own_network(ALL[name]), some_batch(ALL[name]), {}, []
    optimizer, totals = torch.optim.AdamW(module.parameters(), 2e-3), list[float]()
    while len(totals) < STEPS and (not totals or totals[-1] >= 0.7 * totals[0]):
        losses = TrainStep(module, torch.device("cpu"), bf16=False)(batch, torch.Generator().manual_seed(0))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        if not totals:
            first = {key: loss.detach() for key, loss in losses.items()}
            left_out = [key for key, p in module.named_parameters() if p.requires_grad and p.grad is None]
        optimizer.step()
        totals.append(total.item())
    optimizer.zero_grad()
    return Lesson(module, first, left_out, totals)


def test_losses_are_finite_scalars(name: str, taught: Lesson) -> None:
    check_losses(ALL[name], taught.losses)


def test_every_parameter_learns(taught: Lesson) -> None:
    assert taught.left_out == []


def test_loss_falls_on_one_batch(taught: Lesson) -> None:
    assert taught.totals[-1] < 0.7 * taught.totals[0]


def test_a_batch_of_one_learns_too(name: str, taught: Lesson) -> None:
    losses = taught.module.train().loss(some_batch(ALL[name], count=1), torch.Generator().manual_seed(0))
    check_losses(ALL[name], losses)


@pytest.mark.slow
def test_pictures_without_truth_leave_no_layer_without_gradient(name: str, taught: Lesson) -> None:
    """Of several processes each waits for the gradients of all layers, whatever its own pictures show."""
    module, batch = copy.deepcopy(taught.module).train(), some_batch(ALL[name])
    module.zero_grad()
    empty = replace(batch, truths=tuple(nothing_of(truth) for truth in batch.truths))
    losses = TrainStep(module, torch.device("cpu"), bf16=True)(empty, torch.Generator().manual_seed(0))
    torch.stack(list(losses.values())).sum().backward()
    own = {key: p.grad for key, p in module.named_parameters() if p.requires_grad}
    module.zero_grad()
    assert all(loss.isfinite() for loss in losses.values())
    assert [key for key, grad in own.items() if grad is None or not grad.isfinite().all()] == []


def nothing_of(truth: Segmentation | None) -> Segmentation:
    """No objects, no segments, and no pixel of which anything is known."""
    match truth:
        case InstanceSet():
            return truth[np.zeros(0, np.int64)]
        case PanopticMap():
            return PanopticMap(np.zeros_like(truth.ids))
        case SemanticMap():
            return replace(truth, ids=np.full_like(truth.ids, truth.ignore))
        case _:
            raise AssertionError(truth)


def test_gives_one_return_type_at_any_size_in_any_mode(name: str, taught: Lesson) -> None:
    for training in (True, False):
        check_answer(taught.module.train(training), ALL[name])


def test_prediction_does_not_depend_on_the_batch(name: str) -> None:
    module, images = shared_network(ALL[name]), torch.rand(2, bands_of(ALL[name]), 35, 61)
    both, alone = answer(module, images), answer(module, images[1:])
    mine = slice(1, None) if len(both) == 1 else both[-1] == 1
    torch.testing.assert_close(both[0][mine], alone[0], atol=1e-3 if len(both) > 1 else 1e-5, rtol=1e-4)
    for one, other in zip(both[1:-1], alone[1:-1], strict=True):
        torch.testing.assert_close(one[mine], other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", quick(SPECS, FAMILY), indirect=True)
def test_ready_to_predict_it_says_the_same(name: str, taught: Lesson) -> None:
    images = torch.rand(2, bands_of(ALL[name]), 35, 61)
    expected = answer(taught.module.eval(), images)
    found, rough = (answer(ready_to_predict(taught.module, dtype), images) for dtype in (None, torch.bfloat16))
    if isinstance(ALL[name], DETECTORS):
        torch.testing.assert_close(found[1], expected[1], atol=1e-4, rtol=1e-3)
    else:
        torch.testing.assert_close(found[0], expected[0], atol=1e-4, rtol=1e-3)
        assert (rough[0] - expected[0]).abs().mean() < 0.1 * expected[0].std()
    assert all(tensor.dtype != torch.bfloat16 for tensor in rough)


@pytest.mark.parametrize("other", quick(OTHER_ENCODERS, OTHERS))
def test_every_encoder_will_do(other: str) -> None:
    module, spec = shared_network(ALL[other]), ALL[other]
    check_answer(module, spec)
    with torch.no_grad():
        check_losses(spec, module.loss(some_batch(spec), torch.Generator().manual_seed(0)))


def answer(module: Network, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All that a network gives as tensors, but masks; at the end which picture it belongs to."""
    with torch.no_grad():
        found = module(images)
    if isinstance(found, SemanticOutputs):
        return (found.logits,)
    if isinstance(found, QueryOutputs):
        return (torch.cat([found.classes.flatten(1), found.masks.flatten(1)], dim=1),)
    if isinstance(found, PanopticOutputs):
        found = found.regions
    return found.boxes, found.scores, found.class_ids, found.image_index


def check_losses(spec: ModelSpec, losses: dict[str, torch.Tensor]) -> None:
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())
    assert any(name.startswith("loss_mask") for name in losses) == isinstance(spec, MaskRCNN | RTMDetIns)
    assert ("loss_sem_seg" in losses) == isinstance(spec, PanopticFPN)
    assert ("loss_aux" in losses) == getattr(spec, "auxiliary", getattr(spec, "ocr", False))


def check_answer(module: Network, spec: ModelSpec) -> None:
    windows = torch.tensor([[0, 0, 93, 67], [0, 0, 50, 40]])
    with torch.no_grad():
        found = module(torch.rand(2, bands_of(spec), 67, 93), windows)
    if isinstance(spec, PanopticFPN):
        assert isinstance(found, PanopticOutputs)
        assert found.logits.shape == (2, 1 + CLASSES - len(spec.things), 67, 93)
        assert torch.isfinite(found.logits).all() and found.logits.std() > 0
        check_objects(found.regions, windows, masks=True)
    elif isinstance(spec, QuerySpec) and spec.task != "semantic":
        assert isinstance(found, QueryOutputs)
        assert found.classes.shape == (2, spec.queries, 1 + CLASSES)
        assert isinstance(module, QueryNetwork)
        height, width = (-(-side // module.divisor) * module.divisor // 4 for side in (67, 93))
        assert found.masks.shape == (2, spec.queries, height, width)
        assert all(torch.isfinite(part).all() and part.std() > 0 for part in (found.classes, found.masks))
    elif isinstance(spec, DETECTORS):
        assert isinstance(found, RegionOutputs)
        check_objects(found, windows, masks=isinstance(spec, MaskRCNN | RTMDetIns | RFDETRSeg))
    else:
        assert isinstance(found, SemanticOutputs) and found.logits.shape == (2, CLASSES, 67, 93)
        assert torch.isfinite(found.logits).all() and found.logits.std() > 0


def check_objects(found: RegionOutputs, windows: torch.Tensor, *, masks: bool) -> None:
    """Seven objects in each picture, surest first, inside its window."""
    assert torch.bincount(found.image_index, minlength=2).tolist() == [7, 7]
    assert found.boxes.shape == (14, 4) and found.boxes.min() >= 0
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert ((found.class_ids >= 0) & (found.class_ids < CLASSES)).all()
    for picture, window in enumerate(windows):
        mine = found.image_index == picture
        assert (found.scores[mine].diff() <= 0).all()
        assert (found.boxes[mine, 2:] <= window[2:]).all()
    assert (found.mask_logits is not None) == masks
    if found.mask_logits is not None:
        # Of each box, or of the whole frame at stride 8 or 4, for pictures of 67 x 93 within 96 x 96.
        side = {"frame": 12, "quarter frame": 24}.get(found.paste, 28)
        assert found.mask_logits.shape == (14, side, side)


@pytest.mark.parametrize("any_name", quick(ALL, KIND + OTHERS))
def test_the_encoder_and_its_stages_have_their_names(any_name: str) -> None:
    module = bare_network(ALL[any_name])
    inside = {f"{module.encoder_prefix}{part}" for part, _ in encoder_of(module).named_parameters()}
    stages = {key: module.encoder_stage(key) for key, _ in module.named_parameters()}
    assert {key for key, stage in stages.items() if stage is not None} == inside
    # The third ends at stride 8, to which every encoder comes; not all have a stem, or parameters beyond.
    assert 3 in stages.values() and set(stages.values()) <= {None, *range(1, LAST_STAGE + 1)}


def encoder_of(module: Network) -> torch.nn.Module:
    """What turns pictures into maps: the part that knows its stages."""
    (found,) = [part for part in module.modules() if hasattr(part, "stages")]
    return found


@pytest.mark.parametrize("any_name", KINDS_QUICK)
def test_rows_of_classes_are_what_another_class_changes(any_name: str) -> None:
    spec = ALL[any_name]
    module, rows, grown = bare_network(spec), bare_network(spec).class_rows(), {}
    things = len(spec.things) if isinstance(spec, PanopticFPN) else CLASSES
    # One more class is stuff for a panoptic network unless it is a thing.
    for larger in (spec, replace(spec, things=(*spec.things, CLASSES))) if isinstance(spec, PanopticFPN) else (spec,):
        more = bare_network(larger, CLASSES + 1).state_dict()
        own = {key: value for key, value in module.state_dict().items() if value.shape != more[key].shape}
        grown |= {key: len(more[key]) - len(value) for key, value in own.items()}
    assert dict(rows.counts) == grown
    for key, count in rows.counts.items():
        known = CLASSES - things if rows.kinds.get(key) == "stuff" else things
        assert len(module.state_dict()[key]) == count * (rows.background + known)
    assert rows.classifiers and rows.classifiers <= rows.counts.keys()


@pytest.mark.parametrize("any_name", KINDS_QUICK)
def test_named_parts_exist(any_name: str) -> None:
    module = bare_network(ALL[any_name])
    assert module.exact_parts
    for part in (*module.exact_parts, *module.small_maps):
        assert isinstance(module.get_submodule(part), torch.nn.Module)


@pytest.mark.parametrize("kind", FAMILY_QUICK)
def test_saved_and_loaded_it_predicts_the_same(kind: str, tmp_path: Path) -> None:
    module, images = shared_network(ALL[kind]), torch.rand(1, bands_of(ALL[kind]), 64, 64)
    save_model(tmp_path / "m.safetensors", module, Card(ALL[kind], labels_of(["a", "b", "c"]), PREPROCESS))
    torch.manual_seed(1)
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert card.spec == ALL[kind] and not loaded.training
    for mine, theirs in zip(answer(module, images), answer(loaded, images), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", FAMILY_QUICK)
def test_what_is_drawn_follows_the_generator(kind: str) -> None:
    """Regions and dropout; torch's own generator is neither asked nor moved."""
    module, batch, found = own_network(ALL[kind]), some_batch(ALL[kind]), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        with torch.no_grad():
            found.append(module.loss(batch, torch.Generator().manual_seed(1)))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.parametrize("kind", NORMS_QUICK)
def test_frozen_norms_of_the_encoder_never_move_or_learn(kind: str) -> None:
    spec = replace(ALL[kind], norm="frozen")
    module = own_network(spec)
    before = {key: value.clone() for key, value in encoder_of(module).state_dict().items() if "running_" in key}
    with torch.no_grad():
        check_losses(spec, module.loss(some_batch(spec), torch.Generator().manual_seed(0)))
    after = encoder_of(module).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    norms = [part for part in encoder_of(module).modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert not any(parameter.requires_grad for part in norms for parameter in part.parameters())


@pytest.mark.parametrize("kind", NORMS_QUICK)
def test_groups_in_the_encoder_keep_no_statistics(kind: str) -> None:
    body = encoder_of(bare_network(replace(ALL[kind], norm="group")))
    assert not any("running_" in key for key in body.state_dict())


@pytest.mark.parametrize("member", FAMILY)
def test_networks_with_group_norm_learn(member: str) -> None:
    spec = replace(ALL[member], norm="group")
    losses = own_network(spec).loss(some_batch(spec), torch.Generator().manual_seed(0))
    check_losses(spec, losses)
    torch.stack(list(losses.values())).sum().backward()


@pytest.mark.parametrize("member", FAMILY)
def test_more_detections_share_the_weights_or_are_refused(member: str) -> None:
    module, images = shared_network(ALL[member]), torch.rand(1, CHANNELS, 96, 96)
    if not isinstance(ALL[member], DETECTORS):
        with pytest.raises(ConfigError, match="limits objects"):
            module.with_detections(30)
        return
    more = module.with_detections(30)
    assert (len(answer(module, images)[1]), len(answer(more, images)[1])) == (7, 30)
    assert module.spec == ALL[member] and more.spec == replace(more.spec, max_detections=30)
    own, theirs = dict(module.named_parameters()), dict(more.named_parameters())
    assert all(own[key] is theirs[key] for key in own)


def test_specs_of_another_kind_have_no_network() -> None:
    with pytest.raises(AssertionError):
        build("unet", 3)  # type: ignore[arg-type]
