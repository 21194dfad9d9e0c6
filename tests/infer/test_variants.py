"""Test-time augmentation: what is averaged, and what is left as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.backends.pytorch import TorchBackend, build_predictor
from everymask.core.labels import labels_of
from everymask.data.feed.batches import frames
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError
from everymask.infer.predictor import Predictor
from everymask.infer.variants import Flip, TestTimeAugmentation, predict_variants
from everymask.models.card import Card
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.regions import FasterRCNN
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet
from tests.grey_model import grey_model

DIVISOR = 8
LABELS = labels_of(["ground", "road", "sky"])


class Convolutions(SemanticModel):
    """Convolutions one after the other, which keep the size; it remembers the sizes that it was shown."""

    def __init__(self, kernel: Tensor, layers: int = 1, bias: float = 0.0) -> None:
        super().__init__(UNet(channels=3), 3)
        self.kernel = nn.Parameter(kernel)
        self.layers, self.bias = layers, bias
        self.sizes: list[tuple[int, ...]] = []

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        self.sizes.append(tuple(images.shape[2:]))
        for _ in range(self.layers):
            images = torch.tanh(F.conv2d(images, self.kernel, padding="same") + self.bias)
        return (images,)


def normal(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32))


def symmetric() -> Tensor:
    kernel = 0.1 * normal(3, 3, 3, 3)
    return kernel + kernel.flip(2) + kernel.flip(3) + kernel.flip(2, 3)


@torch.inference_mode()
def averaged(
    network: SemanticModel, images: Tensor, windows: Tensor | None = None, flip: Flip = "none", scales: tuple = (1.0,)
) -> Tensor:
    shown = images.numpy()
    places = frames(shown) if windows is None else windows.numpy()
    backend = TorchBackend(network, torch.device("cpu"))
    return torch.from_numpy(
        predict_variants(backend, shown, places, TestTimeAugmentation(flip, scales), DIVISOR).logits
    )


@torch.inference_mode()
def plain(network: SemanticModel, images: Tensor) -> Tensor:
    return network(images.contiguous(memory_format=torch.channels_last)).logits


@pytest.fixture
def unet() -> Predictor:
    """A network that has learned nothing, strides and all."""
    spec = UNet(encoder=PLAIN_ENCODER, channels=1, decoder_channels=(8, 4), decoder_norm="none")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build_semantic(spec, 3)
    preprocess = Preprocess(1, 255.0, (0.5,), (0.2,), Resize(rule="none"), divisor=DIVISOR)
    return build_predictor(module, Card(spec, LABELS, preprocess), "cpu", precision="exact")


@pytest.mark.parametrize("flip", ["none", "horizontal", "both"])
def test_a_symmetric_network_says_what_it_says_without(flip: Flip) -> None:
    """Several layers with a bias, on pictures without padding."""
    network, images = Convolutions(symmetric(), layers=3, bias=0.3), normal(2, 3, 16, 24)
    torch.testing.assert_close(averaged(network, images, flip=flip), plain(network, images), atol=1e-6, rtol=0)
    assert len(network.sizes) == 1 + {"none": 1, "horizontal": 2, "both": 4}[flip]


def test_one_variant_of_the_own_size_is_the_network_itself() -> None:
    network, images = Convolutions(normal(3, 3, 3, 3)), normal(1, 3, 13, 9)
    assert torch.equal(averaged(network, images), plain(network, images))
    assert network.sizes == [(13, 9)] * 2


def test_a_picture_is_mirrored_inside_its_window() -> None:
    """Padding stays at the right and at the bottom, whatever the picture's place in the batch."""
    network, images = Convolutions(normal(3, 3, 3, 3), layers=2, bias=0.3), normal(2, 3, 16, 16)
    windows = torch.tensor([[0, 0, 11, 16], [2, 1, 16, 9]])
    turned = torch.zeros_like(images)
    for row, (left, top, right, bottom) in enumerate(windows.tolist()):
        inside = (row, slice(None), slice(top, bottom), slice(left, right))
        kept = images[inside].clone()
        images[row] = 0
        images[inside], turned[inside] = kept, kept.flip(-1)
    found = averaged(network, images, windows, "horizontal")
    for row, (left, top, right, bottom) in enumerate(windows.tolist()):
        inside = (row, slice(None), slice(top, bottom), slice(left, right))
        expected = (plain(network, images)[inside] + plain(network, turned)[inside].flip(-1)) / 2
        torch.testing.assert_close(found[inside], expected)


