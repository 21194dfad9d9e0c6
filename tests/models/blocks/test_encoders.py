"""Encoders give their maps, whichever of them the pyramid stands on."""

from __future__ import annotations

import pytest
import torch

from everymask.errors import ConfigError
from everymask.models.blocks.encoders import build_encoder, build_features, encoder_channels
from everymask.models.semantic.encoders import build_semantic_encoder
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.regions import FasterRCNN, RegionProfile

FIRST_BLOCKS = {
    "resnet18": "layer4.0",
    "resnet50": "layer4.0",
    "mobilenetv3_large_100": "blocks.5.0",
    "mobilenetv3_small_100": "blocks.4.0",
}


@pytest.mark.parametrize("name", FIRST_BLOCKS)
def test_the_last_stage_alone_is_the_end_of_the_same_encoder(name: str) -> None:
    """Both maps have stride 32, of the last stage's first block and of its end, and weights have the same names."""
    whole = build_encoder(name, 3, "batch", RegionProfile()).eval()
    last = build_encoder(name, 3, "batch", RegionProfile(), stages="last").eval()
    last.load_state_dict(whole.state_dict())
    images, seen = torch.rand(2, 3, 64, 96), []
    whole.get_submodule(FIRST_BLOCKS[name]).register_forward_hook(lambda *call: seen.append(call[-1].clone()))
    with torch.no_grad():
        maps, expected = last(images), whole(images)
    assert [tuple(x.shape) for x in maps] == [(2, channels, 2, 3) for channels in encoder_channels(last)]
    assert torch.equal(maps[1], expected[3])
    assert torch.equal(maps[0], seen[0])


@pytest.mark.parametrize(
    ("name", "last_of_each"),
    [
        ("resnet18", ["act1", "layer1", "layer2", "layer3"]),
        ("mobilenetv3_large_100", ["blocks.0", "blocks.1", "blocks.2", "blocks.4"]),
        ("mobilenetv3_small_100", ["bn1", "blocks.0", "blocks.1", "blocks.3"]),
        ("convnext_atto", [None, "stages_0", "stages_1", "stages_2"]),
        ("densenet121", ["features_norm0", "features_denseblock1", "features_denseblock2", "features_denseblock3"]),
        ("vgg11_bn", ["features_6", "features_13", "features_20", "features_27"]),
        ("hrnet_w18", ["bn2", "transition1", "transition2", "transition3"]),
    ],
)
def test_stages_end_where_a_map_comes_out(name: str, last_of_each: list[str | None]) -> None:
    with torch.device("meta"):
        body = build_features(name, 3)
    assert [parts[-1] if parts else None for parts in body.stages] == last_of_each


def test_stages_stay_where_they_are_dilated() -> None:
    with torch.device("meta"):
        bodies = [build_semantic_encoder("efficientnet_b0", 3, "batch", output_stride=stride) for stride in (8, 32)]
    assert bodies[0].stages == bodies[1].stages and all(bodies[0].stages)


def test_a_description_without_later_settings_means_their_defaults() -> None:
    spec = FasterRCNN(anchor_sizes=(8, 16, 24, 32, 48))
    data = spec_to_json(spec)
    for name in ("fpn_stages", "shared_anchor_sizes", "rpn_score_threshold"):
        del data[name]
    del data["profile"]["proposal_limits"]
    assert spec_from_json(data) == spec


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"anchor_sizes": (32, 64)}, "anchor_sizes must be 5 numbers"),
        ({"fpn_stages": "last"}, "anchor_sizes must be 3 numbers"),
        ({"shared_anchor_sizes": True, "anchor_sizes": ()}, "at least one number"),
        ({"rpn_score_threshold": 1.5}, "rpn_score_threshold must lie between 0 and 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        FasterRCNN(**changes)
