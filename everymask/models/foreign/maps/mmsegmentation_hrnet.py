"""mmsegmentation's names for HRNet, with one convolution before the classes or with OCR."""

from __future__ import annotations

from torch import Tensor

from everymask.models.blocks.hrnet_trunk import WIDTHS
from everymask.models.foreign.whole import Rule

_CONTEXT = r"^decode_head\.1\.object_context_block\."
_OURS = "ocr_distri_head.object_context_block."
HRNET: tuple[Rule, ...] = (
    (r"^backbone\.(?=(?:conv[12]|bn[12]|layer1|transition[123]|stage[234])\.)", "backbone."),
    (r"^decode_head\.convs\.0\.conv\.", "last_layer.0."),
    (r"^decode_head\.convs\.0\.bn\.", "last_layer.1."),
    (r"^decode_head\.conv_seg\.", "last_layer.3."),
    (r"^decode_head\.0\.convs\.0\.conv\.", "aux_head.0."),
    (r"^decode_head\.0\.convs\.0\.bn\.", "aux_head.1."),
    (r"^decode_head\.0\.conv_seg\.", "aux_head.3."),
    (r"^decode_head\.1\.bottleneck\.conv\.", "conv3x3_ocr.0."),
    (r"^decode_head\.1\.bottleneck\.bn\.", "conv3x3_ocr.1."),
    (
        rf"{_CONTEXT}(query|key)_project\.([01])\.(conv|bn)\.",
        lambda found: (
            f"{_OURS}f_{'pixel' if found[1] == 'query' else 'object'}.{3 * int(found[2]) + (found[3] == 'bn')}."
        ),
    ),
    (
        rf"{_CONTEXT}(value|out)_project\.(conv|bn)\.",
        lambda found: f"{_OURS}f_{'down' if found[1] == 'value' else 'up'}.{int(found[2] == 'bn')}.",
    ),
    (rf"{_CONTEXT}bottleneck\.conv\.", "ocr_distri_head.conv_bn_dropout.0."),
    (rf"{_CONTEXT}bottleneck\.bn\.", "ocr_distri_head.conv_bn_dropout.1."),
    (r"^decode_head\.1\.conv_seg\.", "cls_head."),
)
_BIASED = ("last_layer.0", "aux_head.0", "conv3x3_ocr.0")


def hrnet_named(width: int) -> str | None:
    """The HRNet whose finest branch has so many channels."""
    return next((name for name, known in WIDTHS.items() if known == width), None)


def with_biases(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with biases of 0, which convolutions before a norm have in the authors' code and not there."""
    weights = {name: named[f"{name}.weight"] for name in _BIASED if f"{name}.weight" in named}
    return named | {f"{name}.bias": weight.new_zeros(len(weight)) for name, weight in weights.items()}
