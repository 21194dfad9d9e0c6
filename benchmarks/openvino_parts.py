"""Whether OpenVINO calculates a Mask R-CNN faster than PyTorch does once the network is made ready to predict."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.compare import Comparison, Disagreement, compare
from benchmarks.crowds import SIZE, crowd, trained_detector
from benchmarks.page import Section
from everymask.backends.devices import has_fast_bf16
from everymask.backends.pytorch import Precision, TorchBackend, build_predictor
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.models.inference import ready_to_predict
from everymask.models.regions.rcnn import RCNN

if TYPE_CHECKING:
    from openvino import CompiledModel

PEER = "OpenVINO"
SETTING = f"""The Mask R-CNN of the section on prediction, one picture of {SIZE[0]} × {SIZE[1]} pixels. The peer is the
same network with backbone, FPN, RPN head, box head and mask head converted by OpenVINO from the folded float32 module
and compiled for the CPU with the same precision and number of threads; proposals, RoIAlign, suppression and decoding
are everymask's on both sides. Maps pass from one to the other without being copied, channels last, in the precision
that is measured."""

Pack = Callable[[list[Tensor]], Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the network under its name, small inputs [B, C, h, w] to trace it with, and its answer's form."""

    name: str
    example: list[Tensor]
    pack: Pack

    @property
    def takes_a_list(self) -> bool:
        return len(self.example) > 1


def parts_of(network: RCNN) -> list[Part]:
    """What is worth giving to OpenVINO: nearly all arithmetic of a Mask R-CNN."""
    width = network.spec.fpn_channels
    maps = [torch.rand(1, width, side, side) for side in (16, 8, 4, 2, 1)]
    return [
        Part("backbone", [torch.rand(1, network.spec.channels, 64, 64)], list),
        Part("rpn.head", maps, lambda found: (found[: len(maps)], found[len(maps) :])),
        Part("roi_heads.box_head", [torch.rand(2, width, 7, 7)], lambda found: found[0]),
        Part("roi_heads.mask_head", [torch.rand(2, width, 14, 14)], lambda found: found[0]),
    ]


