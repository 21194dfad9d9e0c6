"""A model in the runtime that is the fastest on this machine, where the options leave that open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from everymask.core.processes.launched import launched
from everymask.errors import DataError
from everymask.train.folder.layout import BEST

if TYPE_CHECKING:
    from everymask.commands.options import Running
    from everymask.infer.predictor import Predictor
    from everymask.runtimes.fastest import Fastest
    from everymask.runtimes.loading import EngineName

Asked = TypeVar("Asked", bound="Running")


class Pictures(Protocol):
    """Some pictures, by their numbers: a list of files, or a data set."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, row: int, /) -> Any:
        """One of them."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """The runtimes that may calculate a model, the usual one first, and by what their measurement is remembered."""

    engines: Sequence[EngineName]
    key: str

    def remembered(self) -> Fastest | None:
        """What was measured before."""
        from everymask.runtimes.fastest import remembered

        found = remembered(self.key)
        return found if found is not None and found.runtime in self.engines else None


def with_fastest(source: str, options: Asked) -> Asked:
    """The options with the runtime that was the fastest when it was measured, if it was."""
    choice = _choice(source, options)
    found = None if choice is None else choice.remembered()
    if found is None:
        return options
    sys.stderr.write(f"{found.sentence()} (measured before)\n")
    return replace(options, runtime=found.runtime)


def load_in_fastest(
    source: str,
    options: Asked,
    pictures: Pictures,
    load: Callable[[Asked], Predictor],
    usual: Predictor | None = None,
    *,
    worth: int | None = None,
) -> Predictor:
    """What `load` makes of the options with the runtime that is the fastest here, which is said on stderr.

    It is measured on the first pictures, if there are `worth` (None: 20), and remembered. `usual` is what `load` has
    made of the options as they are, where it has.
    """
    choice = _choice(source, options)
    if choice is None:
        return usual or load(options)
    found = choice.remembered()
    if found is None:
        return _measured(choice, options, pictures, load, usual, worth) or usual or load(options)
    sys.stderr.write(f"{found.sentence()} (measured before)\n")
    if usual is not None and found.runtime == choice.engines[0]:
        return usual
    return load(replace(options, runtime=found.runtime))


def _measured(
    choice: _Choice,
    options: Asked,
    pictures: Pictures,
    load: Callable[[Asked], Predictor],
    usual: Predictor | None,
    worth: int | None,
) -> Predictor | None:
    from everymask.runtimes.fastest import TRIED, WORTH, measure, remember

    if len(pictures) < (WORTH if worth is None else worth):
        return None
    try:
        first = [pictures[row] for row in range(min(TRIED, len(pictures)))]
    except DataError:
        return None
    loads = [(name, partial(load, replace(options, runtime=name))) for name in choice.engines]
    if usual is not None:
        loads[0] = (choice.engines[0], lambda: usual)  # type: ignore[assignment]
    tried = measure(loads, first)
    if tried is None:
        return None
    found, model = tried
    remember(choice.key, found)
    sys.stderr.write(f"{found.sentence()}\n")
    return model


def _choice(source: str, options: Running) -> _Choice | None:
    """What may calculate the model; None where the options say it, or nothing else can."""
    from everymask.runtimes.fastest import key_of
    from everymask.runtimes.loading import BUNDLE, engines_of

    path = Path(source)
    file = path / BEST if path.is_dir() else path
    # Processes that work together do not compete for the cores just to measure.
    if options.runtime != "auto" or launched() is not None or not file.is_file():
        return None
    engines = engines_of(file, exact=options.precision == "exact")
    if len(engines) < 2:
        return None
    files = [file, *([file.parent / BUNDLE] if "torch" in engines else [])]
    return _Choice(engines, key_of(files, engines, options.device, options.precision))
