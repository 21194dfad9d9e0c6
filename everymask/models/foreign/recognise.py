"""Checkpoints of other programs, told by the names of their tensors, for networks of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.base import Network
from everymask.models.blocks.hrnet_trunk import WIDTHS as HRNET_WIDTHS
from everymask.models.blocks.mit import mit_named
from everymask.models.foreign.authors import from_authors
from everymask.models.foreign.eomt import AUTHORS_SIGN, eomt_of, from_eomt
from everymask.models.foreign.files.stored import views
from everymask.models.foreign.mask2former import from_mask2former, mask2former_of
from everymask.models.foreign.prompted import from_published, refuse_relatives, sam2_of, sam_of
from everymask.models.foreign.rtmdet import from_mmdetection, rtmdet_of
from everymask.models.foreign.segformer import from_transformers
from everymask.models.foreign.smp import from_smp
from everymask.models.foreign.tinycd import from_tinycd
from everymask.models.foreign.yolox import yolox_of
from everymask.models.semantic.pidnet import WIDTHS as PIDNET_WIDTHS
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.change import ChangeModelSpec, TinyCD
from everymask.models.specs.onestage import OneStageModelSpec
from everymask.models.specs.prompted import SAM2, PromptedModelSpec
from everymask.models.specs.queries import QueryModelSpec
from everymask.models.specs.semantic import HRNet, PIDNet, SegFormer, SemanticModelSpec, SemanticSpec, as_smp, segformer

Origin: TypeAlias = Literal[
    "segmentation_models.pytorch", "transformers", "HRNet's authors", "PIDNet's authors", "TinyCD's authors",
    "SAM's authors", "transformers' SAM", "SAM 2's authors", "transformers' SAM 2", "YOLOX's authors",
    "transformers' Mask2Former", "mmdetection's RTMDet", "EoMT's authors", "transformers' EoMT",
]  # fmt: skip
ONE_STAGE_ORIGINS: frozenset[Origin] = frozenset({"YOLOX's authors", "mmdetection's RTMDet"})
"""Whose networks are one-stage detectors, trained on COCO and fed in a way of their own."""
Told: TypeAlias = SemanticModelSpec | ChangeModelSpec | PromptedModelSpec | OneStageModelSpec | QueryModelSpec
# A tensor that only networks of this origin have, after the prefix "model." of a training.
_SIGNS: dict[str, Origin] = {
    "segmentation_head.0.weight": "segmentation_models.pytorch",
    "segformer.encoder.patch_embeddings.0.proj.weight": "transformers",
    "segformer.stages.0.patch_embeddings.proj.weight": "transformers",
    "stage2.0.branches.0.0.conv1.weight": "HRNet's authors",
    "pag3.f_x.0.weight": "PIDNet's authors",
    "_first_mix._mixing._convmix.0.weight": "TinyCD's authors",
    "image_encoder.neck.0.weight": "SAM's authors",
    "vision_encoder.neck.conv1.weight": "transformers' SAM",
    "sam_mask_decoder.obj_score_token.weight": "SAM 2's authors",
    "vision_encoder.backbone.patch_embed.projection.weight": "transformers' SAM 2",
    "backbone.backbone.stem.conv.conv.weight": "YOLOX's authors",
    "transformer_module.queries_features.weight": "transformers' Mask2Former",
    "bbox_head.rtm_cls.0.weight": "mmdetection's RTMDet",
    AUTHORS_SIGN: "EoMT's authors",
    "upscale_block.block.0.conv1.weight": "transformers' EoMT",
}


_WITHOUT_PREFIX: tuple[Origin, ...] = ("transformers' Mask2Former", "transformers' EoMT")
"""Whose classifier stands outside of what is called model there."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A checkpoint of another program: its tensors under their names there, and the network where they tell it."""

    origin: Origin
    tensors: Mapping[str, Tensor]
    spec: Told | None = None

    def network(self, asked: ModelSpec) -> Told:
        """The network that was asked for as the weights need it; `WeightsError` where it is of another kind.

        What segmentation_models.pytorch builds otherwise is taken from there, unless it is set.
        """
        kind = SemanticSpec if self.spec is None else type(self.spec)
        if not isinstance(asked, kind):
            found = "a semantic network" if self.spec is None else kind.__name__
            raise WeightsError(
                f"the weights are of {found} by {self.origin}, but the model is {type(asked).__name__}",
                hint="choose the model of the weights" + ("" if self.spec is None else ", or leave out --model"),
            )
        network: Any = asked
        if isinstance(self.spec, SAM2):
            return replace(network, memory=self.spec.memory)
        if self.origin != "segmentation_models.pytorch":
            return network
        theirs, plain = as_smp(network), type(network)()
        if any(name.startswith("encoder.model.") for name in self.tensors) and hasattr(theirs, "uniform_dilation"):
            theirs = replace(theirs, uniform_dilation=False)  # its encoders "tu-..." dilate as timm does
        names = [column.name for column in fields(network)]
        untouched = {name: getattr(theirs, name) for name in names if getattr(network, name) == getattr(plain, name)}
        return replace(network, **untouched)

    def fitting(self, module: Network) -> dict[str, Tensor]:
        """The tensors under the names of `module`, a network as `network` gives it.

        `WeightsError` names what does not fit its encoder. Trunks trained on ImageNet fit as far as they go.
        """
        spec: Any = module.spec
        named = self._named(spec)
        prefix = module.encoder_prefix
        own = {name: tensor for name, tensor in module.state_dict().items() if name.startswith(prefix)}
        wrong = [name for name in own if name in named and not _fits(named[name], own[name], spec.channels)]
        if not isinstance(spec, HRNet | PIDNet):
            wrong += [name for name in own if name not in named and not name.endswith("num_batches_tracked")]
            wrong += [name for name in named if name.startswith(prefix) and name not in own]
        if wrong:
            raise WeightsError(
                f"the weights by {self.origin} do not fit the encoder {spec.encoder}: {', '.join(wrong[:3])}"
                + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
                hint="name the network that they are of, with --model and --encoder",
            )
        return named

    def _named(self, spec: Any) -> dict[str, Tensor]:
        match self.origin:
            case "segmentation_models.pytorch":
                return from_smp(self.tensors, spec)
            case "transformers":
                return from_transformers(self.tensors)
            case "TinyCD's authors":
                return from_tinycd(self.tensors)
            case "transformers' Mask2Former":
                return from_mask2former(self.tensors)
            case "EoMT's authors" | "transformers' EoMT":
                return from_eomt(self.tensors)
            case "SAM's authors" | "transformers' SAM" | "SAM 2's authors" | "transformers' SAM 2":
                return from_published(self.tensors)
            case "YOLOX's authors":
                return dict(self.tensors)
            case "mmdetection's RTMDet":
                return from_mmdetection(self.tensors)
            case _:
                return from_authors(self.tensors, spec)


