"""`everymask env`: what a bug report must say of the machine."""

from __future__ import annotations

from dataclasses import dataclass

from everymask.commands.terminal import show, show_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """Say what a bug report needs: versions, processor, memory, devices, threads, precision, and what is slow here and
    why.

    Nothing is sent anywhere; the home folder is written `~`.
    """

    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Env) -> None:
    """Look at the machine, and print it."""
    from everymask.environment.seen import environment
    from everymask.environment.text import to_json, to_text

    here = environment()
    if options.json:
        show_json(to_json(here))
    else:
        show(to_text(here))
