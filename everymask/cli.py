"""The command line: one subcommand per verb, errors with exit codes, nothing else.

Exit codes: 0 done, 1 a training whose loss is no longer a number, 2 usage, 3 data, 4 the machine, 5 a model file, 130
stopped by Ctrl-C, 141 nobody reads the answer, 143 terminated.
"""

from __future__ import annotations

import difflib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, TypeAlias, assert_never

import tyro

import everymask
from everymask.commands import check, compare, convert, demo, evaluate, models, plan, predict, train
from everymask.commands.doctor import env
from everymask.commands.export import prune
from everymask.commands.export import verb as export
from everymask.commands.inspection import verb as inspection
from everymask.commands.options import rules
from everymask.commands.runs import several
from everymask.commands.runs import verb as runs
from everymask.commands.serve import verb as serve
from everymask.commands.terminal import answered, show_json_error
from everymask.commands.words import check_choices, model_first, numbers_last, one_by_one
from everymask.core.memory import memory_ran_out
from everymask.core.processes.launched import launched
from everymask.errors import ConfigError, EverymaskError, FellowError, printable

_ABOUT = """From annotated pictures to masks on new pictures.

Begin with `everymask demo`, or with `everymask check DATA` for your own.

`everymask VERB --help` shows the options of a verb, `--version` the version. After
a verb, `--traceback` shows where in the program an error arose."""
_OPTIONS: dict[str, type[Any]] = {
    "demo": demo.Demo,
    "check": check.Check,
    "convert": convert.Convert,
    "plan": plan.Plan,
    "train": train.Train,
    "evaluate": evaluate.Evaluate,
    "compare": compare.Compare,
    "predict": predict.Predict,
    "runs": runs.Runs,
    "models": models.Models,
    "export": export.Export,
    "serve": serve.Serve,
    "prune": prune.Prune,
    "inspect": inspection.Inspect,
    "env": env.Env,
}
VERBS = tuple(_OPTIONS)
_SHARED = (train.Train, evaluate.Evaluate)
"""What several processes do together."""

Verb: TypeAlias = (
    Annotated[demo.Demo, tyro.conf.subcommand("demo")]
    | Annotated[check.Check, tyro.conf.subcommand("check")]
    | Annotated[convert.Convert, tyro.conf.subcommand("convert")]
    | Annotated[plan.Plan, tyro.conf.subcommand("plan")]
    | Annotated[train.Train, tyro.conf.subcommand("train")]
    | Annotated[evaluate.Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[compare.Compare, tyro.conf.subcommand("compare")]
    | Annotated[predict.Predict, tyro.conf.subcommand("predict")]
    | Annotated[runs.Runs, tyro.conf.subcommand("runs")]
    | Annotated[models.Models, tyro.conf.subcommand("models")]
    | Annotated[export.Export, tyro.conf.subcommand("export")]
    | Annotated[serve.Serve, tyro.conf.subcommand("serve")]
    | Annotated[prune.Prune, tyro.conf.subcommand("prune")]
    | Annotated[inspection.Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[env.Env, tyro.conf.subcommand("env")]
)


def main() -> None:
    """Run the arguments of this process and leave with their exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say and return the exit code; help and wrong usage raise `SystemExit`."""
    answered.set(False)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    with _terminated_as_interrupted():
        return _exit_code(arguments)


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        _run([argument for argument in arguments if argument != "--traceback"])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout (`| head`) has left: nothing to say, and nowhere to say it when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as stop:
        _complain("stopped")
        return 143 if isinstance(stop, _Terminated) else 130
    except FellowError as error:
        return error.exit_code  # another process says why
    except Exception as error:
        full = memory_ran_out(error)
        if not full and not isinstance(error, (EverymaskError, OSError)):
            raise
        if "--traceback" in arguments:
            traceback.print_exc()
        _complain("the memory is full" if full else str(error) or type(error).__name__)
        code = error.exit_code if isinstance(error, EverymaskError) else 4
        if "--json" in arguments and not answered.get():
            show_json_error(error, code)
        return code
    except SystemExit as stop:
        if "--json" in arguments and stop.code == 2:
            show_json_error(ConfigError("the command is not written as it must be", hint="stderr says why"), 2)
        raise
    return 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is done is kept."""


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        # Once: a second one would break off what keeps the results.
        signal.signal(number, signal.SIG_IGN)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        sys.stdout.write(f"everymask {everymask.__version__}\n")
    else:
        verb = parse(arguments)
        _check_alone(verb, arguments[0])
        _dispatch(verb, arguments[1:])


def _check_alone(verb: Verb, name: str) -> None:
    """`ConfigError` where a launcher has started several processes for what one does; the first says so."""
    launch, hint = launched(), "start it without torchrun"
    if launch is None or launch.count == 1 or isinstance(verb, _SHARED):
        return
    if isinstance(verb, predict.Predict):
        if verb.engine == "local":
            return
        hint = "with --engine local each predicts its share"
    message = f"{name} runs in one process, but {launch.count} were started"
    raise (FellowError if launch.index else ConfigError)(message, hint=hint)


def parse(arguments: Sequence[str]) -> Verb:
    """The verb and its options; help and wrong usage raise `SystemExit`, a value that cannot be used `ConfigError`."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in VERBS:
        near = difflib.get_close_matches(arguments[0], VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(VERBS)}"
        raise ConfigError(f"there is no command {printable(arguments[0])!r}", hint=hint)
    if arguments and arguments[0] in VERBS:
        options = _OPTIONS[arguments[0]]
        words = model_first(options, arguments[1:])
        check_choices(options, words)
        arguments = [arguments[0], *one_by_one(options, numbers_last(options, words))]
    with rules:
        return tyro.cli(
            Verb, prog="everymask", description=_ABOUT, args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
        )


def _dispatch(verb: Verb, words: Sequence[str]) -> None:  # noqa: PLR0912 - a case for each verb
    match verb:
        case demo.Demo():
            demo.run(verb)
        case check.Check():
            check.run(verb)
        case convert.Convert():
            convert.run(verb)
        case plan.Plan():
            plan.run(verb)
        case train.Train() if several.are_asked(verb):
            several.run(verb, words)
        case train.Train():
            train.run(verb)
        case evaluate.Evaluate():
            evaluate.run(verb)
        case compare.Compare():
            compare.run(verb)
        case predict.Predict():
            predict.run(verb)
        case runs.Runs():
            runs.run(verb)
        case models.Models():
            models.run(verb)
        case export.Export():
            export.run(verb)
        case serve.Serve():
            serve.run(verb)
        case prune.Prune():
            prune.run(verb)
        case inspection.Inspect():
            inspection.run(verb)
        case env.Env():
            env.run(verb)
        case _:
            assert_never(verb)


def _complain(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