def recognise(tensors: Mapping[str, Tensor]) -> Foreign | None:
    """The checkpoint of another program that tensors of such names are, or None.

    `WeightsError` where they are of a network that does not exist here.
    """
    plain = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    refuse_relatives(plain)
    origin = next((origin for sign, origin in _SIGNS.items() if sign in plain), None)
    if origin is None:
        return None
    if any(name.startswith("model.") for name in tensors) and origin not in _WITHOUT_PREFIX:
        # Beside the network a training stores what belongs to its losses.
        plain = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    return Foreign(origin, plain, _network(origin, plain))


def recognised(tensors: Mapping[str, Tensor]) -> Foreign | None:
    """The same, of tensors below whatever names trainings put before their network's; errors as in `recognise`."""
    return next((found for view in views(tensors) if (found := recognise(view)) is not None), None)


def _network(origin: Origin, tensors: Mapping[str, Tensor]) -> Told | None:
    match origin:
        case "transformers":
            named = from_transformers(tensors)
            blocks = sum(name.startswith("backbone.block") and name.endswith(".norm1.weight") for name in named)
            encoder = mit_named(len(named["backbone.patch_embed1.proj.weight"]), blocks)
            fused = named.get("decode_head.linear_fuse.conv.weight")
            if encoder is None or fused is None:
                return None if encoder is None else segformer(encoder.removeprefix("mit_"))
            return SegFormer(encoder=encoder, decoder_channels=len(fused))
        case "HRNet's authors":
            width = len(tensors["stage2.0.branches.0.0.conv1.weight"])
            return HRNet(encoder=_of_width(HRNET_WIDTHS, width, origin), ocr="cls_head.weight" in tensors)
        case "PIDNet's authors":
            width = len(tensors["pag3.f_x.0.weight"])
            return PIDNet(encoder=_of_width(PIDNET_WIDTHS, width, origin))
        case "TinyCD's authors":
            return TinyCD()
        case "SAM's authors" | "transformers' SAM":
            return sam_of(tensors)
        case "SAM 2's authors" | "transformers' SAM 2":
            return sam2_of(tensors)
        case "YOLOX's authors":
            return yolox_of(tensors)
        case "transformers' Mask2Former":
            return mask2former_of(tensors)
        case "mmdetection's RTMDet":
            return rtmdet_of(tensors)
        case "EoMT's authors" | "transformers' EoMT":
            return eomt_of(tensors)
        case _:
            return None


def _of_width(widths: Mapping[str, int], width: int, origin: Origin) -> str:
    for name, known in widths.items():
        if known == width:
            return name
    raise WeightsError(
        f"the weights by {origin} are of a network {width} channels wide, which does not exist here",
        hint=f"there are {', '.join(widths)}",
    )


def _fits(source: Tensor, target: Tensor, channels: int) -> bool:
    """Whether shapes are the same, or the target is a first layer of three channels, for pictures of so many others."""
    first = source.ndim == target.ndim == 4 and target.shape[1] == channels and source.shape[1] == 3
    return source.shape == target.shape or (first and source[:, 0].shape == target[:, 0].shape)
