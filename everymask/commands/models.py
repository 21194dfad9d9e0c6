"""`everymask models`: what can be trained and which trained weights are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everymask.classical.named import EXTRA, METHODS
from everymask.commands.terminal import show, show_json, table
from everymask.errors import unknown

if TYPE_CHECKING:
    from everymask.models.specs.family import Family

_USUAL_LICENCES = ("apache", "mit", "bsd", "cc-by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """List the models, their encoders, and the known pretrained weights with licence and accuracy."""

    json: bool = False
    """Print the answer as one JSON object."""
    licences: str | None = None
    """Only weights under licences of these families, separated by commas: apache, bsd, mit, cc-by, cc-by-sa ..."""


def run(options: Models) -> None:
    """Print architectures, encoders and the catalogue of weights."""
    from everymask.models.catalog import catalog
    from everymask.models.specs.any_spec import FAMILIES
    from everymask.models.specs.regions import ENCODERS

    weights: list[dict[str, Any]] = [
        {
            "name": row.name,
            "metrics": dict(row.metrics),
            "licence": row.licence,
            "parameters": row.params,
            "megabytes": row.megabytes,
            "url": row.url,
        }
        for row in catalog()
    ]
    if options.licences is not None:
        weights = _under(options.licences, weights)
    if options.json:
        show_json(
            {
                "architectures": [name for family in FAMILIES for name in family.named],
                "methods": [*METHODS],
                "encoders": ENCODERS,
                "weights": weights,
            }
        )
        return
    metrics = ("box AP", "mask AP", "mIoU")
    show(
        *(line for family in FAMILIES for line in _lines(family, ENCODERS)),
        *_methods(),
        table(
            "--weights, fetched when first asked for, or by auto where the network is the same",
            ("name", *metrics, "MB"),
            (
                (row["name"], *(row["metrics"].get(key, "") for key in metrics), f"{row['megabytes']:.0f}")
                for row in weights
            ),
        ),
        "Licences: " + "; ".join(dict.fromkeys(row["licence"] for row in weights)),
        "Encoders of timm: ImageNet weights from Hugging Face; training says their licence before it fetches them",
    )


def _under(wanted: str, weights: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose licences are of the families that are asked for; `ConfigError` for one that none has."""
    families = {row["name"]: _family(row["licence"]) for row in weights}
    asked = [name.strip().lower() for name in wanted.split(",")]
    for name in asked:
        if name not in families.values() and name not in _USUAL_LICENCES:
            raise unknown("licence", name, (*_USUAL_LICENCES, *sorted(set(families.values()) - set(_USUAL_LICENCES))))
    return [row for row in weights if families[row["name"]] in asked]


def _family(licence: str) -> str:
    """`apache` of "Apache-2.0 (...)", `bsd` of "BSD-3-Clause ...", `cc-by-sa` of "CC BY-SA 3.0 ..."."""
    plain = re.split(r"\s*[(;]", licence)[0].lower().replace(" ", "-")
    return re.sub(r"-(\d|clause).*$", "", plain)


def _methods() -> tuple[str, str]:
    """The names of the methods without a network, and how they are told more."""
    names = ", ".join(f"{name}*" if kind in EXTRA else name for name, kind in METHODS.items())
    return (
        f"without a network: {names}",
        '*: pip install "everymask[classical]"; everymask predict otsu PICTURES --out masks --set blur=2\n',
    )


def _lines(family: Family, common: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a family's networks, and of its encoders: the `common` ones of all families in full once."""
    own = ", ".join(name for name in family.encoders if name not in common)
    encoders = ", ".join(family.encoders)
    if family.timms:
        encoders = f"those, any that timm has{f', and {own}' if own else ''}"
    return f"--model, for {family.finds}: {', '.join(family.named)}", f"--encoder: {encoders}\n"
