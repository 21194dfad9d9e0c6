"""A checkpoint of another program as a whole model of ours, and how names become ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess
from everymask.errors import WeightsError, counted, listed, printable

Rule: TypeAlias = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern that names match from their beginning, and what they are called here."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Another program's model as one of ours: `tensors` under our names, which are those of the network of `spec`.

    `unused` tells of tensors of the file that are left out why they are; `assumed` is what the file does not say and
    was decided.
    """

    origin: str
    spec: Any
    tensors: Mapping[str, Tensor]
    labels: Labels
    preprocess: Preprocess
    unused: Mapping[str, str]
    assumed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What was recognised, in words."""
        spec, fed = self.spec, self.preprocess
        mean, std = (", ".join(f"{fed.scale * value:.6g}" for value in values) for values in (fed.mean, fed.std))
        names = self.labels.names
        classes = f"{counted(len(names), 'class', 'es')} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        text = f"{type(spec).__name__} with {spec.encoder} by {self.origin}, {classes}, mean {mean}, std {std}"
        if self.unused:
            reasons = list(dict.fromkeys(self.unused.values()))
            text += f"; left out: {counted(len(self.unused), 'tensor')} ({', '.join(reasons)})"
        return text + "".join(f"; {assumed}" for assumed in self.assumed)


def refuse_others(tensors: Mapping[str, Tensor], others: Sequence[tuple[str, str]], origin: str, reads: str) -> None:
    """`WeightsError` where a name has one of the patterns of `others`, which are networks that do not exist here."""
    for pattern, network in others:
        if any(re.search(pattern, name) for name in tensors):
            raise WeightsError(
                f"these are weights by {origin} of {network}, which this version does not read",
                hint=f"it reads {reads}",
            )


def renamed(
    tensors: Mapping[str, Tensor], rules: Sequence[Rule], unused: Mapping[str, str], origin: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors under our names by the first rule that each name matches, and which of them are left out and why.

    `unused` has the reasons by pattern. `WeightsError` for a name that is neither.
    """
    named: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    strange: list[str] = []
    for name, tensor in tensors.items():
        reason = next((why for pattern, why in unused.items() if re.search(pattern, name)), None)
        if reason is not None:
            left_out[name] = reason
            continue
        new = next((re.sub(pattern, to, name) for pattern, to in rules if re.match(pattern, name)), None)
        if new is None or new in named:
            strange.append(name)
        else:
            named[new] = tensor
    if strange:
        raise WeightsError(
            f"the weights by {origin} have {counted(len(strange), 'tensor')} that no network here has: "
            f"{printable(listed(strange, 3))}",
            hint="the list of what loads is in docs/checkpoints.md",
        )
    return named, left_out


def part(tensors: Mapping[str, Tensor], name: str, origin: str, dimensions: int) -> Tensor:
    """The tensor of that name; `WeightsError` where there is none, or it has other `dimensions`."""
    found = tensors.get(name)
    if found is None or found.ndim != dimensions or 0 in found.shape:
        shape = "is missing" if found is None else f"is {list(found.shape)}"
        raise WeightsError(f"the weights by {origin} are not whole: {name} {shape}", hint="copy or download them again")
    return found


def numbered(count: int, kind: str = "class") -> Labels:
    """Classes that nobody names, called by their numbers."""
    return labels_of(f"{kind} {number}" for number in range(count))
