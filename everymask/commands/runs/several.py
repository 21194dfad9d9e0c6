"""`everymask train` where it is several runs: with several seeds, or with every combination of some settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from everymask.commands.runs.tables import show_runs
from everymask.commands.terminal import quoted, show
from everymask.commands.train import Train, config_of
from everymask.commands.words import parse_again
from everymask.core.files import is_there
from everymask.core.threads import require_torch
from everymask.errors import ConfigError, counted, printable
from everymask.settings.config import TrainConfig
from everymask.settings.going_on import changed_settings
from everymask.train.runs.found import read_runs
from everymask.train.runs.listed import LIST, RunList, list_of, over, read_list

_EACH_ITS_OWN = ("out", "resume", "overwrite", "seeds", "sweep")


def are_asked(options: Train) -> bool:
    """Whether these options are of several runs, or to go on with some."""
    return options.seeds is not None or bool(options.sweep) or _is_list(options)


def _is_list(options: Train) -> bool:
    return options.resume and is_there(Path(options.data) / LIST)


def run(options: Train, words: Sequence[str]) -> None:
    """Train what is not finished, and print all of them side by side; `words` are those behind the verb."""
    listed = runs_of(options, words)
    require_torch()
    from everymask.train.runs.in_turn import train_list

    show(f"{counted(len(listed.runs), 'run')} in {listed.out}, one after the other{_limit(listed)}")
    try:
        ended = train_list(listed, overwrite=options.overwrite, say=show)
    except KeyboardInterrupt:
        show(f"go on with the same command, or with everymask train --resume {quoted(listed.out)}")
        raise
    found = read_runs(listed.out)
    show("")
    show_runs(found, found.rows)
    if options.seeds == 1:
        show("one seed says nothing of others: there is no interval")
    if ended.signal:
        show(f"go on with the same command, or with everymask train --resume {quoted(listed.out)}")
        # What the shell expects of a program that a signal ended, although everything was saved.
        raise SystemExit(128 + ended.signal)
    if ended.failed:
        show(f"{counted(len(ended.failed), 'run')} failed; the same command again tries them once more")
        raise SystemExit(ended.exit_code)


def runs_of(options: Train, words: Sequence[str]) -> RunList:
    """The runs that the options ask for. Each is parsed as a command line of its own, and refused as that would be."""
    if _is_list(options):
        _check_alone(options)
        return read_list(Path(options.data))
    if options.resume and not is_there(Path(options.out) / LIST):
        raise ConfigError(
            f"there is no list of runs to continue in {printable(options.out)}", hint="start it without --resume"
        )
    swept = dict(map(_setting, options.sweep))
    _check_swept(options, swept, words)
    combinations = [list(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    listed = list_of(options.out, ((pairs, _config(options, words, pairs)) for pairs in combinations))
    return listed if options.seeds is None else over(listed, options.seeds)


def _config(options: Train, words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> TrainConfig:
    if not pairs:
        return config_of(options)
    settings = [word for name, value in pairs for word in (f"--{name}", *value.split())]
    return config_of(parse_again(Train, "train", [*words, *settings]))


def _setting(text: str) -> tuple[str, tuple[str, ...]]:
    """`lr=1e-3,3e-4` as a name and its values."""
    name, _, values = text.partition("=")
    parts = tuple(value.strip() for value in values.split(";" if ";" in values else ","))
    if not name or not all(parts):
        raise ConfigError(f"--sweep {text!r} has a value that is empty", hint="write it as lr=1e-3,3e-4")
    return name.replace("_", "-"), parts


def _check_swept(options: Train, swept: dict[str, tuple[str, ...]], words: Sequence[str]) -> None:
    names = [_setting(text)[0] for text in options.sweep]
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    for name in names:
        if name in _EACH_ITS_OWN:
            raise ConfigError(f"{name} cannot be swept: each run of a list has a folder of its own, below --out")
        if names.count(name) > 1 or f"--{name}" in given:
            raise ConfigError(f"{name} is given twice", hint=f"write all its values once: --sweep {name}=A,B")
    if "seed" in swept and options.seeds is not None:
        raise ConfigError("--seeds and --sweep seed=... both say which seeds there are", hint="leave one of them out")


def _check_alone(options: Train) -> None:
    """`ConfigError` where a list is to go on with other options than it began with."""
    plain = TrainConfig(data=options.data, resume=True)
    changed = [name.replace("_", "-") for name in changed_settings(plain, config_of(options))]
    changed += [name for name in ("seeds", "sweep") if getattr(options, name)]
    if changed:
        raise ConfigError(
            f"a list of runs goes on as it began, without --{' and --'.join(changed)}",
            hint="for more or other runs, write the whole command with another --out",
        )


def _limit(listed: RunList) -> str:
    limits: Iterator[str] = (run.time_limit for run in listed.runs if run.time_limit is not None)
    longest = sorted(set(limits))
    return f"; --time-limit {' and '.join(longest)} is for each run" if longest else ""
