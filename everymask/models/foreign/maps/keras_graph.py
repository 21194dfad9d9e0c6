"""What Keras' description of a model's layers says of a U-Net, where a file has one: JSON, of which nothing runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from everymask.errors import WeightsError, printable

Last = Literal["sigmoid", "softmax", "linear"]
_KNOWN = frozenset(
    {"InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "Activation", "ReLU", "BatchNormalization", "Conv2D"}
    | {"Conv2DTranspose", "UpSampling2D", "MaxPooling2D", "Concatenate", "Rescaling", "Softmax"}
)
_DEEPEST = 30


@dataclass(frozen=True, slots=True)
class Said:
    """What the layers say: whether the encoder's map comes first where two are joined, how maps are enlarged without
    weights, what the last layer's answers become, and what norms add to the variance.
    """

    skip_first: bool
    upsampling: Literal["nearest", "bilinear"]
    last: Last
    epsilon: float


def said_of(settings: str, origin: str) -> Said | None:
    """What a description says; None where there is none, or it is of no such model.

    `WeightsError` names layers and settings that the U-Net here does not have.
    """
    layers = _layers(settings)
    if not layers:
        return None
    strange = sorted({str(layer.get("class_name")) for layer in layers} - _KNOWN)
    if strange:
        raise _refused(origin, f"layers of class {printable(', '.join(strange))}")
    _check(layers, origin)
    convolutions = [_config(layer) for layer in layers if layer.get("class_name") == "Conv2D"]
    ends = [_config(layer) for layer in layers if layer.get("class_name") in ("Conv2D", "Activation", "Softmax")]
    softmax = layers[-1].get("class_name") == "Softmax"
    last = "softmax" if softmax else str((ends[-1] if ends else {}).get("activation", "linear"))
    if any(config.get("activation") == "relu" for config in convolutions[:-1]) and _of(layers, "BatchNormalization"):
        raise _refused(origin, "norms behind the ReLU, not before it")
    if last not in ("sigmoid", "softmax", "linear"):
        raise _refused(origin, f"a last layer with {printable(last)}")
    sizes = {str(config.get("interpolation", "nearest")) for config in _of(layers, "UpSampling2D")}
    epsilons = {float(config.get("epsilon", 1e-3)) for config in _of(layers, "BatchNormalization")}
    if len(sizes) > 1 or not sizes <= {"nearest", "bilinear"} or len(epsilons) > 1:
        raise _refused(origin, "ways of enlarging, or norms, that differ from each other")
    return Said(
        skip_first=_skip_first(layers, origin),
        upsampling="bilinear" if "bilinear" in sizes else "nearest",
        last=last,  # type: ignore[arg-type]
        epsilon=epsilons.pop() if epsilons else 1e-3,
    )


def _check(layers: list[Mapping[str, Any]], origin: str) -> None:
    for layer in layers:
        config, kind = _config(layer), layer.get("class_name")
        activation = config.get("activation", "linear")
        if kind in ("Conv2D", "Conv2DTranspose") and config.get("padding") != "same":
            raise _refused(origin, "convolutions without padding, which make the picture smaller")
        if kind in ("Conv2D", "Activation") and activation not in ("relu", "linear", "sigmoid", "softmax"):
            raise _refused(origin, f"the activation {printable(activation)}")
        if kind == "Conv2DTranspose" and activation != "linear":
            raise _refused(origin, f"{printable(activation)} behind the steps up")
        if kind in ("Conv2D", "Conv2DTranspose") and config.get("dilation_rate", 1) not in (1, [1, 1]):
            raise _refused(origin, "dilated convolutions")
        if kind == "MaxPooling2D" and config.get("pool_size") not in ([2, 2], 2):
            raise _refused(origin, "pooling by other than 2")
        if kind == "Rescaling" and abs(float(config.get("scale", 1)) * 255 - 1) > 1e-3:
            raise _refused(origin, "another scale of pictures than 1/255")


def _skip_first(layers: list[Mapping[str, Any]], origin: str) -> bool:
    """Whether the first of two joined maps is the one that was made earlier."""
    places = {str(_config(layer).get("name", layer.get("name"))): place for place, layer in enumerate(layers)}
    orders = set()
    for layer in layers:
        if layer.get("class_name") == "Concatenate":
            inputs = [places[name] for name in _names(layer.get("inbound_nodes"), places)]
            if len(inputs) != 2 or len(set(inputs)) != 2:
                raise _refused(origin, "more than two maps joined at once")
            orders.add(inputs[0] < inputs[1])
    if len(orders) > 1:
        raise _refused(origin, "maps joined in orders that differ from each other")
    return bool(orders) and orders.pop()


def _names(nodes: Any, known: Mapping[str, int], depth: int = 0) -> Iterator[str]:
    """The layers that a layer takes: `[name, 0, 0, ...]` anywhere in what it says."""
    if depth > _DEEPEST:
        return
    if isinstance(nodes, list) and len(nodes) > 1 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
        if nodes[0] in known:
            yield nodes[0]
        return
    for inner in nodes.values() if isinstance(nodes, dict) else nodes if isinstance(nodes, list) else ():
        yield from _names(inner, known, depth + 1)


def _layers(settings: str) -> list[Mapping[str, Any]]:
    try:
        layers = json.loads(settings)["config"]["layers"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
    return [layer for layer in layers if isinstance(layer, Mapping)] if isinstance(layers, list) else []


def _config(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    config = layer.get("config")
    return config if isinstance(config, Mapping) else {}


def _of(layers: list[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [_config(layer) for layer in layers if layer.get("class_name") == kind]


def _refused(origin: str, what: str) -> WeightsError:
    return WeightsError(
        f"these are weights by {origin} of a network with {what}, which the U-Net here does not have",
        hint="what is read is in docs/checkpoints.md",
    )
