"""What is known of a family of networks besides how each is built: what they find, and by which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """The networks for one kind of truth.

    - `finds` is what they find, as "objects"
    - `kinds` are their specs by the name that model files have for each
    - `named` makes one by a name of the command line, of the options that are given of `encoder`, `norm` and `head`;
      their order is that of `everymask models`
    - `encoders` are the names that an encoder can have; with `timms` also all that timm has
    - `family_name` completes "a setting of ..."
    """

    finds: str
    family_name: str
    kinds: Mapping[str, type[Any]]
    named: Mapping[Any, Callable[..., Any]]
    encoders: tuple[str, ...]
    timms: bool = False
