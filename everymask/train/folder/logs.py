"""What a run says: lines of JSON for programs, a progress display for people, TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from everymask.core.files import write_text
from everymask.core.processes.rank import ALONE, Rank
from everymask.settings.schedule import clock
from everymask.train.folder.layout import LOG
from everymask.train.folder.log_lines import read_log
from everymask.train.folder.progress import Progress

if TYPE_CHECKING:
    import torch

EVERY = 10
_PLAIN_SECONDS = 10.0
_logger = logging.getLogger(__name__)


class Screen(Console):
    """A console that falls silent when its reader leaves: Ctrl-C ends the `tee` behind a training too."""

    def on_broken_pipe(self) -> None:
        """Say nothing more. Rich would end the process, and with it a training that is about to be saved."""
        self.quiet = True


@contextmanager
def reading_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that moves when it is called with (done, total), and goes away; nothing on what is no terminal."""
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Log:
    """Appends to `log.jsonl` in the run folder and shows progress on `console`: a bar, or lines on what is no terminal.

    A line has `kind` "note", "step" (means over the last 10 steps) or "validation"; its `seconds` count the time
    trained, its `step` the optimizer steps done. Of several processes only the first writes and shows.
    """

    def __init__(self, folder: Path, console: Console, *, rank: Rank = ALONE, tensorboard: bool = True) -> None:
        self.file: Path = folder / LOG
        self.console: Console = console if rank.leads else Console(quiet=True)
        self._writes = rank.leads
        self.total: int = 0
        self.steps_per_epoch: int = 1
        self._limit = math.inf
        self._board = _tensorboard(folder) if tensorboard and rank.leads else None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._shown = 0.0
        self._timed = (0, 0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def start(self, progress: Progress, total: int, steps_per_epoch: int, limit: float = math.inf) -> None:
        """Steps begin, which end after `total` or after `limit` seconds.

        What an interrupted run wrote after its last saved state is taken out of the log.
        """
        if self._writes:
            _cut(self.file, progress)
        self.total, self.steps_per_epoch, self._limit = total, steps_per_epoch, limit
        self._task = self._bar.add_task("training", total=total, completed=progress.step, numbers="", left="")
        self._timed = (progress.step, time.monotonic())

    def note(self, text: str, **facts: Any) -> None:
        """Something worth knowing once."""
        self._append({"kind": "note", "text": text} | facts)
        say(self.console, text)

    def step(
        self, progress: Progress, values: dict[str, float], *, rate: float, images: int, device: torch.device
    ) -> None:
        """An optimizer step is done; `values` are its losses and `grad_norm`, `images` how many pictures it took."""
        for name, value in values.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value
        progress.summed += 1
        now = time.monotonic()
        steps, took = progress.step - self._timed[0], now - self._timed[1]
        per_second = images * steps / max(took, 1e-9)
        if progress.summed >= EVERY or progress.step == self.total:
            entry = {name: total / progress.summed for name, total in progress.sums.items()}
            entry |= {"lr": rate, "images_per_second": round(per_second, 2), "memory_mb": round(memory(device))}
            self._entry("step", progress, entry)
            progress.sums, progress.summed = {}, 0
            self._timed = (progress.step, now)
        self._show(
            progress, f"loss {values['loss']:.3f} · {per_second:.1f} images/s · peak {memory(device):,.0f} MB", now
        )

    def validation(self, progress: Progress, numbers: dict[str, float]) -> None:
        """A validation is done."""
        self._entry("validation", progress, numbers)
        epoch = progress.step / self.steps_per_epoch
        shown = "  ".join(f"{name} {value:.3f}" for name, value in list(numbers.items())[:4])
        best = "  (best so far)" if progress.best_step == progress.step else ""
        say(self.console, f"epoch {round(epoch, 2):.10g}: {shown}{best}")
        self._timed = (progress.step, time.monotonic())

    def _show(self, progress: Progress, numbers: str, now: float) -> None:
        epoch = f"epoch {1 + (progress.step - 1) // self.steps_per_epoch}/{max(1, self.total // self.steps_per_epoch)}"
        if self._task is not None:
            left = self._left(progress)
            self._bar.update(self._task, completed=progress.step, description=epoch, numbers=numbers, left=left)
        if not self.console.is_terminal and now - self._shown >= _PLAIN_SECONDS:
            self._shown = now
            say(self.console, f"{epoch}  step {progress.step}/{self.total}  {numbers}  {self._left(progress)} left")

    def _left(self, progress: Progress) -> str:
        """How long it takes still: to the last step, or to the limit of time where that comes first."""
        steps = progress.seconds / max(progress.step, 1) * (self.total - progress.step)
        return clock(max(0.0, min(steps, self._limit - progress.seconds)))

    def _entry(self, kind: str, progress: Progress, numbers: dict[str, float]) -> None:
        epoch = round(progress.step / self.steps_per_epoch, 4)
        place = {"kind": kind, "step": progress.step, "epoch": epoch, "seconds": round(progress.seconds, 2)}
        self._append(place | numbers)
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{kind}/{name}", value, progress.step)

    def _append(self, entry: dict[str, Any]) -> None:
        if not self._writes:
            return
        # A full disk must not end a training that could still be saved elsewhere or later.
        try:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            _logger.warning("cannot write %s: %s", self.file, error.strerror or error)


def memory(device: torch.device | None) -> float:
    """The most memory used so far, in MB: the GPU's, or this process's (None: that).

    It never falls. On a CPU it rises where a validation meets a larger picture than training does, and a little from
    step to step, since the allocator keeps what pictures of other sizes left between its blocks.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def spent(seconds: float) -> str:
    """A time as people say it, in seconds or minutes."""
    return f"{seconds:.1f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


def _cut(file: Path, progress: Progress) -> None:
    """Take out what came after that, and a validation of its own step that it does not know: that is done again."""
    if file.exists():
        kept = [entry for entry in read_log(file) if entry.get("step", 0) <= progress.step]
        if progress.validated < progress.step:
            kept = [entry for entry in kept if (entry["kind"], entry.get("step")) != ("validation", progress.step)]
        write_text(file, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept))


def say(console: Console, text: str) -> None:
    """Print a line as it is, without colours, marks or breaks."""
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _tensorboard(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(str(folder / "tensorboard"))
