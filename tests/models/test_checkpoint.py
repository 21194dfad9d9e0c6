"""Model files: whole, checked, self-describing."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from everymask.core.labels import labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError
from everymask.models import checkpoint
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_exactly, load_model, read_model, read_safetensors, save_model
from everymask.models.fine_tune import fit_weights
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet

SPEC = MaskRCNN(
    encoder="mobilenetv3_small_100",
    fpn_channels=16,
    rpn_channels=16,
    box_fcs=(32, 32),
    mask_convs=(16,),
    mask_channels=16,
)
CARD = Card(SPEC, labels_of(["cat", "dog"]), Preprocess(resize=Resize(128, 160)), {"mask AP": 0.5}, "CC0-1.0", "a test")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that nobody changes."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("sound") / "model.safetensors"
    save_model(file, build(SPEC, 2), CARD)
    return file


@pytest.fixture
def saved(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copy(sound, tmp_path))


def test_round_trip(saved: Path) -> None:
    torch.manual_seed(0)
    original = build(SPEC, 2)
    module, card = load_model(saved)
    assert card == CARD
    assert not module.training
    for name, tensor in original.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])


def test_same_weights_same_bytes(saved: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again.safetensors", *load_model(saved))
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_every_flipped_bit_is_found(saved: Path) -> None:
    """E03: a sample of positions all over the file."""
    content = saved.read_bytes()
    for position in np.random.default_rng(0).integers(8, len(content), 20):
        broken = bytearray(content)
        broken[position] ^= 1 << int(position % 8)
        saved.write_bytes(broken)
        with pytest.raises(WeightsError):
            load_model(saved)


def test_every_flipped_bit_of_the_card_is_found(tmp_path: Path) -> None:
    """E03: means, class order, thresholds and licence mean as much as the weights do."""
    file = tmp_path / "small.safetensors"
    card = replace(CARD, spec=UNet(encoder=PLAIN_ENCODER, decoder_channels=(2,)))
    save_model(file, build(card.spec, 2), card)
    content = file.read_bytes()
    begin, end = content.index(b'{\\"schema'), content.index(b'}"', content.index(b"checksum"))
    for position in range(begin, end):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 7
        file.write_bytes(broken)
        with suppress(WeightsError):
            assert read_model(file)[1] == card, "nothing was changed that says anything"


def test_a_card_without_a_hash_still_loads(saved: Path) -> None:
    """E16: as files of earlier versions are."""
    before = saved.read_bytes()
    _rewrite(saved)
    assert saved.read_bytes() != before
    assert load_model(saved)[1] == CARD


def _without_hash(spec: dict[str, object] | None = None, **changes: object) -> dict[str, object]:
    return changes | ({"spec": CARD.to_json()["spec"] | spec} if spec else {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (_without_hash({"fpn_channels": 10**5}), "does not fit the network"),
        (_without_hash({"fpn_channels": 10**12}), r"spec\.fpn_channels must be a whole number"),
        (
            _without_hash({"fpn_channels": "16"}),
            r"spec\.fpn_channels must be a whole number up to 1,000,000, but is '16'",
        ),
        (_without_hash({"fpn_channels": 16.0}), r"spec\.fpn_channels"),
        (_without_hash({"fpn_channels": True}), r"spec\.fpn_channels"),
        (_without_hash({"fpn_channels": -16}), "must not be negative"),
        (_without_hash({"norm": 3}), r"spec\.norm must be one of batch, frozen, group"),
        (_without_hash({"nms": float("nan")}), r"spec\.nms must be a finite number"),
        (_without_hash({"box_fcs": [32] * 100_000}), r"spec\.box_fcs must be a list of up to 100"),
        (_without_hash({"box_fcs": 32}), r"spec\.box_fcs must be a list"),
        (_without_hash({"profile": [1]}), "profile"),
        (_without_hash(labels={"names": "cd"}), r"labels\.names must be a list"),
        (_without_hash(labels={"names": ["cat", 2]}), r"labels\.names\.1 must be text"),
        (_without_hash(labels={"names": ["cat", "cat"]}), "stands there more than once"),
        (_without_hash(labels={"names": ["cat", "dog"], "colours": [[1, 2, 3], [1, 2, 256]]}), "from 0 to 255"),
        (_without_hash(labels={"names": ["cat", "dog"], "things": [2]}), r"labels\.things"),
        (_without_hash(labels=[]), "description cannot be used"),
        (_without_hash(metrics={"mask AP": "high"}), r"metrics\.mask AP must be a finite number"),
        (_without_hash(licence=5), "licence must be text"),
        (
            _without_hash(preprocess=CARD.preprocess.to_json() | {"bgr": "false"}),
            r"preprocess\.bgr must be true or false",
        ),
        (_without_hash(preprocess=CARD.preprocess.to_json() | {"mean": [1.3, 0.2, 0.2]}), "lie between 0 and 1"),
        (
            _without_hash(
                preprocess=CARD.preprocess.to_json() | {"resize": {"short": 1, "long": 10**9, "rule": "none"}}
            ),
            r"preprocess\.resize\.long must be a whole number up to 65,500",
        ),
        (_without_hash(schema="1"), "which is no number"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_cards_are_checked_before_a_network_is_built(
    saved: Path, changes: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(spec: object, classes: int) -> nn.Module:
        assert torch.empty(0).device.type == "meta", "memory would be taken"
        return build(spec, classes)  # type: ignore[arg-type]

    def none_at_all(bare: nn.Module) -> nn.Module:
        raise AssertionError("memory would be taken")

    monkeypatch.setattr("everymask.models.build.build", no_memory)
    monkeypatch.setattr(checkpoint, "with_memory", none_at_all)
    _rewrite(saved, **changes)
    with pytest.raises(WeightsError, match=message):
        load_model(saved)


def test_weights_that_are_not_numbers_are_refused(saved: Path) -> None:
    """They would give pictures without any object."""
    module, card = load_model(saved)
    with torch.no_grad():
        module.state_dict()["backbone.body.conv_stem.weight"][0, 0, 0, 0] = float("nan")
    save_model(saved, module, card)
    with pytest.raises(WeightsError, match=r"1 tensor with NaN or infinite numbers: backbone\.body\.conv_stem\.weight"):
        load_model(saved)
    with pytest.raises(WeightsError, match="NaN or infinite"):
        fit_weights(build(SPEC, 2), CARD.labels, read_model(saved)[0], CARD.labels)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999], ids=lambda share: f"E02 cut at {share}")
def test_cut_files_are_refused(share: float, saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_model(saved)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    """E01"""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(WeightsError, match="there is no model file"):
            load_model(path)


def _rewrite(saved: Path, **changes: object) -> None:
    """The file with another description, without a hash of it, as earlier versions wrote files."""
    tensors, metadata = read_safetensors(saved)
    description = json.loads(metadata["everymask"]) | {"checksum": None} | changes
    save_file(tensors, saved, {"everymask": json.dumps({k: v for k, v in description.items() if v is not None})})


def test_newer_schema(saved: Path) -> None:
    """E15"""
    _rewrite(saved, schema=99, version="9.0")
    with pytest.raises(WeightsError, match=r"written by everymask 9\.0"):
        load_model(saved)


@pytest.mark.parametrize("field", ["preprocess", "labels", "spec"], ids=lambda field: f"E23 without {field}")
def test_incomplete_description(field: str, saved: Path) -> None:
    _rewrite(saved, **{field: None})
    with pytest.raises(WeightsError, match=field):
        load_model(saved)


def test_unknown_setting_and_kind(saved: Path) -> None:
    description = CARD.to_json()["spec"]
    _rewrite(saved, spec=description | {"telepathy": 1})
    with pytest.raises(WeightsError, match="telepathy"):
        load_model(saved)
    _rewrite(saved, spec=description | {"kind": "oracle"})
    with pytest.raises(WeightsError, match="oracle"):
        load_model(saved)


def test_plain_weights_are_not_a_model(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="without a description"):
        load_model(tmp_path / "a.safetensors")


def test_all_misfits_are_listed() -> None:
    """E12"""
    module = build(SPEC, 2)
    tensors = dict(module.state_dict())
    del tensors["rpn.head.cls_logits.bias"]
    tensors["rpn.head.surprise"] = torch.ones(1)
    tensors["backbone.body.conv_stem.weight"] = torch.ones(1)
    with pytest.raises(WeightsError) as caught:
        load_exactly(module, tensors, "a.pth")
    text = str(caught.value)
    assert "missing rpn.head.cls_logits.bias" in text
    assert "unexpected rpn.head.surprise" in text
    assert "backbone.body.conv_stem.weight is [1], expected [16, 3, 3, 3]" in text


def test_fine_tuning_keeps_rows_by_class_name() -> None:
    torch.manual_seed(0)
    source = build(SPEC, 3)
    module = build(SPEC, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    report = fit_weights(module, labels_of(["dog", "owl"]), source.state_dict(), labels_of(["cat", "dog", "emu"]))
    after, given = module.state_dict(), source.state_dict()
    assert report.classes_kept == ("dog",) and report.classes_reset == ("owl",) and not report.reset
    assert "classes kept: dog" in str(report) and "new classes: owl" in str(report)
    for head, rows in (
        ("box_predictor.cls_score", 1),
        ("box_predictor.bbox_pred", 4),
        ("mask_predictor.mask_fcn_logits", 1),
    ):
        name = f"roi_heads.{head}.weight"
        assert torch.equal(after[name][:rows], given[name][:rows]), "background"
        assert torch.equal(after[name][rows : 2 * rows], given[name][2 * rows : 3 * rows]), "dog"
        assert torch.equal(after[name][2 * rows :], before[name][2 * rows :]), "owl"
    assert torch.equal(after["backbone.body.conv_stem.weight"], given["backbone.body.conv_stem.weight"])


@pytest.mark.parametrize(
    "changes", [{"box_fcs": (48,)}, {}], ids=["another width", "rows that do not match the labels"]
)
def test_classes_whose_rows_do_not_fit_are_not_kept(changes: dict[str, object]) -> None:
    source = build(replace(SPEC, **changes), 3 if changes else 4).state_dict()
    report = fit_weights(build(SPEC, 2), labels_of(["cat", "dog"]), source, labels_of(["cat", "dog", "emu"]))
    assert report.classes_kept == () and report.classes_reset == ("cat", "dog")
    assert "roi_heads.box_predictor.cls_score.weight" in report.reset


def test_fine_tuning_says_what_it_resets_and_refuses_strangers() -> None:
    module = build(SPEC, 2)
    encoder_only = {k: v for k, v in build(SPEC, 2).state_dict().items() if k.startswith("backbone.body")}
    report = fit_weights(module, labels_of(["a", "b"]), encoder_only, None)
    assert report.kept and all(not name.startswith("backbone.body") for name in report.reset)
    with pytest.raises(WeightsError, match="same --encoder"):
        fit_weights(module, labels_of(["a", "b"]), {"conv1.weight": torch.ones(1)}, None)