def test_zeros_as_padding_keep_one_symmetric_layer_as_it_is() -> None:
    network, images, windows = Convolutions(symmetric()), normal(1, 3, 16, 16), torch.tensor([[0, 0, 10, 13]])
    images[..., 10:] = images[..., 13:, :] = 0
    found, expected = averaged(network, images, windows, "both"), plain(network, images)
    torch.testing.assert_close(found[..., :13, :10], expected[..., :13, :10], atol=1e-6, rtol=0)


def test_mirrored_pictures_have_mirrored_maps(unet: Predictor) -> None:
    """With padding: 21 and 27 are no multiples of 8."""
    picture = np.random.default_rng(0).integers(0, 256, (21, 27)).astype(np.uint8)
    model = unet.with_augmentation(TestTimeAugmentation("horizontal", (1.0, 1.5)))
    ids, turned = (model.predict(pixels).semantic.ids for pixels in (picture, picture[:, ::-1]))
    np.testing.assert_array_equal(turned, ids[:, ::-1])
    without = unet.predict(picture[:, ::-1]).semantic.ids
    assert (without != unet.predict(picture).semantic.ids[:, ::-1]).any()


def test_scales_are_whole_multiples_of_the_divisor() -> None:
    network, images = Convolutions(normal(3, 3, 3, 3)), normal(1, 3, 16, 40)
    found = averaged(network, images, scales=(0.01, 0.75, 1.0, 1.4))
    assert network.sizes == [(8, 8), (16, 32), (16, 40), (24, 56)]
    sizes = network.sizes.copy()
    resized = [F.interpolate(images, size, mode="bilinear") for size in sizes]
    back = [F.interpolate(plain(network, shown), (16, 40), mode="bilinear") for shown in resized]
    torch.testing.assert_close(found, torch.stack(back).mean(dim=0))


def test_half_precision_is_summed_in_full() -> None:
    network, images = Convolutions(normal(3, 3, 3, 3).bfloat16()), normal(1, 3, 16, 16)
    found = averaged(network, images, flip="horizontal")
    turned = plain(network, images.flip(-1)).float().flip(-1)
    assert found.dtype == torch.float32
    assert torch.equal(found, (plain(network, images).float() + turned) / 2)


def test_a_predictor_averages_and_leaves_the_other_as_it_was(unet: Predictor) -> None:
    batch = normal(1, 1, 16, 16).numpy()
    model = unet.with_augmentation(TestTimeAugmentation("both"))
    assert not np.array_equal(model.outputs(batch, frames(batch)).logits, unet.outputs(batch, frames(batch)).logits)
    assert unet.augmentation is None
    assert replace(model, augmentation=None) == unet


def test_the_brightness_of_a_picture_is_the_same_at_every_scale() -> None:
    picture = np.kron(np.arange(3)[:, None], np.full((16, 24), 50)).astype(np.uint8)
    model = grey_model(LABELS)
    scaled = model.with_augmentation(TestTimeAugmentation("both", (0.5, 1, 2)))
    np.testing.assert_array_equal(scaled.predict(picture).semantic.ids, model.predict(picture).semantic.ids)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"scales": ()}, "at least one scale", id="no scales"),
        pytest.param({"scales": (1.0, 0.0)}, "above 0 and up to 8, but got 0", id="scale 0"),
        pytest.param({"scales": (-1.0,)}, "got -1", id="negative"),
        pytest.param({"scales": (8.5,)}, "got 8.5", id="too large"),
        pytest.param({"scales": (float("nan"),)}, "got nan", id="no number"),
        pytest.param({"flip": "vertical"}, "none, horizontal, both, but got 'vertical'", id="flip"),
    ],
)
def test_what_is_no_augmentation_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TestTimeAugmentation(**arguments)


def test_detectors_have_no_logits_of_pixels(unet: Predictor) -> None:
    detector = replace(unet, card=replace(unet.card, spec=FasterRCNN()))
    with pytest.raises(ConfigError, match="finds objects"):
        detector.with_augmentation(TestTimeAugmentation())
    with pytest.raises(ConfigError, match="finds objects"):
        detector.with_scores()