class ChannelsLast(nn.Module):
    """A part that takes and gives maps [B, h, w, C] of `dtype` and calculates in float32, as OpenVINO shall see it."""

    def __init__(self, network: nn.Module, part: Part, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype, self.takes_a_list = network.get_submodule(part.name), dtype, part.takes_a_list

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        planes = [x.float().permute(0, 3, 1, 2) for x in maps]
        found = self.inner(planes if self.takes_a_list else planes[0])
        flat = (
            [found] if isinstance(found, Tensor) else [y for x in found for y in ([x] if isinstance(x, Tensor) else x)]
        )
        return tuple((x.permute(0, 2, 3, 1) if x.ndim == 4 else x).to(self.dtype) for x in flat)


class Compiled(nn.Module):
    """A part calculated by OpenVINO: takes and gives what the part does."""

    def __init__(self, model: CompiledModel, pack: Pack, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.pack, self.dtype = model, pack, dtype

    def forward(self, planes: Tensor | Sequence[Tensor]) -> Any:
        maps = [planes] if isinstance(planes, Tensor) else planes
        request = self.model.create_infer_request()
        inputs = [_to_openvino(x.to(self.dtype).permute(0, 2, 3, 1).contiguous()) for x in maps]
        request.infer(inputs, share_inputs=True, share_outputs=True)
        found = [_to_torch(x) for x in request.output_tensors]
        return self.pack([x.permute(0, 3, 1, 2) if x.ndim == 4 else x for x in found])


def compiled(network: RCNN, part: Part, dtype: torch.dtype) -> Compiled:
    """A part of a float32 network for pictures and batches of any size, calculated in `dtype`."""
    import openvino

    example = tuple(x.permute(0, 2, 3, 1).to(dtype) for x in part.example)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = ChannelsLast(network, part, dtype).eval()
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    # The box head's width depends on its input's, so that only batch and maps vary.
    sizes = [[-1, *(x.shape[1:3] if "roi_heads" in part.name else (-1, -1)), x.shape[3]] for x in example]
    model = openvino.convert_model(traced, example_input=example, input=sizes)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    return Compiled(openvino.Core().compile_model(model, "CPU", settings), part.pack, dtype)


def with_openvino(predictor: Predictor, network: RCNN) -> Predictor:
    """The predictor with every part of `parts_of` calculated by OpenVINO, from the float32 weights of `network`."""
    own = network_of(predictor)
    dtype = own.backbone.dtype
    module, folded = ready_to_predict(own), ready_to_predict(network)
    for part in parts_of(folded):
        holder, _, name = part.name.rpartition(".")
        module.get_submodule(holder).add_module(name, compiled(folded, part, dtype))
    return replace(predictor, backend=TorchBackend(module, torch.device("cpu")))


def network_of(predictor: Predictor) -> RCNN:
    """The network that a predictor of objects runs."""
    assert isinstance(predictor.backend, TorchBackend) and isinstance(predictor.backend.module, RCNN)
    return predictor.backend.module


def same_parts(ours: object, theirs: object) -> str:
    """How far apart the maps are, by their mean; `Disagreement` beyond what bfloat16 explains."""
    pairs = zip(_tensors(ours), _tensors(theirs), strict=True)
    apart = max(float((x.float() - y.float()).abs().mean() / x.float().abs().mean()) for x, y in pairs)
    if not apart < 0.1:
        raise Disagreement(f"maps differ by {apart:.1%} of their mean magnitude")
    return f"maps differ by {apart:.1g} of their mean magnitude"


def same_results(ours: Result, theirs: Result) -> str:
    """How many of our objects above score 0.5 have a mask with IoU above 0.9 there; `Disagreement` below 97 %."""
    mine, other = ours.instances, theirs.instances
    assert mine.scores is not None and mine.masks is not None and other.masks is not None
    sure = mine[mine.scores > 0.5].masks
    assert sure is not None
    found = int((sure.iou(other.masks).max(axis=1, initial=0) > 0.9).sum())
    if not len(sure) or found < 0.97 * len(sure):
        raise Disagreement(f"only {found} of {len(sure)} sure objects are found again")
    return f"{found} of {len(sure)} objects above score 0.5 are found with mask IoU above 0.9"


def compare_precision(network: RCNN, predictor: Predictor, words: str) -> list[Comparison]:
    """Each part, then the whole prediction."""
    theirs = with_openvino(predictor, network)
    modules = network_of(predictor), network_of(theirs)
    dtype = modules[0].backbone.dtype
    torch.manual_seed(0)
    picture = torch.randn(1, network.spec.channels, *SIZE).to(dtype)
    with torch.inference_mode():
        maps = modules[0].backbone(picture.to(memory_format=torch.channels_last))
    width = maps[0].shape[1]
    regions = {side: torch.rand(count, width, side, side).to(dtype) for count, side in ((1000, 7), (100, 14))}
    inputs: list[tuple[str, str, Tensor | list[Tensor]]] = [
        ("backbone and FPN", "backbone", picture),
        ("RPN head", "rpn.head", maps),
        ("box head, 1,000 regions", "roi_heads.box_head", regions[7]),
        ("mask head, 100 regions", "roi_heads.mask_head", regions[14]),
    ]
    rows: list[Comparison] = []
    for what, name, given in inputs:
        last = _last(given)
        calls = [_call(side.get_submodule(name), last) for side in modules]
        rows.append(compare(f"{what}, {words}", *calls, peer=PEER, same=same_parts, rounds=5))
    image = crowd(0).image
    whole = (lambda: predictor.predict(image)), (lambda: theirs.predict(image))
    rows.append(compare(f"one picture, {words}", *whole, peer=PEER, same=same_results, rounds=7))
    return rows


def run() -> Section:
    """Mask R-CNN R50-FPN on 800 x 1088 pixels, part by part and as a whole; peer: OpenVINO"""
    network, card = trained_detector()
    kinds: list[tuple[Precision, str]] = [("exact", "float32")]
    if has_fast_bf16(torch.device("cpu")):
        kinds.append(("auto", "bfloat16"))
    rows: list[Comparison] = []
    wholes: list[str] = []
    for precision, words in kinds:
        rows += compare_precision(network, build_predictor(network, card, "cpu", precision=precision), words)
        wholes.append(f"{rows[-1].ratio:.2f} of everymask's in {words}")
    return Section(
        title="Prediction: PyTorch and OpenVINO",
        setting=SETTING,
        packages=("torch", "openvino"),
        threads=f"{torch.get_num_threads()} on both sides",
        times=tuple(rows),
        notes=(f"OpenVINO's time for a whole picture is {' and '.join(wholes)}.",),
    )


def _call(part: nn.Module, given: Tensor | list[Tensor]) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return part(given)

    return call


def _last(given: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    if isinstance(given, list):
        return given
    return given.contiguous(memory_format=torch.channels_last)


def _tensors(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [y for x in found for y in _tensors(x)]


def _to_openvino(x: Tensor) -> Any:
    """The same memory; numpy, which stands between, has no bfloat16."""
    import openvino

    if x.dtype == torch.bfloat16:
        return openvino.Tensor(x.view(torch.int16).numpy(), openvino.Shape(list(x.shape)), openvino.Type.bf16)
    return openvino.Tensor(x.numpy(), shared_memory=True)


def _to_torch(x: Any) -> Tensor:
    if str(x.element_type.get_type_name()) == "bf16":
        return torch.from_numpy(x.data.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x.data)
