"""`everymask models`: what can be trained and which trained weights are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everymask.commands.terminal import show, show_json, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """List the models, their encoders, and the known pretrained weights with licence and accuracy."""

    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Models) -> None:
    """Print architectures, encoders and the catalogue of weights."""
    from everymask.commands.train import ARCHITECTURES
    from everymask.models.catalog import catalog
    from everymask.models.specs import ENCODERS

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
    if options.json:
        show_json({"architectures": ARCHITECTURES, "encoders": ENCODERS, "weights": weights})
        return
    show(
        f"--model: {', '.join(ARCHITECTURES)}",
        f"--encoder: {', '.join(ENCODERS)}\n",
        table(
            "--weights, downloaded when first asked for",
            ("name", "box AP", "mask AP", "MB"),
            (
                (row["name"], *(row["metrics"].get(ap, "") for ap in ("box AP", "mask AP")), f"{row['megabytes']:.0f}")
                for row in weights
            ),
        ),
        "Licences: " + "; ".join(dict.fromkeys(row["licence"] for row in weights)),
    )
