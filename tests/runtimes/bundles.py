"""A small bundle of label maps, made by hand, so that no PyTorch is needed to make it."""

from __future__ import annotations

from functools import cache

from everymask.core.labels import labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.models.card import Card
from everymask.models.specs.semantic import UNet
from everymask.runtimes.bundle import Bundle, GraphFacts


@cache
def graph() -> bytes:
    """Two planes: the picture's brightness, and its opposite."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    given = helper.make_tensor_value_info("images", kind, ["batch", 1, "height", "width"])
    gives = helper.make_tensor_value_info("logits", kind, ["batch", 2, "height", "width"])
    nodes = [
        helper.make_node("Neg", ["images"], ["dark"]),
        helper.make_node("Concat", ["dark", "images"], ["logits"], axis=1),
    ]
    made = helper.make_graph(nodes, "grey", [given], [gives])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def small_bundle() -> Bundle:
    """Its bundle: what is brighter than 128 of 255 is `bright`."""
    preprocess = Preprocess(1, 255.0, (0.5,), (0.25,), Resize(rule="none"), divisor=8)
    card = Card(UNet(channels=1), labels_of(["dark", "bright"]), preprocess, {"mIoU": 0.5}, "CC0", "made by hand")
    return Bundle(card, graph(), GraphFacts(), {"pictures": 3}, {"data": "nothing"})
