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
    from everymask.models.catalog import catalog
    from everymask.models.specs.named import REGION_NAMES, SEMANTIC_NAMES
    from everymask.models.specs.regions import ENCODERS
    from everymask.models.specs.semantic import HRNET_ENCODERS, MIT_ENCODERS, PIDNET_ENCODERS, PLAIN_ENCODER

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
        show_json({"architectures": [*REGION_NAMES, *SEMANTIC_NAMES], "encoders": ENCODERS, "weights": weights})
        return
    metrics = ("box AP", "mask AP", "mIoU")
    own = (PLAIN_ENCODER, *MIT_ENCODERS, *HRNET_ENCODERS, *PIDNET_ENCODERS)
    show(
        f"--model, for objects: {', '.join(REGION_NAMES)}",
        f"--encoder: {', '.join(ENCODERS)}\n",
        f"--model, for label maps: {', '.join(SEMANTIC_NAMES)}",
        f"--encoder: those, any that timm has, and {', '.join(own)}\n",
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
