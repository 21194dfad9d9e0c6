"""R-CNN: crops that a frozen encoder sees, support vectors, and boxes that are moved."""

from __future__ import annotations

import pytest
import torch

from everymask.errors import ConfigError
from everymask.models.regions.rcnn_classic import Crops, _hinge
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.regions import RCNNClassic
from tests.models.networks import object_batch, own_network, shared_network

pytest.importorskip("skimage")
SPEC = RCNNClassic(
    encoder="mobilenetv3_small_100", crop_side=32, rpn_post_nms=(40, 20), box_samples=8, score_threshold=0.0,
    max_detections=5,
)  # fmt: skip


def test_a_crop_is_its_box_and_a_share_around_it() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    crops = Crops(ramp, 8, 0.25).pool(torch.tensor([[16.0, 16.0, 32.0, 32.0]]), torch.tensor([0]), 7)
    assert crops.shape == (1, 1, 8, 8)
    # From 12 to 36 in eight cells of three pixels, whose middles are pixels.
    torch.testing.assert_close(crops[0, 0, 0], torch.arange(8.0) * 3 + 13)


def test_only_svms_and_regression_learn_and_their_losses_fall() -> None:
    network, batch = own_network(SPEC), object_batch(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert len(learning) == 4 and not network.backbone.body.training
    steps = torch.optim.SGD(learning, lr=0.01)
    totals = []
    for _ in range(12):
        losses = network.loss(batch, torch.Generator().manual_seed(0))
        total = losses["loss_classifier"] + losses["loss_box_reg"]
        steps.zero_grad()
        total.backward()
        steps.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.7 * totals[0]
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("roi_heads.box_predictor.") for name in changed)


def test_positives_are_truths_alone_and_what_overlaps_a_little_is_left_open() -> None:
    iou = torch.tensor([[1.0, 0.0, 0.7, 0.2], [0.0, 1.0, 0.0, 0.4]])
    wanted = shared_network(SPEC)._wanted(iou, torch.tensor([1, 3]))
    assert wanted[:, 1].tolist() == [1, -1, 0, -1]
    assert wanted[:, 3].tolist() == [-1, 1, -1, 0]
    assert wanted[:, 2].tolist() == [-1] * 4 and wanted[:, 0].tolist() == [0] * 4


def test_easy_negatives_do_not_count() -> None:
    margins, wanted = torch.tensor([[0.5], [-3.0], [0.0]]), torch.tensor([[1.0], [-1.0], [-1.0]])
    assert float(_hinge(margins, wanted)) == pytest.approx(0.5 + 1.0)


def test_it_predicts_objects_and_knows_its_spec() -> None:
    batch = object_batch(2)
    with torch.inference_mode():
        found = shared_network(SPEC)(batch.images, batch.windows)
    assert found.mask_logits is None and len(found.boxes) and set(found.image_index.tolist()) == {0, 1}
    assert ((found.scores > 0) & (found.scores < 1)).all()
    steps = shared_network(SPEC).look_into(batch.images[:1], batch.windows[:1])
    assert steps.maps == () and steps.anchors is None and len(steps.regions.proposals) <= 20
    assert spec_from_json(spec_to_json(SPEC)) == SPEC
    with pytest.raises(ConfigError, match="multiple of 32"):
        RCNNClassic(crop_side=50)
