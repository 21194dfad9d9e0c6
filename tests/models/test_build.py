"""Networks whose numbers are loaded and not drawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from everymask.models.build import build_bare, with_memory
from everymask.models.checkpoint import load_exactly
from tests.models.networks import CLASSES, OTHER_ENCODERS, PROMPTED, SPECS, shared_network
from tests.quick import quick

ALL = SPECS | OTHER_ENCODERS | PROMPTED
# One with counters of batch norms, and one with a random buffer.
SOME = ["mask-rcnn", "sam"]


@pytest.fixture
def marked_memory() -> Iterator[None]:
    """Memory that nobody filled holds NaN, or the largest whole number."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", quick(ALL, SOME))
def test_what_is_loaded_without_drawing_equals_what_is_built_and_loaded(name: str, marked_memory: None) -> None:
    built = shared_network(ALL[name])
    state = {key: value for key, value in built.state_dict().items() if not key.endswith("num_batches_tracked")}
    loaded = with_memory(build_bare(ALL[name], CLASSES)).eval()
    load_exactly(loaded, state, "the test")
    assert str(loaded) == str(built)
    for mine, theirs in (
        (loaded.named_parameters, built.named_parameters),
        (loaded.named_buffers, built.named_buffers),
    ):
        found, expected = dict(mine(remove_duplicate=False)), dict(theirs(remove_duplicate=False))
        assert list(found) == list(expected)
        for key, tensor in found.items():
            assert torch.equal(tensor, expected[key]), key
            assert (tensor.dtype, tensor.requires_grad) == (expected[key].dtype, expected[key].requires_grad), key
        assert len(set(map(id, found.values()))) == len(set(map(id, expected.values()))), "what is shared stays so"
    for module in loaded.modules():
        kept = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        assert not list(tensors_in(kept)), "they would be lost on the device without memory"


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, nn.Module):
        return
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
