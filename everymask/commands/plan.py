"""`everymask plan`: what a training would decide, and what it would take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from everymask.commands.terminal import show, show_json
from everymask.commands.train import Training, config_of
from everymask.core.threads import require_torch
from everymask.errors import ConfigError
from everymask.settings.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Training):
    """Say without training what `train` with the same options would decide and why, and how much time and memory it
    takes.

    A few steps are measured on the pictures of DATA; weights to start from are not fetched.
    """

    time: str | None = None
    """How long training may take (30m, 2h): the same as --time-limit."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Plan) -> None:
    """Measure, and print what was decided, time and memory."""
    from everymask.train.folder.logs import spent

    if options.time and options.time_limit:
        raise ConfigError("--time and --time-limit are the same", hint="give one of them")
    config = config_of(options)
    if config.method is not None:
        _run_method(config, as_json=options.json)
        return
    require_torch()
    from everymask.train.planning import forecast

    found = forecast(replace(config, time_limit=options.time or config.time_limit))
    if options.json:
        show_json(
            {
                "settings": found.plan.settings.to_json(),
                "reasons": list(found.notes),
                "seconds_per_step": round(found.speed.step, 4),
                "seconds_per_validation": round(found.speed.validation, 2),
                "steps": found.steps,
                "seconds": round(found.seconds, 1),
                "memory_mb": round(found.memory),
            }
        )
        return
    show(
        *found.notes,
        f"\nexpected: {found.steps:,} steps in {spent(found.seconds)}, {found.speed.step:.2g} s each, and at most "
        f"{found.memory:,.0f} MB of memory; each validation takes {spent(found.speed.validation)}, also the last",
    )


def _run_method(config: TrainConfig, *, as_json: bool) -> None:
    """Of a method, which learns in one go and not in steps."""
    from everymask.train.folder.logs import spent
    from everymask.train.methods.run import forecast_method

    notes, seconds = forecast_method(config)
    if as_json:
        show_json({"settings": config.to_json(), "reasons": list(notes), "seconds": round(seconds, 1)})
        return
    show(*notes, f"\nexpected: {spent(seconds)} in one go, without steps to stop at or to go on from")
