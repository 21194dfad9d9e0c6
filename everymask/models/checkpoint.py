"""Model files: weights and all that is needed to predict, in one safetensors file whose header carries the meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from everymask.core.files import write_bytes
from everymask.errors import EverymaskError, WeightsError, counted, printable
from everymask.models.base import Network
from everymask.models.build import build_bare, with_memory
from everymask.models.card import Card
from everymask.models.header import KEY, card_of, digest_of, header_of


def save_model(path: str | Path, module: nn.Module, card: Card) -> None:
    """Write the weights of `module` and its card: the whole file, or none."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_bytes(path, save(tensors, header_of(card, _digest(tensors))))


def load_model(path: str | Path) -> tuple[Network, Card]:
    """The network and its card from a file that `save_model` wrote, checked against its hashes; in evaluation mode.

    `WeightsError` when the file is missing, damaged, not ours, or does not fit its own description.
    """
    tensors, card, bare = _read(path)
    module = with_memory(bare)
    load_exactly(module, tensors, path)
    return module.eval(), card


def read_model(path: str | Path) -> tuple[dict[str, Tensor], Card]:
    """Tensors by name and the card; errors as in `load_model`."""
    tensors, card, _ = _read(path)
    return tensors, card


def _read(path: str | Path) -> tuple[dict[str, Tensor], Card, Network]:
    """Tensors by name, the card, and the network that it describes, which takes just these tensors, without memory."""
    tensors, metadata = read_safetensors(path)
    if KEY not in metadata:
        raise WeightsError(
            f"{path} holds weights without a description of the network",
            hint="use it with everymask train --weights FILE, or through the catalogue (everymask models)",
        )
    card = card_of(metadata[KEY], _digest(tensors), path)
    try:
        bare = build_bare(card.spec, len(card.labels))
    except EverymaskError:
        raise
    except Exception as error:  # whatever the layers of a network that cannot be make of it
        raise WeightsError(f"{path}: its description makes no network: {printable(error)}") from error
    check_fit(bare, tensors, path)
    return tensors, card, bare


def describes_itself(path: str | Path) -> bool:
    """Whether a file is one that `save_model` wrote, from its header alone; errors as in `read_safetensors`."""
    with _opened(path) as stream:
        return KEY in (stream.metadata() or {})


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file and the texts of its header."""
    with _opened(path) as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}, stream.metadata() or {}  # noqa: SIM118


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"there is no model file {file}")
    try:
        with safe_open(file, framework="pt") as stream:
            yield stream
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{file} is not a whole safetensors file: {error}") from error


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], path: object) -> None:
    """Give the module these weights; `WeightsError` lists every key that is missing, unexpected or of another shape.

    Weights that are not finite are refused too. The counters of batch norm (`num_batches_tracked`) may be missing:
    frozen norms are stored without them.
    """
    given = check_fit(module, tensors, path)
    check_finite(given, path)
    module.load_state_dict(given, strict=False)


def check_fit(module: nn.Module, tensors: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    """The tensors that the module takes: without counters that it does not have; errors as in `load_exactly`."""
    own = module.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    given = {
        name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked") or name in own
    }
    problems = [f"missing {name}" for name in own if name not in given and name not in counters]
    problems += [f"unexpected {name}" for name in given if name not in own]
    problems += [
        f"{name} is {list(tensor.shape)}, expected {list(own[name].shape)}"
        for name, tensor in given.items()
        if name in own and own[name].shape != tensor.shape
    ]
    if problems:
        raise WeightsError(f"{path} does not fit the network:\n  " + "\n  ".join(problems))
    return given


def check_finite(tensors: Mapping[str, Tensor], path: object) -> None:
    """`WeightsError` names the tensors that hold NaN or infinite numbers."""
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if bad:
        shown = ", ".join(map(printable, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise WeightsError(
            f"{path}: {counted(len(bad), 'tensor')} with NaN or infinite numbers: {shown}",
            hint="the training that wrote it diverged, or the file is damaged: use an earlier one",
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.numel():
        return True
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # few functions know numbers of eight bits
    # The least and the greatest are finite where all are: one pass, and nothing of the tensor's size.
    return bool(torch.stack(wide.aminmax()).isfinite().all())


def _digest(tensors: Mapping[str, Tensor]) -> str:
    whole = ((name, tensor.contiguous()) for name, tensor in tensors.items())
    return digest_of(
        (name, str(tensor.dtype), list(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy())
        for name, tensor in whole
    )
