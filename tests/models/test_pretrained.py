"""The catalogue's weights: fetched only when asked for, checked, and loaded by their old names."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision

import everymask.api
from everymask.core.label_sets import coco_labels, voc_labels
from everymask.errors import ConfigError, WeightsError
from everymask.models import pretrained
from everymask.models.build import build
from everymask.models.catalog import catalog, weights_named
from everymask.models.foreign.files.stored import read_stored
from everymask.models.foreign.torchvision import upgrade_names
from everymask.models.pretrained import fetch_weights, load_pretrained
from everymask.models.published.weights import Weights
from everymask.models.specs.detr import RFDETR
from everymask.models.specs.prompted import PromptedSpec
from tests.quick import quick

# With masks and the old names, with the names of today, without regions.
TORCHVISIONS = [row.name for row in catalog() if "101" not in row.name and "pytorch.org" in row.url]
ROWS = [
    "maskrcnn-resnet50-fpn-coco",
    "fasterrcnn-mobilenet-v3-large-320-fpn-coco",
    "lraspp-mobilenet-v3-large-coco-voc",
]
OLD_NAMES = {
    "backbone.fpn.inner_blocks.0.0.weight": "backbone.fpn.inner_blocks.0.weight",
    "backbone.fpn.layer_blocks.3.0.bias": "backbone.fpn.layer_blocks.3.bias",
    "rpn.head.conv.0.0.weight": "rpn.head.conv.weight",
    "roi_heads.mask_head.0.0.weight": "roi_heads.mask_head.mask_fcn1.weight",
    "roi_heads.mask_head.3.0.bias": "roi_heads.mask_head.mask_fcn4.bias",
}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A file server on loopback: its address and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EVERYMASK_OFFLINE")
    return tmp_path / "cache" / "everymask"


def _publish(server: tuple[str, Path], content: dict[str, torch.Tensor], row: Weights) -> Weights:
    address, folder = server
    torch.save(content, folder / "plain")
    digest = hashlib.sha256((folder / "plain").read_bytes()).hexdigest()[:8]
    name = f"model-{digest}.pth"
    (folder / "plain").rename(folder / name)
    return replace(row, url=address + name, sha256=digest)


@pytest.mark.slow
def test_rows_are_complete() -> None:
    names = [row.name for row in catalog()]
    assert len(set(names)) == len(names)
    counted: dict[tuple[object, int], int] = {}
    for row in catalog():
        assert row.licence and row.metrics and row.url.startswith("https://")
        if row.url.startswith(("https://download.pytorch.org/", "https://download.openmmlab.com/")):
            assert row.sha256 in row.url and len(row.sha256) == 8
        elif isinstance(row.spec, PromptedSpec):
            assert len(row.sha256) == 64
        elif isinstance(row.spec, RFDETR):
            assert len(row.md5) == 32 and row.licence.startswith("Apache-2.0")
        else:
            digest = row.md5 or row.sha256
            assert f"{digest}.p" in row.url and len(digest) == (6 if row.md5 else 8) and not row.auto
        alike = (row.spec, len(row.labels))
        if alike not in counted:
            module = _empty(row)
            counted[alike] = sum(p.numel() for p in module.parameters()) - _frozen(row, module)
        assert counted[alike] == row.params
    assert (len(voc_labels()), voc_labels().names[15]) == (21, "person")
    labels = coco_labels()
    assert (len(labels), labels.names[0], labels.names[89], labels.names[11]) == (
        90,
        "person",
        "toothbrush",
        "unused 12",
    )


def _numbered(shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of these shapes, each of which is one number all over and a few bytes in a file."""
    numbers = enumerate(shapes.items())
    return {name: torch.tensor(number, dtype=shape.dtype).expand(shape.shape) for number, (name, shape) in numbers}


def _empty(row: Weights) -> torch.nn.Module:
    with torch.device("meta"):
        return build(row.spec, len(row.labels))


