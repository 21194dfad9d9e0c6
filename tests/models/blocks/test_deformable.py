"""Deformable attention against its formula, written out point by point."""

from __future__ import annotations

import math

import numpy as np
import torch

from everymask.models.blocks.attention import sine_positions
from everymask.models.blocks.deformable import POINTS, DeformableAttention, pixel_places

SIZES = [(2, 3), (4, 5)]
WIDTH, HEADS = 8, 2


def read(plane: np.ndarray, x: float, y: float) -> np.ndarray:
    """A map [h, w, c] at pixel coordinates, the centre of the first pixel at 0.5; 0 beyond it."""
    total = np.zeros(plane.shape[2])
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row)) * plane[row, column]
    return total


def test_it_is_its_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    layer = DeformableAttention(WIDTH, HEADS, len(SIZES))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    queries, values = (torch.randn(1, count, WIDTH, generator=draw) for count in (3, 26))
    places = torch.rand(3, 2, generator=draw)
    with torch.no_grad():
        found = layer(queries, places, values, SIZES)
        offsets = layer.sampling_offsets(queries)[0].reshape(3, HEADS, len(SIZES), POINTS, 2).numpy()
        shares = layer.attention_weights(queries)[0].reshape(3, HEADS, -1).softmax(2).reshape(3, HEADS, 2, POINTS)
        seen = layer.value_proj(values)[0].reshape(26, HEADS, -1).numpy()
    expected = np.zeros((3, HEADS, WIDTH // HEADS))
    for query in range(3):
        for head in range(HEADS):
            for level, (height, width) in enumerate(SIZES):
                first = 0 if level == 0 else 6
                plane = seen[first : first + height * width, head].reshape(height, width, -1)
                for point in range(POINTS):
                    x, y = places[query].numpy() * (width, height) + offsets[query, head, level, point]
                    expected[query, head] += float(shares[query, head, level, point]) * read(plane, x, y)
    with torch.no_grad():
        whole = layer.output_proj(torch.from_numpy(expected).float().flatten(1))
    torch.testing.assert_close(found[0], whole, atol=1e-5, rtol=1e-5)


def test_at_first_heads_look_into_all_directions() -> None:
    bias = DeformableAttention(16, 4, 1).sampling_offsets.bias.detach().reshape(4, POINTS, 2)
    torch.testing.assert_close(bias[:, 0], torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(bias[:, 3], 4 * bias[:, 0])


def test_places_are_the_centres_of_pixels() -> None:
    places = pixel_places([(1, 2), (2, 1)], torch.zeros(1))
    assert places.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]
    waves = sine_positions((2, 3), 8, torch.zeros(1, dtype=torch.float64))
    assert waves.shape == (6, 8) and waves.dtype == torch.float64
    # The last row and the last column have gone round once.
    torch.testing.assert_close(waves[5, [0, 1, 4, 5]], torch.tensor([0.0, 1, 0, 1]).double(), atol=1e-5, rtol=0)
