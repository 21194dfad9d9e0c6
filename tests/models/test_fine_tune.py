"""Starting a semantic network from another's weights: what fits is kept, class by class."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from everymask.core.labels import labels_of
from everymask.errors import WeightsError
from everymask.models.fine_tune import fit_weights
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.semantic import SEMANTIC_KINDS, HRNet, UNet

NARROW = UNet(encoder="plain", decoder_channels=(16, 8))
BEFORE, AFTER = labels_of(("road", "tree", "sky")), labels_of(("sky", "car", "road", "dog"))


@pytest.mark.parametrize("kind", ["lraspp", "pidnet", "segformer", "unet++"])
def test_rows_of_classes_move_with_their_names(kind: str) -> None:
    spec = SEMANTIC_KINDS[kind]() if kind != "unet++" else SEMANTIC_KINDS[kind](encoder="resnet18", auxiliary=True)  # type: ignore[call-arg]
    old, new = build_semantic(spec, 3), build_semantic(spec, 4)
    source = old.state_dict()
    fresh = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    report = fit_weights(new, AFTER, source, BEFORE)
    assert (report.classes_kept, report.classes_reset, report.reset) == (("sky", "road"), ("car", "dog"), ())
    found = new.state_dict()
    rows = [name for name, tensor in found.items() if tensor.shape != source[name].shape]
    assert rows
    for name, tensor in found.items():
        if name in rows:
            assert torch.equal(tensor[[0, 2]], source[name][[2, 0]])
            assert torch.equal(tensor[[1, 3]], fresh[name][[1, 3]])
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, source[name])


def test_a_single_channel_is_kept_whatever_it_is_called() -> None:
    spec = replace(NARROW, head="binary")
    old, new = build_semantic(spec, 2), build_semantic(spec, 2)
    fit_weights(new, labels_of(("background", "vessel")), old.state_dict(), labels_of(("background", "cell")))
    assert torch.equal(new.state_dict()["classifier.weight"], old.state_dict()["classifier.weight"])


def test_another_network_has_nothing_to_keep() -> None:
    other = build_semantic(UNet(encoder="resnet18"), 3).state_dict()
    with pytest.raises(WeightsError, match="encoder"):
        fit_weights(build_semantic(NARROW, 3), BEFORE, other, BEFORE)


@pytest.mark.parametrize("kind", list(SEMANTIC_KINDS))
def test_specs_survive_json(kind: str) -> None:
    spec = SEMANTIC_KINDS[kind](channels=5)
    assert spec_to_json(spec)["kind"] == kind
    assert spec_from_json(spec_to_json(spec)) == spec
    assert spec_from_json(spec_to_json(HRNet(ocr=True))) == HRNet(ocr=True)


def test_settings_of_other_networks_are_unknown() -> None:
    with pytest.raises(WeightsError, match="rates"):
        spec_from_json(spec_to_json(NARROW) | {"rates": [1, 2, 3]})
    with pytest.raises(WeightsError, match="profile"):
        spec_from_json(spec_to_json(NARROW) | {"profile": {}})