def _frozen(row: Weights, module: torch.nn.Module) -> int:
    """torchvision does not count frozen norms as parameters, and we do."""
    norms = [norm for norm in module.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    return (
        sum(norm.weight.numel() + norm.bias.numel() for norm in norms)
        if getattr(row.spec, "norm", None) == "frozen"
        else 0
    )


@pytest.mark.parametrize("name", ["fcn-resnet101", "deeplabv3-resnet101"])
def test_larger_encoders_have_the_names_of_torchvision(name: str) -> None:
    factory = getattr(torchvision.models.segmentation, name.replace("-", "_"))
    with torch.device("meta"):
        theirs = factory(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).state_dict()
    own = _empty(weights_named(f"{name}-coco-voc")).state_dict()
    assert {name: tensor.shape for name, tensor in upgrade_names(theirs).items()} == {
        name: tensor.shape for name, tensor in own.items()
    }


def test_old_names_are_upgraded_and_new_ones_kept() -> None:
    tensors = {old: torch.zeros(1) for old in OLD_NAMES.values()}
    assert list(upgrade_names(tensors)) == list(OLD_NAMES)
    assert list(upgrade_names(dict.fromkeys(OLD_NAMES, torch.zeros(1)))) == list(OLD_NAMES)


@pytest.mark.parametrize("name", quick(TORCHVISIONS, ROWS))
def test_a_file_as_on_torchvisions_server_loads(name: str, server: tuple[str, Path], cache: Path) -> None:
    """Written with the names of the time, without batch norm's counters where norms are frozen."""
    row = weights_named(name)
    original = _numbered(_empty(row).state_dict())
    old = {new: old for new, old in OLD_NAMES.items() if "v2" not in row.name}
    frozen = row.spec.norm == "frozen"
    content = {
        old.get(name, name): tensor
        for name, tensor in original.items()
        if not (frozen and name.endswith("num_batches_tracked"))
    }
    published = _publish(server, content, row)
    module, card = load_pretrained(published)
    assert card.licence == row.licence and card.labels == row.labels
    for name, tensor in original.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(module.state_dict()[name], tensor), name
    assert [file.name for file in cache.iterdir()] == [published.url.rpartition("/")[2]]


def test_the_cache_is_used(server: tuple[str, Path]) -> None:
    published = _publish(server, {"a": torch.ones(3)}, catalog()[0])
    first = fetch_weights(published)
    (server[1] / first.name).unlink()
    assert fetch_weights(published) == first


def test_another_file_under_the_url_is_refused(server: tuple[str, Path], cache: Path) -> None:
    published = _publish(server, {"a": torch.ones(3)}, catalog()[0])
    (server[1] / published.url.rpartition("/")[2]).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="SHA-256"):
        fetch_weights(published)
    assert not list(cache.iterdir())


def test_offline_the_error_names_url_and_place(cache: Path) -> None:
    row = replace(catalog()[0], url="http://127.0.0.1:9/model-12345678.pth")
    with pytest.raises(WeightsError) as caught:
        fetch_weights(row)
    assert row.url in str(caught.value) and str(cache / "model-12345678.pth") in str(caught.value)


def test_load_by_name_fetches_and_a_wrong_name_is_refused(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = catalog()[2]
    published = _publish(server, _numbered(_empty(row).state_dict()), row)
    monkeypatch.setattr(pretrained, "fetch_weights", lambda weights: fetch_weights(published))
    assert everymask.api.load(row.name, device="cpu").card.source == row.url
    with pytest.raises(WeightsError, match="did you mean"):
        everymask.api.load(row.name[:-1])
    with pytest.raises(ConfigError, match="the catalogue has"):
        weights_named("resnet")


def test_named_hash_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "weights-00000000.pth"
    torch.save({"a": torch.ones(1)}, file)
    with pytest.raises(WeightsError, match="SHA-256 that begins 00000000"):
        read_stored(file)


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(Path(torch.__file__).parent / "never-written"), "w")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"not a model"], ids=["E01 empty", "E02 cut short", "E02 text"]
)
def test_broken_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="not a whole PyTorch file"):
        read_stored(tmp_path / "a.pth")


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    """E05"""
    torch.save({"a": Dangerous()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="never code"):
        read_stored(tmp_path / "a.pth")
    assert not (Path(torch.__file__).parent / "never-written").exists()


def test_training_checkpoints_and_wrapped_names(tmp_path: Path) -> None:
    torch.save({"model": {"module.a": torch.ones(2)}, "epoch": 3}, tmp_path / "a.pth")
    assert list(read_stored(tmp_path / "a.pth").tensors) == ["a"]
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="holds no tensors"):
        read_stored(tmp_path / "b.pth")


def test_a_bit_that_flipped_in_a_pytorch_file_is_found(tmp_path: Path) -> None:
    """E03: the file has checksums, which PyTorch does not look at."""
    file = tmp_path / "a.pth"
    torch.save({"a": torch.arange(1000.0)}, file)
    content = bytearray(file.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 1234] ^= 1
    file.write_bytes(content)
    assert not torch.equal(torch.load(file, weights_only=True)["a"], torch.arange(1000.0))
    with pytest.raises(WeightsError, match="does not match its checksum"):
        read_stored(file)
