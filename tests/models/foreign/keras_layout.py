"""U-Nets as Keras stores them, written with h5py, and what they calculate, by numpy."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
Layer = tuple[str, dict[str, Array]]


class KerasUNet:
    """A U-Net of `widths`, the finest first: layers in their order, with the names that Keras gives."""

    def __init__(
        self,
        widths: tuple[int, ...] = (4, 8, 16),
        classes: int = 3,
        channels: int = 3,
        *,
        norms: bool = False,
        transposed: bool = True,
        skip_first: bool = False,
        activation: str = "relu",
        last: str = "softmax",
    ) -> None:
        self.draw = np.random.default_rng(0)
        self.widths, self.transposed, self.skip_first, self.norms = widths, transposed, skip_first, norms
        self.layers: list[Layer] = []
        self.graph: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.activation = activation
        ends, before = [], self.add("InputLayer", None)
        given = channels
        for level, width in enumerate(widths):
            before = self.pair(self.add("MaxPooling2D", before, pool_size=[2, 2]) if level else before, given, width)
            ends.append(before)
            given = width
        for level in range(len(widths) - 2, -1, -1):
            width = widths[level]
            up = self.step(before, given, width)
            joined = [ends[level], up] if skip_first else [up, ends[level]]
            before = self.add("Concatenate", joined)
            before = self.pair(before, width + (width if transposed else given), width)
            given = width
        self.conv(before, 1, given, classes, last)

    def add(self, kind: str, inputs: str | list[str] | None, **config: Any) -> str:
        stem = {"Conv2D": "conv2d", "Conv2DTranspose": "conv2d_transpose", "BatchNormalization": "batch_normalization"}
        stem_name = stem.get(kind, kind.lower())
        count = self.counts.get(stem_name, 0)
        self.counts[stem_name] = count + 1
        name = f"{stem_name}_{count}" if count else stem_name
        took = [] if inputs is None else [inputs] if isinstance(inputs, str) else inputs
        self.graph.append({"class_name": kind, "config": {"name": name, **config}, "inputs": took})
        return name

    def conv(self, before: str, side: int, given: int, width: int, activation: str) -> str:
        name = self.add("Conv2D", before, padding="same", activation=activation, dilation_rate=[1, 1])
        kernel = self.draw.normal(size=(side, side, given, width)) * np.sqrt(2 / (side * side * given))
        self.layers.append((name, {"kernel": kernel, "bias": 0.1 * self.draw.normal(size=width)}))
        return name

    def pair(self, before: str, given: int, width: int) -> str:
        for inputs in (given, width):
            before = self.conv(before, 3, inputs, width, "linear" if self.norms else self.activation)
            if self.norms:
                before = self.add("BatchNormalization", before, epsilon=0.001)
                values = {kind: 0.1 * self.draw.normal(size=width) for kind in ("gamma", "beta", "moving_mean")}
                values["gamma"] += 1
                self.layers.append((before, {**values, "moving_variance": self.draw.uniform(0.001, 2, size=width)}))
                before = self.add("Activation", before, activation=self.activation)
        return before

    def step(self, before: str, given: int, width: int) -> str:
        if not self.transposed:
            return self.add("UpSampling2D", before, interpolation="nearest")
        name = self.add("Conv2DTranspose", before, padding="same", activation="linear", dilation_rate=[1, 1])
        kernel = self.draw.normal(size=(2, 2, width, given)) * np.sqrt(1 / given)
        self.layers.append((name, {"kernel": kernel, "bias": 0.1 * self.draw.normal(size=width)}))
        return name

    def __call__(self, image: Array) -> Array:
        """Logits [H, W, classes] of a picture [H, W, C] in 0-1."""
        waiting, norms = iter(self.of("conv2d")), iter(self.of("batch_normalization"))
        steps = iter(self.of("conv2d_transpose"))

        def pair(x: Array) -> Array:
            for _ in range(2):
                x = convolved(x, **next(waiting))
                if self.norms:
                    own = next(norms)
                    x = (x - own["moving_mean"]) / np.sqrt(own["moving_variance"] + 0.001) * own["gamma"] + own["beta"]
                x = np.maximum(x, 0)
            return x

        x, ends = image, []
        for level in range(len(self.widths)):
            x = pair(pooled(x) if level else x)
            ends.append(x)
        for level in range(len(self.widths) - 2, -1, -1):
            x = enlarged(x, **next(steps)) if self.transposed else x.repeat(2, axis=0).repeat(2, axis=1)
            x = pair(np.concatenate([ends[level], x] if self.skip_first else [x, ends[level]], axis=2))
        return convolved(x, **next(waiting))

    def of(self, stem: str) -> list[dict[str, Array]]:
        return [own for name, own in self.layers if name == stem or name.removeprefix(f"{stem}_").isdigit()]

    def config(self, *, third: bool) -> str:
        """The description of a whole model, as Keras 2 or 3 writes it."""
        layers = []
        for layer in self.graph:
            if third:
                tensors = [
                    {"class_name": "__keras_tensor__", "config": {"shape": [None], "keras_history": [name, 0, 0]}}
                    for name in layer["inputs"]
                ]
                nodes: Any = [{"args": [tensors if len(tensors) > 1 else tensors[0]], "kwargs": {}}] if tensors else []
            else:
                nodes = [[[name, 0, 0, {}] for name in layer["inputs"]]] if layer["inputs"] else []
            layers.append({**layer, "name": layer["config"]["name"], "inbound_nodes": nodes})
        return json.dumps({"class_name": "Functional", "config": {"name": "model", "layers": layers}})

    def write(self, path: Path) -> None:
        """`.weights.h5` as Keras 3, `.keras`, a whole `.h5` model where the name says so, else weights as Keras 2."""
        import h5py

        if path.suffix == ".keras":
            inside = io.BytesIO()
            with h5py.File(inside, "w") as file:
                self._third(file)
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("config.json", self.config(third=True))
                archive.writestr("model.weights.h5", inside.getvalue())
            return
        with h5py.File(path, "w") as file:
            if path.name.endswith(".weights.h5"):
                self._third(file)
                return
            root = file
            if "whole" in path.name:
                file.attrs["model_config"] = self.config(third=False)
                root = file.create_group("model_weights")
            root.attrs["layer_names"] = [name.encode() for name, _ in self.layers]
            for name, own in self.layers:
                for kind, values in own.items():
                    root[f"{name}/{name}/{kind}:0"] = values.astype(np.float32)

    def _third(self, file: Any) -> None:
        for name, own in self.layers:
            for place, values in enumerate(own.values()):
                file[f"layers/{name}/vars/{place}"] = values.astype(np.float32)


def convolved(x: Array, kernel: Array, bias: Array) -> Array:
    side = kernel.shape[0]
    around = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    height, width = x.shape[:2]
    parts = [around[y : y + height, z : z + width] @ kernel[y, z] for y in range(side) for z in range(side)]
    return np.sum(parts, axis=0) + bias


def enlarged(x: Array, kernel: Array, bias: Array) -> Array:
    out = np.zeros((2 * x.shape[0], 2 * x.shape[1], kernel.shape[2]))
    for y in range(2):
        for z in range(2):
            out[y::2, z::2] = x @ kernel[y, z].T + bias
    return out


def pooled(x: Array) -> Array:
    height, width = x.shape[:2]
    return x.reshape(height // 2, 2, width // 2, 2, -1).max(axis=(1, 3))
