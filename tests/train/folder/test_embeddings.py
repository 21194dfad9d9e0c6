"""What a frozen encoder sees is kept: once for each picture, within a budget, and made anew where it is damaged."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import everymask
from everymask.data.feed.augment import Augment
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, PromptedSmall
from everymask.settings.facts import Facts
from everymask.settings.plan import Plan
from everymask.train.folder import embeddings
from everymask.train.folder.embeddings import Embeddings, keep_embeddings
from tests.models.networks import own_network
from tests.settings.test_prompted_recipes import plan, start_of

SPEC = SAM(encoder="vit_t", side=32)
PICTURES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Encoder(PromptedNetwork):
    """Counts how many pictures it has seen."""

    def __init__(self, name: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.image_encoder = nn.ParameterList([torch.full((1,), float(name))])
        self.seen = 0

    def encoded(self, square: Tensor) -> tuple[Tensor, ...]:
        self.seen += len(square)
        return square.mean(1, keepdim=True), 2 * square


def fixed(layers: str = "heads", augment: Augment | None = None) -> Plan:
    facts = Facts(num_classes=1, start=start_of(SPEC))
    return plan(SPEC, facts, layers=layers, augment=augment or Augment(), precision="fp32")


def test_each_picture_is_encoded_once(tmp_path: Path) -> None:
    encode = Encoder()
    first = Embeddings(tmp_path)(PICTURES[:2], encode)
    again = Embeddings(tmp_path)(PICTURES[[1, 2, 0]], encode)
    assert encode.seen == 3 and len(list(tmp_path.glob("*/*.safetensors"))) == 3
    for before, after, wanted in zip(first, again, encode.encoded(PICTURES), strict=True):
        assert torch.equal(before, after[[2, 0]]) and torch.equal(after, wanted[[1, 2, 0]])
    other = Encoder(1)
    Embeddings(tmp_path)(PICTURES[:1], other)
    Embeddings(tmp_path, "bf16")(PICTURES[:1], other)
    assert other.seen == 2, "another network, or the same in another precision, sees with its own eyes"


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_damaged_files_are_made_anew_and_that_is_said(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    encode, kept = Encoder(), Embeddings(tmp_path)
    wanted = kept(PICTURES[:1], encode)
    (path,) = tmp_path.glob("*/*.safetensors")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-9], "changed": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        found = Embeddings(tmp_path)(PICTURES[:1], encode)
    assert encode.seen == 2 and "made anew" in caplog.text
    Embeddings(tmp_path)(PICTURES[:1], encode)
    assert encode.seen == 2, "what was made anew is whole"
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_the_budget_is_kept_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encode, kept = Encoder(), Embeddings(tmp_path, budget=2000)  # a picture takes 1,024 bytes and a header
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            kept(PICTURES, encode)
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1 and encode.seen == 5
    assert caplog.text.count("no room") == 1


def test_where_nothing_can_be_written_pictures_are_encoded_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    encode = Encoder()
    with caplog.at_level(logging.WARNING):
        Embeddings(blocked)(PICTURES, encode)
    assert encode.seen == 3 and caplog.text.count("cannot be kept") == 1


def test_a_folder_that_cannot_be_looked_into_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    encode = Encoder()
    with caplog.at_level(logging.WARNING):
        Embeddings(tmp_path)(PICTURES, encode)
    assert encode.seen == 3 and caplog.text.count("cannot be read") == 1


def test_files_that_another_network_or_version_made_are_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Encoder(1), Encoder(2)
    Embeddings(tmp_path)(PICTURES[:1], one)
    Embeddings(tmp_path)(PICTURES[:1], other)
    first, second = sorted(tmp_path.glob("*/*.safetensors"))
    second.write_bytes(first.read_bytes())
    with caplog.at_level(logging.WARNING):
        for encode in (one, other):
            Embeddings(tmp_path)(PICTURES[:1], encode)
    assert one.seen + other.seen == 3 and "another network" in caplog.text
    monkeypatch.setattr(everymask, "__version__", "99")
    Embeddings(tmp_path)(PICTURES[:1], one)
    assert one.seen + other.seen == 4, "a later version may calculate in another way"


def test_what_is_kept_is_not_counted_at_each_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[Path] = []
    plain = embeddings._bytes_in
    monkeypatch.setattr(embeddings, "_bytes_in", lambda folder: counts.append(folder) or plain(folder))
    encode, pictures, picture = Encoder(), torch.randn(64, 3, 8, 8), 1024 + 200
    Embeddings(tmp_path, budget=16 * picture)(pictures, encode)
    assert encode.seen == 64 and 12 <= len(list(tmp_path.glob("*/*"))) <= 16 and len(counts) <= 20
    Embeddings(tmp_path, budget=1000 * picture)(pictures, encode)
    assert len(list(tmp_path.glob("*/*"))) == 64 and len(counts) <= 22


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    encode = Encoder()
    Embeddings(tmp_path)(PICTURES[:1], encode)
    (folder,) = tmp_path.iterdir()
    old, new = (folder / f".{letter * 32}.safetensors" for letter in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Embeddings(tmp_path)(PICTURES[:1], encode)
    assert not old.exists() and new.exists(), "another process may be writing the new one"


def test_only_large_frozen_encoders_of_unvaried_pictures_keep(tmp_path: Path) -> None:
    found = fixed()
    assert found.augment == Augment.none() and any("not varied" in reason for reason in found.reasons)
    assert fixed("5+").augment != Augment.none()
    assert fixed(augment=Augment(flip=0.25)).augment.flip == 0.25, "what is asked stays"
    module = own_network(SPEC)
    assert isinstance(module, PromptedNetwork)
    assert not keep_embeddings(module, fixed("5+"), tmp_path) and module.kept is None
    assert not keep_embeddings(module, fixed(augment=Augment(flip=0.25)), tmp_path) and module.kept is None
    assert not keep_embeddings(own_network(PromptedSmall(side=64, width=32)), found, tmp_path)
    (said,) = keep_embeddings(module, found, tmp_path)
    assert str(tmp_path) in said and isinstance(module.kept, Embeddings)


def test_what_was_kept_for_other_networks_makes_room(tmp_path: Path) -> None:
    for age in range(2):
        Embeddings(tmp_path)(PICTURES, Encoder(age))
        for folder in tmp_path.iterdir():
            os.utime(folder, (folder.stat().st_mtime - 100,) * 2)
    newer = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    size = sum(path.stat().st_size for path in newer.glob("*"))
    Embeddings(tmp_path, budget=3 * size)(PICTURES[:1], Encoder(2))
    assert newer.is_dir() and len(list(tmp_path.iterdir())) == 2
